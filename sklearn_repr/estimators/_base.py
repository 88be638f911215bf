"""What all estimators that train a network share."""

from __future__ import annotations

from collections.abc import Callable
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

from sklearn_repr._outputs import Batch
from sklearn_repr.corruptions import Corruption
from sklearn_repr.data import NumericCodec
from sklearn_repr.engine import RepresentationNet, TrainingSettings, infer, train
from sklearn_repr.engine.training import OPTIMIZERS
from sklearn_repr.modules import ACTIVATIONS
from sklearn_repr.modules.factory import MLPOptions
from sklearn_repr.objectives import Objective
from sklearn_repr.utils.devices import resolve_device, single_thread
from sklearn_repr.utils.randomness import Seeds, local_torch_seed
from sklearn_repr.utils.state import restored_on_failure
from sklearn_repr.utils.validation import validate_table

__all__ = ["BaseRepresentation"]


class BaseRepresentation(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Fit a network without labels and transform rows to its embedding.

    A subclass fills three hooks, `_build_corruption`, `_build_module` and
    `_build_objective`, names its parameters and documents itself.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "architecture": [StrOptions({"mlp"}), callable],
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
        "dtype": [StrOptions({"float32", "float64"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _codec: NumericCodec
    net_: RepresentationNet
    n_iter_: int
    loss_curve_: list[float]

    # fewer rows than this cannot make up a batch that the objective learns from
    _min_rows = 1

    # -- hooks -----------------------------------------------------------------------

    def _build_corruption(self) -> Corruption | None:
        """Return what happens to rows before the encoder, None for nothing."""
        return None

    def _build_module(self, rows: Batch) -> nn.Module:
        """Return a module that may start from `rows`; set nothing but n_components_."""
        raise NotImplementedError

    def _build_objective(self, codec: NumericCodec) -> Objective:
        """Return the objective; the codec says which columns form a block."""
        raise NotImplementedError

    def _auto_batch_size(self, n_rows: int) -> int:
        """Resolve ``batch_size="auto"``: some 20 batches, each of 32 to 256 rows."""
        return int(min(256, max(32, 2 ** (n_rows // 20).bit_length())))

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
        with restored_on_failure(self):
            continuing = self.warm_start and hasattr(self, "net_")
            X = self._validate(X, reset=not continuing)
            seeds = Seeds(self.random_state)
            codec = self._codec if continuing else self._fit_codec(X, seeds)
            rows = codec.encode(X)
            settings = self._training_settings(len(rows))
            split = settings.split(seeds)
            # held-out rows must not shape the start that they are to judge
            start_rows = rows if split is None else split(rows)[0]
            earlier = self.net_ if continuing else None
            net = train(
                self._start_module(start_rows, seeds, earlier),
                self._build_objective(codec),
                rows,
                corruption=self._build_corruption(),
                settings=settings,
                seeds=seeds,
                column_names=getattr(self, "feature_names_in_", None),
                global_generator=self.dropout > 0 or callable(self.architecture),
            )
            self._codec = codec
            self._record(net, earlier)
        return self

    def _validate(self, X: Any, *, reset: bool) -> Any:
        return validate_table(
            self,
            X,
            reset=reset,
            largest=float(np.finfo(self.dtype).max),
            ensure_min_samples=self._min_rows if reset else 1,
        )

    def _fit_codec(self, X: Any, seeds: Seeds) -> NumericCodec:
        names = getattr(self, "feature_names_in_", None)
        return NumericCodec(self.scaling, self.dtype, seeds["scaling"]).fit(X, names)

    def _start_module(
        self, rows: Batch, seeds: Seeds, earlier: RepresentationNet | None
    ) -> nn.Module:
        with single_thread(), local_torch_seed(seeds["module"]):
            module = self._build_module(rows)
        if earlier is None:
            return module
        try:
            module.load_state_dict(earlier.module_.state_dict())
        except RuntimeError as error:
            raise ValueError(
                "warm_start=True cannot continue: parameters that shape the network have"
                " changed since the last fit. Undo the change or set warm_start=False."
            ) from error
        return module

    def _mlp_options(self) -> MLPOptions:
        sizes = self.hidden_layer_sizes
        if not isinstance(sizes, str):
            sizes = tuple(np.atleast_1d(np.asarray(sizes, dtype=object)).tolist())
            for size in sizes:
                if not isinstance(size, Integral) or size < 1:
                    raise ValueError(
                        "hidden_layer_sizes must be 'auto' or hold positive integers,"
                        f" got {self.hidden_layer_sizes!r}."
                    )
        return MLPOptions(sizes, self.activation, self.dropout, self.layer_norm)

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
        )

    def _record(self, net: RepresentationNet, earlier: RepresentationNet | None) -> None:
        """Turn the net's history into fitted attributes."""
        columns = {key for key in net.history[0] if not key.endswith("_loss_best")}
        curves = {key: [row[key] for row in net.history] for key in columns}
        before = earlier is not None
        self.net_ = net
        self.n_iter_ = len(net.history) + (self.n_iter_ if before else 0)
        self.loss_curve_ = [*(self.loss_curve_ if before else []), *curves["train_loss"]]
        self.validation_curve_ = None
        if "valid_loss" in curves:
            self.validation_curve_ = curves["valid_loss"]
        self.best_loss_ = dict(net.callbacks_)["patience"].best_loss_
        self.loss_terms_ = {
            key: curves[key]
            for key in sorted(columns)
            if key.startswith(("train_", "valid_"))
            and key not in ("train_loss", "valid_loss", "train_batch_count")
        }

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
        X = self._validate(X, reset=False)
        return self._infer(self.net_.module_.encode, X).astype(X.dtype, copy=False)

    def _infer(self, function: Callable[[Tensor], Tensor], X: Any) -> NDArray[Any]:
        codec = self._codec

        def encode(rows: Any) -> Tensor:
            return codec.encode(rows).values

        return infer(function, encode, X, torch.device(self.net_.device))

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
