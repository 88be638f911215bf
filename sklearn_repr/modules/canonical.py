"""Canonical correlation analysis: where the linear paths of two encoders start."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_repr.modules.linear import principal_subspace

__all__ = ["CanonicalMaps", "canonical_maps", "canonical_maps_of_scores"]

# Ridge of the whitening, as a share of the mean variance of a column
RIDGE = 0.003
# Most principal axes of either table that are used
WIDEST = 512
# From fewer rows, correlations are not estimated
FEWEST = 20
FOLDS = 5
# A correlation of 1 would have an infinite weight
LARGEST = 0.999
# Spread of directions that start at random, where a typical one has 1
FAINT = 0.1


class CanonicalMaps(NamedTuple):
    """Two linear maps x ↦ W (x - μ) whose results are as similar as they can be.

    Attributes
    ----------
    first, second : (Tensor of shape (k, d), Tensor of shape (d,))
        W and μ of either side.
    correlations : Tensor of shape (m,)
        Canonical correlations on held-out rows, at most k and at least 0.
    """

    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]
    correlations: Tensor


def canonical_maps(x: Tensor, y: Tensor, n_components: int) -> CanonicalMaps | None:
    r"""Compute canonical directions of two tables, weighted by their correlations.

    Two jointly normal canonical variables u and v of correlation ρ have
    :math:`\log p(u, v) / p(u) p(v) = \frac{\rho}{1 - \rho^2} u v + \ldots`, so that a
    direction is multiplied by :math:`\sqrt{\rho / (1 - \rho^2)}` on either side. As
    correlations of the rows that directions were fitted to are too large, ρ is that of
    held-out rows in five folds.

    Parameters
    ----------
    x, y : Tensor of shape (n, d_x) and (n, d_y)
        Aligned rows.
    n_components : int
        Directions wanted. Those beyond the canonical ones, and those without correlation,
        are random and small: from zero, no gradient would reach them.

    Returns
    -------
    maps : CanonicalMaps or None
        In double precision; None if nothing is correlated, or too few rows are there.

    References
    ----------
    Hotelling, "Relations between two sets of variates", Biometrika 28 (1936),
    doi:10.1093/biomet/28.3-4.321.

    Bach and Jordan, "A probabilistic interpretation of canonical correlation analysis",
    UC Berkeley technical report 688 (2005).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.canonical import canonical_maps
    >>> x = torch.linspace(-1, 1, 50).unsqueeze(1)
    >>> canonical_maps(x, -2 * x + 1, 1).correlations
    tensor([0.9990], dtype=torch.float64)
    """
    n = len(x)
    if n < FEWEST:
        return None
    held_out = torch.zeros(min(n_components, WIDEST), dtype=torch.float64)
    fold = torch.arange(n) % FOLDS
    for f in range(FOLDS):
        rest = fold != f
        forth, back = _directions(x[rest], y[rest])
        found = _correlations(_apply(forth, x[~rest]), _apply(back, y[~rest]))
        found = found[: len(held_out)]
        held_out[: len(found)] += found / FOLDS
    forth, back = _directions(x, y)
    usable = min(len(forth[0]), len(back[0]), len(held_out))
    correlations = held_out[:usable].clamp(0.0, LARGEST)
    # the correlation that independent columns have by chance
    correlations[correlations < 2 / n**0.5] = 0.0
    if not bool((correlations > 0).any()):
        return None
    weights = (correlations / (1 - correlations.square())).sqrt().unsqueeze(1)
    return CanonicalMaps(
        _weighted(forth, weights, n_components),
        _weighted(back, weights, n_components),
        correlations,
    )


def canonical_maps_of_scores(x: Any, y: Any, n_components: int) -> CanonicalMaps | None:
    """Compute canonical directions within the leading principal axes of sparse tables.

    Parameters
    ----------
    x, y : Tensor of shape (n, d), or object that multiplies by sparse rows
        Aligned rows.
    n_components : int
        Directions wanted.

    Returns
    -------
    maps : CanonicalMaps or None
        As of :func:`canonical_maps`.
    """
    sides = [_leading(side) for side in (x, y)]
    found = canonical_maps(sides[0][0], sides[1][0], n_components)
    if found is None:
        return None
    first, second = _lifted(found.first, *sides[0]), _lifted(found.second, *sides[1])
    return CanonicalMaps(first, second, found.correlations)


def _lifted(
    linear: tuple[Tensor, Tensor], scores: Tensor, axes: Any, center: Any
) -> tuple[Tensor, Tensor]:
    """Return a map of rows from a map of their scores."""
    if axes is None:
        return linear
    weight, mean = linear
    return weight @ axes, center + axes.T @ mean


def _leading(side: Any) -> tuple[Tensor, Any, Any]:
    """Return scores along the leading axes, those axes and the mean; or rows alone."""
    if isinstance(side, Tensor):
        return side, None, None
    mean, axes, _ = principal_subspace(side, WIDEST)
    scores = side.scores(axes.numpy().T, slice(None))
    return torch.from_numpy(scores), axes, mean


def _directions(x: Tensor, y: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return canonical directions as rows, each of unit variance, and means."""
    (white_x, mean_x), (white_y, mean_y) = _whitening(x), _whitening(y)
    first, second = _apply((white_x, mean_x), x), _apply((white_y, mean_y), y)
    left, _, right = torch.linalg.svd(first.T @ second / len(x), full_matrices=False)
    return (left.T @ white_x, mean_x), (right @ white_y, mean_y)


def _whitening(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return a map to uncorrelated scores, of unit variance but for the ridge, and means.

    Without any variance there is a single direction, of zeros.
    """
    mean, axes, variances = principal_subspace(values, WIDEST)
    axes, variances = axes[:WIDEST], variances[:WIDEST]
    kept = max(1, int((variances > 1e-10 * float(variances[0]) + 1e-30).sum()))
    axes, variances = axes[:kept], variances[:kept]
    ridge = RIDGE * float(variances.sum()) / values.shape[1]
    scale = (variances + ridge).sqrt().unsqueeze(1)
    return torch.where(scale > 1e-14, axes / scale.clamp(min=1e-14), 0.0), mean


def _apply(linear: tuple[Tensor, Tensor], values: Tensor) -> Tensor:
    weight, mean = linear
    return (values.double() - mean) @ weight.T


def _correlations(first: Tensor, second: Tensor) -> Tensor:
    first, second = first - first.mean(dim=0), second - second.mean(dim=0)
    lengths = first.norm(dim=0) * second.norm(dim=0)
    products = (first * second).sum(dim=0)
    return products / lengths.clamp(min=1e-12)  # type: ignore[no-any-return]


def _weighted(
    linear: tuple[Tensor, Tensor], weights: Tensor, n_components: int
) -> tuple[Tensor, Tensor]:
    directions, mean = linear
    spare = torch.randn(n_components, len(directions), dtype=torch.float64)
    weight = FAINT * spare @ directions / len(directions) ** 0.5
    known = (weights > 0).squeeze(1).nonzero()[:, 0]
    weight[known] = weights[known] * directions[known]
    return weight, mean
