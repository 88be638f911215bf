"""The skorch net behind every estimator."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.engine.batches import BatchIterator
from sklearn_repr.engine.callbacks import StopTraining
from sklearn_repr.engine.chunked import ChunkedStep, forward_in_chunks
from sklearn_repr.engine.fast import EVALUATION, FastPath, fast_path, is_undisturbed
from sklearn_repr.engine.inputs import Inputs, number_rows
from sklearn_repr.engine.means import Means
from sklearn_repr.engine.schedule import one_cycle
from sklearn_repr.utils.randomness import Seeds, make_generator

__all__ = ["RepresentationNet"]

# Rows from which an objective learns its scales before training
ROWS_TO_FIT_ON = 10_000

# nothing happens to rows
CLEAN = Inputs()

BATCH_EVENTS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class RepresentationNet(NeuralNet):  # type: ignore[misc]
    """A skorch net for corruption → module → objective.

    It keeps skorch's interface (history, callbacks, ``module_``, ``optimizer_``) and
    replaces its inner loop: batches are views of one tensor, losses are read once per
    epoch, and per-batch events are sent only if a callback listens to them.

    Parameters
    ----------
    module : torch.nn.Module
        Returns Outputs.
    criterion : Objective
        Returns named terms.
    seeds : Seeds
        Seeds of shuffling and corruption.
    alpha : float, default=0.0
        Weight decay of weight matrices; biases and norms have none.
    learning_rate : {"constant", "one_cycle"}, default="constant"
        How the learning rate moves; "one_cycle" sets it before every step.
    chunk_size : int or None, default=None
        Rows that the module sees at a time; see :class:`ChunkedStep`.
    mixed : bool, default=False
        Compute in bfloat16 what loses little by it; weights stay as they are.
    **kwargs : dict
        skorch's parameters.
    """

    # the short cuts in force, see fast_path
    fast_: FastPath | None = None
    # what happens to a batch; whether the module may draw from the global generator
    inputs_ = CLEAN
    replays_draws = False

    def __init__(
        self,
        module: Any,
        criterion: Any,
        *,
        seeds: Seeds,
        alpha: float = 0.0,
        learning_rate: str = "constant",
        chunk_size: int | None = None,
        mixed: bool = False,
        **kwargs: Any,
    ):
        super().__init__(module, criterion, **kwargs)
        self.alpha = alpha
        self.learning_rate = learning_rate
        self.chunk_size = chunk_size
        self.mixed = mixed
        self.seeds = seeds

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer())]

    def initialize_optimizer(self, triggered_directly: Any = None) -> RepresentationNet:
        """Build the optimiser, with weight decay on weight matrices only."""
        parameters = [p for _, p in self.get_all_learnable_params()]
        groups = [{"params": parameters, "weight_decay": 0.0}]
        if self.alpha:
            groups = [
                {"params": [p for p in parameters if p.ndim > 1]},
                {"params": [p for p in parameters if p.ndim <= 1]},
            ]
            groups[0]["weight_decay"], groups[1]["weight_decay"] = self.alpha, 0.0
        self.optimizer_ = self.optimizer(
            groups, lr=self.lr, **self.get_params_for("optimizer")
        )
        return self

    def get_dataset(self, X: Batch, y: Any = None) -> Batch:
        """Return the rows, which need no wrapping."""
        return X

    def get_iterator(self, dataset: Batch, training: bool = False) -> BatchIterator:
        """Return batches of `dataset`, shuffled in training."""
        generator = make_generator(self.seeds["batches"]) if training else None
        return BatchIterator(dataset, self.batch_size, generator)

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Tell the callbacks; skorch's own stop training by a KeyboardInterrupt."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt:
            raise StopTraining from None

    def _set_training(self, training: bool = True) -> None:
        """Switch between training and evaluation; skorch's way takes 0.2 ms."""
        if self.fast_ is None or self.fast_.parts is None:
            super()._set_training(training)
            return
        for part in self.fast_.parts:
            vars(part)["training"] = training

    def partial_fit(self, X: Batch, y: Any = None, **fit_params: Any) -> Any:
        """Train until the epochs are over or a callback stops.

        Parameters
        ----------
        X : Batch
            Encoded rows.
        y : None
            Ignored.
        **fit_params : dict
            ``corruption``: a Corruption or None; ``pairs``: Pairs or None.

        Returns
        -------
        self : RepresentationNet
            The trained net.
        """
        with suppress(StopTraining):
            self.notify("on_train_begin", X=X, y=y)
            with fast_path(self) if is_undisturbed(self) else nullcontext():
                self.fit_loop(X, **fit_params)
        if self.history and "train_loss" not in self.history[-1]:
            del self.history[-1]  # an epoch that a callback cut short
        try:
            with suppress(StopTraining):
                self.notify("on_train_end", X=X, y=y)
        finally:
            self.inputs_ = CLEAN  # the last ones may hold training rows
        return self

    def fit_loop(
        self,
        X: Batch,
        y: Any = None,
        epochs: int | None = None,
        corruption: Any = None,
        pairs: Any = None,
    ) -> RepresentationNet:
        """Run the epochs; see :meth:`partial_fit`."""
        if pairs is not None:
            X = number_rows(X)
        train, valid = self.get_split_datasets(X)
        self.inputs_ = inputs = Inputs.fitted(corruption, pairs, X, train)
        batches = self.get_iterator(train, training=True)
        held_out = None if valid is None else self.get_iterator(valid)
        noise = make_generator(self.seeds["corruption"], train.values.device)
        self.stop_ = False
        n_epochs = self.max_epochs if epochs is None else epochs
        self.steps_ = 0, n_epochs * len(batches)  # done, and planned
        self.lowest_ = {
            key: min((row[key] for row in self.history if key in row), default=math.inf)
            for key in ("train_loss", "valid_loss")
        }
        self.listening_ = any(_hears_batches(cb) for _, cb in self.callbacks_)
        if self.criterion_.needs_fit:
            self._fit_objective(train.some(ROWS_TO_FIT_ON))
        self.criterion_.start_epoch(0, len(train))
        if held_out is not None:
            self.initial_loss_ = self.evaluate(held_out, inputs)["loss"]
        datasets = {"dataset_train": train, "dataset_valid": valid}
        for _ in range(n_epochs):
            self.notify("on_epoch_begin", **datasets)
            self.criterion_.start_epoch(len(self.history), len(train))
            self._set_training(True)
            self._record("train", self._run(batches, inputs, noise, training=True))
            if held_out is not None:
                self._record("valid", self.evaluate(held_out, inputs))
            if not self.listening_:  # what skorch's Checkpoint expects to find
                self.history.new_batch()
                self.history.record_batch("train_loss", self.history[-1]["train_loss"])
            self.notify("on_epoch_end", **datasets)
            if self.stop_:
                break
        return self

    def evaluate(
        self, batches: Iterable[Batch], inputs: Inputs = CLEAN
    ) -> dict[str, float]:
        """Return the mean loss and terms under corruptions that are always the same.

        Parameters
        ----------
        batches : iterable of Batch
            Clean rows.
        inputs : Inputs, default=Inputs()
            What happens to them; nothing by default.

        Returns
        -------
        losses : dict of str to float
            "loss" and every term by its name.
        """
        self._set_training(False)
        noise, seeded = inputs.fixed(
            self.seeds["validation"],
            self.device,
            seeded=self.criterion_.uses_global_generator,
        )
        with seeded:
            return self._run(batches, inputs, noise, training=False)

    def _fit_objective(self, rows: Batch) -> None:
        noise = make_generator(self.seeds["validation"], self.device)
        with torch.no_grad():
            self.criterion_.fit(self.module_(self.inputs_.of(rows, noise)), rows)

    def precision(self, training: bool) -> AbstractContextManager[Any]:
        """Return the context of a forward pass; weights are cast anew in each."""
        # epochs are compared in full precision
        if not (self.mixed and training):
            return nullcontext()
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16)

    def reduce_terms(self, terms: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, which is the weighted sum of terms, and the averaged terms."""
        weights = self.criterion_.weights
        reduced = {k: v.mean() if v.ndim else v for k, v in terms.items()}
        weighted = (v * weights[k] if k in weights else v for k, v in reduced.items())
        loss = next(weighted)
        for term in weighted:
            loss = loss + term
        return loss, reduced

    def _run(
        self,
        batches: Iterable[Batch],
        inputs: Inputs,
        noise: torch.Generator,
        *,
        training: bool,
    ) -> dict[str, float]:
        listening = training and self.listening_
        means = Means()
        path = fast_path(self, plain_gradients=listening)
        # such as the targets that follow the weights
        after_step = getattr(self.module_, "after_step", None)
        with torch.set_grad_enabled(training), path if training else EVALUATION as fast:
            for batch in batches:
                if listening:
                    self.notify("on_batch_begin", batch=batch, training=True)
                seen = inputs.of(batch, noise)
                with self.precision(training):
                    if fast.gradients is not None:
                        losses = fast.gradients(seen, batch)
                    else:
                        outputs = forward_in_chunks(self, seen)
                        loss, terms = self.reduce_terms(self.criterion_(outputs, batch))
                        losses = {"loss": loss.detach()}
                        losses.update((k, term.detach()) for k, term in terms.items())
                if training and fast.gradients is None:
                    fast.zero_grad()
                    torch.autograd.backward(loss)
                if listening:
                    self._tell_gradients(batch)
                if training:
                    self._set_learning_rate()
                    fast.step()
                    if after_step is not None:
                        after_step()
                means.add(losses, len(batch))
                if listening:
                    if isinstance(fast.gradients, ChunkedStep):
                        outputs = fast.gradients.outputs
                    self._tell_batch(batch, losses["loss"], outputs)
        return means.read()

    def _set_learning_rate(self) -> None:
        done, planned = self.steps_
        self.steps_ = done + 1, planned
        if self.learning_rate == "one_cycle":
            for group in self.optimizer_.param_groups:
                group["lr"] = self.lr * one_cycle(done, planned)

    def _record(self, prefix: str, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            key = "loss" if name == "loss" else f"term_{name}"
            self.history.record(f"{prefix}_{key}", value)
        # the name under which skorch's Checkpoint looks for improvements
        key, loss = f"{prefix}_loss", losses["loss"]
        self.history.record(f"{key}_best", loss < self.lowest_[key])
        self.lowest_[key] = min(loss, self.lowest_[key])

    def _tell_gradients(self, batch: Batch) -> None:
        named = list(self.get_all_learnable_params())
        self.notify(
            "on_grad_computed", named_parameters=named, batch=batch, training=True
        )

    def _tell_batch(self, batch: Batch, loss: Tensor, outputs: Outputs) -> None:
        self.history.record_batch("train_loss", loss.item())
        self.history.record_batch("train_batch_size", len(batch))
        self.notify("on_batch_end", batch=batch, training=True, loss=loss, y_pred=outputs)


def _hears_batches(callback: Callback) -> bool:
    return any(
        getattr(type(callback), event, None) is not getattr(Callback, event)
        for event in BATCH_EVENTS
    )
