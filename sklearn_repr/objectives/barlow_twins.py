"""Barlow Twins: the cross-correlation of two views is to be the identity."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, objective
from sklearn_repr.objectives._views import two_views

__all__ = ["BarlowTwins", "cross_correlation"]

# the paper's lambda
REDUNDANCY = 5e-3


def cross_correlation(first: Tensor, second: Tensor) -> Tensor:
    r"""Correlations between the columns of two views, over the rows of the batch.

    .. math:: C_{ij} = \frac{\sum_b z_{bi} z'_{bj}}
              {\sqrt{\sum_b z_{bi}^2} \sqrt{\sum_b z_{bj}'^2}}

    of centred columns z and z'.

    Parameters
    ----------
    first, second : Tensor of shape (n, d)
        The two views.

    Returns
    -------
    correlation : Tensor of shape (d, d)
        A column without spread is correlated with nothing.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.barlow_twins import cross_correlation
    >>> rows = torch.tensor([[1.0, 2.0], [0.0, 2.0]])
    >>> cross_correlation(rows, -2 * rows).round().tolist()
    [[-1.0, 0.0], [0.0, 0.0]]
    """
    return _standardised(first).T @ _standardised(second)


def _standardised(z: Tensor) -> Tensor:
    centred = z - z.mean(dim=0)
    return centred / centred.square().sum(dim=0).add(torch.finfo(z.dtype).eps).sqrt()


@objective("barlow_twins")
class BarlowTwins(Objective):
    r"""Make equal columns of two views agree and different ones be uncorrelated.

    .. math:: \sum_i (1 - C_{ii})^2 + \lambda \sum_i \sum_{j \ne i} C_{ij}^2

    with the correlations C of :func:`cross_correlation`.

    Parameters
    ----------
    weights : mapping of str to float, optional
        Of the terms "invariance" and "redundancy"; 1 and the paper's
        :math:`\lambda = 0.005` where not given.

    References
    ----------
    Zbontar, Jing, Misra, LeCun and Deny, "Barlow Twins: self-supervised learning via
    redundancy reduction", ICML 2021, arXiv:2103.03230, equations 1 and 2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import BarlowTwins
    >>> views = Outputs(torch.ones(4, 3), projection=torch.ones(4, 3))
    >>> BarlowTwins().terms(views, Batch(torch.zeros(2, 5)))
    {'invariance': tensor(3.), 'redundancy': tensor(0.)}
    """

    batch_norm_heads = True

    def __init__(self, weights: Mapping[str, float] | None = None):
        super().__init__({"redundancy": REDUNDANCY, **(weights or {})})

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the two terms; see :class:`Objective`."""
        first, second = two_views(outputs.projection, len(target), "BarlowTwins")
        correlation = cross_correlation(first, second)
        diagonal = correlation.diagonal()
        return {
            "invariance": (1 - diagonal).square().sum(),
            "redundancy": correlation.square().sum() - diagonal.square().sum(),
        }
