"""The threshold that labels ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import (
    ArrayLike,
    NDArray,
)

from sklearn_repr.detection._checks import check_scores, cut_between
from sklearn_repr.utils.outlier_labels import outliers_by_label

__all__ = ["best_threshold"]

Counts = NDArray[np.float64]
Metric = Callable[[NDArray[np.int64], NDArray[np.int64]], float]


def best_threshold(
    scores: NDArray[np.float64],
    y: ArrayLike,
    metric: str | Metric = "f1",
    *,
    outlier_label: int | None = None,
) -> float:
    r"""Return the threshold at which a metric of the decisions is highest.

    All cuts between distinct scores are tried, those that flag nothing and everything
    included, in O(n log n) for the named metrics. Of equally good cuts the one that flags
    fewest rows is taken; a cut lies halfway between the two scores that it parts. With
    TP, FP, TN, FN counted with outliers as the positive class, and 0/0 = 0,

    .. math::
        F_1 &= \frac{2 TP}{2 TP + FP + FN} \\
        \mathrm{Youden's}\ J &= \frac{TP}{TP + FN} - \frac{FP}{FP + TN} \\
        \mathrm{MCC} &= \frac{TP \cdot TN - FP \cdot FN}
        {\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}

    Balanced accuracy is (J + 1)/2 and so has the same best cut as J.

    If `y` holds no outlier, the threshold is the lowest score, whatever the metric: no
    inlier is then flagged, or, in anomaly scores, the threshold is not below the largest
    inlier's.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Scores, high for normal rows.
    y : array-like of shape (n_samples,)
        Labels: 1 or True for outliers and 0 or False for inliers, or -1 for outliers and
        1 for inliers as ``predict`` returns them. If all are the number 1 they are taken
        for inliers, since no threshold can be learned from outliers alone; see
        `outlier_label`.
    metric : {"f1", "balanced_accuracy", "youden", "mcc"} or callable, default="f1"
        What to maximise. A callable takes ``(y_true, y_pred)``, both with 1 for outliers
        and 0 for inliers whatever the labels in `y`, and returns a number, high for good
        decisions; it is called once a cut.
    outlier_label : {1, -1} or None, default=None
        Which label says outlier. None infers it: -1 if `y` holds -1, 1 if it holds 0.

    Returns
    -------
    threshold : float
        Rows strictly below are outliers.

    References
    ----------
    Youden, "Index for rating diagnostic tests", Cancer 3 (1950),
    doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3; Matthews,
    "Comparison of the predicted and observed secondary structure of T4 phage lysozyme",
    Biochim. Biophys. Acta 405 (1975), doi:10.1016/0005-2795(75)90109-9.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import best_threshold
    >>> scores = np.array([-9.0, -7.0, -3.0, -2.0, -1.0])
    >>> best_threshold(scores, [1, 1, 0, 0, 0])
    -5.0
    >>> best_threshold(scores, [0, 0, 0, 0, 0])
    -9.0
    """
    scores = check_scores(scores, "scores")
    labels = np.asarray(y)
    if labels.shape != scores.shape:
        raise ValueError(
            f"y must hold one label for each of {len(scores)} scores, got shape"
            f" {labels.shape}."
        )
    outlier = outliers_by_label(labels, outlier_label)
    if not (callable(metric) or (isinstance(metric, str) and metric in METRICS)):
        raise ValueError(
            f"metric must be callable or one of {sorted(METRICS)}, got {metric!r}."
        )
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    if not outlier.any():
        return float(ordered[0])
    # how many rows each cut flags: ties are flagged together
    flagged = np.r_[np.flatnonzero(np.r_[True, ordered[1:] > ordered[:-1]]), len(ordered)]
    if np.isposinf(ordered[-1]):
        flagged = flagged[:-1]  # no threshold is above infinity
    if callable(metric):
        values = _values(metric, outlier[order].astype(np.int64), flagged)
    else:
        hits = np.r_[0, np.cumsum(outlier[order])][flagged].astype(np.float64)
        n_outliers = float(outlier.sum())
        values = METRICS[metric](
            hits, flagged - hits, n_outliers, len(ordered) - n_outliers
        )
    count = int(flagged[np.argmax(values)])
    if count == 0:
        return float(ordered[0])
    if count == len(ordered):
        return float(np.nextafter(ordered[-1], np.inf))
    return cut_between(float(ordered[count - 1]), float(ordered[count]))


def _values(
    metric: Metric, truth: NDArray[np.int64], flagged: NDArray[np.intp]
) -> Counts:
    """Return the metric of each cut; rows come lowest score first."""
    places = np.arange(len(truth))
    values = [
        float(metric(truth, (places < count).astype(np.int64))) for count in flagged
    ]
    # an undefined value is never the best one
    result = np.where(np.isnan(values), -np.inf, values)
    if not (result > -np.inf).any():
        raise ValueError("metric is undefined (NaN) at every threshold.")
    return result


def _ratio(numerator: Counts, denominator: Counts) -> Counts:
    """Return the quotient, 0 where both are 0."""
    return numerator / np.where(denominator == 0.0, 1.0, denominator)


def _f1(hits: Counts, alarms: Counts, n_outliers: float, n_inliers: float) -> Counts:
    return _ratio(2.0 * hits, hits + alarms + n_outliers)


def _youden(hits: Counts, alarms: Counts, n_outliers: float, n_inliers: float) -> Counts:
    # on a common denominator, so that equally good cuts are equal in floats too
    return hits * max(n_inliers, 1.0) - alarms * n_outliers


def _mcc(hits: Counts, alarms: Counts, n_outliers: float, n_inliers: float) -> Counts:
    covariance = hits * n_inliers - alarms * n_outliers
    flagged = hits + alarms
    kept = n_outliers + n_inliers - flagged
    return _ratio(covariance, np.sqrt(flagged * kept * n_outliers * n_inliers))


METRICS: dict[str, Callable[[Counts, Counts, float, float], Counts]] = {
    "f1": _f1,
    "balanced_accuracy": _youden,
    "youden": _youden,
    "mcc": _mcc,
}
