"""AutoencoderImputer."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from sklearn_repr._contracts import (
    Array,
    Constraints,
    Labels,
    RandomState,
    Table,
)
from sklearn_repr.estimators.masked import MaskedAutoencoder
from sklearn_repr.utils.frames import holed_columns, missing_cells, with_indicators
from sklearn_repr.utils.randomness import Seeds, seeded_clone
from sklearn_repr.utils.state import restored_on_failure

__all__ = ["AutoencoderImputer"]


class AutoencoderImputer(TransformerMixin, BaseEstimator):
    """Fill missing cells by an autoencoder; `transform` is the table without holes.

    It stands where :class:`~sklearn.impute.IterativeImputer` stands, in a Pipeline or a
    ColumnTransformer, and fills categories as well as numbers.

    Parameters
    ----------
    estimator : reconstructor or None, default=None
        An estimator with `impute`; it is cloned. None is a
        :class:`MaskedAutoencoder`, whose seed is drawn from `random_state`.
    add_indicator : bool, default=False
        Append a column of zeros and ones, 1 where a cell was missing, for every column of
        which cells were missing in `fit`.
    sample_posterior : bool, default=False
        Draw what fills a cell from its distribution given the other cells, instead of
        filling its mean or most probable level; see `MaskedAutoencoder.impute`. To do so
        several times, with several seeds, is multiple imputation.
    round_integers : bool, default=False
        Round what fills the columns of a frame that held integers in `fit`.
    random_state : int, RandomState instance or None, default=None
        Seed of the default estimator, and of draws.

    Attributes
    ----------
    estimator_ : reconstructor
        The fitted estimator.
    indicator_features_ : int ndarray
        Columns that have an indicator.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    See Also
    --------
    MaskedAutoencoder : What fills the cells by default.
    sklearn.impute.IterativeImputer : Regressions of each column on the others.
    sklearn.impute.KNNImputer : Means of similar rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import AutoencoderImputer
    >>> X = load_iris().data.copy()
    >>> X[::7, 2] = np.nan
    >>> filled = AutoencoderImputer(random_state=0).fit_transform(X)
    >>> filled.shape, bool(np.isnan(filled).any())
    ((150, 4), False)
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "estimator": [HasMethods(["fit", "impute"]), None],
        "add_indicator": ["boolean"],
        "sample_posterior": ["boolean"],
        "round_integers": ["boolean"],
        "random_state": ["random_state"],
    }

    estimator_: Any

    def __init__(
        self,
        estimator: Any = None,
        *,
        add_indicator: bool = False,
        sample_posterior: bool = False,
        round_integers: bool = False,
        random_state: RandomState = None,
    ):
        self.estimator = estimator
        self.add_indicator = add_indicator
        self.sample_posterior = sample_posterior
        self.round_integers = round_integers
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: Labels = None) -> Self:
        """Fit the autoencoder.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Training rows, some of whose cells may be missing.
        y : None
            Ignored; here for scikit-learn's conventions.

        Returns
        -------
        self : object
            The fitted imputer.
        """
        with restored_on_failure(self):
            seeds = Seeds(self.random_state)
            estimator = self.estimator
            if estimator is None:
                self.estimator_ = seeded_clone(MaskedAutoencoder(), seeds)
            else:
                self.estimator_ = clone(estimator)
            self.estimator_.fit(X)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self.estimator_, name):
                    setattr(self, name, getattr(self.estimator_, name))
                elif hasattr(self, name):
                    delattr(self, name)
            self.indicator_features_ = holed_columns(X)
            self._seed = seeds["imputation"]
        return self

    def transform(self, X: Table) -> Table:
        """Return rows without holes.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows, some of whose cells may be missing.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_out)
            The rows, whose observed cells are as they were; a frame where `fit` saw one
            with categories, or if ``set_output`` asks for one. Indicators come last.
        """
        check_is_fitted(self)
        options: dict[str, object] = {"round_integers": self.round_integers}
        if self.sample_posterior:
            options |= {"sample_posterior": True, "random_state": self._seed}
        filled = self.estimator_.impute(X, **options)
        if not (self.add_indicator and len(self.indicator_features_)):
            return filled
        missing = missing_cells(X)[:, self.indicator_features_]
        names = self.get_feature_names_out()[-missing.shape[1] :].tolist()
        return with_indicators(filled, missing, names)

    def get_feature_names_out(self, input_features: Table = None) -> Array:
        """Return the names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the input columns; None takes those of `fit`, or x0, x1, ...

        Returns
        -------
        names : ndarray of str
            The names, those of indicators with "missingindicator_" before them.
        """
        check_is_fitted(self)
        names: Array = _check_feature_names_in(self, input_features)
        if not self.add_indicator:
            return names
        marked = [f"missingindicator_{names[j]}" for j in self.indicator_features_]
        return np.concatenate([names, np.asarray(marked, dtype=object)])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        inner = self.estimator if self.estimator is not None else MaskedAutoencoder()
        tags.input_tags.sparse = get_tags(inner).input_tags.sparse
        return tags
