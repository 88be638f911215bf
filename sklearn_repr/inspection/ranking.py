"""How well a detector ranks rows whose labels are known."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.utils.validation import check_consistent_length, column_or_1d

from sklearn_repr.utils.outlier_labels import outliers_by_label

__all__ = ["detection_score"]

METRICS = {"average_precision": average_precision_score, "roc_auc": roc_auc_score}


def detection_score(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    metric: str = "average_precision",
) -> float:
    r"""How well a detector puts outliers before inliers, by labels.

    Parameters
    ----------
    estimator : object
        Fitted, with ``score_samples``, high for normal rows: any detector of
        scikit-learn or of this package, or a pipeline that ends in one.
    X : array-like of shape (n_samples, n_features)
        Rows, of any kind that `estimator` takes.
    y : array-like of shape (n_samples,)
        1 (or True) for outliers and 0 (or False) for inliers; or -1 for outliers and 1
        for inliers, as ``predict`` returns them.
    metric : {"average_precision", "roc_auc"}, default="average_precision"
        "average_precision" is :math:`\sum_k (R_k - R_{k-1}) P_k`, with precision P and
        recall R of the k rows with the lowest scores; by chance the share of outliers.
        "roc_auc" is the probability that an outlier has a lower score than an inlier,
        ties counted half; by chance 0.5.

    Returns
    -------
    score : float
        In [0, 1], larger is better.

    Raises
    ------
    TypeError
        If `estimator` has no ``score_samples``.
    ValueError
        If `y` follows neither convention, or holds only one class: all ones, which are
        outliers by one convention and inliers by the other, among them. Give a search
        folds that hold both: ``cv=StratifiedKFold(5)``.

    See Also
    --------
    excess_mass_score : Without labels.
    sklearn.metrics.average_precision_score : Precision and recall.

    Examples
    --------
    >>> from functools import partial
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from sklearn_repr.inspection import detection_score
    >>> X = np.r_[np.random.default_rng(0).normal(size=(95, 2)), np.full((5, 2), 9.0)]
    >>> y = np.arange(100) >= 95
    >>> detector = IsolationForest(random_state=0).fit(X)
    >>> detection_score(detector, X, y)
    1.0
    >>> scoring = partial(detection_score, metric="roc_auc")  # for GridSearchCV
    >>> scoring(detector, X, y)
    1.0
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {sorted(METRICS)}, got {metric!r}.")
    if not hasattr(estimator, "score_samples"):
        raise TypeError(
            "detection_score needs an estimator with score_samples, high for normal rows"
            " (LocalOutlierFactor has it with novelty=True);"
            f" {type(estimator).__name__} has none."
        )
    labels = column_or_1d(y)
    outlier = outliers_by_label(labels)
    if outlier.all() or not outlier.any():
        found = ", ".join(map(repr, np.unique(labels).tolist())) or "missing"
        raise ValueError(
            f"y must hold outliers and inliers; all labels here are {found}. With"
            " cross-validation take cv=StratifiedKFold(...)."
        )
    scores = np.asarray(estimator.score_samples(X), dtype=np.float64)
    check_consistent_length(scores, outlier)
    if np.isnan(scores).any():
        raise ValueError("score_samples returned NaN, which has no place in an order.")
    # ranks, because scikit-learn's metrics take no infinite scores
    return float(METRICS[metric](outlier, rankdata(-scores)))
