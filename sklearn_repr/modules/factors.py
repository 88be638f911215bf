"""Factor analysis of rows with missing cells, and the posterior of its code."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_repr.modules.linear import PrincipalSubspace, principal_subspace, times

__all__ = [
    "FactorModel",
    "best_width",
    "evidence",
    "fit_factors",
    "fit_factors_to_products",
    "posterior_mean",
]

# Steps of the EM algorithm; from the PCA solution, ten do as well as fifty
STEPS = 15
# A column's noise is at least this share of its variance: below, rounding decides
FLOOR = 1e-3


class FactorModel(NamedTuple):
    r"""The model x = μ + W z + ε, with z ~ N(0, I) and ε ~ N(0, diag ψ).

    Attributes
    ----------
    mean : Tensor of shape (d,)
        μ.
    weight : Tensor of shape (d, k)
        W.
    noise : Tensor of shape (d,)
        ψ.
    """

    mean: Tensor
    weight: Tensor
    noise: Tensor

    def rebuild(self, x: Tensor) -> Tensor:
        """Return the expectation of all cells given those that are not NaN."""
        return posterior_mean(x, *self) @ self.weight.T + self.mean


def posterior_mean(x: Tensor, mean: Tensor, weight: Tensor, noise: Tensor) -> Tensor:
    r"""Mean of the code given the cells that are there.

    .. math:: (I + W_v^\top \Psi_v^{-1} W_v)^{-1} W_v^\top \Psi_v^{-1} (x_v - \mu_v)

    with the rows :math:`W_v` of W that belong to the visible cells of a row.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Rows, NaN where a cell is hidden or missing.
    mean, weight, noise : Tensor
        μ of shape (d,), W of shape (d, k) and ψ of shape (d,).

    Returns
    -------
    z : Tensor of shape (n, k)
        The code; zero for a row without a visible cell.

    References
    ----------
    Rubin and Thayer, "EM algorithms for ML factor analysis", Psychometrika 47 (1982),
    doi:10.1007/BF02293851.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.factors import posterior_mean
    >>> x = torch.tensor([[1.0, float("nan")]])
    >>> posterior_mean(x, torch.zeros(2), torch.ones(2, 1), torch.ones(2))
    tensor([[0.5000]])
    """
    k = weight.shape[1]
    # units without weights, up to a multiple of 8, make every row's system start at a
    # cache line: elsewhere the order of the solver's sums would depend on the address
    precision, pull = evidence(x, mean, functional.pad(weight, (0, -k % 8)), noise)
    solved: Tensor = torch.linalg.solve(precision, pull.unsqueeze(2))
    return solved[:, :k, 0]


def evidence(
    x: Tensor, mean: Tensor, weight: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the code's posterior precision, (n, k, k), and its product with the mean."""
    visible = ~x.isnan()
    residual = torch.where(visible, x - mean, torch.zeros_like(x))
    scaled = weight / noise.unsqueeze(1)
    precision = _precision(visible.to(x), weight, scaled)
    return precision, functional.linear(residual, scaled.T)


def _precision(visible: Tensor, weight: Tensor, scaled: Tensor) -> Tensor:
    d, k = weight.shape
    outer = (scaled.unsqueeze(2) * weight.unsqueeze(1)).reshape(d, k * k)
    precision = functional.linear(visible, outer.T).view(-1, k, k)
    return precision + torch.eye(k, dtype=weight.dtype, device=weight.device)


def fit_factors(
    values: Tensor, n_components: int, subspace: PrincipalSubspace | None = None
) -> FactorModel:
    """Fit the model towards its maximum likelihood by EM, from PCA.

    Parameters
    ----------
    values : Tensor of shape (n, d)
        Rows, NaN where a cell is missing.
    n_components : int
        Width of the code.
    subspace : PrincipalSubspace or None, default=None
        Where to start; None is that of the rows, with column means for missing cells.

    Returns
    -------
    model : FactorModel
        In double precision; columns of W beyond the subspace's axes are zero.

    References
    ----------
    Rubin and Thayer, "EM algorithms for ML factor analysis", Psychometrika 47 (1982),
    doi:10.1007/BF02293851.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.factors import fit_factors
    >>> line = torch.linspace(-1, 1, 50).unsqueeze(1)
    >>> model = fit_factors(line * torch.tensor([1.0, 2.0]), 1)
    >>> x = torch.tensor([[0.5, float("nan")]], dtype=torch.float64)
    >>> model.rebuild(x).round(decimals=1)
    tensor([[0.5000, 1.0000]], dtype=torch.float64)
    """
    x = values.double()
    n, d = x.shape
    seen = (~x.isnan()).double()
    count = seen.sum(dim=0).clamp(min=1)
    mean = x.nansum(dim=0) / count
    spread = (x - mean).square().nansum(dim=0) / count
    # constant columns have no variance to take a share of
    floor = FLOOR * spread + 1e-6 * (float(spread.mean()) or 1.0)
    if subspace is None:
        subspace = principal_subspace(x.where(seen > 0, mean), n_components)
    k = min(n_components, len(subspace.variances))
    kept = subspace.variances[:k]
    noise = (spread.sum() - kept.sum()).clamp(min=0) / max(d - k, 1)
    weight = subspace.axes[:k].T * (kept - noise).clamp(min=0).sqrt()
    noise = torch.maximum(noise, floor)
    # rows without a missing cell share one covariance
    whole = bool(seen.all())
    alike, times = (seen[:1], n) if whole else (seen, 1)
    residual = (x - mean).nan_to_num()
    for _ in range(STEPS if float(spread.sum()) > 0 else 0):
        scaled = weight / noise.unsqueeze(1)
        covariance = torch.linalg.inv(_precision(alike, weight, scaled))
        pull = residual @ scaled
        if whole:
            z = pull @ covariance[0]
            moments = (z.T @ z).expand(d, k, k)
        else:
            z = (covariance @ pull.unsqueeze(2)).squeeze(2)
            outer = (z.unsqueeze(2) * z.unsqueeze(1)).view(n, -1)
            moments = (seen.T @ outer).view(d, k, k)
        spreads = (times * alike.T @ covariance.flatten(1)).view(d, k, k)
        mean = (x - z @ weight.T).nansum(dim=0) / count
        residual = (x - mean).nan_to_num()
        # the prior keeps weights of columns with few observed cells from diverging
        prior = FLOOR * torch.eye(k, dtype=x.dtype, device=x.device)
        pulls = (residual.T @ z).unsqueeze(2)
        weight = torch.linalg.solve(spreads + moments + prior, pulls).squeeze(2)
        errors = ((residual - z @ weight.T) * seen).square().sum(dim=0)
        unsure = torch.einsum("dk,dkl,dl->d", weight, spreads, weight)
        noise = torch.maximum((errors + unsure) / count, floor)
    return FactorModel(mean, functional.pad(weight, (0, n_components - k)), noise)


def fit_factors_to_products(rows: Any, n_components: int) -> FactorModel:
    """Fit the model to sparse rows without missing cells; see :func:`fit_factors`.

    Parameters
    ----------
    rows : object
        With their `shape`, the `mean` and `variance` of the columns, and `times`, which
        multiplies by the covariance matrix.
    n_components : int
        Width of the code.

    Returns
    -------
    model : FactorModel
        As of the rows in memory, but for rounding and PCA's approximation.
    """
    mean, spread = torch.from_numpy(rows.mean), torch.from_numpy(rows.variance)
    floor = FLOOR * spread + 1e-6 * (float(spread.mean()) or 1.0)
    subspace = principal_subspace(rows, n_components)
    k = min(n_components, len(subspace.variances))
    kept = subspace.variances[:k]
    rest = (spread.sum() - kept.sum()).clamp(min=0.0) / max(len(spread) - k, 1)
    noise = torch.maximum(rest, floor)
    weight = subspace.axes[:k].T * (kept - rest).clamp(min=0.0).sqrt()
    one = torch.eye(k, dtype=torch.float64)
    for _ in range(STEPS if float(spread.sum()) > 0 else 0):
        scaled = weight / noise.unsqueeze(1)
        covariance = torch.linalg.inv(one + weight.T @ scaled)
        # the code is a product of the centred row with these
        maps = scaled @ covariance
        pulls = times(rows, maps)
        moments = maps.T @ pulls + covariance
        weight = torch.linalg.solve(moments + FLOOR / rows.shape[0] * one, pulls.T).T
        errors = spread + ((weight @ moments - 2.0 * pulls) * weight).sum(dim=1)
        noise = torch.maximum(errors, floor)
    return FactorModel(mean, functional.pad(weight, (0, n_components - k)), noise)


def best_width(
    values: Tensor,
    inputs: Tensor,
    targets: Tensor,
    judged: Tensor,
    widest: int,
    tolerance: float = 0.01,
) -> int:
    """Find the narrowest code that predicts hidden cells about as well as any.

    Parameters
    ----------
    values : Tensor of shape (n, d)
        Rows to fit, NaN where a cell is missing.
    inputs, targets : Tensor of shape (m, d)
        Rows with NaN where a cell is hidden, and the same rows in full.
    judged : bool Tensor of shape (m, d)
        The cells to predict.
    widest : int
        Widest code to try; wider ones are not tried once two in a row were worse.
    tolerance : float, default=0.01
        By how much the error may exceed the lowest.

    Returns
    -------
    n_components : int
        Between 1 and `widest`.
    """
    x = values.double()
    observed = ~x.isnan()
    mean = x.nansum(dim=0) / observed.sum(dim=0).clamp(min=1)
    subspace = principal_subspace(x.where(observed, mean), widest)
    steps = [s for power in range(7) for s in (2**power, 3 * 2 ** (power - 1))]
    widths = sorted({int(s) for s in steps if 1 <= s < widest} | {widest})
    errors: dict[int, float] = {}
    for k in widths:
        model = fit_factors(x, k, subspace)
        residual = (model.rebuild(inputs.double()) - targets)[judged]
        errors[k] = float(residual.square().sum())
        if all(e > min(errors.values()) for e in [*errors.values()][-2:]):
            break
    limit = (1 + tolerance) * min(errors.values())
    return next(k for k, error in errors.items() if error <= limit)
