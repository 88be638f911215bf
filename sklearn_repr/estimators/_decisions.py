"""From scores to decisions: thresholds, p-values, probabilities."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d

from sklearn_repr.detection import (
    ProbabilityMap,
    benjamini_hochberg,
    best_threshold,
    conformal_p_values,
    conformal_threshold,
    cross_conformal_p_values,
    fit_probability_map,
    gpd_threshold,
    mad_threshold,
    quantile_threshold,
)

__all__ = ["THRESHOLDS", "BaseDecisions"]

THRESHOLDS = ("auto", "quantile", "mad", "gpd", "conformal")
# Share of a row's squared size that single precision may get wrong
NOISE = 1e-12


class BaseDecisions(OutlierMixin, BaseEstimator):
    """A detector with training scores, and calibration scores if it was asked for them.

    A subclass fits `_scorer`, `training_scores_` and `_calibration`: a list of pairs of a
    scorer and the scores it gave to rows that it was not fitted on.
    """

    _scorer: Any
    _calibration: list[tuple[Any, NDArray[np.float64]]]
    _odds: ProbabilityMap
    training_scores_: NDArray[np.float64]
    offset_: float

    def _validate(self, X: Any, *, reset: bool) -> Any:
        raise NotImplementedError

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Score rows, the higher the more normal.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            The negative `anomaly_score`.
        """
        check_is_fitted(self)
        scores: NDArray[np.float64] = self._scorer.score(self._validate(X, reset=False))
        return scores

    def anomaly_score(self, X: Any) -> NDArray[np.float64]:
        """Score rows, the higher the more abnormal.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            At least 0; the sum of a row's contributions, see `explain`.
        """
        return -self.score_samples(X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the distance to the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_``: negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Tell outliers from inliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        label : ndarray of shape (n_samples,)
            -1 for outliers, 1 for inliers.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def set_threshold(
        self,
        threshold: float | str,
        *,
        contamination: float | None = None,
        alpha: float | None = None,
    ) -> Self:
        """Move the threshold of a fitted detector.

        Parameters
        ----------
        threshold : float or {"auto", "quantile", "mad", "gpd", "conformal"}
            An anomaly score above which rows are outliers, or a rule, as in the
            parameter of that name; "conformal" needs the calibration of `fit`.
        contamination : float or None, default=None
            Share of training rows to flag; None takes the parameter's value.
        alpha : float or None, default=None
            False-alarm rate; None takes the parameter's value.

        Returns
        -------
        self : object
            The detector; `offset_` has changed and nothing else.

        Raises
        ------
        ValueError
            If the rule is unknown, or lacks what it needs.
        """
        check_is_fitted(self)
        share: Any = self.contamination if contamination is None else contamination
        rate: Any = self.alpha if alpha is None else alpha
        return self._set_offset(self._resolve_offset(threshold, share, rate))

    def tune_threshold(self, X: Any, y: Any, metric: Any = "f1") -> Self:
        """Move the threshold to where decisions on labelled rows are best.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Labelled rows, best such that `fit` has not seen.
        y : array-like of shape (n_samples,)
            1 for outliers and 0 for inliers, or -1 for outliers and 1 for inliers.
        metric : {"f1", "balanced_accuracy", "youden", "mcc"} or callable, default="f1"
            What to maximise; a callable takes ``(y_true, y_pred)`` with 1 for outliers.

        Returns
        -------
        self : object
            The detector; `offset_` has changed and nothing else. If `y` holds no outlier,
            the threshold is the largest anomaly score of the rows.
        """
        scores = self.score_samples(X)
        return self._set_offset(best_threshold(scores, column_or_1d(y), metric))

    def _set_offset(self, offset: float) -> Self:
        self._odds = fit_probability_map(self.training_scores_, offset)
        self.offset_ = offset
        return self

    def _resolve_offset(self, threshold: Any, contamination: Any, alpha: Any) -> float:
        if isinstance(threshold, Real):
            if np.isnan(float(threshold)):
                raise ValueError("threshold must be a number or a rule; got nan.")
            return -float(threshold)
        if threshold == "auto":
            threshold = "mad" if contamination == "auto" else "quantile"
        scores = self.training_scores_
        if threshold == "quantile":
            if contamination == "auto":
                raise ValueError(
                    "threshold='quantile' needs contamination, the share of rows to flag;"
                    " got contamination='auto'."
                )
            return quantile_threshold(scores, contamination)
        if threshold == "mad":
            # rows that all rebuild differ by rounding only
            rounding = NOISE * self._scorer.size_ if self.estimator is not None else 0.0
            return min(mad_threshold(scores), -rounding)
        if threshold == "gpd":
            return gpd_threshold(scores, alpha)
        if threshold == "conformal":
            held_out = [scores for _, scores in self._need_calibration()]
            return conformal_threshold(np.concatenate(held_out), alpha)
        raise ValueError(
            f"threshold must be a number or one of {THRESHOLDS}; got {threshold!r}."
        )

    def _need_calibration(self) -> list[tuple[Any, NDArray[np.float64]]]:
        if not self._calibration:
            raise ValueError(
                "P-values and conformal thresholds need rows that the detector was not"
                " fitted on: set calibration to a number of folds, such as 5, or to a"
                " share of rows to hold out, such as 0.2, and fit again."
            )
        return self._calibration

    def p_values(self, X: Any, *, smoothed: bool = True) -> NDArray[np.float64]:
        r"""Return conformal p-values: how rare a row's score is among inliers.

        .. math:: p = \frac{\#\{i: s_i < s\} + U (1 + \#\{i: s_i = s\})}{n + 1}

        with the scores :math:`s_i` of n calibration rows. With folds, every calibration
        row is compared with the row's score by the same fold's detector.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        smoothed : bool, default=True
            Take U in (0, 1] from a hash of the row, which makes p uniform for inliers and
            a row's p its own, whatever comes with it. False takes U = 1: p is never below
            1 / (n + 1).

        Returns
        -------
        p : ndarray of shape (n_samples,)
            Numbers in (0, 1], small for outliers. For rows like the training rows,
            :math:`P(p \le \alpha) = \alpha` if these hold no outliers, and less if they
            do; with folds up to small deviations.

        Raises
        ------
        ValueError
            If the detector was fitted without calibration.

        References
        ----------
        Bates et al., "Testing for outliers with conformal p-values", Ann. Statist. 51
        (2023), doi:10.1214/22-AOS2244.

        Vovk, "Cross-conformal predictors", Ann. Math. Artif. Intell. 74 (2015),
        doi:10.1007/s10472-013-9368-4.
        """
        check_is_fitted(self)
        calibration = self._need_calibration()
        X = self._validate(X, reset=False)
        uniforms = None
        if smoothed:
            uniforms = self._scorer.uniforms(X)
        fresh = [scorer.score(X) for scorer, _ in calibration]
        held_out = [scores for _, scores in calibration]
        if len(fresh) == 1:
            return conformal_p_values(held_out[0], fresh[0], uniforms)
        return cross_conformal_p_values(held_out, fresh, uniforms)

    def select(self, X: Any, fdr: float = 0.1) -> NDArray[np.bool_]:
        """Select outliers such that few of those selected are none.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows, judged together.
        fdr : float, default=0.1
            False-discovery rate: expected share of inliers among the rows selected.

        Returns
        -------
        selected : bool ndarray of shape (n_samples,)
            By the procedure of Benjamini and Hochberg on `p_values`.

        References
        ----------
        Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995),
        doi:10.1111/j.2517-6161.1995.tb02031.x.
        """
        return benjamini_hochberg(self.p_values(X), fdr)

    def outlier_probability(self, X: Any) -> NDArray[np.float64]:
        """Return the probability that rows are outliers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        probability : ndarray of shape (n_samples,)
            In (0, 1), above 0.5 exactly where `predict` says -1. How it is learned
            without labels, and how far it is calibrated, is said in
            :func:`sklearn_repr.detection.outlier_probability`.
        """
        return self._odds(self.score_samples(X))
