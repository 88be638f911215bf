"""How much of a table survives a round trip through a representation."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from sklearn_repr.utils.scores import explained_share

__all__ = ["reconstruction_r2"]


def reconstruction_r2(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""R² of ``inverse_transform(transform(X))``: a scorer that needs no labels.

    .. math:: R^2 = 1 - \sum_{ij} (x_{ij} - \hat x_{ij})^2 /
              \sum_{ij} (x_{ij} - \bar x_j)^2

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
        At most 1; for a fitted PCA on its training rows, the sum of
        ``explained_variance_ratio_``. The `score` method of this package's
        autoencoders is the same number.

    Raises
    ------
    TypeError
        If `estimator` lacks one of the methods.

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
    rebuilt = estimator.inverse_transform(estimator.transform(X))
    return explained_share(X, rebuilt, sample_weight)
