"""SimSiam: predict the other view's projection, into which no gradient flows."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, objective
from sklearn_repr.objectives._views import two_views

__all__ = ["SimSiam"]


@objective("simsiam")
class SimSiam(Objective):
    r"""Negative cosine between predictions and projections of the other view.

    .. math:: \ell = -\tfrac12 \cos(p, z') - \tfrac12 \cos(p', z)

    with the predictions p, p' of the two views and the projections z, z', into which no
    gradient flows.

    References
    ----------
    Chen and He, "Exploring simple siamese representation learning", CVPR 2021,
    arXiv:2011.10566, equations 1 to 4.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import SimSiam
    >>> ones = torch.ones(4, 3)
    >>> outputs = Outputs(ones, projection=ones, prediction=2 * ones)
    >>> SimSiam().terms(outputs, Batch(ones[:2]))["simsiam"].round()
    tensor([-1., -1.])
    """

    comparable = False
    batch_norm_heads = True
    needs_prediction = True

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row; see :class:`Objective`."""
        first, second = two_views(outputs.prediction, len(target), "SimSiam")
        z, other = two_views(outputs.projection, len(target), "SimSiam")
        there = functional.cosine_similarity(first, other.detach(), dim=1)
        back = functional.cosine_similarity(second, z.detach(), dim=1)
        return {"simsiam": -(there + back) / 2}
