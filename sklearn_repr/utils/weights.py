"""What weights of rows may be."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["check_sample_weight"]


def check_sample_weight(sample_weight: ArrayLike, n_rows: int) -> NDArray[np.float64]:
    """Check that weights are numbers, one a row, that say how much each counts.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,)
        Weights.
    n_rows : int
        Rows of the table.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
        The weights.

    Raises
    ------
    ValueError
        If there are more or fewer, or any is negative, NaN or infinite, or all are zero.

    Examples
    --------
    >>> from sklearn_repr.utils.weights import check_sample_weight
    >>> check_sample_weight([1, 2], 2)
    array([1., 2.])
    """
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample_weight must hold numbers: {error}.") from error
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight must hold one number a row, in shape ({n_rows},); got shape"
            f" {weights.shape}."
        )
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            "sample_weight must hold finite numbers that are not negative; row"
            f" {row} has {weights[row]:g}."
        )
    if not weights.any():
        raise ValueError("sample_weight is zero for every row: no row counts.")
    return weights
