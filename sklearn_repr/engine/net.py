"""The skorch net behind every estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer
from torch import Tensor, nn

from sklearn_repr._contracts import (
    Batch,
    CorruptionLike,
    Outputs,
    PairsLike,
)
from sklearn_repr.data.batches import BatchIterator, Split
from sklearn_repr.engine.callbacks import StopTraining
from sklearn_repr.engine.inputs import Inputs
from sklearn_repr.engine.means import Means
from sklearn_repr.engine.optimizer import bare_update, parameter_groups
from sklearn_repr.engine.plain import PlainStep, evaluated, forward_in_chunks
from sklearn_repr.engine.schedule import SCHEDULES, rate_factor
from sklearn_repr.engine.step import choose_step
from sklearn_repr.objectives import Objective
from sklearn_repr.utils.randomness import Seeds, make_generator

__all__ = ["RepresentationNet"]

# Rows from which an objective learns its scales before training
ROWS_TO_FIT_ON = 10_000

# nothing happens to rows
CLEAN = Inputs()

# what skorch knows by two names: the parameter, and what is trained
BUILT = ("module", "criterion")

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
    learning_rate : {"constant", "one_cycle", "cosine", "plateau"}, default="constant"
        How the learning rate moves; see :mod:`sklearn_repr.engine.schedule`.
    gradient_clip : float or None, default=None
        Largest norm of the gradient of all weights together.
    encoder_rate : float, default=1.0
        Factor of the learning rate for the module's part of the name ``encoder``.
    chunk_size : int or None, default=None
        Rows that the module sees at a time; see :class:`ChunkedStep`.
    mixed : bool, default=False
        Compute in bfloat16 what loses little by it; weights stay as they are.
    **kwargs : dict
        skorch's parameters.

    Attributes
    ----------
    way_ : str
        How gradients were computed at last: "recorded", "chunked" or "plain", and why.
    """

    # how gradients are computed, while they are
    step_: PlainStep | None = None
    way_ = "plain: too few steps to repay a recording"
    # the weights of the terms as numbers, and as tensors
    known_weights_: tuple[dict[str, float], dict[str, Tensor]] = ({}, {})
    # what happens to a batch; whether the module may draw from the global generator
    inputs_ = CLEAN
    replays_draws = False
    # whether a callback listens to batches; whether all callbacks are the engine's own
    listening_, alone_ = False, False
    # the parts of module and objective, where no callback can change them; how weights
    # are updated
    parts_: list[nn.Module] | None = None
    update_: Callable[[], object] | None = None

    def __init__(
        self,
        module: nn.Module,
        criterion: Objective,
        *,
        seeds: Seeds,
        alpha: float = 0.0,
        learning_rate: str = "constant",
        gradient_clip: float | None = None,
        encoder_rate: float = 1.0,
        chunk_size: int | None = None,
        mixed: bool = False,
        **kwargs: Any,
    ):
        super().__init__(module, criterion, **kwargs)
        self.alpha = alpha
        self.learning_rate = learning_rate
        self.gradient_clip = gradient_clip
        self.encoder_rate = encoder_rate
        self.chunk_size = chunk_size
        self.mixed = mixed
        self.seeds = seeds

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        return [("epoch_timer", EpochTimer())]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: weights once, and the optimiser if it goes on."""
        # tensors that are made again where they are needed
        left_out = {"known_weights_"}
        if not self.warm_start:
            left_out.add("optimizer_")
        own = self.__dict__
        left_out |= {name for name in BUILT if own.get(f"{name}_") is own[name]}
        light = object.__new__(type(self))
        light.__dict__ = {k: v for k, v in own.items() if k not in left_out}
        state: dict[str, Any] = NeuralNet.__getstate__(light)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what a pickle holds."""
        super().__setstate__(state)
        for name in BUILT:
            self.__dict__.setdefault(name, self.__dict__.get(f"{name}_"))

    def initialize_optimizer(
        self, triggered_directly: object = None
    ) -> RepresentationNet:
        """Build the optimiser, with weight decay on weight matrices only."""
        parameters = [p for _, p in self.get_all_learnable_params()]
        slow = [*self.module_.encoder.parameters()] if self.encoder_rate != 1 else []
        groups = parameter_groups(
            parameters, self.alpha, self.lr, slow, self.encoder_rate
        )
        self.optimizer_ = self.optimizer(
            groups, lr=self.lr, **self.get_params_for("optimizer")
        )
        return self

    def get_iterator(self, dataset: Any, training: bool = False) -> BatchIterator:
        """Return batches of `dataset`, shuffled in training."""
        generator = make_generator(self.seeds["batches"]) if training else None
        return BatchIterator(dataset, self.batch_size, generator)

    def notify(self, method_name: str, **cb_kwargs: object) -> None:
        """Tell the callbacks; skorch's own stop training by a KeyboardInterrupt."""
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt:
            raise StopTraining from None

    def _set_training(self, training: bool = True) -> None:
        """Switch between training and evaluation; torch's own way takes 0.2 ms."""
        for part in self.parts_ or self._parts():
            if type(part).train is nn.Module.train:
                vars(part)["training"] = training
            else:
                part.train(training)

    def _parts(self) -> list[nn.Module]:
        return [*self.module_.modules(), *self.criterion_.modules()]

    def partial_fit(
        self, X: Split, y: None = None, **fit_params: Any
    ) -> RepresentationNet:
        """Train until the epochs are over or a callback stops.

        Parameters
        ----------
        X : Split
            Encoded rows, those to train on and those held out.
        y : None
            Ignored.
        **fit_params : dict
            ``corruption``: a Corruption or None; ``pairs``: Pairs or None.

        Returns
        -------
        self : RepresentationNet
            The trained net.
        """
        self.listening_ = any(_hears_batches(cb) for _, cb in self.callbacks_)
        self.alone_ = all(_is_own(callback) for _, callback in self.callbacks_)
        with suppress(StopTraining):
            self.notify("on_train_begin", X=X.train, y=y)
            self.fit_loop(X, **fit_params)
        if self.history and "train_loss" not in self.history[-1]:
            del self.history[-1]  # an epoch that a callback cut short
        try:
            with suppress(StopTraining):
                self.notify("on_train_end", X=X.train, y=y)
        finally:
            # they may hold training rows
            self.inputs_, self.step_ = CLEAN, None
            self.parts_, self.update_ = None, None
        return self

    def _settle(self, context: ExitStack) -> None:
        """Choose how to take steps and update weights, for as long as a context lasts."""
        self.step_ = choose_step(self, self.step_)
        own = self.optimizer_
        bare = bare_update(own) if self.step_.complete else nullcontext(own.step)
        self.update_ = context.enter_context(bare)

    def fit_loop(
        self,
        X: Split,
        y: None = None,
        epochs: int | None = None,
        corruption: CorruptionLike | None = None,
        pairs: PairsLike | None = None,
    ) -> RepresentationNet:
        """Run the epochs; see :meth:`partial_fit`."""
        _, train, valid = X
        self.inputs_ = Inputs.fitted(corruption, pairs, X)
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
        if self.criterion_.needs_fit:
            self._fit_objective(train.some(ROWS_TO_FIT_ON))
        self.criterion_.start_epoch(0, len(train))
        if held_out is not None:
            self.initial_loss_ = self.evaluate(held_out, self.inputs_)["loss"]
        datasets = {"dataset_train": train, "dataset_valid": valid}
        with ExitStack() as training:
            if self.alone_:
                self.parts_ = self._parts()
                self._settle(training)
            for _ in range(n_epochs):
                self.notify("on_epoch_begin", **datasets)
                self.criterion_.start_epoch(len(self.history), len(train))
                self._set_training(True)
                self._record("train", self._train_epoch(batches, noise))
                if held_out is not None:
                    found = self.evaluate(held_out, self.inputs_, self.step_)
                    self._record("valid", found)
                if not self.listening_:  # what skorch's Checkpoint expects to find
                    self.history.new_batch()
                    self.history.record_batch(
                        "train_loss", self.history[-1]["train_loss"]
                    )
                self.notify("on_epoch_end", **datasets)
                if self.stop_:
                    break
        return self

    def _train_epoch(
        self, batches: Iterable[Batch], noise: torch.Generator
    ) -> dict[str, float]:
        """Take a step for every batch, and return the mean losses."""
        means, inputs = Means(), self.inputs_
        # such as the targets that follow the weights
        after_step = getattr(self.module_, "after_step", None)
        with torch.enable_grad(), ExitStack() as epoch:
            if not self.alone_:
                self._settle(epoch)
            step, update = self.step_, self.update_
            assert step is not None  # noqa: S101 - settled
            assert update is not None  # noqa: S101 - like the step
            for clean in batches:
                if self.listening_:
                    self.notify("on_batch_begin", batch=clean, training=True)
                seen, batch = inputs.of(clean, noise)
                losses = step(seen, batch)
                if self.listening_:
                    self._tell_gradients(batch)
                self._limit_gradients()
                self._set_learning_rate()
                update()
                if after_step is not None:
                    after_step()
                means.add(losses, len(batch))
                if self.listening_:
                    self._tell_batch(batch, losses["loss"], step.outputs)
        return means.read()

    def evaluate(
        self,
        batches: Iterable[Batch],
        inputs: Inputs = CLEAN,
        step: PlainStep | None = None,
    ) -> dict[str, float]:
        """Return the mean loss and terms under corruptions that are always the same.

        Parameters
        ----------
        batches : iterable of Batch
            Clean rows.
        inputs : Inputs, default=Inputs()
            What happens to them; nothing by default.
        step : PlainStep or None, default=None
            What evaluates a batch, if the net is what it was in the last step.

        Returns
        -------
        losses : dict of str to float
            "loss" and every term by its name.
        """
        self._set_training(False)
        means, objective = Means(), self.criterion_
        losses_of = partial(evaluated, self) if step is None else step.evaluate
        noise, seeded = inputs.fixed(
            self.seeds["validation"],
            self.device,
            seeded=objective.uses_global_generator,
        )
        with torch.set_grad_enabled(objective.needs_input_gradient), seeded:
            for clean in batches:
                seen, batch = inputs.of(clean, noise)
                means.add(losses_of(seen, batch), len(batch))
        return means.read()

    def losses(
        self, seen: Tensor, batch: Batch, *, training: bool = True
    ) -> tuple[Outputs, Tensor, dict[str, Tensor]]:
        """Return what the module says of a batch, the loss and its averaged terms."""
        if self.criterion_.needs_input_gradient:
            seen = seen.detach().requires_grad_()
        with self.precision(training):
            outputs = forward_in_chunks(self, seen)
            terms = self.criterion_(outputs, batch)
            return outputs, *self.reduce_terms(terms, batch.weights)

    def precision(self, training: bool) -> AbstractContextManager[object]:
        """Return the context of a forward pass; weights are cast anew in each."""
        # epochs are compared in full precision
        if not (self.mixed and training):
            return nullcontext()
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16)

    def reduce_terms(
        self, terms: dict[str, Tensor], row_weights: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, which is the weighted sum of terms, and the averaged terms."""
        weights = self.term_weights()
        if row_weights is not None:
            terms = {k: v * row_weights if v.ndim else v for k, v in terms.items()}
        reduced = {k: v.mean() if v.ndim else v for k, v in terms.items()}
        weighted = (v * weights[k] if k in weights else v for k, v in reduced.items())
        loss = next(weighted)
        for term in weighted:
            loss = loss + term
        return loss, reduced

    def term_weights(self) -> dict[str, Tensor]:
        """Return the weights of the terms as tensors, which a recorded step can read."""
        weights = self.criterion_.weights
        if weights != self.known_weights_[0]:
            like = next(self.module_.parameters(), torch.empty(0))
            tensors = {k: like.new_tensor(w).detach() for k, w in weights.items()}
            self.known_weights_ = dict(weights), tensors
        return self.known_weights_[1]

    def _fit_objective(self, rows: Batch) -> None:
        noise = make_generator(self.seeds["validation"], self.device)
        with torch.no_grad():
            seen, rows = self.inputs_.of(rows, noise)
            self.criterion_.fit(self.module_(seen), rows)

    def _limit_gradients(self) -> None:
        if self.gradient_clip is not None:
            groups = self.optimizer_.param_groups
            parameters = [p for group in groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clip)

    def _set_learning_rate(self) -> None:
        done, planned = self.steps_
        # setting an attribute by skorch takes as long as a kernel
        self.__dict__["steps_"] = done + 1, planned
        if self.learning_rate in SCHEDULES:
            rate = self.lr * rate_factor(self.learning_rate, done, planned)
            for group in self.optimizer_.param_groups:
                group["lr"] = rate * group.get("rate", 1.0)

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


def _is_own(callback: Callback) -> bool:
    """Tell callbacks that leave module and optimiser as they are."""
    kind = type(callback)
    return kind is EpochTimer or kind.__module__.startswith("sklearn_repr.")


def _hears_batches(callback: Callback) -> bool:
    return any(
        getattr(type(callback), event, None) is not getattr(Callback, event)
        for event in BATCH_EVENTS
    )
