"""Thresholds beyond what was seen: peaks over threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import genpareto

from sklearn_repr.detection._checks import check_scores, check_share
from sklearn_repr.detection.thresholds import quantile_threshold

__all__ = ["gpd_threshold"]

# Below this many different excesses the shape of a tail is a guess
FEWEST_EXCESSES = 10


def gpd_threshold(
    scores: NDArray[np.float64], false_alarm_rate: float, *, tail: float = 0.1
) -> float:
    r"""Return the threshold below which a share α of rows falls, by the tail's shape.

    Let u be the score that a share `tail` of the rows falls below, and
    :math:`y = u - s > 0` the excesses of these N of n rows. For high enough u, excesses
    of almost any distribution follow a generalised Pareto distribution (Pickands;
    Balkema and de Haan), here with shape γ and scale σ:

    .. math:: P(y > t) = (1 + \gamma t / \sigma)^{-1/\gamma}, \qquad
              \tau = u - \frac{\sigma}{\gamma}
              \Big( \Big( \frac{\alpha n}{N} \Big)^{-\gamma} - 1 \Big)

    so that τ may lie beyond all training scores where α < 1/n. γ and σ are Zhang and
    Stephens' estimates, the mean of a posterior over a grid: unlike maximum likelihood,
    they exist for every sample and need no iterations.

    Where the model cannot be fitted, the threshold is :func:`quantile_threshold` with
    contamination α: if α is at least N/n (the quantile then lies outside of the
    tail), if fewer than 10 different excesses remain (few rows, ties, constant scores),
    if the tail holds infinite scores, or if it is so heavy that τ is beyond all floats.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Training scores, high for normal rows.
    false_alarm_rate : float
        α, share of rows like the training rows to flag, in (0, 1).
    tail : float, default=0.1
        Share of the rows that the tail is fitted on, in (0, 1).

    Returns
    -------
    threshold : float
        Rows strictly below are outliers.

    References
    ----------
    Coles, "An introduction to statistical modeling of extreme values" (2001), chapter 4,
    doi:10.1007/978-1-4471-3675-0; Siffer, Fouque, Termier and Largouët, "Anomaly
    detection in streams with extreme value theory", KDD 2017,
    doi:10.1145/3097983.3098144; Zhang and Stephens, "A new and efficient estimation
    method for the generalized Pareto distribution", Technometrics 51 (2009),
    doi:10.1198/tech.2009.08017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import gpd_threshold
    >>> scores = -np.random.default_rng(0).exponential(size=5000)
    >>> threshold = gpd_threshold(scores, false_alarm_rate=1e-5)
    >>> bool(-14 < threshold < -9)  # truth: log(1e-5) = -11.5; lowest score: about -9
    True
    """
    ordered = np.sort(check_scores(scores, "scores"))
    alpha = check_share(false_alarm_rate, "false_alarm_rate")
    tail = check_share(tail, "tail")
    n_rows = len(ordered)
    start = ordered[int(tail * n_rows)]
    beyond = ordered[ordered < start]
    quantile = quantile_threshold(ordered, alpha)
    if alpha * n_rows >= len(beyond) or not np.isfinite([beyond[0], start]).all():
        return quantile
    # halves, because the distance between two floats may be beyond all floats
    half_excesses = (start / 2.0 - beyond / 2.0)[::-1]
    unit = half_excesses[-1]
    excesses = half_excesses / unit
    if len(np.unique(excesses)) < FEWEST_EXCESSES or excesses[0] == 0.0:
        return quantile
    shape, scale = _fit_generalized_pareto(excesses)
    with np.errstate(over="ignore"):
        share = alpha * n_rows / len(beyond)
        distance = genpareto.isf(share, shape, scale=scale) * unit
        threshold = float(start - 2.0 * distance)
    return threshold if np.isfinite(threshold) else quantile


def _fit_generalized_pareto(excesses: NDArray[np.float64]) -> tuple[float, float]:
    """Return the shape and scale that Zhang and Stephens' posterior mean gives.

    With b = -shape / scale the likelihood profiled over the shape depends on b alone;
    the estimate of b is the mean over a grid of prior quantiles, weighted by it.
    """
    n = len(excesses)
    grid_size = 30 + int(np.sqrt(n))
    steps = np.arange(1, grid_size + 1) - 0.5
    quartile = excesses[max(int(n / 4 + 0.5) - 1, 0)]
    grid = 1.0 / excesses[-1] + (1.0 - np.sqrt(grid_size / steps)) / (3.0 * quartile)
    # b = 0 is the exponential distribution, where shape / b would be 0 / 0
    grid = np.where(np.abs(grid) < 1e-9 / excesses[-1], 1e-9 / excesses[-1], grid)
    shapes = np.array([np.log1p(-b * excesses).mean() for b in grid])
    likelihood = n * (np.log(-grid / shapes) - shapes - 1.0)
    weights = np.exp(likelihood - likelihood.max())
    b = float(weights @ grid / weights.sum())
    if abs(b) < 1e-9 / excesses[-1]:
        return 0.0, float(excesses.mean())
    shape = float(np.log1p(-b * excesses).mean())
    return shape, -shape / b
