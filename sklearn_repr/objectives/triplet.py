"""Triplet loss with semi-hard negatives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, objective
from sklearn_repr.objectives._checks import check_constant
from sklearn_repr.objectives._views import two_views

__all__ = ["Triplet", "triplet"]


def triplet(
    first: Tensor, second: Tensor, margin: float, labels: Tensor | None = None
) -> Tensor:
    r"""Triplet loss of N pairs, each view against its semi-hard negative.

    .. math:: \ell_i = \max(0,\; d_{i,p(i)} - d_{i,n(i)} + m)

    over all 2N views, where d is the squared distance of unit vectors, p(i) the other
    view of the same row, and n(i) the nearest negative that is farther away than p(i);
    where all negatives are nearer, the farthest of them.

    Parameters
    ----------
    first, second : Tensor of shape (N, p)
        The two views' projections.
    margin : float
        m, by which negatives are to be farther away.
    labels : int64 Tensor of shape (N,) or None, default=None
        Classes; rows of the same class are then no negatives. -1 is no class.

    Returns
    -------
    loss : Tensor of shape (N,)
        Mean over the two views of each row: m when all embeddings are the same, 0
        without negatives.

    References
    ----------
    Schroff, Kalenichenko and Philbin, "FaceNet: a unified embedding for face recognition
    and clustering", CVPR 2015, arXiv:1503.03832, equations 1 and 4.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives import triplet
    >>> same = torch.ones(2, 3)
    >>> triplet(same, same, 0.2)
    tensor([0.2000, 0.2000])
    """
    n = len(first)
    views = functional.normalize(torch.cat([first, second]), dim=1)
    distance = 2 - 2 * views @ views.T
    alike = torch.eye(n, dtype=torch.bool, device=views.device)
    if labels is not None:
        alike = alike | ((labels == labels.unsqueeze(1)) & (labels >= 0))
    negative = ~alike.repeat(2, 2)
    rows = torch.arange(2 * n, device=views.device)
    positive = distance[rows, (rows + n) % (2 * n)]
    with torch.no_grad():
        farther = negative & (distance > positive.unsqueeze(1))
        nearest = distance.masked_fill(~farther, torch.inf).argmin(dim=1)
        farthest = distance.masked_fill(~negative, -torch.inf).argmax(dim=1)
        chosen = torch.where(farther.any(dim=1), nearest, farthest)
    losses = functional.relu(positive - distance[rows, chosen] + margin)
    return (losses * negative.any(dim=1)).view(2, n).mean(dim=0)


@objective("triplet")
class Triplet(Objective):
    """Triplet loss on the projections of two views; see :func:`triplet`.

    Parameters
    ----------
    margin : float, default=0.2
        By which negatives are to be farther away; FaceNet's.
    weights : mapping of str to float, optional
        See :class:`Objective`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import Triplet
    >>> views = Outputs(torch.ones(4, 3), projection=torch.ones(4, 3))
    >>> Triplet().terms(views, Batch(torch.zeros(2, 5)))
    {'triplet': tensor([0.2000, 0.2000])}
    """

    def __init__(self, margin: float = 0.2, weights: Mapping[str, float] | None = None):
        super().__init__(weights)
        self.margin = check_constant(self, "margin", margin)

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row; see :class:`Objective`."""
        first, second = two_views(outputs.projection, len(target), "Triplet")
        return {"triplet": triplet(first, second, self.margin, target.labels)}
