"""What changes in a row when one unit of its code does."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_scalar

__all__ = ["LatentTraversal", "latent_traversal"]


class LatentTraversal(NamedTuple):
    """Rows along one axis of a code; see :func:`latent_traversal`.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        What the unit was set to.
    tables : list of {ndarray, DataFrame} of shape (n_samples, n_features)
        The rows with each value, as the estimator's ``inverse_transform`` returns them.
    """

    values: NDArray[np.float64]
    tables: list[Any]


def latent_traversal(
    estimator: Any, X: ArrayLike, axis: int, *, values: Any = 9
) -> LatentTraversal:
    """Rebuild rows with one unit of their code set to other values.

    Parameters
    ----------
    estimator : object
        Fitted, with ``transform`` and ``inverse_transform``.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows to start from.
    axis : int
        Unit of the code.
    values : array-like of shape (n_values,) or int, default=9
        What the unit is set to. A number is so many values, evenly spaced between the 5%
        and the 95% quantile of the unit over `X`.

    Returns
    -------
    traversal : LatentTraversal
        Named tuple (values, tables).

    Raises
    ------
    TypeError
        If `estimator` lacks a method.
    ValueError
        If `axis` is out of range, or quantiles of a single row are asked for.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_repr.inspection import latent_traversal
    >>> X = load_iris().data
    >>> values, tables = latent_traversal(PCA(2).fit(X), X[:50], 0, values=[-3, 0, 3])
    >>> len(tables), tables[0].shape
    (3, (50, 4))
    """
    for method in ("transform", "inverse_transform"):
        if not hasattr(estimator, method):
            raise TypeError(
                f"latent_traversal needs {method}; {type(estimator).__name__} has none."
            )
    codes = check_array(
        estimator.transform(X), dtype=[np.float64, np.float32], input_name="code"
    )
    check_scalar(axis, "axis", Integral, min_val=0, max_val=codes.shape[1] - 1)
    points: Any = values
    if isinstance(values, Integral):
        check_scalar(values, "values", Integral, min_val=1)
        if len(codes) < 2:
            raise ValueError("One row has no quantiles: give values.")
        ends = np.quantile(codes[:, axis], [0.05, 0.95])
        points = np.linspace(ends[0], ends[1], int(values))
    points = np.atleast_1d(np.asarray(points, dtype=np.float64))
    if points.ndim > 1 or not np.isfinite(points).all():
        raise ValueError("values must be finite numbers, in one dimension.")
    tables = []
    for point in points:
        moved = codes.copy()
        moved[:, axis] = point
        tables.append(estimator.inverse_transform(moved))
    return LatentTraversal(points, tables)
