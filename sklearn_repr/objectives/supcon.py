"""Supervised contrastive loss: all rows of a class attract each other."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, objective
from sklearn_repr.objectives._checks import check_constant
from sklearn_repr.objectives._views import similarity_of_views, two_views

__all__ = ["SupCon", "supcon"]


def supcon(
    first: Tensor, second: Tensor, labels: Tensor, temperature: float | Tensor
) -> Tensor:
    r"""Supervised contrastive loss with the mean over positives outside the logarithm.

    .. math:: \ell_i = -\frac{1}{|P(i)|} \sum_{p \in P(i)}
              \log \frac{\exp(s_{ip} / \tau)}{\sum_{k \ne i} \exp(s_{ik} / \tau)}

    over all 2N views, where s is the cosine similarity and P(i) all other views of rows
    of the same class.

    Parameters
    ----------
    first, second : Tensor of shape (N, p)
        The two views' projections.
    labels : int64 Tensor of shape (N,)
        Classes. A row of class -1 is unlabelled: its other view alone is its positive,
        and it is a negative of all others.
    temperature : float or 0-d Tensor
        :math:`\tau > 0`.

    Returns
    -------
    loss : Tensor of shape (N,)
        Mean over the two views of each row: :func:`nt_xent` where all classes differ,
        log(2N - 1) when all embeddings are the same.

    References
    ----------
    Khosla et al., "Supervised contrastive learning", NeurIPS 2020, arXiv:2004.11362,
    equation 2 (L_out).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives import supcon
    >>> same = torch.ones(2, 3)
    >>> supcon(same, same, torch.tensor([0, 0]), 0.5)  # log(3)
    tensor([1.0986, 1.0986])
    """
    n = len(first)
    similarity = similarity_of_views(first, second, temperature)
    log_share = similarity - similarity.logsumexp(dim=1, keepdim=True)
    alike = (labels == labels.unsqueeze(1)) & (labels >= 0)
    positive = alike.fill_diagonal_(True).repeat(2, 2).fill_diagonal_(False)
    total = log_share.masked_fill(~positive, 0.0).sum(dim=1)
    return -(total / positive.sum(dim=1)).view(2, n).mean(dim=0)


@objective("supcon")
class SupCon(Objective):
    """Supervised contrastive loss on the projections of two views; see :func:`supcon`.

    Parameters
    ----------
    temperature : float, default=0.5
        Divides the cosine similarities.
    weights : mapping of str to float, optional
        See :class:`Objective`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import SupCon
    >>> views = Outputs(torch.ones(4, 3), projection=torch.ones(4, 3))
    >>> rows = Batch(torch.zeros(2, 5), labels=torch.tensor([0, 1]))
    >>> SupCon().terms(views, rows)
    {'supcon': tensor([1.0986, 1.0986])}
    """

    needs_labels = True

    def __init__(
        self, temperature: float = 0.5, weights: Mapping[str, float] | None = None
    ):
        super().__init__(weights)
        self.temperature = check_constant(self, "temperature", temperature, above=0)

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row; see :class:`Objective`."""
        if target.labels is None:
            raise ValueError("SupCon needs labels.")
        first, second = two_views(outputs.projection, len(target), "SupCon")
        return {"supcon": supcon(first, second, target.labels, self.temperature)}
