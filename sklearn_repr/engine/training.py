"""Train a module: everything between three built parts and a trained net."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from torch import nn

from sklearn_repr._contracts import (
    Callbacks,
    CorruptionLike,
    Names,
    Optimizer,
    PairsLike,
    Rows,
)
from sklearn_repr.data.batches import Split, hold_out, number_rows
from sklearn_repr.engine.callbacks import FiniteLoss, Patience, ProgressBar
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.engine.optimizer import OPTIMIZERS
from sklearn_repr.engine.quality import EmbeddingQuality
from sklearn_repr.engine.schedule import FALLS, SCHEDULES
from sklearn_repr.objectives import Objective
from sklearn_repr.utils.devices import computes_in_bfloat16, single_thread
from sklearn_repr.utils.randomness import Seeds, local_torch_seed

__all__ = ["TrainingSettings", "train"]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How to train; the estimators' parameters of these names, resolved.

    `min_rows` is the smallest batch that the objective can learn from. Without
    `hold_out`, early stopping looks at the training rows: right where nothing can be
    overfitted. `good_start` says that the start is a solution of its own, such as PCA.
    Under `learning_rate` "one_cycle" and "cosine" training lasts all its epochs, for the
    last steps are the ones that settle. `label` names the estimator on the progress bar.
    `chunk_size` is how many rows the module sees at a time, None for a whole batch.
    `gradient_clip` is the largest norm of the gradient of all weights together, None for
    any. `encoder_rate` is a factor of the learning rate for the encoder of the module.
    """

    optimizer: Optimizer
    learning_rate_init: float
    batch_size: int
    max_iter: int
    device: torch.device
    early_stopping: bool = True
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    tol: float = 1e-4
    alpha: float = 0.0
    callbacks: Callbacks = None
    verbose: int = 0
    min_rows: int = 1
    hold_out: bool = True
    good_start: bool = False
    learning_rate: str = "constant"
    gradient_clip: float | None = None
    label: str = ""
    mixed: bool = False
    chunk_size: int | None = None
    encoder_rate: float = 1.0

    def split(self, rows: Rows, seeds: Seeds, *, numbered: bool = False) -> Split:
        """Return the rows to train on and those that early stopping looks at.

        Parameters
        ----------
        rows : Batch or RowBlocks
            Encoded rows.
        seeds : Seeds
            All randomness.
        numbered : bool, default=False
            Whether pairs are to be looked up in the whole table.

        Returns
        -------
        split : Split
            Nothing is held out without early stopping.
        """
        if numbered:
            rows = number_rows(rows)
        if not self.early_stopping:
            return Split(rows, rows, None)
        if not self.hold_out:
            return Split(rows, rows, rows)
        seed = seeds["split"]
        return Split(rows, *hold_out(rows, self.validation_fraction, seed, self.min_rows))


def train(
    module: nn.Module,
    objective: Objective,
    split: Split,
    *,
    corruption: CorruptionLike | None,
    settings: TrainingSettings,
    seeds: Seeds,
    column_names: Names = None,
    global_generator: bool = False,
    pairs: PairsLike | None = None,
    watch_embedding: bool = False,
) -> RepresentationNet:
    """Train `module`.

    Parameters
    ----------
    module : torch.nn.Module
        Returns Outputs; changed in place.
    objective : Objective
        Returns named terms.
    split : Split
        Encoded rows, numbered if there are pairs.
    corruption : Corruption or None
        Applied to every batch.
    settings : TrainingSettings
        How to train.
    seeds : Seeds
        All randomness.
    column_names : sequence of str or None, default=None
        For messages.
    global_generator : bool, default=False
        Something draws from torch's global generator, as dropout and a user's callback
        may: seed it for the time of training.
    pairs : Pairs or None, default=None
        Where the second of two views comes from, if not from the same row.
    watch_embedding : bool, default=False
        Record measures of the embedding per epoch, and warn of its collapse. The
        corruption, or `pairs`, must make two views.

    Returns
    -------
    net : RepresentationNet
        The trained net, in evaluation mode; it holds no rows.

    Raises
    ------
    NonFiniteLossError
        If the loss or a weight is no longer finite.

    Warns
    -----
    ConvergenceWarning
        If the loss never fell.
    CollapseWarning
        If the embedding that is watched collapsed.
    """
    finite_loss = FiniteLoss(column_names)
    optimizer, options = _resolve_optimizer(settings.optimizer)
    progress, quality = ProgressBar(settings.label), EmbeddingQuality()
    patience = Patience(
        settings.max_iter
        if settings.learning_rate in SCHEDULES
        else settings.n_iter_no_change,
        settings.tol,
        good_start=settings.good_start,
        falls=FALLS if settings.learning_rate == "plateau" else 0,
    )
    dtype = split.train.values.dtype
    net: RepresentationNet = RepresentationNet(
        module.to(dtype),
        objective.to(dtype),
        alpha=settings.alpha,
        learning_rate=settings.learning_rate,
        gradient_clip=settings.gradient_clip,
        encoder_rate=settings.encoder_rate,
        seeds=seeds,
        mixed=settings.mixed and computes_in_bfloat16(settings.device),
        optimizer=optimizer,
        lr=settings.learning_rate_init,
        max_epochs=settings.max_iter,
        batch_size=settings.batch_size,
        chunk_size=settings.chunk_size,
        train_split=None,
        callbacks=[
            # ours first: one of the user's may end training
            ("engine_finite_loss", finite_loss),
            ("engine_patience", patience),
            *([("engine_quality", quality)] if watch_embedding else []),
            *([("engine_progress", progress)] if settings.verbose else []),
            *copy_callbacks(settings.callbacks),
        ],
        device=str(settings.device),
        verbose=0,
        **{f"optimizer__{name}": value for name, value in options.items()},
    )
    split = split.to(settings.device)
    borrow = (
        global_generator
        or objective.uses_global_generator
        or (corruption is not None and corruption.uses_global_generator)
    )
    seeded = local_torch_seed(seeds["dropout"]) if borrow else nullcontext()
    with single_thread(), seeded, closing(progress):
        net.initialize()
        net.replays_draws = borrow
        net.partial_fit(split, corruption=corruption, pairs=pairs)
    net._set_training(False)
    if not all(bool(torch.isfinite(p).all()) for p in net.module_.parameters()):
        finite_loss.fail(net, split.train)
    _warn_if_stuck(net, patience, split.train.values.shape[1])
    if watch_embedding:
        quality.warn_if_collapsed()
    return net


def copy_callbacks(callbacks: Callbacks) -> list[Any]:
    """Copy a user's callbacks, so that training leaves the originals alone.

    Parameters
    ----------
    callbacks : sequence or None
        skorch callbacks, their classes, or pairs (name, callback).

    Returns
    -------
    copies : list
        The same, fit to be changed.

    Raises
    ------
    TypeError
        If an entry is no skorch callback.
    """
    for entry in callbacks or ():
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        is_class = isinstance(callback, type) and issubclass(callback, Callback)
        if not (is_class or isinstance(callback, Callback)):
            raise TypeError(
                "callbacks must hold skorch callbacks or pairs (name, callback); got"
                f" {entry!r}."
            )
    return copy.deepcopy(list(callbacks or ()))


def _resolve_optimizer(
    optimizer: Optimizer,
) -> tuple[Callable[..., torch.optim.Optimizer], dict[str, object]]:
    return OPTIMIZERS[optimizer] if isinstance(optimizer, str) else (optimizer, {})


def _warn_if_stuck(net: RepresentationNet, patience: Patience, width: int) -> None:
    # a loss of next to nothing per column has nowhere to fall
    if patience.finding_ is None or abs(patience.best_loss_) <= 1e-4 * width:
        return
    warnings.warn(
        f"Training for {len(net.history)} epochs found nothing:"
        f" {patience.finding_}. Change learning_rate_init ({net.lr:g}), raise max_iter,"
        " or look for columns that hold no signal.",
        ConvergenceWarning,
        stacklevel=2,
    )


def epoch_curves(net: RepresentationNet, prefix: str) -> dict[str, list[float]]:
    """Return what a net's history holds for every epoch, by names without `prefix`."""
    curves: dict[str, list[float]] = {}
    for row in net.history:
        for key, value in row.items():
            if key.startswith(prefix) and not isinstance(value, list):
                curves.setdefault(key.removeprefix(prefix), []).append(value)
    return curves
