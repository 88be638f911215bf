"""What all estimators that rebuild their input share."""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import Array, Batch, Constraints, Labels, Table
from sklearn_repr.data.batches import parts_in_memory
from sklearn_repr.engine import TrainingSettings, infer
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.modules.linear import PrincipalSubspace
from sklearn_repr.utils import constraints
from sklearn_repr.utils.containers import wrap_table
from sklearn_repr.utils.scores import explained_share, explained_share_of_sparse
from sklearn_repr.utils.validation import check_latent, column_label, parts_of

__all__ = ["BaseReconstructor"]

# "auto" keeps as many components as PCA needs for this share of the variance
AUTO_SHARE = 0.9
# Cells of a sparse table up to which `score` rebuilds it as a whole
CELLS_AT_ONCE = 2**20


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

    def _row_error(self, module: nn.Module, x: Tensor) -> Tensor:
        """Return how badly `module` rebuilds each encoded row, shape (n,)."""
        raise NotImplementedError

    def _wants_unit_interval(self) -> str | None:
        """Name the setting by which scaled values must lie in [0, 1], if any does."""
        return None

    def _after_encoding(self, rows: Batch, y: Labels) -> None:
        setting = self._wants_unit_interval()
        if setting is not None:
            names = getattr(self, "feature_names_in_", None)
            refuse_outside_unit_interval(rows, names, setting)

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

        def rebuild(module: Any, x: Tensor) -> Tensor:
            return module.decode(module.encode(x))  # type: ignore[no-any-return]

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
        return self._infer(self._row_error, X, module=self.net_.module_, dtype=np.float64)

    def score(self, X: Table, y: Labels = None) -> float:
        """Return the R² of the reconstruction.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Share of the total variance of `X`, in original units, that its
            reconstruction explains. :func:`sklearn_repr.inspection.reconstruction_r2`
            gives the same number for PCA.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        if sparse.issparse(rows) and math.prod(rows.shape) > CELLS_AT_ONCE:
            return explained_share_of_sparse(rows, self._rebuild)
        return explained_share(rows, self.reconstruct(X))

    def _check_scored(self, X: Table) -> None:
        """Refuse rows that the loss is not defined for, a part of them at a time."""
        if self._wants_unit_interval():
            for part in parts_of(X):
                self._after_encoding(self._codec.encode(part), None)

    def _wrapped(self, X: Array, original: Table) -> Table:
        return wrap_table(X, self, original, getattr(self, "feature_names_in_", None))


def refuse_outside_unit_interval(rows: Batch, names: Table, setting: str) -> None:
    """Raise unless all encoded values lie in [0, 1]."""
    ends = [torch.stack(pool.values.aminmax(dim=0)) for pool in parts_in_memory(rows)]
    lowest = torch.stack(ends).amin(dim=0)[0]
    highest = torch.stack(ends).amax(dim=0)[1]
    bad = ((lowest < 0) | (highest > 1)).nonzero()
    if len(bad):
        column = int(bad[0])
        raise ValueError(
            f"{setting} needs values in [0, 1]; column"
            f" {column_label(names, column)} goes from {float(lowest[column]):g} to"
            f" {float(highest[column]):g} after scaling. Set scaling=None and bring the"
            " columns to [0, 1]."
        )
