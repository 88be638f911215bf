"""What all estimators that train a network share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import DTypeLike
from sklearn.base import (
    _fit_context,
)
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from sklearn_repr._contracts import Array, Batch, Constraints, Labels, Table, Weights
from sklearn_repr.corruptions import Corruption, Pairs
from sklearn_repr.data import Codec, Columns, NumericCodec, choose_codec
from sklearn_repr.data.batches import bounded, usual_batch_size
from sklearn_repr.data.blocks import encode_table
from sklearn_repr.data.chunks import chunk_encoder
from sklearn_repr.data.columns import read_table
from sklearn_repr.engine import RepresentationNet, TrainingSettings, infer, train
from sklearn_repr.engine.optimizer import OPTIMIZERS
from sklearn_repr.engine.packing import Packable
from sklearn_repr.engine.schedule import refuse_patience
from sklearn_repr.engine.training import epoch_curves
from sklearn_repr.modules import ACTIVATIONS
from sklearn_repr.modules.factory import ArchitectureOptions
from sklearn_repr.objectives import Objective
from sklearn_repr.utils import constraints
from sklearn_repr.utils.devices import resolve_device, single_thread
from sklearn_repr.utils.randomness import Seeds, local_torch_seed
from sklearn_repr.utils.state import restored_on_failure
from sklearn_repr.utils.validation import (
    check_cells,
    check_input_shape,
    check_layer_sizes,
)

__all__ = ["BaseTrained"]


class BaseTrained(Packable):
    """Fit a network without labels.

    A subclass names its parameters, documents itself and fills hooks. They run in the
    order of this table, and none depends on another having run.

    ============================= ========================== ===========================
    hook                          when `fit` calls it        returns
    ============================= ========================== ===========================
    `_validate_training(X, y,     first                      the table to encode
    sample_weight)`
    `_arrange(X, sample_weight)`  before scaling             rows as often as they count,
                                                             and weights or None
    `_after_encoding(rows, y)`    rows are encoded           None; refuses rows, warns,
                                                             sets ``rows.labels``
    `_training_settings(n_rows)`  before rows are held out   TrainingSettings
    `_build_module(rows,          rows are held out          the module, which may start
    held_out)`                                               from `rows`; sets
                                                             ``n_components_``, if any
    `_build_objective(codec,      the module is built        the objective
    module)`
    `_build_corruption()`         before training            what happens to rows before
                                                             the encoder, or None
    `_build_pairs()`              before training            where the second of two
                                                             views comes from, or None
    `_after_training(net, rows)`  the net is trained         None; sets attributes
    ============================= ========================== ===========================

    It may also answer otherwise: `_auto_batch_size`, what ``batch_size="auto"`` is;
    `_draws_globally`, whether training needs torch's global generator;
    `_leaves_rows_unchanged`, whether the module only reads rows; `_shape_params`, what a
    warm start must find as it was; `_fit_codec`. A parameter that it does not have is
    read by `_option` with a default.
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "scaling": [StrOptions(constraints.SCALINGS), None],
        **constraints.CATEGORIES,
        "input_shape": ["array-like", None],
        "hidden_layer_sizes": [constraints.AUTO, "array-like", constraints.COUNT],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [constraints.SHARE_BELOW_1],
        "alpha": [constraints.NOT_NEGATIVE],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "learning_rate": [StrOptions({"constant", "one_cycle", "cosine", "plateau"})],
        "learning_rate_init": [constraints.POSITIVE],
        "gradient_clip": [constraints.POSITIVE, None],
        "batch_size": [constraints.AUTO, constraints.COUNT],
        "max_iter": [constraints.COUNT],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [constraints.COUNT],
        "tol": [constraints.NOT_NEGATIVE],
        "warm_start": ["boolean"],
        "callbacks": [list, tuple, None],
        "device": [str],
        "dtype": [StrOptions({"float32", "float64", "bfloat16"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _codec: Codec
    # how a frame with categories is read; None where all columns are numbers
    _columns: Columns | None
    net_: RepresentationNet
    loss_curve_: list[float]
    validation_curve_: list[float] | None
    loss_terms_: dict[str, list[float]]

    # parameters that a warm start must find unchanged
    _shaping: ClassVar[tuple[str, ...]] = (
        *("n_components", "scaling", "architecture", "input_shape", "kernel_size"),
        *("stride", "hidden_layer_sizes", "activation", "layer_norm", "dtype"),
        *constraints.CATEGORIES,
    )
    # fewer rows than this cannot make up a batch that the objective learns from
    _min_rows = 1
    # whether measures of the embedding are recorded: needs two views, or pairs
    _watches_embedding = False
    # whether `fit` trains the module, or leaves it at its start
    _trains = True
    # whether the module looks for missing cells itself, as NaN; others see the mean there
    _sees_holes = False

    def _option(self, name: str, default: Any = None) -> Any:
        """Return a parameter, or a default where the estimator has no such parameter."""
        return getattr(self, name, default)

    # -- hooks -----------------------------------------------------------------------

    def _validate_training(
        self, X: Table, y: Labels, sample_weight: Weights, *, reset: bool
    ) -> Table:
        return self._validate(X, reset=reset, weights=sample_weight)

    def _arrange(self, X: Table, sample_weight: Weights) -> tuple[Table, Array | None]:
        """Return the rows as often as they count, and weights that say the rest."""
        return X, None

    def _after_encoding(self, rows: Batch, y: Labels) -> None:
        pass

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        batch_size = self.batch_size
        if batch_size == "auto":
            batch_size = bounded(self._auto_batch_size(n_rows), self._codec.n_encoded_)
        return TrainingSettings(
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            learning_rate_init=self.learning_rate_init,
            gradient_clip=self.gradient_clip,
            batch_size=batch_size,
            max_iter=self.max_iter,
            early_stopping=self.early_stopping,
            validation_fraction=self.validation_fraction,
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            alpha=self.alpha,
            callbacks=self.callbacks,
            device=resolve_device(self.device),
            verbose=int(self.verbose),
            min_rows=self._min_rows,
            label=type(self).__name__,
            mixed=self.dtype == "bfloat16",
        )

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        raise NotImplementedError

    def _build_objective(self, codec: Codec, module: nn.Module) -> Objective:
        raise NotImplementedError

    def _build_corruption(self) -> Corruption | None:
        return None

    def _build_pairs(self) -> Pairs | None:
        return None

    def _after_training(self, net: RepresentationNet, rows: Batch) -> None:
        pass

    # -- fit -------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Table, y: Labels = None) -> Self:
        """Learn the representation.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows.
        y : None
            Ignored; here for scikit-learn's conventions.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y)

    def _fit(self, X: Table, y: Labels, sample_weight: Weights = None) -> Self:
        with restored_on_failure(self), torch.inference_mode(False):
            refuse_patience(self)
            continuing = self._continues()
            if continuing:
                self._check_unchanged()
            X = self._validate_training(X, y, sample_weight, reset=not continuing)
            X, weights = self._arrange(X, sample_weight)
            seeds = Seeds(self.random_state)
            codec = self._codec if continuing else self._fit_codec(X, seeds, weights)
            self._codec = codec
            rows = encode_table(codec, X, weights)
            self._after_encoding(rows, y)
            settings = self._training_settings(len(rows))
            settings = settings if self._trains else replace(settings, max_iter=0)
            pairs = self._build_pairs()
            split = settings.split(rows, seeds, numbered=pairs is not None)
            # held-out rows must not shape the start that they are compared with
            with single_thread(), local_torch_seed(seeds["module"]):
                parts: Any = split[1:]
                module = self._build_module(*parts)
            if continuing:
                module.load_state_dict(self.net_.module_.state_dict())
            net = train(
                module,
                self._build_objective(codec, module),
                split,
                corruption=self._grouped_corruption(),
                settings=settings,
                seeds=seeds,
                column_names=codec.encoded_names(),
                global_generator=self._draws_globally(),
                pairs=pairs,
                watch_embedding=self._watches_embedding,
            )
            self._fitted_params = self._shape_params()
            self._record(net, continuing)
            with single_thread():
                self._after_training(net, rows)
        return self

    def _continues(self) -> bool:
        """Tell a warm start that goes on from an earlier fit."""
        return bool(self.warm_start and hasattr(self, "net_"))

    def _shape_params(self) -> dict[str, Any]:
        return {name: self._option(name) for name in self._shaping}

    def _check_unchanged(self) -> None:
        """Raise if a warm start cannot continue with today's parameters."""
        now = self._shape_params()
        for name, old in self._fitted_params.items():
            if not np.array_equal(now[name], old):
                raise ValueError(
                    f"warm_start=True cannot continue: {name} was {old!r} in the last fit"
                    f" and is {now[name]!r} now. Undo the change or set warm_start=False."
                )

    def _auto_batch_size(self, n_rows: int) -> int:
        """Resolve ``batch_size="auto"``: some 20 batches, each of 32 to 256 rows."""
        return usual_batch_size(n_rows)

    def _grouped_corruption(self) -> Corruption | None:
        """Return a corruption that replaces together what makes up a cell."""
        corruption = self._build_corruption()
        if corruption is not None and self._codec.columns_ is not None:
            corruption.group(torch.from_numpy(self._codec.columns_))
        return corruption

    def _row_shape(self) -> tuple[int, ...] | None:
        """Return `input_shape`, checked against the table; None where there is none."""
        shape = self.input_shape
        return None if shape is None else check_input_shape(shape, self.n_features_in_)

    def _draws_globally(self) -> bool:
        """Tell whether dropout, or code that is not ours, may draw random numbers."""
        foreign = map(callable, map(self._option, ("architecture", "optimizer", "loss")))
        return bool(self.dropout or self.callbacks or any(foreign))

    def _leaves_rows_unchanged(self) -> bool:
        """Tell modules that only read rows: a user's might write to them."""
        return bool(self._option("architecture", "mlp") == "mlp")

    def _validate(
        self, X: Table, *, reset: bool, infers: bool = False, weights: Weights = None
    ) -> Table:
        """Return the table; one that `infers` may be looked at by :meth:`_infer`."""
        few = self._min_rows if reset else 1
        X = read_table(self, X, reset=reset, ensure_min_samples=few, weights=weights)
        if not (infers and self._codec.keeps_bad_cells(X)):
            self._check_cells(X, self._weight_dtype() if reset else self._codec.dtype)
        return X

    def _check_cells(self, X: Table, dtype: DTypeLike) -> None:
        check_cells(self, X, float(np.finfo(dtype).max))

    def _fit_codec(self, X: Table, seeds: Seeds, weights: Weights) -> Codec:
        names = getattr(self, "feature_names_in_", None)
        dtype, fill = self._weight_dtype(), not self._sees_holes
        numbers = NumericCodec(self.scaling, dtype, seeds["scaling"], fill=fill)
        of_tables = hasattr(self, "categorical_features")
        shaped = not of_tables or self._option("input_shape") is not None
        codec = choose_codec(numbers, self._columns, X, shaped=shaped)
        return codec.fit(X, names, weights)

    def _weight_dtype(self) -> str:
        return "float32" if self.dtype == "bfloat16" else self.dtype

    def _architecture_options(self) -> ArchitectureOptions:
        given = {
            field.name: self._option(field.name, field.default)
            for field in fields(ArchitectureOptions)
        }
        given["hidden_layer_sizes"] = check_layer_sizes(self.hidden_layer_sizes)
        return ArchitectureOptions(**given)

    def _record(self, net: RepresentationNet, continuing: bool) -> None:
        """Set attributes from the net's history, which continues that of a warm start."""
        loss = self.loss_curve_ if continuing else []
        validation = (self.validation_curve_ or []) if continuing else []
        terms = self.loss_terms_ if continuing else {}
        curves = epoch_curves(net, "")
        patience = dict(net.callbacks_)["engine_patience"]
        chosen = "valid_loss" in curves and net.criterion_.comparable
        self.net_, net.warm_start = net, self.warm_start
        self.loss_curve_ = loss + curves.get("train_loss", [])
        self.validation_curve_ = None
        if "valid_loss" in curves:
            self.validation_curve_ = validation + curves["valid_loss"]
        self.n_iter_ = len(self.loss_curve_)
        if not chosen:
            self.best_epoch_ = self.n_iter_
        elif patience.best_epoch_ or not continuing:
            self.best_epoch_ = len(loss) + patience.best_epoch_
        self.best_loss_ = patience.best_loss_
        self.loss_terms_ = {
            name: terms.get(name, []) + curves[key]
            for key in sorted(curves)
            if (name := key.replace("_term_", "_", 1)) != key
        }

    # -- use -------------------------------------------------------------------------

    def _infer(
        self,
        function: Callable[..., Tensor],
        X: Table,
        *,
        module: nn.Module | None = None,
        finish: Callable[[Array], Array] | None = None,
        dtype: DTypeLike | None = None,
        codec: Codec | None = None,
        fill: bool | None = None,
        chunk: int | None = None,
    ) -> Array:
        """Apply a function to encoded rows; see :func:`~sklearn_repr.engine.infer`.

        Missing cells are filled as the codec does, unless `fill` says otherwise.
        """
        codec = codec or self._codec
        rows, encoder = chunk_encoder(
            codec,
            X,
            read_only=self._leaves_rows_unchanged(),
            check=lambda: self._check_cells(X, codec.dtype),
            fill=codec.fill if fill is None else fill,
        )
        device = torch.device(self.net_.device)
        options: dict[str, Any] = {"finish": finish, "dtype": dtype, "chunk": chunk}
        return infer(function, encoder, rows, device, module=module, **options)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = True
        tags.input_tags.categorical = hasattr(self, "categorical_features")
        return tags
