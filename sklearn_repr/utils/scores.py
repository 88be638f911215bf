"""Scores of a reconstruction, shared by estimators and inspection."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import (
    ArrayLike,
    NDArray,
)
from scipy import sparse

from sklearn_repr.utils.weights import check_sample_weight

__all__ = ["explained_share", "explained_share_of_sparse"]

# Cells that are rebuilt at a time
CELLS_AT_A_TIME = 2**20


def explained_share(
    X: ArrayLike, reconstruction: ArrayLike, sample_weight: ArrayLike | None = None
) -> float:
    r"""Share of the total variance of `X` that a reconstruction explains.

    .. math:: R^2 = 1 - \sum_{ij} (x_{ij} - \hat x_{ij})^2 /
              \sum_{ij} (x_{ij} - \bar x_j)^2

    On its training rows this is the sum of PCA's ``explained_variance_ratio_``.

    Parameters
    ----------
    X, reconstruction : array-like of shape (n_samples, n_features)
        Rows and their reconstruction, in the same units. Cells that are NaN in `X` do
        not count.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        How much each row counts, in both sums and in the mean.

    Returns
    -------
    score : float
        At most 1. If `X` has no variance, 1 for an exact reconstruction and 0
        otherwise.

    Examples
    --------
    >>> from sklearn_repr.utils.scores import explained_share
    >>> explained_share([[0.0], [2.0]], [[0.0], [1.0]])
    0.5
    """
    X, rebuilt = _dense(X), _dense(reconstruction)
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, len(X))
        return _weighted_share(X, rebuilt, weights / weights.sum())
    missing = np.isnan(X)
    if missing.any():
        count = np.maximum(len(X) - missing.sum(axis=0), 1)
        X = np.where(missing, np.nansum(X, axis=0) / count, X)
        rebuilt = np.where(missing, X, rebuilt)
    residual = float(np.square(X - rebuilt).sum())
    total = float(np.square(X - X.mean(axis=0)).sum())
    return _share(residual, total, X.size * float(np.square(X).sum()))


def explained_share_of_sparse(
    X: Any, rebuild: Callable[[Any], Any], sample_weight: ArrayLike | None = None
) -> float:
    """Return :func:`explained_share` of a sparse table, rebuilt some rows at a time.

    Parameters
    ----------
    X : CSR matrix of shape (n_samples, n_features)
        Rows; NaN where a cell is missing.
    rebuild : callable
        Returns the reconstruction of some rows.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        How much each row counts.

    Returns
    -------
    score : float
        But for rounding the same.
    """
    weights = np.ones(X.shape[0])
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, X.shape[0])
        weights = weights / weights.sum()
    missing = sparse.csr_array((np.isnan(X.data), X.indices, X.indptr), shape=X.shape)
    known = sparse.csr_array((np.nan_to_num(X.data), X.indices, X.indptr), shape=X.shape)
    count = weights.sum() - weights @ missing
    mean = (weights @ known) / np.where(count > 0, count, 1.0)
    residual = total = squares = 0.0
    step = max(1, CELLS_AT_A_TIME // X.shape[1])
    for start in range(0, X.shape[0], step):
        part, share = X[start : start + step], weights[start : start + step]
        rows, rebuilt = _dense(part), _dense(rebuild(part))
        holes = np.isnan(rows)
        rows = np.where(holes, mean, rows)
        residual += float(share @ np.square(np.where(holes, 0, rows - rebuilt)).sum(1))
        total += float(share @ np.square(rows - mean).sum(axis=1))
        squares += float(share @ np.square(rows).sum(axis=1))
    return _share(residual, total, X.shape[0] * X.shape[1] * squares)


def _share(residual: float, total: float, size: float) -> float:
    # sums of squares below this are the rounding of the values themselves
    rounding = np.finfo(np.float64).eps ** 2 * size
    if total <= rounding:
        return float(residual <= rounding)
    return 1.0 - residual / total


def _weighted_share(
    X: NDArray[np.float64], rebuilt: NDArray[np.float64], weights: NDArray[np.float64]
) -> float:
    known = ~np.isnan(X)
    X, rebuilt = np.where(known, X, 0.0), np.where(known, rebuilt, 0.0)
    count = weights @ known
    mean = (weights @ X) / np.where(count > 0, count, 1.0)
    residual = float((weights @ np.square(X - rebuilt)).sum())
    total = float((weights @ np.square((X - mean) * known)).sum())
    return _share(residual, total, X.size * float((weights @ np.square(X)).sum()))


def _dense(X: Any) -> NDArray[np.float64]:
    rows = X.toarray() if sparse.issparse(X) else X
    return np.ascontiguousarray(rows, dtype=np.float64)
