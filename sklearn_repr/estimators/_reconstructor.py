"""What all estimators that rebuild their input share."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import (
    Array,
    Batch,
    Constraints,
    Labels,
    RandomState,
    Table,
    Weights,
)
from sklearn_repr.data.batches import evened, parts_in_memory
from sklearn_repr.data.repeats import arrange
from sklearn_repr.engine import TrainingSettings, infer
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.modules.linear import PrincipalSubspace, principal_subspace
from sklearn_repr.utils import constraints
from sklearn_repr.utils.containers import wrap_table
from sklearn_repr.utils.randomness import Seeds
from sklearn_repr.utils.scores import explained_share, parts_to_score
from sklearn_repr.utils.validation import (
    check_latent,
    column_label,
    has_holes,
    parts_of,
)

__all__ = ["BaseReconstructor"]

# "auto" keeps as many components as PCA needs for this share of the variance
AUTO_SHARE = 0.9
# How often a network that does not look for holes fills them with what it rebuilt
IMPUTATION_STEPS = 10
# Cells of a sparse table up to which `score` rebuilds it as a whole
CELLS_AT_ONCE = 2**20


def rebuild(module: Any, x: Tensor) -> Tensor:
    """Encode and decode rows."""
    return module.decode(module.encode(x))  # type: ignore[no-any-return]


class BaseReconstructor(BaseRepresentation):
    """An encoder with a way back; see :class:`BaseRepresentation` for its hooks.

    Beside those a subclass says by `_row_error` how badly a row is rebuilt, and by
    `_wants_unit_interval` which setting, if any, needs scaled values in [0, 1].
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseRepresentation._parameter_constraints,
        "n_components": [
            constraints.COUNT,
            Interval(RealNotInt, 0, 1, closed="neither"),
            constraints.AUTO,
        ],
        "linear_skip": ["boolean"],
        "init": [StrOptions({"pca"}), None],
    }
    _shaping: ClassVar[tuple[str, ...]] = (*BaseRepresentation._shaping, "linear_skip")

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Table, y: Labels = None, sample_weight: Weights = None) -> Self:
        """Learn the representation.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows.
        y : None
            Ignored; here for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each row counts, not negative. A row of weight 0 is left out. If all
            weights are whole numbers, a row of weight 2 is two rows, in any order (but
            that of equally frequent levels the first is the one that comes first) and to
            the last bit, as long as the repeated table has no more than 32 MiB of scaled
            cells. Other weights, divided by their mean, weigh each row's loss, in
            training and on held-out rows, and its part in scaling, in the start and in
            what is measured after training. None lets all rows count alike.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight)

    def _arrange(self, X: Table, sample_weight: Weights) -> tuple[Table, Array | None]:
        itemsize = np.dtype(self._weight_dtype()).itemsize
        return arrange(X, sample_weight, itemsize=itemsize)[:2]

    def _principal_subspace(
        self, rows: Batch, n_components: int | None = None
    ) -> PrincipalSubspace:
        """Return principal axes of weighted rows, of a sample where they are many."""
        values: Any = rows.values
        if rows.weights is not None and not isinstance(values, Tensor):
            rows = evened(rows)
        return principal_subspace(rows.values, n_components, rows.weights)

    def _row_error(
        self, module: nn.Module, x: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        """Return how badly `module` rebuilds what is observed of each row, (n,)."""
        raise NotImplementedError

    def _error_with_holes(self, module: nn.Module, x: Tensor) -> Tensor:
        observed = ~x.isnan()
        filled = x if self._sees_holes else x.where(observed, torch.zeros_like(x))
        return self._row_error(module, filled, observed)

    def _wants_unit_interval(self) -> str | None:
        """Name the setting by which scaled values must lie in [0, 1], if any does."""
        return None

    def _after_encoding(self, rows: Batch, y: Labels) -> None:
        setting = self._wants_unit_interval()
        if setting is None:
            return
        if self._columns is not None:
            parameter = setting.partition("=")[0]
            raise ValueError(
                f"{setting} is of numbers in [0, 1], but column"
                f" {self._columns.label(self._columns.first())} is a category. Leave"
                f" {parameter} at its default, beside which categories have a"
                " cross-entropy of their own, or turn them into zeros and ones first, for"
                " example by scikit-learn's OneHotEncoder."
            )
        names, width = getattr(self, "feature_names_in_", None), self._codec.n_numbers_
        refuse_outside_unit_interval(rows, names, setting, width)

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        linear = self._is_linear()
        has_path = linear or (self.linear_skip and not callable(self.architecture))
        return replace(
            super()._training_settings(n_rows),
            # linear maps overfit no more than their start: all rows decide when to stop
            hold_out=not linear,
            good_start=bool(has_path and self._starts_at_pca()),
        )

    def _is_linear(self) -> bool:
        """Tell networks without hidden layers."""
        return self.architecture == "mlp" and self._architecture_options().hidden(1) == ()

    def _starts_at_pca(self) -> bool:
        """Tell linear maps that start at a solution; for probabilities there is none."""
        return self.init == "pca" and self._wants_unit_interval() is None

    def _width_is_given(self) -> bool:
        return isinstance(self.n_components, Integral)

    def _resolve_components(
        self, subspace: PrincipalSubspace | None, held_out: Batch | None
    ) -> None:
        """Set n_components_; a share needs a subspace."""
        if self._width_is_given():
            self.n_components_ = int(self.n_components)
        elif subspace is not None and not self._continues():
            share = AUTO_SHARE if self.n_components == "auto" else self.n_components
            compared_on = None if held_out is None else held_out.sample().values
            self.n_components_ = subspace.count_for_share(float(share), compared_on)

    def inverse_transform(self, Z: Table) -> Table:
        """Map codes back to rows in original units.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components_)
            Codes, as `transform` returns them.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_in_)
            Rows; a DataFrame with the original column names if ``set_output`` asks for
            one.
        """
        check_is_fitted(self)
        codes = check_latent(Z, self.n_components_, type(self).__name__)
        decoded = infer(
            self.net_.module_.decode,
            lambda part: torch.from_numpy(np.array(part, dtype=self._codec.dtype)),
            codes,
            self.net_.device,
            finish=self._codec.decode,
            dtype=codes.dtype,
        )
        return self._wrapped(decoded, Z)

    def reconstruct(self, X: Table) -> Table:
        """Encode and decode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_in_)
            The same as ``inverse_transform(transform(X))``, bit for bit (but for
            float32 rows with ``dtype="float64"``, whose codes `transform` rounds).
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        return self._wrapped(self._rebuild(rows), X)

    def _rebuild(self, rows: Table) -> Array:
        """Return what validated rows are rebuilt to, in original units."""
        return self._infer(
            rebuild,
            rows,
            module=self.net_.module_,
            finish=self._codec.decode,
            dtype=rows.dtype,
        )

    def reconstruction_error(self, X: Table) -> NDArray[np.float64]:
        """Measure how badly each row reconstructs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        error : ndarray of shape (n_samples,)
            The loss of the reconstruction, summed over scaled columns: the term that
            training minimises.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False, infers=not self._wants_unit_interval())
        self._check_scored(X)
        error = self._error_with_holes if has_holes(X) else self._row_error
        module = self.net_.module_
        return self._infer(error, X, module=module, dtype=np.float64, fill=False)

    def score(self, X: Table, y: Labels = None, sample_weight: Weights = None) -> float:
        """Return the R² of the reconstruction.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each row counts; None lets all count alike.

        Returns
        -------
        score : float
            Share of the variance of a column that its reconstruction explains, in the
            mean over the columns of `X` that vary; a category counts as one column, by
            the probabilities of its levels. From 0 to 1: a column that is rebuilt worse
            than by its mean, or by the shares of its levels, counts as 0. Units do not
            matter, so that scores of different `scaling` can be compared;
            :func:`sklearn_repr.inspection.reconstruction_r2` gives the same number for
            PCA.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        errors = (self._squared_errors(part) for part in parts_to_score(rows))
        return explained_share(
            rows, errors, sample_weight, categories=self._codec.categories_
        )

    def _squared_errors(self, rows: Table) -> NDArray[np.float64]:
        """Return the squared errors of the cells of validated rows."""
        encoded = self._infer(rebuild, rows, module=self.net_.module_, dtype=np.float64)
        return self._codec.squared_errors(rows, encoded)

    def _check_scored(self, X: Table) -> None:
        """Refuse rows that the loss is not defined for, a part of them at a time."""
        if self._wants_unit_interval():
            for part in parts_of(X):
                self._after_encoding(self._codec.encode(part), None)

    def impute(
        self,
        X: Table,
        *,
        round_integers: bool = False,
        sample_posterior: bool = False,
        random_state: RandomState = None,
    ) -> Table:
        """Fill missing cells by what the other cells of their row say.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows, NaN where a cell is missing.
        round_integers : bool, default=False
            Round what fills the columns of a frame that held integers in `fit`.
        sample_posterior : bool, default=False
            Draw what fills a cell from its distribution given the observed cells of its
            row: a number with the error that hidden cells had in training, a level with
            its probability. Cells of a row are drawn independently of each other.
            :class:`MaskedAutoencoder` and :class:`VariationalAutoencoder` can do so.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_in_)
            The rows, whose missing cells hold their reconstruction in original units
            and whose observed cells are as they were; a frame where `fit` saw one with
            categories, or if ``set_output`` asks for one.

        Notes
        -----
        A network that was not trained to look for holes sees the means of their columns
        there at first, and then what it rebuilt itself, ten times over: with a linear
        one, the hidden cells of PCA by expectation and maximisation.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        rebuilt = self._rebuild(rows)
        rows = rows.toarray() if sparse.issparse(rows) else rows
        missing = np.isnan(rows)
        if missing.any() and not self._sees_holes:
            for _ in range(IMPUTATION_STEPS):
                rebuilt = self._rebuild(np.where(missing, rebuilt, rows))
        if sample_posterior:
            known = rows if self._sees_holes else np.where(missing, rebuilt, rows)
            rebuilt = self._drawn(known, Seeds(random_state)["imputation"])
        filled = np.where(missing, rebuilt, rows)
        if self._columns is None:
            return self._wrapped(filled, X)
        return self._columns.fill(X, filled, round_integers=round_integers)

    def _drawn(self, rows: Table, seed: int) -> Array:
        """Return draws from the distribution of all cells given those of `rows`."""
        spread = self._cell_noise()
        rng, module = np.random.default_rng(seed), self.net_.module_
        encoded = self._infer(rebuild, rows, module=module, dtype=np.float64)
        n_numbers = self._codec.n_numbers_
        noise = rng.normal(size=(len(encoded), n_numbers))
        encoded[:, :n_numbers] += spread * noise
        return self._codec.decode(encoded, rng.random(encoded.shape))

    def _cell_noise(self) -> NDArray[np.float64]:
        """Return the deviation of numbers from what they are rebuilt to, encoded."""
        raise ValueError(
            f"sample_posterior=True needs a model of how far cells scatter, which"
            f" {type(self).__name__} has not: take MaskedAutoencoder or"
            " VariationalAutoencoder."
        )

    def _wrapped(self, X: Array, original: Table) -> Table:
        if self._columns is not None:
            return self._columns.restore(X, original)
        return wrap_table(X, self, original, getattr(self, "feature_names_in_", None))


def refuse_outside_unit_interval(
    rows: Batch, names: Table, setting: str, n_numbers: int
) -> None:
    """Raise unless all numbers, the first of the encoded columns, lie in [0, 1]."""
    ends = [torch.stack(pool.values.aminmax(dim=0)) for pool in parts_in_memory(rows)]
    lowest = torch.stack(ends).amin(dim=0)[0, :n_numbers]
    highest = torch.stack(ends).amax(dim=0)[1, :n_numbers]
    bad = ((lowest < 0) | (highest > 1)).nonzero()
    if len(bad):
        column = int(bad[0])
        raise ValueError(
            f"{setting} needs values in [0, 1]; column"
            f" {column_label(names, column)} goes from {float(lowest[column]):g} to"
            f" {float(highest[column]):g} after scaling. Set scaling=None and bring the"
            " columns to [0, 1]."
        )
