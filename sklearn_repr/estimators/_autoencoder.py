"""What autoencoders with a deterministic code share: losses, penalties, turned codes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from sklearn_repr._contracts import Batch
from sklearn_repr.data import NumericCodec
from sklearn_repr.engine import RepresentationNet, TrainingSettings, infer
from sklearn_repr.estimators._parts import (
    PENALTIES,
    SPARSE,
    make_code,
    make_objective,
    penalty_weights,
)
from sklearn_repr.estimators._reconstructor import BaseReconstructor
from sklearn_repr.modules import make_autoencoder, principal_subspace
from sklearn_repr.modules.rotation import rotate_code
from sklearn_repr.objectives import LOSSES, Composite, Objective
from sklearn_repr.objectives.reconstruction import BINARY

__all__ = ["BaseAutoencoder"]

# Rows whose codes decide how the code is turned
ROWS_TO_TURN_BY = 10_000


class BaseAutoencoder(BaseReconstructor):
    """A deterministic code; see :class:`BaseReconstructor`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseReconstructor._parameter_constraints,
        "loss": [StrOptions(set(LOSSES)), callable],
        "loss_scale": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "penalty": [StrOptions(set(PENALTIES)), list, tuple, None],
        "penalty_weight": [Interval(Real, 0, None, closed="left"), "array-like"],
        "sparsity_target": [Interval(Real, 0, 1, closed="neither")],
        "tied_weights": ["boolean"],
    }

    _shaping: ClassVar[tuple[str, ...]] = (
        *BaseReconstructor._shaping,
        "tied_weights",
    )

    explained_variance_ratio_: NDArray[np.float64]

    def _penalties(self) -> dict[str, float]:
        return penalty_weights(self.penalty, self.penalty_weight)

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        settings = super()._training_settings(n_rows)
        linear = self._is_linear()
        has_path = linear or (self.linear_skip and not callable(self.architecture))
        good = self.init == "pca" and has_path and not self._is_bounded()
        # a linear network overfits no more than PCA does: judge it by all rows
        return replace(settings, hold_out=not linear, good_start=good)

    def _wants_unit_interval(self) -> str | None:
        return f"loss={BINARY!r}" if self.loss == BINARY else None

    def _is_bounded(self) -> bool:
        """Tell probabilities and rates, which have no linear start."""
        return self.loss == BINARY or "kl_sparsity" in self._penalties()

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        penalties, bounded = self._penalties(), self._is_bounded()
        # no eigenvectors for init=None and a plain number: they cost d³
        by_share = not isinstance(self.n_components, Integral)
        subspace = None
        if (self.init == "pca" and not bounded) or by_share:
            exact = by_share or self._is_linear()
            wanted = None if exact else int(self.n_components)
            subspace = principal_subspace(rows.values, wanted)
        self._resolve_components(subspace, held_out)
        self._warn_if_overcomplete(rows.values.shape[1])
        return make_autoencoder(
            self.architecture,
            rows.values.shape[1],
            self.n_components_,
            self._architecture_options(),
            linear_skip=self.linear_skip,
            tied_weights=self.tied_weights,
            code=make_code(penalties, self.sparsity_target, self.n_components_),
            link=nn.Sigmoid() if self.loss == BINARY else None,
            subspace=subspace if self.init == "pca" and not bounded else None,
            dtype=rows.values.dtype,
        )

    def _warn_if_overcomplete(self, width: int) -> None:
        regularised = any(self._penalties().values()) or self.alpha or self.dropout
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
        if callable(self.architecture) or SPARSE & set(self._penalties()):
            return
        module = net.module_
        values = rows.some(ROWS_TO_TURN_BY).values
        codes = infer(module.encode, torch.from_numpy, values.cpu().numpy(), net.device)
        centred = values.to(net.device).double()
        centred -= centred.mean(dim=0)
        contractive = "contractive" in self._penalties()
        turned = rotate_code(
            module,
            centred,
            torch.from_numpy(codes).to(net.device),
            keep_lengths=contractive,
        )
        variance = turned.cpu().numpy()
        total = float(torch.linalg.vector_norm(centred)) ** 2 / len(centred)
        self.explained_variance_ratio_ = variance / total if total else 0 * variance

    def _row_error(self, module: nn.Module, x: Tensor) -> Tensor:
        objective = self.net_.criterion_
        if isinstance(objective, Composite):
            objective = objective.objectives[0]
        terms: dict[str, Tensor] = objective.terms(module(x), Batch(x))
        return terms["reconstruction"]
