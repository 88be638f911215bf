"""How much of a table survives a round trip through a representation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from sklearn_repr.utils.scores import explained_share, parts_to_score

__all__ = ["reconstruction_r2"]


def reconstruction_r2(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""R² of ``inverse_transform(transform(X))``: a scorer that needs no labels.

    .. math:: R^2 = \frac1d \sum_j \max\Big( 0, 1 - \frac{\sum_i (x_{ij} - \hat x_{ij})^2}
              {\sum_i (x_{ij} - \bar x_j)^2} \Big)

    Every column counts once, whatever its unit: a search by it does not prefer what
    rebuilds one column of large numbers. It is the mean of scikit-learn's ``r2_score``
    over the columns that vary, but that one which is rebuilt worse than by its mean
    counts as 0, and missing cells do not count.

    Parameters
    ----------
    estimator : object
        Fitted, with ``transform`` and ``inverse_transform``: PCA, an autoencoder, a
        pipeline.
    X : array-like of shape (n_samples, n_features)
        Rows, in the units that `estimator` was fitted on.
    y : None
        Ignored; here so that the function can be passed as ``scoring``.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        How much each row counts; None lets all count alike.

    Returns
    -------
    score : float
        From 0 to 1; for a PCA fitted to standardised columns, on its training rows, the
        sum of ``explained_variance_ratio_``. The `score` method of this package's
        autoencoders is the same number.

    Raises
    ------
    TypeError
        If `estimator` lacks one of the methods.
    ValueError
        If a cell is not a number.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_repr.inspection import reconstruction_r2
    >>> X = load_iris().data
    >>> grid = {"n_components": [1, 2, 3]}
    >>> search = GridSearchCV(PCA(), grid, scoring=reconstruction_r2).fit(X)
    >>> search.best_params_
    {'n_components': 3}
    """
    for method in ("transform", "inverse_transform"):
        if not hasattr(estimator, method):
            raise TypeError(
                f"reconstruction_r2 needs an estimator with {method};"
                f" {type(estimator).__name__} has none."
            )
    rebuilt = _dense(estimator.inverse_transform(estimator.transform(X)))
    rows = _dense(X)
    errors = parts_to_score(np.square(rows - rebuilt))
    return explained_share(rows, errors, sample_weight)


def _dense(X: Any) -> NDArray[np.float64]:
    cells = X.toarray() if sparse.issparse(X) else X
    try:
        return np.ascontiguousarray(cells, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"reconstruction_r2 compares tables of numbers: {error}. The score method of"
            " this package's autoencoders takes categories."
        ) from error
