"""Scores of a reconstruction, shared by estimators and inspection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from sklearn_repr.utils.validation import parts_of
from sklearn_repr.utils.weights import check_sample_weight

__all__ = ["explained_share", "parts_to_score"]

# Cells that are rebuilt and compared at a time
CELLS_AT_A_TIME = 2**20


def parts_to_score(X: Any) -> Iterator[Any]:
    """Cut a table into the parts that :func:`explained_share` looks at one by one."""
    return parts_of(X, CELLS_AT_A_TIME)


def explained_share(
    X: Any,
    errors: Iterable[NDArray[np.float64]],
    sample_weight: ArrayLike | None = None,
    *,
    categories: Iterable[int] = (),
) -> float:
    r"""Share of the variance of a column that a reconstruction explains, in the mean.

    .. math:: R^2 = \frac1d \sum_j \max\Big( 0, 1 - \frac{\sum_i (x_{ij} - \hat x_{ij})^2}
              {\sum_i (x_{ij} - \bar x_j)^2} \Big)

    Every column counts once, whatever its unit. One that is rebuilt worse than by its
    mean is not explained at all: a column that hardly varies, such as a pixel at the edge
    of an image, would otherwise decide. A category is its indicators, which are compared
    with the probabilities of the levels: both sums are over these. Missing cells do not
    count, nor do columns that do not vary.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Rows; NaN where a cell is missing.
    errors : iterable of ndarray of shape (n, n_features)
        Squared errors of the cells of every part of :func:`parts_to_score`.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        How much each row counts, in all sums and in the mean.
    categories : iterable of int, default=()
        Columns that hold numbers of levels.

    Returns
    -------
    score : float
        From 0 to 1. If no column varies, 1 for an exact reconstruction and 0 otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.scores import explained_share
    >>> X = np.array([[0.0, 0.0], [2.0, 200.0]])
    >>> explained_share(X, [np.array([[0.0, 0.0], [1.0, 0.0]])])
    0.75
    """
    n_rows, d = X.shape
    weights = np.ones(n_rows)
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, n_rows)
    count, total = np.zeros(d), np.zeros(d)
    for cells, known, own in _weighted_parts(X, weights):
        count += own @ known
        total += own @ cells
    mean = total / np.where(count > 0, count, 1.0)
    lost, varied, squares = np.zeros((3, d))
    levels = {j: np.zeros(0) for j in categories}
    found = iter(errors)
    for cells, known, own in _weighted_parts(X, weights):
        lost += own @ np.where(known, next(found), 0.0)
        varied += own @ np.square((cells - mean) * known)
        squares += own @ np.square(cells)
        for j, counts in levels.items():
            new = _counts_of_levels(cells[:, j], known[:, j] * own)
            longer, shorter = (counts, new) if len(counts) > len(new) else (new, counts)
            longer[: len(shorter)] += shorter
            levels[j] = longer
    # sums of squares below this are the rounding of the values themselves
    rounding = np.finfo(np.float64).eps ** 2 * n_rows * squares
    for j, counts in levels.items():
        varied[j] = count[j] - np.square(counts).sum() / max(count[j], 1.0)
    varies = varied > rounding
    if not varies.any():
        return float((lost <= rounding).all())
    return float(np.mean(np.maximum(1.0 - lost[varies] / varied[varies], 0.0)))


def _weighted_parts(X: Any, weights: NDArray[np.float64]) -> Iterator[Any]:
    """Yield cells, 0 where they are missing, where they are not, and weights."""
    start = 0
    for part in parts_to_score(X):
        cells = np.asarray(part.toarray() if sparse.issparse(part) else part, np.float64)
        known = ~np.isnan(cells)
        yield np.where(known, cells, 0.0), known, weights[start : start + len(cells)]
        start += len(cells)


def _counts_of_levels(
    numbers: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.bincount(numbers.astype(np.intp), weights).astype(np.float64)
