"""Conformal p-values: how rare a score is among inliers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sklearn_repr.detection._checks import check_scores

__all__ = ["conformal_p_values", "cross_conformal_p_values"]


def conformal_p_values(
    calibration: NDArray[np.float64],
    scores: NDArray[np.float64],
    uniforms: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    r"""Return split-conformal p-values.

    With scores s that are high for normal rows and n calibration scores
    :math:`s_1, \dots, s_n`,

    .. math:: p(s) = \frac{1 + \#\{i: s_i \le s\}}{n + 1}

    (for anomaly scores :math:`a = -s`: one plus the number of :math:`a_i \ge a`). If the
    row is an inlier, exchangeable with the calibration rows, then
    :math:`P(p \le \alpha) \le \alpha` for every α, whatever the scores' distribution.
    Equal scores count against the row being an outlier; the smallest p is 1/(n + 1),
    never 0.

    Smoothed p-values break ties at random and are exactly uniform for inliers, also
    below 1/(n + 1):

    .. math:: p(s) = \frac{\#\{i: s_i < s\} + U (1 + \#\{i: s_i = s\})}{n + 1},
              \qquad U \sim \mathrm{Uniform}(0, 1]

    Parameters
    ----------
    calibration : ndarray of shape (n_calibration,)
        Scores of inliers that the model was not fitted on, high for normal rows.
    scores : ndarray of shape (n_samples,)
        Scores of the rows in question, by the same model.
    uniforms : ndarray of shape (n_samples,) or None, default=None
        U of each row, in (0, 1], for smoothed p-values; None smooths nothing.

    Returns
    -------
    p_values : ndarray of shape (n_samples,)
        Numbers in (0, 1], small for outliers.

    References
    ----------
    Vovk, Gammerman and Shafer, "Algorithmic learning in a random world" (2005),
    doi:10.1007/b106715; Bates, Candès, Lei, Romano and Sesia, "Testing for outliers with
    conformal p-values", Ann. Statist. 51 (2023), doi:10.1214/22-AOS2244.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import conformal_p_values
    >>> calibration = np.array([-3.0, -2.0, -1.0])
    >>> conformal_p_values(calibration, np.array([-9.0, -2.0, 0.0]))
    array([0.25, 0.75, 1.  ])
    """
    calibration = np.sort(check_scores(calibration, "calibration"))
    scores = check_scores(scores, "scores", empty=True)
    ranks = len(calibration) + 1
    up_to = np.searchsorted(calibration, scores, side="right")
    if uniforms is None:
        return (1.0 + up_to) / ranks
    below = np.searchsorted(calibration, scores, side="left")
    return (below + uniforms * (1.0 + up_to - below)) / ranks


def cross_conformal_p_values(
    fold_calibration_scores: Sequence[NDArray[np.float64]],
    fold_test_scores: Sequence[NDArray[np.float64]],
    uniforms: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    r"""Return cross-conformal p-values, for which every training row calibrates.

    The n training rows are split into K folds. Model k is fitted without fold k; it
    scores the rows i of fold k and the fresh row x. With scores that are high for normal
    rows,

    .. math:: p(x) = \frac{1 + \sum_{k=1}^K \#\{i \in \text{fold } k:
              s_k(x_i) \le s_k(x)\}}{n + 1}

    With K = n this is the jackknife+, turned from intervals to p-values. For inliers

    .. math:: P(p \le \alpha) \le 2 \alpha + \min\Big(
              \frac{2 (1 - 1/K)}{n/K + 1}, \frac{1 - K/n}{K + 1}\Big)

    is guaranteed, with nothing added to 2 α for K = n. The factor 2 is the price of
    models that differ between folds, and is met by constructed counterexamples only: the
    more alike the K models score, the closer the rate is to α, and with K equal models
    it is split-conformal's.

    Parameters
    ----------
    fold_calibration_scores : sequence of K ndarrays of shape (n_k,)
        Scores of the rows of each fold by the model fitted without them, high for normal
        rows.
    fold_test_scores : sequence of K ndarrays of shape (n_samples,)
        Scores of the same fresh rows by each of these models, in the same order.
    uniforms : ndarray of shape (n_samples,) or None, default=None
        Draws in (0, 1] that smooth ties, as in :func:`conformal_p_values`.

    Returns
    -------
    p_values : ndarray of shape (n_samples,)
        Numbers in (0, 1], small for outliers; the smallest is 1/(n + 1).

    References
    ----------
    Vovk, "Cross-conformal predictors", Ann. Math. Artif. Intell. 74 (2015),
    doi:10.1007/s10472-013-9368-4; Barber, Candès, Ramdas and Tibshirani, "Predictive
    inference with the jackknife+", Ann. Statist. 49 (2021), doi:10.1214/20-AOS1965.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import cross_conformal_p_values
    >>> held_out = [np.array([-1.0, -2.0]), np.array([-3.0])]
    >>> fresh = [np.array([-9.0, -1.5]), np.array([-8.0, -1.0])]
    >>> cross_conformal_p_values(held_out, fresh)
    array([0.25, 0.75])
    """
    if len(fold_calibration_scores) != len(fold_test_scores):
        raise ValueError(
            "fold_calibration_scores and fold_test_scores must hold one array a fold, got"
            f" {len(fold_calibration_scores)} and {len(fold_test_scores)} arrays."
        )
    held_out = [
        np.sort(check_scores(part, "fold_calibration_scores", empty=True))
        for part in fold_calibration_scores
    ]
    fresh = [
        check_scores(part, "fold_test_scores", empty=True) for part in fold_test_scores
    ]
    if len({len(part) for part in fresh}) > 1:
        raise ValueError("fold_test_scores must hold the same rows for every fold.")
    n_calibration = sum(map(len, held_out))
    if n_calibration == 0:
        raise ValueError("fold_calibration_scores must hold at least one row.")
    up_to = np.zeros(len(fresh[0]))
    below = np.zeros(len(fresh[0]))
    for calibration, scores in zip(held_out, fresh, strict=True):
        up_to += np.searchsorted(calibration, scores, side="right")
        below += np.searchsorted(calibration, scores, side="left")
    ranks = n_calibration + 1
    if uniforms is None:
        return (1.0 + up_to) / ranks
    return (below + uniforms * (1.0 + up_to - below)) / ranks
