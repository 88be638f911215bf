"""Whether an estimator is fitted."""

from __future__ import annotations

from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

__all__ = ["is_fitted"]


def is_fitted(estimator: Any) -> bool:
    """Tell an estimator that can be used as it is, since it is fitted or needs no fit.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import Normalizer
    >>> from sklearn_repr.utils.fitted import is_fitted
    >>> is_fitted(Normalizer()), is_fitted(make_pipeline(PCA(2), Normalizer()))
    (True, False)
    """
    if isinstance(estimator, Pipeline):  # scikit-learn asks its last step only
        return all(
            is_fitted(step)
            for _, step in estimator.steps
            if step not in (None, "passthrough")
        )
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True
