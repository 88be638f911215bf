"""ReconstructionOutlierDetector."""

from __future__ import annotations

from functools import cached_property
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import OutlierMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, column_or_1d

from sklearn_repr import detection
from sklearn_repr._contracts import Constraints, Labels, RandomState, Table
from sklearn_repr.data import Columns, NumericCodec, choose_codec
from sklearn_repr.data.columns import read_table
from sklearn_repr.data.repeats import arrange, draw_rows
from sklearn_repr.engine.ensembles import RECIPES, Conditionals, Denoisers, Recipe
from sklearn_repr.engine.packing import Packable
from sklearn_repr.utils import constraints
from sklearn_repr.utils.containers import cells_as_frame
from sklearn_repr.utils.draws import row_uniforms
from sklearn_repr.utils.randomness import Seeds, seeded_clone
from sklearn_repr.utils.references import Reference
from sklearn_repr.utils.state import restored_on_failure
from sklearn_repr.utils.validation import unobserved_columns

__all__ = ["ReconstructionOutlierDetector"]

# Folds of calibration="auto"
FOLDS = 5
# Share of a row's squared size that single precision may get wrong
ROUNDING_SHARE = 1e-12
# Columns of a table whose cells are each expected from all others, at most, and encoded
# ones, of which a category has one a level
MOST_COLUMNS, MOST_ENCODED = 256, 1024
# Encoded cells of the rows that are fitted, at most, and rows that may always be so many
CELLS_FITTED, ROWS_FITTED = 2**20, 10_000


class ReconstructionOutlierDetector(OutlierMixin, Packable):
    r"""Outliers are rows that a representation cannot rebuild.

    A row's anomaly score is the sum of its cells' contributions, and a row is an outlier
    if it exceeds a threshold τ. With an `estimator` the score is

    .. math:: a(x) = \|x - \psi(\phi(x))\|^2

    over scaled columns. By default every cell is rebuilt from all other cells of its row,
    by a linear expectation and a network beside it, and the errors, for categories
    :math:`-\log p`, are added up in units of what is usual for the cell. So records whose
    cells are each ordinary but do not go together are found. Rows of a rare kind are
    found by a distance to training rows, and the larger of the two decides; see
    :class:`sklearn_repr.detection.joining.TailJoin`.

    Parameters
    ----------
    estimator : object or None, default=None
        The reconstructor, with fit, transform and inverse_transform, or what `score_with`
        needs: PCA, KernelPCA with ``fit_inverse_transform=True``, an autoencoder, a
        pipeline of them; cloned before it is fitted, on scaled rows. None rebuilds every
        cell from the others. Tables of more than 256 columns, or 1024 with one for each
        level of a category, are too wide for that and have an ensemble of denoising
        networks.
    score_with : {"reconstruction", "density", "conditionals"}, default="reconstruction"
        What of an `estimator` the score is: its squared error; how improbable a row is by
        its `score_samples`, as of a VariationalAutoencoder, KernelDensity or a
        GaussianMixture, :math:`\log(1 + e^{m - \log p})` with the median m in training;
        or the squared error of every cell when it is hidden, by its `impute`, as of a
        MaskedAutoencoder. Without effect if `estimator` is None.
    novelty : bool, default=False
        Whether the training rows are clean: no outlier is among them. It chooses the
        distance to training rows: if False, the mean distance to the nearest row of small
        random sets of them; if True, the distance to the ten nearest. If in doubt, False.
    neighbor_weight : float or "auto", default="auto"
        Weight w of the distance to training rows beside the error of reconstruction. More
        of it is better where outliers are rows of another kind, less of it where they are
        records whose cells do not go together. 0 is the error alone. "auto" is 0 with an
        `estimator`, else 4, and 1.6 for tables with categories, where distances between
        rows say less.
    n_steps : int or "auto", default="auto"
        Training steps of the networks; "auto" is two a row, at least 100 and at most 400
        (of denoising networks 200, or 600 with `novelty`). Without effect on an
        `estimator`.
    threshold : float or {"auto", "quantile", "mad", "gpd", "conformal"}, default="auto"
        Where outliers begin: an anomaly score, or a rule. "quantile" flags the share
        `contamination` of the training rows; "mad" those more than three robust standard
        deviations (1.4826 times the median absolute deviation) beyond the median; "gpd"
        rows beyond the quantile 1 - `false_alarm_rate` of a generalised Pareto
        distribution fitted to the upper tail of the training scores; "conformal" keeps
        the rate of false alarms by calibration scores. "auto" is "quantile" if
        contamination is given and "mad" if it is not. Rules that look at training scores
        flag more of fresh rows: over the inliers of 21 tables, half of them fitted, "mad"
        flagged 5.1% of these and 5.8% of the fresh half (5.6% and 6.0% with `novelty`).
        With `calibration` "mad" looks at scores of rows that were not fitted. Where a
        rate matters, take "conformal", which needs 1 / `false_alarm_rate` - 1 rows.
    contamination : "auto" or float, default="auto"
        Share of the training rows to flag, in (0, 0.5].
    false_alarm_rate : float, default=0.05
        Share of inliers that may be flagged, for "conformal" and "gpd".
    calibration : int, float, None or "auto", default="auto"
        Where scores of rows that were not fitted come from, which p-values and the rules
        "conformal" and "mad" look at: a number of folds, each scored by a detector fitted
        on the others; or a share of rows to hold out from the fit. None does without.
        "auto" is 5 folds, but no more than rows, for threshold="conformal" and None
        otherwise.
    scaling : {"standard", "robust", "quantile"} or None, default="standard"
        How columns are made comparable before reconstruction and in the score, through
        scikit-learn's scaler of that name. None leaves them as they are: columns with a
        large spread decide: all of them have one common unit.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Which columns are categories: a mask, names or positions. "from_dtype" takes the
        columns of a frame that hold categories, text or booleans; None takes none.
    max_categories : int or None, default=32
        Most levels of a category that are kept apart; the rarer ones share one. None sets
        no limit.
    min_frequency : int, float or None, default=None
        Levels in fewer rows, or in a smaller share of the rows, share one.
    random_state : int, RandomState instance or None, default=None
        Seed of the networks and of all else that is drawn; sets every `random_state`
        within `estimator` that is None. None differs from call to call.
    verbose : int, default=0
        1 draws the progress bar of the networks on stderr.

    Attributes
    ----------
    estimator_ : object
        The fitted reconstructor, which takes scaled rows; None for the default.
    training_scores_ : ndarray of shape (n_samples,)
        `score_samples` of the training rows; of a table too large to be fitted whole
        computed when they are first asked for, from the table given to `fit`, which is
        not kept: it must still be there then, and unchanged.
    offset_ : float
        ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Outliers are rows that are easy to isolate.
    sklearn_repr.inspection.excess_mass_score : Scorer for a search without labels.
    sklearn_repr.inspection.detection_score : Scorer for a search with labels.

    Notes
    -----
    Without an `estimator`, tables of more than 2²⁰ cells, a category being as many as it
    has levels, and more than 10,000 rows are not fitted whole: as many rows as make up
    2²⁰ cells, but at least 10,000, are drawn, one from each of equally long stretches of
    the table. All that is learned is learned from these, thresholds and calibration too;
    so the share of all rows that is flagged is `contamination` up to the error of a draw.

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

    _parameter_constraints: ClassVar[Constraints] = {
        "estimator": [HasMethods(["fit"]), None],
        "score_with": [StrOptions({"reconstruction", "density", "conditionals"})],
        "novelty": ["boolean"],
        "neighbor_weight": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "n_steps": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "threshold": [StrOptions(set(detection.RULES)), Real],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "false_alarm_rate": [Interval(Real, 0, 1, closed="neither")],
        "calibration": constraints.CALIBRATION,
        "scaling": [StrOptions({"standard", "robust", "quantile"}), None],
        **constraints.CATEGORIES,
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    estimator_: Any
    offset_: float
    _scorer: detection.TableScorer
    _calibration: detection.Calibration
    # how a frame with categories is read; None where all columns are numbers
    _columns: Columns | None
    _odds: detection.ProbabilityMap
    # columns that hold no cell in the whole table
    _unobserved: NDArray[np.bool_]
    # what `fit` was given, for training scores that it did not compute
    _table: Reference

    # absent, as in scikit-learn's detectors, with a message that names scorers
    score = property(detection.no_score)

    def __init__(
        self,
        estimator: Any = None,
        *,
        score_with: str = "reconstruction",
        novelty: bool = False,
        neighbor_weight: float | str = "auto",
        n_steps: int | str = "auto",
        threshold: float | str = "auto",
        contamination: float | str = "auto",
        false_alarm_rate: float = 0.05,
        calibration: int | float | str | None = "auto",
        scaling: str | None = "standard",
        categorical_features: Any = "from_dtype",
        max_categories: int | None = 32,
        min_frequency: float | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.score_with = score_with
        self.novelty = novelty
        self.neighbor_weight = neighbor_weight
        self.n_steps = n_steps
        self.threshold = threshold
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.calibration = calibration
        self.scaling = scaling
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: Labels = None, sample_weight: Any = None) -> Self:
        """Fit the reconstructor and the threshold.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows, outliers among them or not.
        y : None
            Ignored, labels too; here for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How often each row counts: whole numbers. A row of weight 2 is two rows, in
            any order and to the last bit (up to 32 MiB of rows, all of which are fitted),
            for the reconstructor, the distance to training rows, calibration and
            threshold alike; one of weight 0 is left out. None lets every row count once.

        Returns
        -------
        self : object
            The fitted detector.
        """
        with restored_on_failure(self):
            table = self._validate(X, reset=True, weights=sample_weight)
            self._unobserved = unobserved_columns(table)
            seeds = Seeds(self.random_state)
            drawn = self._draw(table, sample_weight, seeds)
            self._table = Reference(None if drawn is None else X)
            if drawn is None:
                arranged = arrange(table, sample_weight, itemsize=8, whole=True)
                X = arranged.X
            else:
                X = drawn
            folds = self._calibration_folds(X.shape[0], seeds)
            if len(folds) == 1:
                ((held_out, rest),) = folds
                self._scorer = self._fit_scorer(X[rest], seeds)
                scores = self._scorer.score(X)
                fitted = [(self._scorer, scores[held_out])]
            else:
                self._scorer = self._fit_scorer(X, seeds)
                scores = self._scorer.training_scores_
                scorers = [(self._fit_scorer(X[rest], seeds), i) for i, rest in folds]
                fitted = [(part, part.score(X[i])) for part, i in scorers]
            # of rows as often as they count, and of those given
            self._fitted_scores = scores
            self.__dict__.pop("training_scores_", None)
            if drawn is None:
                self.training_scores_ = arranged.back(scores, table, self._scorer.score)
            self._calibration = detection.Calibration(fitted)
            self.estimator_ = getattr(self._scorer.cells.reconstructor, "estimator", None)
            self._set_offset(self._offset_by_rule(self.threshold))
        return self

    def _validate(self, X: Table, *, reset: bool, weights: Any = None) -> Table:
        largest = float(np.finfo(np.float32).max)
        return read_table(self, X, reset=reset, largest=largest, weights=weights)

    @cached_property
    def training_scores_(self) -> NDArray[np.float64]:
        """Score the rows of a table from which others were drawn to be fitted."""
        check_is_fitted(self)
        table = self._table()
        if table is None:
            raise AttributeError(
                "training_scores_ of a table too large to be fitted whole are computed"
                " when they are asked for, and the table is gone: keep it, or call"
                " score_samples(X)."
            )
        return self.score_samples(table)

    def _draw(self, X: Table, sample_weight: Any, seeds: Seeds) -> Table | None:
        """Draw the rows that are fitted, None where all are."""
        if self.estimator is not None:
            return None
        most = max(ROWS_FITTED, CELLS_FITTED // self._encoded_width(X))
        rng = np.random.default_rng(seeds["rows"])
        return draw_rows(X, sample_weight, most, rng)

    def _encoded_width(self, X: Table) -> int:
        if self._columns is None:
            return int(X.shape[1])
        # one more number than levels, 0 for columns of numbers
        return int(np.maximum(np.asarray(self._columns.n_codes_) - 1, 1).sum())

    def _calibration_folds(self, n_rows: int, seeds: Seeds) -> Any:
        calibration: Any = self.calibration
        if calibration == "auto":
            few = min(FOLDS, max(n_rows, 2))
            calibration = few if self.threshold == "conformal" else None
        rng = np.random.default_rng(seeds["calibration"])
        return detection.calibration_folds(calibration, n_rows, rng)

    def _recipe(self, name: str) -> Recipe:
        """Return how the networks are trained; its parts may be exchanged here."""
        return RECIPES[name]

    def _fit_scorer(self, X: Table, seeds: Seeds) -> detection.TableScorer:
        names, novelty = getattr(self, "feature_names_in_", None), bool(self.novelty)
        weight: Any = self.neighbor_weight
        if weight == "auto":
            usual = 4.0 if self._columns is None else 1.6
            weight = 0.0 if self.estimator is not None else usual
        errors: detection.CellErrors
        width = self._encoded_width(X)
        settings = self.n_steps, seeds, int(self.verbose), names, type(self).__name__
        if self.estimator is not None:
            estimator = seeded_clone(self.estimator, seeds)
            errors = detection.errors_of_estimator(self.score_with, estimator)
        elif X.shape[1] > MOST_COLUMNS or width > MOST_ENCODED:
            recipe = self._recipe("clean" if novelty else "contaminated")
            if self._columns is not None and width > MOST_ENCODED:
                recipe = recipe.narrowed(width)
            errors = detection.NetworkErrors(
                Denoisers(recipe, *settings),
                detection.ColumnUnits(self.scaling, novelty=novelty),
                detection.ErrorUnits() if recipe.levels else None,
            )
        else:
            networks = Conditionals(self._recipe("conditional"), *settings)
            errors = detection.ConditionalErrors(networks, self.scaling, novelty=novelty)
        weight, seed = float(weight), seeds["neighbors"]
        cells = detection.CellScorer(
            errors, neighbor_weight=weight, novelty=novelty, seed=seed
        )
        numbers = NumericCodec(self.scaling, "float64", seeds["scaling"])
        codec = choose_codec(numbers, self._columns, X, unseen=self.estimator is not None)
        # of some rows of the table; what is missing in all of them is an error
        lacking = np.flatnonzero(unobserved_columns(X) & ~self._unobserved)
        return detection.TableScorer(codec, cells).fit(X, names, lacking.tolist())

    def score_samples(self, X: Table) -> NDArray[np.float64]:
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
        return self._scorer.score(self._validate(X, reset=False))

    def anomaly_score(self, X: Table) -> NDArray[np.float64]:
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

    def decision_function(self, X: Table) -> NDArray[np.float64]:
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

    def predict(self, X: Table) -> NDArray[np.int64]:
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

    def score_parts(self, X: Table) -> dict[str, NDArray[np.float64]]:
        """Return what reconstruction and neighbours add to the anomaly score.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        parts : dict of str to ndarray of shape (n_samples,)
            "reconstruction" and, if `neighbor_weight` is not 0, "neighbors". They
            add up to `anomaly_score`.
        """
        check_is_fitted(self)
        return self._scorer.sums(self._validate(X, reset=False))

    def explain(self, X: Table, *, as_frame: bool = False) -> Table:
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

        Notes
        -----
        A wrong cell makes other cells look wrong that are expected from it. Without
        `estimator`, errors are therefore blamed on the cells whose replacement by what
        is expected makes them fall, one cell after another. A row that is abnormal in
        many cells takes some milliseconds.

        Examples
        --------
        As the last step of a pipeline, on what the other steps make of the table; with
        ``set_output`` names and categories get there:

        >>> from sklearn.datasets import load_iris
        >>> from sklearn.decomposition import PCA
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import PowerTransformer
        >>> from sklearn_repr import ReconstructionOutlierDetector
        >>> X = load_iris(as_frame=True).data
        >>> detector = ReconstructionOutlierDetector(PCA(2))
        >>> pipeline = make_pipeline(PowerTransformer(), detector)
        >>> pipeline = pipeline.set_output(transform="pandas").fit(X)
        >>> cells = pipeline[-1].explain(pipeline[:-1].transform(X), as_frame=True)
        >>> cells.loc[cells["row"] == 60, "column"].tolist()[0]
        'sepal length (cm)'
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        contributions = self._scorer.contributions(rows)
        if not as_frame:
            return contributions
        observed = rows.toarray() if sparse.issparse(rows) else rows
        names = getattr(self, "feature_names_in_", None)
        expected = self._scorer.expected(rows)
        if self._columns is not None:
            names, observed, expected = self._columns.in_words(X, expected)
        return cells_as_frame(contributions, observed, expected, X, names)

    def set_threshold(
        self,
        threshold: float | str,
        *,
        contamination: float | None = None,
        false_alarm_rate: float | None = None,
    ) -> Self:
        """Move the threshold of a fitted detector.

        Parameters
        ----------
        threshold : float or {"auto", "quantile", "mad", "gpd", "conformal"}
            An anomaly score above which rows are outliers, or a rule, as in the
            parameter of that name; "conformal" needs the calibration of `fit`.
        contamination : float or None, default=None
            Share of training rows to flag; None takes the parameter's value.
        false_alarm_rate : float or None, default=None
            Share of inliers that may be flagged; None takes the parameter's value.

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
        offset = self._offset_by_rule(threshold, contamination, false_alarm_rate)
        return self._set_offset(offset)

    def tune_threshold(self, X: Table, y: Labels, metric: Any = "f1") -> Self:
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
        labels, scores = column_or_1d(y), self.score_samples(X)
        return self._set_offset(detection.best_threshold(scores, labels, metric))

    def _set_offset(self, offset: float) -> Self:
        self._odds = detection.fit_probability_map(self._fitted_scores, offset)
        self.offset_ = offset
        return self

    def _offset_by_rule(
        self, threshold: Any, contamination: Any = None, false_alarm_rate: Any = None
    ) -> float:
        share = self.contamination if contamination is None else contamination
        rate = self.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
        # rows that all rebuild differ by rounding only
        rounding = ROUNDING_SHARE * self._scorer.size_
        return detection.threshold_by_rule(
            threshold,
            self._fitted_scores,
            contamination=share,
            false_alarm_rate=rate,
            calibration=self._calibration,
            rounding=rounding if self.estimator is not None else 0.0,
        )

    def p_values(self, X: Table, *, smoothed: bool = True) -> NDArray[np.float64]:
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
        X = self._validate(X, reset=False)
        chunks = self._scorer.scaled_chunks(X)
        return self._calibration.p_values(X, row_uniforms(chunks) if smoothed else None)

    def select(self, X: Table, fdr: float = 0.1) -> NDArray[np.bool_]:
        """Select outliers such that few of those selected are none.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows to select from.
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
        return detection.benjamini_hochberg(self.p_values(X), fdr)

    def outlier_probability(self, X: Table) -> NDArray[np.float64]:
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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        for name in ("sparse", "allow_nan", "categorical"):
            setattr(tags.input_tags, name, True)
        return tags
