"""What a masked autoencoder does; its parameters are documented in masked.py."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import Batch
from sklearn_repr.corruptions import Corruption, HiddenCells
from sklearn_repr.data import NumericCodec
from sklearn_repr.engine import TrainingSettings
from sklearn_repr.estimators._parts import resolve_mask_ratio
from sklearn_repr.estimators._reconstructor import BaseReconstructor
from sklearn_repr.modules import principal_subspace
from sklearn_repr.modules.factors import best_width, fit_factors
from sklearn_repr.modules.masked import make_masked_network, path_width
from sklearn_repr.objectives import Objective, Reconstruction
from sklearn_repr.objectives.losses import RESIDUAL_LOSSES
from sklearn_repr.utils.patches import patch_numbers
from sklearn_repr.utils.randomness import make_generator
from sklearn_repr.utils.validation import check_input_shape

__all__ = ["BaseMasked"]

# Rows that the start is fitted to, and by which "auto" chooses the width of the code
ROWS_TO_START_FROM = 4096
ROWS_TO_CHOOSE_BY = 1024
# "auto" tries codes up to this width
WIDEST_AUTO = 64


class BaseMasked(BaseReconstructor):
    """Rows with hidden and missing cells; see :class:`BaseReconstructor`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: constraint
            for name, constraint in BaseReconstructor._parameter_constraints.items()
            if name not in ("kernel_size", "stride")
        },
        "architecture": [StrOptions({"mlp", "transformer"})],
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions(set(RESIDUAL_LOSSES)), callable],
        "loss_scale": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "mask_ratio": [Interval(Real, 0, 1, closed="left"), tuple, list],
    }
    _shaping: ClassVar[tuple[str, ...]] = (
        *(
            name
            for name in BaseReconstructor._shaping
            if name not in ("kernel_size", "stride")
        ),
        "patch_size",
    )

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        settings = super()._training_settings(n_rows)
        linear = self._is_linear()
        good = self.init == "pca" and (self.linear_skip or linear)
        # the linear path alone overfits no more than factor analysis does
        return replace(settings, hold_out=not linear, good_start=good)

    def _draws_globally(self) -> bool:
        return bool(self.dropout or self.callbacks or callable(self.optimizer)) or (
            callable(self.loss)
        )

    def _patches(self, n_columns: int) -> Any:
        shape = self.input_shape
        if shape is not None:
            shape = check_input_shape(shape, n_columns)
        return patch_numbers(n_columns, shape, int(self.patch_size))

    def _build_corruption(self) -> Corruption:
        level = resolve_mask_ratio(self.mask_ratio)
        return HiddenCells(level, self._patches(self.n_features_in_))

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        d = rows.values.shape[1]
        self._choose_width(rows, held_out)
        model = None
        if self.init == "pca":
            some = rows.some(ROWS_TO_START_FROM)
            model = fit_factors(some.values, path_width(d, self.n_components_))
        return make_masked_network(
            self.architecture,
            self._patches(d),
            self.n_components_,
            self._architecture_options(),
            linear_skip=self.linear_skip,
            model=model,
            dtype=rows.values.dtype,
        )

    def _choose_width(self, rows: Batch, held_out: Batch | None) -> None:
        """Set n_components_."""
        if isinstance(self.n_components, Integral):
            self.n_components_ = int(self.n_components)
        if isinstance(self.n_components, Integral) or (
            self.warm_start and hasattr(self, "net_")
        ):
            return
        if self.n_components != "auto":
            # missing cells as column means: what scaled rows are centred on
            known = rows.sample().values.nan_to_num()
            judges = held_out and Batch(held_out.sample().values.nan_to_num())
            self._resolve_components(principal_subspace(known), judges)
            return
        n, d = rows.values.shape
        judged_by = (rows if held_out is None else held_out).some(ROWS_TO_CHOOSE_BY)
        # few rows are hidden in many ways, so that the draw does not decide
        copies = torch.arange(len(judged_by)).repeat(
            -(-ROWS_TO_CHOOSE_BY // len(judged_by))
        )
        judged_by = judged_by.take(copies)
        inputs, mask = self._build_corruption()(judged_by.values, make_generator(0))
        judged = torch.as_tensor(mask)
        if judged_by.observed is not None:
            judged = judged & judged_by.observed
        widest = max(1, min(d - 1, n // 2, WIDEST_AUTO))
        some = rows.some(ROWS_TO_CHOOSE_BY).values
        self.n_components_ = best_width(
            some, inputs, judged_by.values.double(), judged, widest
        )

    def _build_objective(self, codec: NumericCodec) -> Objective:
        return Reconstruction(
            self.loss, scale=self.loss_scale, blocks=codec.blocks_, masked_only=True
        )

    def _row_error(self, module: nn.Module, x: Tensor) -> Tensor:
        objective: Objective = self.net_.criterion_
        target = Batch(x, ~x.isnan())
        return objective.terms(module(x), target)["reconstruction"]

    def impute(self, X: Any) -> Any:
        """Fill missing cells by what the other cells of their row say.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows, NaN where a cell is missing.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_in_)
            The rows, whose missing cells hold their reconstruction in original units
            and whose observed cells are as they were; a DataFrame if ``set_output`` asks
            for one.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        rebuilt = self._rebuild(rows)
        cells = rows.toarray() if sparse.issparse(rows) else rows
        return self._wrapped(np.where(np.isnan(cells), rebuilt, cells), X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
