"""ReconstructionOutlierDetector."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import _fit_context, clone
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
)
from sklearn.utils.validation import check_is_fitted

from sklearn_repr.data import NumericCodec
from sklearn_repr.estimators._anomaly import (
    CHUNK,
    CellScorer,
    EstimatorErrors,
    NetworkErrors,
    TableScorer,
)
from sklearn_repr.estimators._decisions import THRESHOLDS, BaseDecisions
from sklearn_repr.utils.randomness import Seeds
from sklearn_repr.utils.state import restored_on_failure
from sklearn_repr.utils.validation import validate_table

__all__ = ["ReconstructionOutlierDetector"]

# Folds of calibration="auto"
FOLDS = 5


class ReconstructionOutlierDetector(BaseDecisions):
    r"""Outliers are rows that a representation cannot rebuild.

    A row's anomaly score is the sum of its cells' contributions, and a row is an outlier
    if it exceeds a threshold τ. With an `estimator` the score is

    .. math:: a(x) = \|x - \psi(\phi(x))\|^2

    over scaled columns. By default it is the error of an ensemble of denoising networks
    without bottleneck, joined with a distance to training rows, each in units of what is
    usual in training.

    Parameters
    ----------
    estimator : object with fit, transform and inverse_transform, or None, default=None
        The reconstructor: PCA, KernelPCA with ``fit_inverse_transform=True``, an
        autoencoder, a pipeline of them; cloned before it is fitted, on scaled rows. None
        is the ensemble.
    training_data : {"contaminated", "clean"}, default="contaminated"
        Whether outliers may be among the training rows. It chooses how the ensemble is
        trained and which distance is joined: the mean distance to the nearest row of
        small random sets of training rows that the networks find normal, or the distance
        to the ten nearest training rows. If in doubt, "contaminated".
    neighbors : float or "auto", default="auto"
        Weight w of the distance to training rows T beside the error E: the score is the
        weighted mean (E / s + w T / s') / (1 + w), with their standard deviations in
        training, or for clean data the weighted geometric mean of E and T over their
        medians. 0 is the error alone. "auto" is 0 with an `estimator`, else 0.75
        for contaminated and 4 for clean data.
    n_steps : int or "auto", default="auto"
        Training steps of the ensemble; "auto" is two a row, at least 100 and at most 200
        for contaminated and 600 for clean data. Without effect on an `estimator`.
    threshold : float or {"auto", "quantile", "mad", "gpd", "conformal"}, default="auto"
        Where outliers begin: an anomaly score, or a rule. "quantile" flags the share
        `contamination` of the training rows; "mad" those more than three robust standard
        deviations (1.4826 times the median absolute deviation) beyond the median; "gpd"
        rows beyond the quantile 1 - `alpha` of a generalised Pareto distribution fitted
        to the upper tail of the training scores; "conformal" keeps the rate of false
        alarms at `alpha` by calibration scores. "auto" is "quantile" if contamination is
        given and "mad" if it is not.
    contamination : "auto" or float, default="auto"
        Share of the training rows to flag, in (0, 0.5].
    alpha : float, default=0.05
        Rate of false alarms among inliers, for "conformal" and "gpd".
    calibration : int, float, None or "auto", default="auto"
        Where scores of rows that were not fitted come from, which p-values and
        "conformal" compare with: a number of folds, each scored by a detector fitted on
        the others; or a share of rows to hold out from the fit. None does without. "auto"
        is 5 folds, but no more than rows, for threshold="conformal" and None otherwise.
    scaling : {"standard", "robust", "quantile"} or None, default="standard"
        How columns are made comparable before reconstruction and in the score, through
        scikit-learn's scaler of that name. None leaves them as they are.
    random_state : int, RandomState instance or None, default=None
        Seed of the ensemble and of all else that is drawn; sets every `random_state`
        within `estimator` that is None. None differs from call to call.
    verbose : int, default=0
        1 draws the progress bar of the ensemble on stderr.

    Attributes
    ----------
    estimator_ : object
        The fitted reconstructor, which takes scaled rows; None for the ensemble.
    training_scores_ : ndarray of shape (n_samples,)
        `score_samples` of the training rows.
    offset_ : float
        ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Outliers are rows that are easy to isolate.

    Notes
    -----
    The distance to training rows leaves out, once, a training row that is the same as
    the row in question: a training row is never near because it is itself.

    References
    ----------
    Hawkins, He, Williams and Baxter, "Outlier detection using replicator neural
    networks", DaWaK 2002, doi:10.1007/3-540-46145-0_17.

    Pang, Ting and Albrecht, "LeSiNN: detecting anomalies by identifying least similar
    nearest neighbours", ICDM Workshops 2015, doi:10.1109/ICDMW.2015.62.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_repr import ReconstructionOutlierDetector
    >>> line = np.linspace(-1, 1, 50)
    >>> X = np.c_[line, line]
    >>> detector = ReconstructionOutlierDetector(PCA(1), contamination=0.1).fit(X)
    >>> detector.predict([[0.5, 0.5], [0.5, -0.5]])
    array([ 1, -1])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "transform", "inverse_transform"]), None],
        "training_data": [StrOptions({"contaminated", "clean"})],
        "neighbors": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "n_steps": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "threshold": [StrOptions(set(THRESHOLDS)), Real],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "calibration": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "scaling": [StrOptions({"standard", "robust", "quantile"}), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    estimator_: Any

    def __init__(
        self,
        estimator: Any = None,
        *,
        training_data: str = "contaminated",
        neighbors: float | str = "auto",
        n_steps: int | str = "auto",
        threshold: float | str = "auto",
        contamination: float | str = "auto",
        alpha: float = 0.05,
        calibration: int | float | str | None = "auto",
        scaling: str | None = "standard",
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.training_data = training_data
        self.neighbors = neighbors
        self.n_steps = n_steps
        self.threshold = threshold
        self.contamination = contamination
        self.alpha = alpha
        self.calibration = calibration
        self.scaling = scaling
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the reconstructor and the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows, outliers among them or not.
        y : None
            Ignored, labels too; here for scikit-learn's conventions.

        Returns
        -------
        self : object
            The fitted detector.
        """
        with restored_on_failure(self):
            X = self._validate(X, reset=True)
            seeds = Seeds(self.random_state)
            held_out, folds = self._calibration_rows(X.shape[0], seeds)
            kept = np.setdiff1d(np.arange(X.shape[0]), held_out)
            self._scorer = self._fit_scorer(X[kept] if len(held_out) else X, seeds)
            self.estimator_ = getattr(self._scorer.cells.reconstructor, "estimator", None)
            self.training_scores_ = (
                self._scorer.score(X) if len(held_out) else self._scorer.training_scores_
            )
            self._calibration = [
                (scorer, scorer.score(X[fold]))
                for fold, rest in folds
                for scorer in [self._fit_scorer(X[rest], seeds)]
            ]
            if len(held_out):
                self._calibration = [(self._scorer, self.training_scores_[held_out])]
            self._set_offset(
                self._resolve_offset(self.threshold, self.contamination, self.alpha)
            )
        return self

    def score_parts(self, X: Any) -> dict[str, NDArray[np.float64]]:
        """Return what reconstruction and neighbours add to the anomaly score.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        parts : dict of str to ndarray of shape (n_samples,)
            "reconstruction" and, if `neighbors` has weight, "neighbors". They add up to
            `anomaly_score`.
        """
        check_is_fitted(self)
        parts: dict[str, NDArray[np.float64]] = self._scorer.sums(
            self._validate(X, reset=False)
        )
        return parts

    def explain(self, X: Any, *, as_frame: bool = False) -> Any:
        """Say which cells make rows abnormal.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        as_frame : bool, default=False
            Return a tidy frame instead, with expected and observed values.

        Returns
        -------
        contributions : ndarray of shape (n_samples, n_features_in_) or DataFrame
            At least 0; their sum over a row is its `anomaly_score`. The frame has one row
            per cell, by row and decreasing contribution, and columns "row" (the index of
            a DataFrame, else the position), "column", "observed" and "expected" (in
            original units) and "contribution".
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        starts = range(0, rows.shape[0], CHUNK)
        chunks = [rows[start : start + CHUNK] for start in starts]
        contributions: NDArray[np.float64] = np.concatenate(
            [self._scorer.contributions(part) for part in chunks]
        )
        if not as_frame:
            return contributions
        expected = np.concatenate([self._scorer.expected(part) for part in chunks])
        observed = rows.toarray() if sparse.issparse(rows) else rows
        n, d = contributions.shape
        order = np.argsort(-contributions, axis=1, kind="stable")
        names = getattr(self, "feature_names_in_", np.arange(d))
        index = X.index if isinstance(X, pd.DataFrame) else np.arange(n)

        def sorted_cells(cells: NDArray[Any]) -> NDArray[Any]:
            return np.take_along_axis(cells, order, axis=1).ravel()

        return pd.DataFrame(
            {
                "row": np.repeat(index, d),
                "column": np.asarray(names)[order.ravel()],
                "observed": sorted_cells(observed),
                "expected": sorted_cells(expected),
                "contribution": sorted_cells(contributions),
            }
        )

    def _validate(self, X: Any, *, reset: bool) -> Any:
        return validate_table(
            self, X, reset=reset, largest=float(np.finfo(np.float32).max)
        )

    def _fit_scorer(self, X: Any, seeds: Seeds) -> TableScorer:
        clean = self.training_data == "clean"
        weight: Any = self.neighbors
        if weight == "auto":
            weight = 0.0 if self.estimator is not None else 4.0 if clean else 0.75
        errors: Any
        if self.estimator is None:
            verbose = int(self.verbose)
            errors = NetworkErrors(self.training_data, self.n_steps, seeds, verbose)
        else:
            errors = EstimatorErrors(self._clone_estimator(seeds))
        codec = NumericCodec(self.scaling, "float64", seeds["scaling"])
        cells = CellScorer(errors, self.training_data, float(weight), seeds)
        return TableScorer(codec, cells).fit(X, getattr(self, "feature_names_in_", None))

    def _clone_estimator(self, seeds: Seeds) -> Any:
        reconstructor = clone(self.estimator)
        unset = {
            name: seeds[name]
            for name, value in reconstructor.get_params().items()
            if name.rpartition("__")[2] == "random_state" and value is None
        }
        return reconstructor.set_params(**unset)

    def _calibration_rows(
        self, n: int, seeds: Seeds
    ) -> tuple[Any, list[tuple[Any, Any]]]:
        """Return rows to hold out from the fit, and folds with their complements."""
        calibration: Any = self.calibration
        if calibration == "auto":
            folds = min(FOLDS, max(n, 2))
            calibration = folds if self.threshold == "conformal" else None
        if calibration is None:
            return np.arange(0), []
        order = np.random.default_rng(seeds["calibration"]).permutation(n)
        if isinstance(calibration, Integral):
            if int(calibration) > n:
                raise ValueError(
                    f"calibration={calibration} folds need as many rows; got"
                    f" n_samples={n}."
                )
            parts = [np.sort(part) for part in np.array_split(order, int(calibration))]
            every = np.arange(n)
            return every[:0], [(part, np.setdiff1d(every, part)) for part in parts]
        count = round(float(calibration) * n)
        if not 0 < count < n:
            raise ValueError(
                f"calibration={calibration} of n_samples={n} leaves no rows to hold out,"
                " or none to fit."
            )
        return np.sort(order[:count]), []

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
