"""What all estimators that rebuild their input share."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import Batch
from sklearn_repr.engine import infer
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.estimators._parts import refuse_outside_unit_interval
from sklearn_repr.modules.linear import PrincipalSubspace
from sklearn_repr.utils.containers import wrap_table
from sklearn_repr.utils.scores import explained_share
from sklearn_repr.utils.validation import check_latent, parts_of

__all__ = ["BaseReconstructor"]

# "auto" keeps as many components as PCA needs for this share of the variance
AUTO_SHARE = 0.9


class BaseReconstructor(BaseRepresentation):
    """An encoder with a way back; see :class:`BaseRepresentation`.

    A subclass also fills `_row_error`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseRepresentation._parameter_constraints,
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            StrOptions({"auto"}),
        ],
        "linear_skip": ["boolean"],
        "init": [StrOptions({"pca"}), None],
    }
    _shaping: ClassVar[tuple[str, ...]] = (*BaseRepresentation._shaping, "linear_skip")

    def _row_error(self, module: nn.Module, x: Tensor) -> Tensor:
        """Return how badly `module` rebuilds each encoded row, shape (n,)."""
        raise NotImplementedError

    def _is_linear(self) -> bool:
        """Tell networks without hidden layers."""
        return self.architecture == "mlp" and self._architecture_options().hidden(1) == ()

    def _wants_unit_interval(self) -> str | None:
        """Name the setting by which scaled values must lie in [0, 1], if any does."""
        return None

    def _check_rows(self, rows: Batch) -> None:
        setting = self._wants_unit_interval()
        if setting is not None:
            names = getattr(self, "feature_names_in_", None)
            refuse_outside_unit_interval(rows, names, setting)

    def _resolve_components(
        self, subspace: PrincipalSubspace | None, held_out: Batch | None
    ) -> None:
        """Set n_components_; a share needs a subspace."""
        if isinstance(self.n_components, Integral):
            self.n_components_ = int(self.n_components)
        elif subspace is not None and not (self.warm_start and hasattr(self, "net_")):
            share = AUTO_SHARE if self.n_components == "auto" else self.n_components
            judged_by = None if held_out is None else held_out.sample().values
            self.n_components_ = subspace.count_for_share(float(share), judged_by)

    def inverse_transform(self, Z: Any) -> Any:
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

    def reconstruct(self, X: Any) -> Any:
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

    def _rebuild(self, rows: Any) -> NDArray[Any]:
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

    def reconstruction_error(self, X: Any) -> NDArray[np.float64]:
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

    def score(self, X: Any, y: Any = None) -> float:
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
        return explained_share(rows, self.reconstruct(X))

    def _check_scored(self, X: Any) -> None:
        """Refuse rows that the loss is not defined for, a part of them at a time."""
        if self._wants_unit_interval():
            for part in parts_of(X):
                self._check_rows(self._codec.encode(part))

    def _wrapped(self, X: NDArray[Any], original: Any) -> Any:
        return wrap_table(X, self, original, getattr(self, "feature_names_in_", None))
