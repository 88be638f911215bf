"""ReconstructionOutlierDetector."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_repr.data import NumericCodec
from sklearn_repr.detection import mad_threshold, quantile_threshold
from sklearn_repr.estimators.denoising import DenoisingAutoencoder
from sklearn_repr.utils.randomness import Seeds
from sklearn_repr.utils.state import restored_on_failure
from sklearn_repr.utils.validation import validate_table

__all__ = ["ReconstructionOutlierDetector"]

# Rows handed to the reconstructor at a time; always as many, so that a row's score does
# not depend on how many came with it (unless the reconstructor itself iterates over all
# rows together, as NMF does)
CHUNK = 1024
# Scaled values that a float32 network can still square without overflow; no row is less
# of an outlier for being clipped there before it is rebuilt
FAR_OUT = 1e15
# Share of a row's squared size that single precision may get wrong
NOISE = 1e-12


class ReconstructionOutlierDetector(OutlierMixin, BaseEstimator):
    r"""Outliers are rows that a representation cannot rebuild.

    The anomaly score of a row is its squared reconstruction error, summed over scaled
    columns,

    .. math:: a(x) = \|x - \psi(\phi(x))\|^2

    and a row is an outlier if it exceeds a threshold τ.

    Parameters
    ----------
    estimator : object with fit, transform and inverse_transform, or None, default=None
        The reconstructor: PCA, KernelPCA with ``fit_inverse_transform=True``, an
        autoencoder, a pipeline of them; cloned before it is fitted, on scaled rows. None
        is a :class:`DenoisingAutoencoder` without linear path that learns to undo swaps:
        to tell from a row's other cells which cells are another row's.
    contamination : "auto" or float, default="auto"
        Share of the training rows to flag, in (0, 0.5]. "auto" flags rows whose anomaly
        score exceeds the median by more than three robust standard deviations (1.4826
        times the median absolute deviation) of the training scores.
    scaling : {"standard", "robust", "quantile"} or None, default="standard"
        How columns are made comparable before reconstruction and in the score, through
        scikit-learn's scaler of that name. None leaves them as they are.
    random_state : int, RandomState instance or None, default=None
        Sets every `random_state` within `estimator` that is None. None differs from call
        to call.
    verbose : int, default=0
        1 draws the progress bar of the default reconstructor on stderr.

    Attributes
    ----------
    estimator_ : object
        The fitted reconstructor; it takes scaled rows.
    offset_ : float
        ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Outliers are rows that are easy to isolate.

    References
    ----------
    Hawkins, He, Williams and Baxter, "Outlier detection using replicator neural
    networks", DaWaK 2002, doi:10.1007/3-540-46145-0_17.

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
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "scaling": [StrOptions({"standard", "robust", "quantile"}), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        contamination: float | str = "auto",
        scaling: str | None = "standard",
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.contamination = contamination
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
            self._codec = NumericCodec(self.scaling, "float64", seeds["scaling"])
            self._codec.fit(X, getattr(self, "feature_names_in_", None))
            self.estimator_ = self._make_reconstructor(seeds)
            rows = self._codec.scale(X)
            self._far_out = max(FAR_OUT, float(np.abs(rows).max()))
            self.estimator_.fit(rows)
            scores = self._score_samples(X)
            if self.contamination == "auto":
                rounding = NOISE * float(np.square(rows).sum(axis=1).mean())
                self.offset_ = min(mad_threshold(scores), -rounding)
            else:
                self.offset_ = quantile_threshold(scores, float(self.contamination))
        return self

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
        return self._score_samples(self._validate(X, reset=False))

    def anomaly_score(self, X: Any) -> NDArray[np.float64]:
        """Score rows, the higher the more abnormal.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Squared reconstruction error, summed over scaled columns.
        """
        return -self.score_samples(X)

    def _validate(self, X: Any, *, reset: bool) -> Any:
        return validate_table(
            self, X, reset=reset, largest=float(np.finfo(np.float32).max)
        )

    def _make_reconstructor(self, seeds: Seeds) -> Any:
        if self.estimator is None:
            # a linear path that starts at PCA would rebuild outliers along with the rest
            return DenoisingAutoencoder(
                scaling=None,
                linear_skip=False,
                init=None,
                corruption="swap",
                random_state=seeds["estimator"],
                verbose=self.verbose,
            )
        reconstructor = clone(self.estimator)
        unset = {
            name: seeds[name]
            for name, value in reconstructor.get_params().items()
            if name.rpartition("__")[2] == "random_state" and value is None
        }
        return reconstructor.set_params(**unset)

    def _score_samples(self, X: Any) -> NDArray[np.float64]:
        """Score validated rows."""
        return -np.concatenate([*self._chunk_errors(X)])

    def _chunk_errors(self, X: Any) -> Iterator[NDArray[np.float64]]:
        for start in range(0, X.shape[0], CHUNK):
            rows = self._codec.scale(X[start : start + CHUNK])
            padded = np.resize(rows, (CHUNK, rows.shape[1]))
            padded = padded.clip(-self._far_out, self._far_out)
            rebuilt = self.estimator_.inverse_transform(self.estimator_.transform(padded))
            residual = rows - np.asarray(rebuilt, np.float64)[: len(rows)]
            yield np.square(residual).sum(axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
