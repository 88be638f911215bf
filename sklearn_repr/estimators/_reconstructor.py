"""What all estimators that rebuild their input share."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._outputs import Batch
from sklearn_repr.data import NumericCodec
from sklearn_repr.engine import RepresentationNet, TrainingSettings, infer
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.estimators._parts import (
    PENALTIES,
    SPARSE,
    make_code,
    make_objective,
    penalty_weights,
    refuse_outside_unit_interval,
)
from sklearn_repr.modules import make_autoencoder, principal_subspace
from sklearn_repr.modules.rotation import rotate_code
from sklearn_repr.objectives import LOSSES, Composite, Objective
from sklearn_repr.objectives.reconstruction import BINARY
from sklearn_repr.utils.containers import wrap_table
from sklearn_repr.utils.scores import explained_share
from sklearn_repr.utils.validation import check_latent

__all__ = ["BaseReconstructor"]

# "auto" keeps as many components as PCA needs for this share of the variance
AUTO_SHARE = 0.9
# Rows whose codes decide how the code is turned
ROWS_TO_TURN_BY = 10_000


class BaseReconstructor(BaseRepresentation):
    """An encoder with a way back; see :class:`BaseRepresentation`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseRepresentation._parameter_constraints,
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            StrOptions({"auto"}),
        ],
        "linear_skip": ["boolean"],
        "init": [StrOptions({"pca"}), None],
        "loss": [StrOptions(set(LOSSES)), callable],
        "loss_scale": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "penalty": [StrOptions(set(PENALTIES)), list, tuple, None],
        "penalty_weight": [Interval(Real, 0, None, closed="left"), "array-like"],
        "sparsity_target": [Interval(Real, 0, 1, closed="neither")],
        "tied_weights": ["boolean"],
    }

    _shaping: ClassVar[tuple[str, ...]] = (
        *BaseRepresentation._shaping,
        "linear_skip",
        "tied_weights",
    )

    explained_variance_ratio_: NDArray[np.float64]

    def _penalties(self) -> dict[str, float]:
        return penalty_weights(self.penalty, self.penalty_weight)

    def _is_linear(self) -> bool:
        """Tell networks without hidden layers."""
        return self.architecture == "mlp" and self._mlp_options().hidden(1) == ()

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        settings = super()._training_settings(n_rows)
        if not self._is_linear():
            return settings
        # PCA of all rows is then the solution, or at least the start
        is_pca = self.init == "pca" and self.loss == "squared_error" and not self.alpha
        best = is_pca and not self._penalties() and self._build_corruption() is None
        return replace(settings, hold_out=False, best_start=best)

    def _check_rows(self, rows: Batch) -> None:
        if self.loss == BINARY:
            names = getattr(self, "feature_names_in_", None)
            refuse_outside_unit_interval(rows, names)

    def _build_module(self, rows: Batch) -> nn.Module:
        penalties = self._penalties()
        # probabilities and rates have no linear start
        bounded = self.loss == BINARY or "kl_sparsity" in penalties
        # no eigenvectors for init=None and a plain number: they cost d³
        by_share = not isinstance(self.n_components, Integral)
        subspace = None
        if (self.init == "pca" and not bounded) or by_share:
            wanted = None if by_share else int(self.n_components)
            subspace = principal_subspace(rows.values, wanted)
        if not by_share:
            self.n_components_ = int(self.n_components)
        elif subspace is not None and not (self.warm_start and hasattr(self, "net_")):
            share = AUTO_SHARE if self.n_components == "auto" else self.n_components
            self.n_components_ = subspace.count_for_share(float(share))
        self._warn_if_overcomplete(rows.values.shape[1])
        return make_autoencoder(
            self.architecture,
            rows.values.shape[1],
            self.n_components_,
            self._mlp_options(),
            linear_skip=self.linear_skip,
            tied_weights=self.tied_weights,
            code=make_code(penalties, self.sparsity_target, self.n_components_),
            link=nn.Sigmoid() if self.loss == BINARY else None,
            subspace=subspace if self.init == "pca" and not bounded else None,
            dtype=rows.values.dtype,
        )

    def _warn_if_overcomplete(self, width: int) -> None:
        regularised = self._penalties() or self.alpha or self.dropout
        chosen = isinstance(self.n_components, Integral)
        if regularised or not chosen or self.n_components_ < width:
            return
        if self._build_corruption() is None:
            warnings.warn(
                f"The code is as wide as the table or wider (n_components="
                f"{self.n_components_}, {width} columns) and nothing keeps it from"
                " copying its input. Lower n_components, set penalty or alpha, or use"
                " DenoisingAutoencoder.",
                UserWarning,
                stacklevel=2,
            )

    def _build_objective(self, codec: NumericCodec) -> Objective:
        return make_objective(
            self.loss, self.loss_scale, self._penalties(), self.sparsity_target, codec
        )

    def _finish(self, net: RepresentationNet, rows: Batch) -> None:
        if hasattr(self, "explained_variance_ratio_"):
            del self.explained_variance_ratio_
        if self.architecture != "mlp" or SPARSE & set(self._penalties()):
            return
        some = rows.take(slice(0, ROWS_TO_TURN_BY))
        module = net.module_
        values = some.values.to(net.device)
        with torch.inference_mode():
            codes = module.encode(values)
        variance = rotate_code(module, values, codes).cpu().numpy()
        total = float(values.double().var(dim=0, correction=0).sum())
        self.explained_variance_ratio_ = variance / total if total else 0 * variance

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
        )
        return self._in_original_units(decoded, codes.dtype, Z)

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
        module = self.net_.module_
        decoded = self._infer(lambda x: module.decode(module.encode(x)), rows)
        return self._in_original_units(decoded, rows.dtype, X)

    def reconstruction_error(self, X: Any) -> NDArray[np.float64]:
        """Measure how badly each row reconstructs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        error : ndarray of shape (n_samples,)
            `loss`, summed over scaled columns: the term that training minimises.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        module, objective = self.net_.module_, self.net_.criterion_
        if isinstance(objective, Composite):
            objective = objective.objectives[0]

        def error(x: Tensor) -> Tensor:
            terms: dict[str, Tensor] = objective.terms(module(x), Batch(x))
            return terms["reconstruction"]

        return self._infer(error, X).astype(np.float64)

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

    def _in_original_units(self, decoded: Any, dtype: Any, original: Any) -> Any:
        X = self._codec.decode(decoded).astype(dtype, copy=False)
        return wrap_table(X, self, original, getattr(self, "feature_names_in_", None))
