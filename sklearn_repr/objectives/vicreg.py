"""VICReg: variance, invariance, covariance."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, objective
from sklearn_repr.objectives._views import two_views

__all__ = ["VICReg", "covariance_penalty", "variance_hinge"]

# the paper's constants
WEIGHTS = {"invariance": 25.0, "variance": 25.0, "covariance": 1.0}
TARGET_STD = 1.0
EPS = 1e-4


def variance_hinge(z: Tensor, gamma: float = TARGET_STD, eps: float = EPS) -> Tensor:
    r"""Mean over columns of how far each falls short of a standard deviation.

    .. math:: v(Z) = \frac1d \sum_j \max(0, \gamma - \sqrt{\mathrm{Var}(z_j) + \epsilon})

    Parameters
    ----------
    z : Tensor of shape (n, d)
        One view; the variance has denominator n - 1, and is 0 for n = 1.
    gamma : float, default=1.0
        :math:`\gamma`, the wanted standard deviation.
    eps : float, default=1e-4
        :math:`\epsilon`, which keeps the gradient finite.

    Returns
    -------
    penalty : 0-d Tensor
        At most :math:`\gamma - \sqrt{\epsilon}`, where all rows are the same.

    References
    ----------
    Bardes, Ponce and LeCun, "VICReg: variance-invariance-covariance regularization for
    self-supervised learning", ICLR 2022, arXiv:2105.04906, equations 1 and 2.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.vicreg import variance_hinge
    >>> variance_hinge(torch.ones(5, 2))
    tensor(0.9900)
    """
    centred = z - z.mean(dim=0)
    variance = centred.square().sum(dim=0) / max(len(z) - 1, 1)
    return functional.relu(gamma - (variance + eps).sqrt()).mean()


def covariance_penalty(z: Tensor) -> Tensor:
    r"""Squared covariances between columns, summed and divided by their number.

    .. math:: c(Z) = \frac1d \sum_{i \ne j} C(Z)_{ij}^2

    Parameters
    ----------
    z : Tensor of shape (n, d)
        One view; the covariance has denominator n - 1, and is 0 for n = 1.

    Returns
    -------
    penalty : 0-d Tensor
        0 where columns are uncorrelated.

    References
    ----------
    Bardes, Ponce and LeCun, "VICReg: variance-invariance-covariance regularization for
    self-supervised learning", ICLR 2022, arXiv:2105.04906, equations 3 and 4.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.vicreg import covariance_penalty
    >>> covariance_penalty(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))  # C = [[2, 2], ...
    tensor(4.)
    """
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / max(len(z) - 1, 1)
    off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
    return off_diagonal / z.shape[1]


@objective("vicreg")
class VICReg(Objective):
    r"""Variance, invariance and covariance of the projections of two views.

    .. math:: \lambda \, s(Z, Z') + \mu \, (v(Z) + v(Z')) + \nu \, (c(Z) + c(Z'))

    with the mean squared difference s of the views (one value a row), the hinge v of
    :func:`variance_hinge` and the penalty c of :func:`covariance_penalty`.

    Parameters
    ----------
    weights : mapping of str to float, optional
        Of the terms "invariance", "variance" and "covariance"; the paper's
        :math:`\lambda = \mu = 25, \nu = 1` where not given.

    Notes
    -----
    As in the paper's algorithm 1, from which the weights come, s is a mean over columns
    too, while its equation 5 sums over them.

    References
    ----------
    Bardes, Ponce and LeCun, "VICReg: variance-invariance-covariance regularization for
    self-supervised learning", ICLR 2022, arXiv:2105.04906.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import VICReg
    >>> views = Outputs(torch.ones(4, 3), projection=torch.ones(4, 3))
    >>> VICReg().terms(views, Batch(torch.zeros(2, 5)))["variance"]
    tensor(1.9800)
    """

    batch_norm_heads = True

    def __init__(self, weights: Mapping[str, float] | None = None):
        super().__init__({**WEIGHTS, **(weights or {})})

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the three terms; see :class:`Objective`."""
        first, second = two_views(outputs.projection, len(target), "VICReg")
        return {
            "invariance": (first - second).square().mean(dim=1),
            "variance": variance_hinge(first) + variance_hinge(second),
            "covariance": covariance_penalty(first) + covariance_penalty(second),
        }
