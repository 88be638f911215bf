"""NT-Xent, the InfoNCE loss of SimCLR."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, objective
from sklearn_repr.objectives._checks import check_constant
from sklearn_repr.objectives._views import similarity_of_views, two_views

__all__ = ["NTXent", "nt_xent"]

# CLIP's bound of a learned temperature, 0.01: below it training becomes unstable
LEAST_LOG = math.log(0.01)


def nt_xent(first: Tensor, second: Tensor, temperature: float | Tensor) -> Tensor:
    r"""Normalised temperature-scaled cross entropy of N pairs.

    .. math:: \ell_i = -\log \frac{\exp(s_{i,p(i)} / \tau)}
              {\sum_{k \ne i} \exp(s_{ik} / \tau)}

    over all 2N views, where s is the cosine similarity and p(i) the other view of the
    same row. The denominator is a log-sum-exp, so no temperature overflows.

    Parameters
    ----------
    first, second : Tensor of shape (N, p)
        The two views' projections.
    temperature : float or 0-d Tensor
        :math:`\tau > 0`.

    Returns
    -------
    loss : Tensor of shape (N,)
        Mean over the two views of each row: 0 for N = 1, log(2N - 1) when all
        embeddings are the same.

    References
    ----------
    Chen et al., "A simple framework for contrastive learning of visual
    representations", ICML 2020, arXiv:2002.05709, equation 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives import nt_xent
    >>> same = torch.ones(2, 3)
    >>> nt_xent(same, same, 0.5)  # log(3)
    tensor([1.0986, 1.0986])
    """
    n = len(first)
    similarity = similarity_of_views(first, second, temperature)
    rows = torch.arange(2 * n, device=similarity.device)
    losses = functional.cross_entropy(similarity, (rows + n) % (2 * n), reduction="none")
    return losses.view(2, n).mean(dim=0)


@objective("nt_xent")
class NTXent(Objective):
    """NT-Xent on the projections of two views; see :func:`nt_xent`.

    Parameters
    ----------
    temperature : float, default=0.5
        Divides the cosine similarities.
    learn_temperature : bool, default=False
        Start from `temperature` and learn its logarithm; it stays at or above 0.01.
    weights : mapping of str to float, optional
        See :class:`Objective`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import NTXent
    >>> views = Outputs(torch.ones(4, 3), projection=torch.ones(4, 3))
    >>> NTXent().terms(views, Batch(torch.zeros(2, 5)))
    {'nt_xent': tensor([1.0986, 1.0986])}
    """

    def __init__(
        self,
        temperature: float = 0.5,
        learn_temperature: bool = False,
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__(weights)
        self.temperature = check_constant(self, "temperature", temperature, above=0)
        if learn_temperature:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row; see :class:`Objective`."""
        first, second = two_views(outputs.projection, len(target), "NTXent")
        temperature: float | Tensor = self.temperature
        if hasattr(self, "log_temperature"):
            # the parameter itself: clamped in the graph, it would have no gradient to
            # come back by
            with torch.no_grad():
                self.log_temperature.clamp_(min=LEAST_LOG)
            temperature = self.log_temperature.exp()
        return {"nt_xent": nt_xent(first, second, temperature)}
