"""Parameters of contrastive embedders to views, pairs, network and objective."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import Batch
from sklearn_repr.corruptions import (
    ColumnSubset,
    Corruption,
    LabelPairs,
    MarginalSwap,
    NeighborPairs,
    Pairs,
    TimePairs,
    TwoViews,
    make_views,
)
from sklearn_repr.data import NumericCodec
from sklearn_repr.data.batches import batch_sizes
from sklearn_repr.engine import RepresentationNet, TrainingSettings, evaluate
from sklearn_repr.engine.quality import QUALITY_PREFIX
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.modules import SelfPredictiveNetwork, make_contrastive_network, make_mlp
from sklearn_repr.modules.readout import unit_length
from sklearn_repr.objectives import (
    BYOL,
    AlignUniform,
    BarlowTwins,
    Composite,
    NTXent,
    Objective,
    Reconstruction,
    SimSiam,
    SupCon,
    Triplet,
    VICReg,
)
from sklearn_repr.utils.labels import encode_labels
from sklearn_repr.utils.randomness import local_torch_seed
from sklearn_repr.utils.validation import check_input_shape

__all__ = ["OBJECTIVES", "PAIRS", "BaseContrastiveEmbedder"]

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "align_uniform": AlignUniform,
    "barlow_twins": BarlowTwins,
    "byol": BYOL,
    "nt_xent": NTXent,
    "simsiam": SimSiam,
    "supcon": SupCon,
    "triplet": Triplet,
    "vicreg": VICReg,
}
# where the second view comes from, if not from the row itself
PAIRS: dict[str, Callable[[int], Pairs]] = {
    "label": lambda n_neighbors: LabelPairs(),
    "neighbors": NeighborPairs,
    "time": TimePairs,
}
# rows that are compared with each other in score, whatever the training batch was
SCORE_BATCH = 256
# rows from which the readout takes its axes, and how many of them are in memory
ROWS_TO_READ = 10_000
ROWS_AT_A_TIME = 512
# the encoder of tables, and the least number of epochs, whatever `max_steps` says
HIDDEN = (256, 256, 256)
LEAST_EPOCHS = 5
# SimSiam's predictor is narrower than the projection by this factor
BOTTLENECK = 4


class BaseContrastiveEmbedder(BaseRepresentation):
    """Hooks, labels and score; parameters and documentation are the subclass's."""

    readout: str
    normalize: bool
    predictor: bool
    target_momentum: float
    projection_dim: int
    objective: Any
    temperature: float
    learn_temperature: bool
    reconstruction_weight: float
    pairs: str
    n_neighbors: int
    views: Any
    corruption_level: Any
    latent_mixup: float
    learning_rate: str
    chunk_size: int | None
    max_steps: int | None
    embedding_curves_: dict[str, list[float]]

    _shaping: ClassVar[tuple[str, ...]] = (
        *BaseRepresentation._shaping,
        "readout",
        "projection_dim",
        "predictor",
    )
    # a row alone has nothing to be contrasted with
    _min_rows = 2
    _watches_embedding = True

    def _auto_batch_size(self, n_rows: int) -> int:
        return 128

    # -- views and pairs -------------------------------------------------------------

    def _build_corruption(self) -> Corruption:
        shape = self.input_shape
        if shape is not None:
            shape = check_input_shape(shape, self.n_features_in_)
        views = make_views(self.views, self.corruption_level, input_shape=shape)
        # pairs bring two rows for each, of which every one is corrupted once
        return TwoViews(views) if self._pairing() == "row" else views

    def _pairing(self) -> str:
        """Resolve ``pairs="auto"``."""
        if self.pairs != "auto":
            return self.pairs
        table = self.architecture == "mlp" and not self._needs_labels()
        return "neighbors" if table else "row"

    def _build_pairs(self) -> Pairs | None:
        pairing = self._pairing()
        return None if pairing == "row" else PAIRS[pairing](self.n_neighbors)

    def _warn_of_same_views(self, width: int) -> None:
        """Warn if a share of the columns, rounded down, is less than one cell."""
        views = self._build_corruption()
        only = views.corruption if isinstance(views, TwoViews) else None
        if not isinstance(only, MarginalSwap | ColumnSubset):
            return
        level = only.level
        if not isinstance(level, tuple) and level * width + 1e-6 < 1:
            warnings.warn(
                f"corruption_level={level} of {width} columns is less than one cell: both"
                " views of a row are the same. Raise it to at least"
                f" {np.ceil(100 / width) / 100:g}.",
                UserWarning,
                stacklevel=3,
            )

    # -- network and objective -------------------------------------------------------

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        self.n_components_ = int(self.n_components)
        width = rows.values.shape[1]
        self._warn_of_same_views(width)
        options = self._architecture_options()
        if self.architecture == "mlp" and isinstance(options.hidden_layer_sizes, str):
            options = replace(options, hidden_layer_sizes=HIDDEN)
        size = int(self.projection_dim)
        objective = self._make_objective()
        network: Any = make_contrastive_network(
            self.architecture,
            width,
            self.n_components_,
            options,
            projection_dim=size,
            reconstructs=self.reconstruction_weight > 0,
            all_layers=self._reads_layers(),
            latent_mixup=self.latent_mixup,
            batch_norm=objective.batch_norm_heads,
        )
        if not objective.needs_prediction:
            return network  # type: ignore[no-any-return]
        predictor = None
        if self.predictor:
            hidden = size if objective.needs_target else max(size // BOTTLENECK, 1)
            predictor = make_mlp(
                [size, hidden, size],
                activation=options.activation,
                batch_norm=objective.batch_norm_heads,
            )
        n_held_out = 0 if held_out is None else len(held_out)
        settings = self._training_settings(len(rows) + n_held_out)
        return SelfPredictiveNetwork(
            network.encoder,
            network.head,
            predictor,
            self.target_momentum if objective.needs_target else None,
            settings.max_iter * len(batch_sizes(len(rows), settings.batch_size)),
            decoder=network.decoder,
            readout=network.readout,
            mixup=network.mixup,
        )

    def _draws_globally(self) -> bool:
        return self.latent_mixup > 0 or super()._draws_globally()

    def _reads_layers(self) -> bool:
        """Resolve ``readout="auto"``."""
        table = self.architecture == "mlp"
        if self.readout == "layers" and not table:
            raise ValueError(
                "readout='layers' needs architecture='mlp', whose layers are known; got"
                f" architecture={self.architecture!r}. Set readout='last'."
            )
        return table and self.readout != "last"

    def _make_objective(self) -> Objective:
        if isinstance(self.objective, Objective):
            return copy.deepcopy(self.objective)  # training must not change the parameter
        if self.objective == "nt_xent":
            return NTXent(self.temperature, self.learn_temperature)
        if self.objective == "supcon":
            return SupCon(self.temperature)
        return OBJECTIVES[self.objective]()

    def _build_objective(self, codec: NumericCodec) -> Objective:
        objective = self._make_objective()
        if self.reconstruction_weight > 0:
            weight = self.reconstruction_weight / codec.n_encoded_
            objective = Composite(
                [objective, Reconstruction(blocks=codec.blocks_)],
                {**objective.weights, "reconstruction": weight},
            )
        if objective.needs_labels and self._pairing() not in ("row", "label"):
            raise ValueError(
                f"objective={self.objective!r} takes all rows of a class for positives:"
                f" choose pairs='row' or 'label', not {self.pairs!r}."
            )
        earlier = getattr(self, "net_", None) if self.warm_start else None
        if earlier is not None and list(objective.parameters()):
            state = earlier.criterion_.state_dict()
            if state.keys() == objective.state_dict().keys():
                objective.load_state_dict(state)
        return objective

    def _shape_params(self) -> dict[str, Any]:
        objective = self._make_objective()
        kind = "one without a head of its own"
        if objective.needs_prediction or objective.batch_norm_heads:
            kind = type(objective).__name__
        rebuilds = self.reconstruction_weight > 0
        extra = {"objective": kind, "reconstruction_weight > 0": rebuilds}
        return {**super()._shape_params(), **extra}

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        settings = super()._training_settings(n_rows)
        epochs = self.max_iter
        if self.max_steps is not None:
            held_out = self.early_stopping * self.validation_fraction
            trained = n_rows - int(held_out * n_rows)
            steps = len(batch_sizes(trained, settings.batch_size))
            wanted = min(-(-self.max_steps // steps), n_rows)
            epochs = min(epochs, max(wanted, LEAST_EPOCHS))
        return replace(
            settings,
            max_iter=epochs,
            learning_rate=self.learning_rate,
            chunk_size=self.chunk_size,
        )

    # -- labels ----------------------------------------------------------------------

    def _needs_labels(self) -> bool:
        named = isinstance(self.objective, str) and self.objective == "supcon"
        return bool(
            named
            or getattr(self.objective, "needs_labels", False)
            or self.pairs == "label"
        )

    def _encode_labels(self, y: Any, n_rows: int) -> Tensor | None:
        if not self._needs_labels():
            return None
        who = (
            "pairs='label'" if self.pairs == "label" else f"objective={self.objective!r}"
        )
        return encode_labels(y, n_rows, who)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._needs_labels()
        return tags

    # -- after training --------------------------------------------------------------

    def _record(self, net: RepresentationNet, earlier: RepresentationNet | None) -> None:
        curves: dict[str, list[float]] = {}
        for row in net.history:
            for key, value in row.items():
                if key.startswith(QUALITY_PREFIX):
                    curves.setdefault(key.removeprefix(QUALITY_PREFIX), []).append(value)
        if earlier is not None:
            before = self.embedding_curves_
            curves = {key: before.get(key, []) + curve for key, curve in curves.items()}
        self.embedding_curves_ = curves
        super()._record(net, earlier)

    def _finish(self, net: RepresentationNet, rows: Batch) -> None:
        if net.module_.readout is not None:
            some = rows.some(ROWS_TO_READ).values.to(net.device)
            # a few axes of very many are approximated by random projections
            with torch.no_grad(), local_torch_seed(0):
                parts = map(net.module_.layers, torch.split(some, ROWS_AT_A_TIME))
                layers = [torch.cat(part) for part in zip(*parts, strict=True)]
                net.module_.readout.fit(layers)
        # unfitted: they hold no rows
        self._views, self._pairs = self._build_corruption(), self._build_pairs()

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
        if not self.normalize:
            return super().transform(X)
        X = self._validate(X, reset=False)
        encode = self.net_.module_.encode

        def unit(x: Tensor) -> Tensor:
            return unit_length(encode(x))

        return self._infer(unit, X).astype(X.dtype, copy=False)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the negative loss on fixed views of the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            At least two rows; the same rows always get the same score.
        y : array-like of shape (n_samples,) or None, default=None
            Labels, where `objective` or `pairs` needs them.

        Returns
        -------
        score : float
            Negative mean of the loss over batches of 256 rows. Compare it on the same
            rows, between models that share `objective`, `pairs`, `views`,
            `corruption_level` and `temperature`: they set the difficulty of the task.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        if X.shape[0] < 2:
            raise ValueError(
                "score needs at least 2 rows, for each is compared with the others; got"
                " n_samples = 1."
            )
        rows = self._codec.encode(X)
        rows.labels = self._encode_labels(y, len(rows))
        return -evaluate(self.net_, rows, self._views, SCORE_BATCH, self._pairs)
