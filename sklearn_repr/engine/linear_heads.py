"""Linear maps from fixed codes to classes or numbers, to their optimum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from sklearn_repr._contracts import Array
from sklearn_repr.engine.inference import infer

__all__ = ["LinearMap", "fit_logistic", "fit_ridge", "said_of"]

# Steps of L-BFGS at most, and the gradient at which it ends
MOST_STEPS = 500
SMALL_GRADIENT = 1e-6


class LinearMap(NamedTuple):
    """A fitted linear map.

    Attributes
    ----------
    weight : Tensor of shape (k, d)
        Float64.
    bias : Tensor of shape (k,)
        Float64.
    n_iter : int
        Steps of the solver, 1 of a closed form.
    penalties : tuple of float
        Of each of k ridge regressions.
    """

    weight: Tensor
    bias: Tensor
    n_iter: int
    penalties: tuple[float, ...] = ()

    def layer(self) -> nn.Linear:
        """Return it as a layer."""
        k, d = self.weight.shape
        layer = nn.Linear(d, k, device="meta", dtype=self.weight.dtype)
        layer.weight = nn.Parameter(self.weight.clone())
        layer.bias = nn.Parameter(self.bias.clone())
        return layer

    def __call__(self, codes: Tensor) -> Tensor:
        """Map codes (n, d) to (n, k)."""
        return torch.addmm(self.bias, codes, self.weight.T)


def fit_logistic(
    codes: Tensor,
    targets: Tensor,
    weights: Tensor,
    penalty: float,
) -> LinearMap:
    r"""Fit a logistic regression to probabilities of classes.

    .. math:: \min_{W, b} -\sum_i w_i \sum_k t_{ik} \log p_{ik}
              + \frac{\lambda}{2} \|W\|^2, \qquad p_i = \mathrm{softmax}(W z_i + b)

    Parameters
    ----------
    codes : float64 Tensor of shape (n, d)
        z.
    targets : float64 Tensor of shape (n, k)
        t, whose rows sum to 1.
    weights : float64 Tensor of shape (n,)
        w, not negative.
    penalty : float
        :math:`\lambda > 0`, the inverse of scikit-learn's ``C``.

    Returns
    -------
    fitted : LinearMap
        From codes to logits.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.engine.linear_heads import fit_logistic
    >>> codes = torch.tensor([[-1.0], [1.0]]).double()
    >>> head = fit_logistic(codes, torch.eye(2).double(), torch.ones(2).double(), 1.0)
    >>> head(codes).argmax(dim=1)
    tensor([0, 1])
    """
    k, d = targets.shape[1], codes.shape[1]

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, Array]:
        theta = torch.from_numpy(flat).view(k, d + 1)
        weight, bias = theta[:, :d], theta[:, d]
        log_p = torch.addmm(bias, codes, weight.T).log_softmax(dim=1)  # (n, k)
        loss = -(weights * (targets * log_p).sum(dim=1)).sum()
        loss = loss + 0.5 * penalty * weight.square().sum()
        upstream = weights.unsqueeze(1) * (log_p.exp() - targets)  # (n, k)
        slope = upstream.T @ codes + penalty * weight
        gradient = torch.cat([slope, upstream.sum(dim=0).unsqueeze(1)], dim=1)
        return float(loss), gradient.numpy().ravel()

    first = np.zeros(k * (d + 1))
    options = {"maxiter": MOST_STEPS, "gtol": SMALL_GRADIENT}
    found = minimize(
        loss_and_gradient, first, jac=True, method="L-BFGS-B", options=options
    )
    theta = torch.from_numpy(found.x).view(k, d + 1)
    return LinearMap(theta[:, :d].clone(), theta[:, d].clone(), max(1, int(found.nit)))


def fit_ridge(
    codes: Tensor, targets: Tensor, weights: Tensor, penalties: Sequence[float]
) -> LinearMap:
    r"""Fit ridge regressions, each with the penalty whose left-out errors are least.

    .. math:: \min_{W, b} \sum_i w_i \| t_i - W z_i - b \|^2 + \lambda \|W\|^2

    Parameters
    ----------
    codes : float64 Tensor of shape (n, d)
        z.
    targets : float64 Tensor of shape (n, k)
        t.
    weights : float64 Tensor of shape (n,)
        w, positive.
    penalties : sequence of float
        Candidates for :math:`\lambda \geq 0`; of 0, the shortest W of those that leave
        least error. For each row of a table, what the regression
        on the others predicts of it is known in closed form.

    Returns
    -------
    fitted : LinearMap
        From codes to numbers, with the penalty of each.

    References
    ----------
    Golub, Heath and Wahba, "Generalized cross-validation as a method for choosing a good
    ridge parameter", Technometrics 21 (1979), doi:10.2307/1268518.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.engine.linear_heads import fit_ridge
    >>> codes = torch.tensor([[-1.0], [0.0], [1.0]]).double()
    >>> fitted = fit_ridge(codes, 3 * codes + 1, torch.ones(3).double(), [1e-9])
    >>> fitted(codes).T.round(decimals=3)
    tensor([[-2.,  1.,  4.]], dtype=torch.float64)
    """
    share = weights / weights.sum()
    mean, level = share @ codes, share @ targets
    root = weights.sqrt().unsqueeze(1)
    rows, wanted = root * (codes - mean), root * (targets - level)
    left, sizes, axes = torch.linalg.svd(rows, full_matrices=False)
    inside = left.T @ wanted  # (r, k)
    # without a penalty, axes along which rows vary by rounding alone are left out
    steady = sizes > 1e-13 * sizes.max()
    best = torch.full((targets.shape[1],), torch.inf, dtype=codes.dtype)
    chosen = torch.full_like(best, penalties[0])
    for penalty in penalties:
        kept = steady.to(sizes)
        if penalty > 0:
            kept = sizes.square() / (sizes.square() + penalty)
        # the intercept explains a share of each row too
        leverage = left.square() @ kept + share
        apart = wanted - left @ (kept.unsqueeze(1) * inside)
        left_out = apart / (1.0 - leverage).clamp(min=1e-12).unsqueeze(1)
        error = left_out.square().sum(dim=0)
        chosen = torch.where(error < best, penalty, chosen)
        best = torch.minimum(best, error)
    shrunk = sizes.unsqueeze(1) / (sizes.square().unsqueeze(1) + chosen)  # (r, k)
    shrunk = torch.where(steady.unsqueeze(1) | (chosen > 0), shrunk, 0.0)
    weight = (axes.T @ (shrunk * inside)).T
    return LinearMap(weight, level - weight @ mean, 1, tuple(chosen.tolist()))


def said_of(head: nn.Module, codes: Array) -> NDArray[np.float64]:
    """Return what a head of double precision says of codes (n, d), (n, k)."""

    def tensor(part: Array) -> Tensor:
        return torch.from_numpy(np.array(part, dtype=np.float64))

    return infer(head.forward, tensor, codes, "cpu")
