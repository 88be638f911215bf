"""What all estimators that train a network share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import Batch
from sklearn_repr.corruptions import Corruption, Pairs
from sklearn_repr.data import NumericCodec
from sklearn_repr.data.blocks import encode_table
from sklearn_repr.engine import RepresentationNet, TrainingSettings, infer, train
from sklearn_repr.engine.optimizer import OPTIMIZERS
from sklearn_repr.modules import ACTIVATIONS
from sklearn_repr.modules.factory import ArchitectureOptions
from sklearn_repr.objectives import Objective
from sklearn_repr.utils.devices import resolve_device, single_thread
from sklearn_repr.utils.randomness import Seeds, local_torch_seed
from sklearn_repr.utils.state import restored_on_failure
from sklearn_repr.utils.validation import check_cells, validate_table

__all__ = ["BaseRepresentation"]

# how the net's history calls the terms of a loss
TERM_PREFIXES = ("train_term_", "valid_term_")
# encoded values beyond this are as far out as a float32 network can tell
FAR_OUT = 1e15


class BaseRepresentation(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Fit a network without labels and transform rows to its embedding.

    A subclass fills three hooks, `_build_corruption`, `_build_module` and
    `_build_objective`, names its parameters and documents itself.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "architecture": [StrOptions({"mlp", "conv"}), callable],
        "input_shape": ["array-like", None],
        "kernel_size": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": [
            StrOptions({"auto"}),
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "layer_norm": ["boolean"],
        "scaling": [StrOptions({"standard", "robust", "quantile"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "callbacks": [list, tuple, None],
        "device": [str],
        "dtype": [StrOptions({"float32", "float64", "bfloat16"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _codec: NumericCodec
    net_: RepresentationNet
    n_iter_: int
    loss_curve_: list[float]
    loss_terms_: dict[str, list[float]]
    validation_curve_: list[float] | None
    n_components_: int

    # parameters that a warm start must find unchanged, besides scaling and dtype
    _shaping: ClassVar[tuple[str, ...]] = (
        "n_components",
        "architecture",
        "input_shape",
        "kernel_size",
        "stride",
        "hidden_layer_sizes",
        "activation",
        "layer_norm",
    )

    # fewer rows than this cannot make up a batch that the objective learns from
    _min_rows = 1
    # whether measures of the embedding are recorded: needs two views, or pairs
    _watches_embedding = False

    # -- hooks -----------------------------------------------------------------------

    def _build_corruption(self) -> Corruption | None:
        """Return what happens to rows before the encoder, None for nothing."""
        return None

    def _build_pairs(self) -> Pairs | None:
        """Return where the second of two views comes from, None for the same row."""
        return None

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        """Return a module that may start from `rows`; set nothing but n_components_."""
        raise NotImplementedError

    def _build_objective(self, codec: NumericCodec) -> Objective:
        """Return the objective; the codec says which columns form a block."""
        raise NotImplementedError

    def _auto_batch_size(self, n_rows: int) -> int:
        """Resolve ``batch_size="auto"``: some 20 batches, each of 32 to 256 rows."""
        return int(min(256, max(32, 2 ** (n_rows // 20).bit_length())))

    def _validate_training(self, X: Any, y: Any, *, reset: bool) -> Any:
        """Return what the codec is to encode."""
        return self._validate(X, reset=reset)

    def _column_names(self) -> Any:
        """Return the names of encoded columns, None if they have none."""
        return getattr(self, "feature_names_in_", None)

    def _encode_labels(self, y: Any, n_rows: int) -> Tensor | None:
        """Return the class index of every row (-1: unknown), None if `y` is not used."""
        return None

    def _check_rows(self, rows: Batch) -> None:
        """Refuse encoded rows that the objective cannot work with."""

    def _finish(self, net: RepresentationNet, rows: Batch) -> None:
        """Polish the trained module and set attributes that depend on it."""

    # -- fit -------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
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
        with restored_on_failure(self), torch.inference_mode(False):
            continuing = self.warm_start and hasattr(self, "net_")
            if continuing:
                self._check_unchanged()
            X = self._validate_training(X, y, reset=not continuing)
            seeds = Seeds(self.random_state)
            codec = self._codec if continuing else self._fit_codec(X, seeds)
            rows = encode_table(codec, X)
            rows.labels = self._encode_labels(y, len(rows))
            self._check_rows(rows)
            settings = self._training_settings(len(rows))
            pairs = self._build_pairs()
            split = settings.split(rows, seeds, numbered=pairs is not None)
            earlier = self.net_ if continuing else None
            net = train(
                # held-out rows must not shape the start that they are to judge
                self._start_module(split.train, split.held_out, seeds, earlier),
                self._build_objective(codec),
                split,
                corruption=self._build_corruption(),
                settings=settings,
                seeds=seeds,
                column_names=self._column_names(),
                global_generator=self._draws_globally(),
                pairs=pairs,
                watch_embedding=self._watches_embedding,
            )
            self._codec = codec
            self._fitted_params = self._shape_params()
            self._record(net, earlier)
            with single_thread():
                self._finish(net, rows)
        return self

    def _shape_params(self) -> dict[str, Any]:
        names = ("scaling", "dtype", *self._shaping)
        return {name: getattr(self, name) for name in names}

    def _check_unchanged(self) -> None:
        """Raise if a warm start cannot continue with today's parameters."""
        now = self._shape_params()
        for name, old in self._fitted_params.items():
            if not np.array_equal(now[name], old):
                raise ValueError(
                    f"warm_start=True cannot continue: {name} was {old!r} in the last fit"
                    f" and is {now[name]!r} now. Undo the change or set warm_start=False."
                )

    def _draws_globally(self) -> bool:
        """Tell whether code that is not ours, or dropout, may draw random numbers."""
        own = (self.architecture, self.optimizer, getattr(self, "loss", None))
        return bool(self.dropout or self.callbacks or any(map(callable, own)))

    def _lends_rows(self) -> bool:
        """Tell whether modules only read rows: a user's might write to them."""
        return getattr(self, "architecture", "mlp") == "mlp"

    def _validate(self, X: Any, *, reset: bool, infers: bool = False) -> Any:
        """Return the table; one that `infers` may be looked at by :meth:`_infer`."""
        X = validate_table(
            self,
            X,
            reset=reset,
            largest=None,
            ensure_min_samples=self._min_rows if reset else 1,
        )
        if not (infers and self._codec.keeps_bad_cells(X)):
            self._check_cells(X, self._weight_dtype() if reset else self._codec.dtype)
        return X

    def _check_cells(self, X: Any, dtype: Any) -> None:
        check_cells(self, X, float(np.finfo(dtype).max))

    def _fit_codec(self, X: Any, seeds: Seeds) -> NumericCodec:
        names = getattr(self, "feature_names_in_", None)
        dtype = self._weight_dtype()
        return NumericCodec(self.scaling, dtype, seeds["scaling"]).fit(X, names)

    def _weight_dtype(self) -> str:
        return "float32" if self.dtype == "bfloat16" else self.dtype

    def _start_module(
        self,
        rows: Batch,
        held_out: Batch | None,
        seeds: Seeds,
        earlier: RepresentationNet | None,
    ) -> nn.Module:
        with single_thread(), local_torch_seed(seeds["module"]):
            module = self._build_module(rows, held_out)
        if earlier is None:
            return module
        module.load_state_dict(earlier.module_.state_dict())
        return module

    def _architecture_options(self) -> ArchitectureOptions:
        sizes = self.hidden_layer_sizes
        if not isinstance(sizes, str):
            sizes = tuple(np.atleast_1d(np.asarray(sizes, dtype=object)).tolist())
            for size in sizes:
                if type(size) is bool or not isinstance(size, Integral) or size < 1:
                    raise ValueError(
                        "hidden_layer_sizes must be 'auto' or hold positive integers,"
                        f" got {self.hidden_layer_sizes!r}."
                    )
        given = {
            field.name: getattr(self, field.name)
            for field in fields(ArchitectureOptions)
            if hasattr(self, field.name)
        }
        return ArchitectureOptions(**{**given, "hidden_layer_sizes": sizes})

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        batch_size = self.batch_size
        if batch_size == "auto":
            batch_size = self._auto_batch_size(n_rows)
        return TrainingSettings(
            optimizer=self.optimizer,
            learning_rate_init=self.learning_rate_init,
            batch_size=max(batch_size, self._min_rows),
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

    def _record(self, net: RepresentationNet, earlier: RepresentationNet | None) -> None:
        """Turn the net's history into fitted attributes."""
        keys = ("train_loss", "valid_loss")
        curves: dict[str, list[float]] = {}
        for row in net.history:
            for key, value in row.items():
                if key in keys or key.startswith(TERM_PREFIXES):
                    name = key.replace("_term_", "_", 1)
                    curves.setdefault(name, []).append(value)
        if earlier is not None:
            before = {"train_loss": self.loss_curve_, **self.loss_terms_}
            before["valid_loss"] = self.validation_curve_ or []
            for key in curves:
                curves[key] = before.get(key, []) + curves[key]
        self.net_ = net
        self.loss_curve_ = curves.pop("train_loss", [])
        self.validation_curve_ = curves.pop("valid_loss", None)
        self.n_iter_ = len(self.loss_curve_)
        self.best_loss_ = dict(net.callbacks_)["engine_patience"].best_loss_
        self.loss_terms_ = dict(sorted(curves.items()))

    # -- use -------------------------------------------------------------------------

    def transform(self, X: Any) -> NDArray[Any]:
        """Map rows to their embedding.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            The embedding; float32 if `X` is float32, else float64.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False, infers=True)
        return self._infer(self.net_.module_.encode, X, dtype=X.dtype)

    def _infer(
        self,
        function: Callable[..., Tensor],
        X: Any,
        *,
        module: nn.Module | None = None,
        finish: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
        dtype: Any = None,
        codec: NumericCodec | None = None,
    ) -> NDArray[Any]:
        """Apply a function to encoded rows; see :func:`~sklearn_repr.engine.infer`."""
        codec, own = codec or self._codec, threading.local()
        as_they_are = self._lends_rows() and codec.is_identity(X)
        look = cache(lambda: self._check_cells(X, codec.dtype))

        def encode(rows: Any) -> Tensor:
            if as_they_are:
                encoded = rows
            else:
                # fresh memory for every chunk would cost as much as scaling it
                if not hasattr(own, "memory"):
                    own.memory = np.empty(rows.shape, codec.dtype)
                encoded = codec.convert(rows, own.memory[: rows.shape[0]])
            values = torch.from_numpy(encoded)
            # one look at all cells is cheaper than writing them
            cells = values.view(-1)
            if not float(cells.dot(cells)) < FAR_OUT**2:
                look()
                codec.refuse_infinite(encoded, rows)
                values = values.clamp(-FAR_OUT, FAR_OUT)
            return values

        return infer(
            function,
            encode,
            X,
            torch.device(self.net_.device),
            module=module,
            finish=finish,
            dtype=dtype,
        )

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
