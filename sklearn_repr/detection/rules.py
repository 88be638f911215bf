"""Thresholds by the name of a rule."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_repr.detection.calibration import Calibration
from sklearn_repr.detection.generalized_pareto import gpd_threshold
from sklearn_repr.detection.thresholds import (
    conformal_threshold,
    mad_threshold,
    quantile_threshold,
)

__all__ = ["RULES", "threshold_by_rule"]

# With fewer held-out scores than these, training scores say more of their spread
FEWEST_HELD_OUT = 20

RULES = ("auto", "quantile", "mad", "gpd", "conformal")


def threshold_by_rule(
    rule: Any,
    scores: NDArray[np.float64],
    *,
    contamination: Any,
    false_alarm_rate: Any,
    calibration: Calibration,
    rounding: float = 0.0,
) -> float:
    """Return the threshold that a rule sets.

    Parameters
    ----------
    rule : float or {"auto", "quantile", "mad", "gpd", "conformal"}
        An anomaly score is the threshold itself, with its sign changed. "auto" is
        "quantile" where a contamination is given, else "mad".
    scores : ndarray of shape (n_samples,)
        Training scores, high for normal rows: "quantile" flags a share of them.
    contamination : float or "auto"
        For "quantile".
    false_alarm_rate : float
        For "gpd" and "conformal".
    calibration : Calibration
        Scores of rows that were not fitted: "conformal" needs them, "mad" takes them,
        where there are at least 20, in place of training scores, which are higher than
        those of fresh rows.
    rounding : float, default=0.0
        Anomaly scores up to here are rounding errors: "mad" flags none of them.

    Returns
    -------
    threshold : float
        Rows strictly below are outliers.

    Raises
    ------
    ValueError
        If the rule is unknown, or lacks what it needs.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.rules import threshold_by_rule
    >>> from sklearn_repr.detection.calibration import Calibration
    >>> settings = {"contamination": 0.5, "false_alarm_rate": 0.1}
    >>> threshold_by_rule("auto", np.arange(4.0), calibration=Calibration(), **settings)
    1.5
    """
    if isinstance(rule, Real):
        if np.isnan(float(rule)):
            raise ValueError("threshold must be a number or a rule; got nan.")
        return -float(rule)
    if rule == "auto":
        rule = "mad" if contamination == "auto" else "quantile"
    if rule == "quantile":
        if contamination == "auto":
            raise ValueError(
                "threshold='quantile' needs contamination, the share of rows to flag;"
                " got contamination='auto'."
            )
        return quantile_threshold(scores, contamination)
    if rule == "conformal":
        return conformal_threshold(calibration.scores(), false_alarm_rate)
    if rule == "mad":
        if sum(map(len, calibration.held_out)) >= FEWEST_HELD_OUT:
            scores = calibration.scores()
        return min(mad_threshold(scores), -rounding)
    if rule == "gpd":
        return gpd_threshold(scores, false_alarm_rate)
    raise ValueError(f"threshold must be a number or one of {RULES}; got {rule!r}.")
