"""Thresholds on scores that are high for normal rows; outliers lie strictly below."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from sklearn_repr.detection._checks import check_scores, check_share, cut_between

__all__ = ["conformal_threshold", "mad_threshold", "quantile_threshold"]

# Standard deviation of a normal distribution over its median absolute deviation, and over
# its mean absolute deviation
MAD_TO_SD = 1.4826
MEAN_TO_SD = 1.2533


def quantile_threshold(scores: NDArray[np.float64], contamination: float) -> float:
    r"""Return the score below which a share of the training rows lies.

    Of all cuts between distinct scores, the one whose flagged share is nearest to the
    contamination c, among those that flag at most a share c + 1/n:

    .. math:: \tau = \arg\min_t \Big| \tfrac1n \#\{i: s_i < t\} - c \Big|

    Without ties the flagged share is therefore within 1/(2n) of c. With ties it is
    within 1/n wherever a cut exists that is; a group of equal scores larger than that
    is kept rather than flagged.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Training scores, high for normal rows.
    contamination : float
        Share of rows to flag, in [0, 1). 0 says that the rows hold no outlier: the
        threshold is then the lowest score, and none of them is flagged.

    Returns
    -------
    threshold : float
        Rows strictly below are outliers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import quantile_threshold
    >>> scores = np.arange(10.0)
    >>> int((scores < quantile_threshold(scores, 0.2)).sum())
    2
    >>> quantile_threshold(scores, 0.0)
    0.0
    """
    scores = np.sort(check_scores(scores, "scores"))
    share = check_share(contamination, "contamination", closed="left")
    # how many rows lie below each distinct score: the cuts that ties allow
    below = np.flatnonzero(np.r_[True, scores[1:] > scores[:-1]])
    wanted = share * len(scores)
    allowed = below[below <= wanted + 1.0]
    count = int(allowed[np.argmin(np.abs(allowed - wanted))])
    if count == 0:
        return float(scores[0])
    return cut_between(float(scores[count - 1]), float(scores[count]))


def mad_threshold(scores: NDArray[np.float64], deviations: float = 3.0) -> float:
    r"""Return the median minus some robust standard deviations.

    .. math:: \tau = m - k \cdot 1.4826 \cdot \mathrm{median}_i |s_i - m|

    If that spread is zero, because half of the scores are the same, it says nothing of
    the others, and 1.2533 times the mean of the finite deviations takes its place.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Training scores, high for normal rows.
    deviations : float, default=3.0
        k.

    Returns
    -------
    threshold : float
        Rows strictly below are outliers.

    References
    ----------
    Leys et al., "Detecting outliers: do not use standard deviation around the mean, use
    absolute deviation around the median", J. Exp. Soc. Psych. 49 (2013),
    doi:10.1016/j.jesp.2013.03.013; Iglewicz and Hoaglin, "How to detect and handle
    outliers" (1993), for the spread of zero.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import mad_threshold
    >>> mad_threshold(np.array([-1.0, 0.0, 1.0]), deviations=1.0)
    -1.4826
    """
    scores = check_scores(scores, "scores")
    median = np.median(scores)
    apart = np.abs(scores - median)
    spread = MAD_TO_SD * np.median(apart)
    if spread == 0.0:
        spread = MEAN_TO_SD * apart[np.isfinite(apart)].mean()
    return float(median - deviations * spread)


def conformal_threshold(
    calibration: NDArray[np.float64], false_alarm_rate: float
) -> float:
    r"""Return the threshold that fresh inliers fall below at no more than a given rate.

    With the rate α it is, for anomaly scores :math:`a = -s`, the :math:`\lceil
    (n+1)(1-\alpha) \rceil`-th smallest of n calibration scores; for scores, which are
    high for normal rows, the same number with its sign changed is

    .. math:: \tau = s_{(k)}, \qquad k = \lfloor (n+1) \alpha \rfloor

    A fresh inlier is as likely to take any of the n + 1 ranks, so
    :math:`P(s < \tau) \le k/(n+1) \le \alpha`, with equality on the left without ties.
    That is the average over calibration sets; given one set, the rate is distributed as
    Beta(k, n + 1 - k). A row is below the threshold exactly where
    :func:`conformal_p_values` gives :math:`p \le \alpha`.

    Parameters
    ----------
    calibration : ndarray of shape (n_calibration,)
        Scores of inliers that the model was not fitted on, high for normal rows.
    false_alarm_rate : float
        α, in (0, 1).

    Returns
    -------
    threshold : float
        Rows strictly below are outliers. With fewer than 1/α - 1 calibration rows no
        finite threshold keeps the rate: it is then -inf, and no row at all is flagged.

    Warns
    -----
    UserWarning
        If there are fewer calibration rows than that, with the number needed.

    References
    ----------
    Vovk, Gammerman and Shafer, "Algorithmic learning in a random world" (2005),
    doi:10.1007/b106715; Bates, Candès, Lei, Romano and Sesia, "Testing for outliers with
    conformal p-values", Ann. Statist. 51 (2023), doi:10.1214/22-AOS2244.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import conformal_threshold
    >>> calibration = -np.arange(1.0, 20.0)
    >>> conformal_threshold(calibration, false_alarm_rate=0.1)
    -18.0
    >>> conformal_threshold(calibration, false_alarm_rate=0.05)
    -19.0
    """
    calibration = check_scores(calibration, "calibration")
    alpha = check_share(false_alarm_rate, "false_alarm_rate")
    ranks = len(calibration) + 1
    k = int(alpha * ranks)
    # alpha * ranks is rounded; the p-value k / ranks is what must not exceed alpha
    while k / ranks > alpha:
        k -= 1
    while (k + 1) / ranks <= alpha:
        k += 1
    if k == 0:
        needed = math.ceil(1.0 / alpha) - 2
        # 1 / alpha is rounded too
        while 1.0 / (needed + 1) > alpha:
            needed += 1
        warnings.warn(
            f"No row is flagged: false_alarm_rate={false_alarm_rate:g} needs at least"
            f" {needed} rows to calibrate by, got {len(calibration)}. Fit more rows, let"
            " more of them calibrate (calibration), or allow more false alarms.",
            UserWarning,
            stacklevel=2,
        )
        return -np.inf
    return float(np.partition(calibration, k - 1)[k - 1])
