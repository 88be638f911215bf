"""Scores of training rows by detectors that were not fitted on them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sklearn_repr.detection.conformal import conformal_p_values, cross_conformal_p_values

__all__ = ["Calibration", "calibration_folds"]

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]


class Scorer(Protocol):
    """A fitted detector."""

    def score(self, X: Any) -> NDArray[np.float64]:
        """Return scores of rows, high for normal ones."""


def calibration_folds(
    calibration: Any, n_rows: int, rng: np.random.Generator
) -> list[Fold]:
    """Part rows to calibrate by from rows to fit.

    Parameters
    ----------
    calibration : int, float or None
        A number of folds, or the share of rows of a single one. None is none at all.
    n_rows : int
        Rows in all.
    rng : Generator
        Source of randomness.

    Returns
    -------
    folds : list of (ndarray, ndarray)
        Rows to calibrate by, and the rows to fit, which are all others; in order.

    Raises
    ------
    ValueError
        If there are fewer rows than folds, or a share leaves none on either side.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.calibration import calibration_folds
    >>> folds = calibration_folds(3, 7, np.random.default_rng(0))
    >>> [(len(held_out), len(rest)) for held_out, rest in folds]
    [(3, 4), (2, 5), (2, 5)]
    >>> [(held_out, rest)] = calibration_folds(0.4, 10, np.random.default_rng(0))
    >>> len(held_out), len(rest)
    (4, 6)
    """
    if calibration is None:
        return []
    order = rng.permutation(n_rows)
    if isinstance(calibration, Integral):
        if int(calibration) > n_rows:
            raise ValueError(
                f"calibration={calibration} folds need as many rows; got"
                f" n_samples={n_rows}."
            )
        parts = np.array_split(order, int(calibration))
    else:
        count = round(float(calibration) * n_rows)
        if not 0 < count < n_rows:
            raise ValueError(
                f"calibration={calibration} of n_samples={n_rows} leaves no rows to hold"
                " out, or none to fit."
            )
        parts = [order[:count]]
    every = np.arange(n_rows)
    return [(np.sort(part), np.setdiff1d(every, part)) for part in parts]


class Calibration:
    """Detectors, and the scores that each gave to rows it was not fitted on.

    Parameters
    ----------
    fitted : sequence of (Scorer, ndarray of shape (n_k,))
        A detector, and its scores of the rows it was not fitted on.
    """

    def __init__(self, fitted: Sequence[tuple[Scorer, NDArray[np.float64]]] = ()):
        self.scorers = [scorer for scorer, _ in fitted]
        self.held_out = [scores for _, scores in fitted]

    def scores(self) -> NDArray[np.float64]:
        """Return all scores, or raise a ValueError if there are none."""
        if not self.held_out:
            raise ValueError(
                "P-values and conformal thresholds need rows that the detector was not"
                " fitted on: set calibration to a number of folds, such as 5, or to a"
                " share of rows to hold out, such as 0.2, and fit again."
            )
        return np.concatenate(self.held_out)

    def p_values(
        self, X: Any, uniforms: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """Return conformal p-values of rows, cross-conformal ones with several folds."""
        held_out, fresh = self.scores(), [s.score(X) for s in self.scorers]
        if len(fresh) == 1:
            return conformal_p_values(held_out, fresh[0], uniforms)
        return cross_conformal_p_values(self.held_out, fresh, uniforms)
