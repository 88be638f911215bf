"""BYOL: predict what a slower copy of the network makes of the other view."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, objective
from sklearn_repr.objectives._views import two_views

__all__ = ["BYOL"]


@objective("byol")
class BYOL(Objective):
    r"""Squared distance between unit predictions and unit targets of the other view.

    .. math:: \ell = \| \bar q - \bar z' \|^2 + \| \bar q' - \bar z \|^2
              = 4 - 2 \cos(q, z') - 2 \cos(q', z)

    with the predictions q, q' of the two views and the targets z, z', into which no
    gradient flows. The module supplies both.

    References
    ----------
    Grill et al., "Bootstrap your own latent: a new approach to self-supervised learning",
    NeurIPS 2020, arXiv:2006.07733, equation 2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import BYOL
    >>> ones = torch.ones(4, 3)
    >>> BYOL().terms(Outputs(ones, prediction=ones, target=-ones), Batch(ones[:2]))
    {'byol': tensor([8., 8.])}
    """

    comparable = False
    batch_norm_heads = True
    needs_prediction = True
    needs_target = True

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row; see :class:`Objective`."""
        first, second = two_views(outputs.prediction, len(target), "BYOL")
        z, other = two_views(outputs.target, len(target), "BYOL")
        there = functional.cosine_similarity(first, other.detach(), dim=1)
        back = functional.cosine_similarity(second, z.detach(), dim=1)
        return {"byol": 4 - 2 * there - 2 * back}
