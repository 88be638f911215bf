"""One gradient step, recorded; and the choice among the ways to take one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from sklearn_repr._contracts import Batch
from sklearn_repr.engine.plain import ChunkedStep, PlainStep, detached
from sklearn_repr.engine.recordings import (
    RECORDINGS,
    StoredStep,
    described,
    layout,
    settings_of_torch,
)
from sklearn_repr.objectives import objective, penalty
from sklearn_repr.utils.hooks import is_watched
from sklearn_repr.utils.program import Program
from sklearn_repr.utils.randomness import GlobalDraws
from sklearn_repr.utils.trace import Recorder, TraceError

if TYPE_CHECKING:
    from sklearn_repr.engine.net import RepresentationNet

__all__ = ["RecordedStep", "choose_step", "is_recordable"]

# Steps that a recording must be expected to serve: it takes as long as some ten of them
STEPS_TO_REPAY = 40


class RecordedStep(PlainStep):
    """A step that is recorded once and replayed without autograd.

    The first batches of a shape are computed as torch does it. Where enough of that shape
    are to come, one of them is recorded meanwhile, unless an earlier fit has recorded the
    same. The next is computed both ways, and only if all bits are the same, those of
    buffers and random generators included, the recording serves from then on. Where a
    step cannot be recorded, nothing changes. Evaluations are recorded in the same way.
    """

    def __init__(self, net: RepresentationNet, zero_grad: Callable[[], Any]):
        super().__init__(net, zero_grad)
        everything = (net.module_, net.criterion_)
        self.buffers = [b for part in everything for b in part.buffers()]
        parameters = [p for part in everything for p in part.parameters()]
        self.state = [*parameters, *self.buffers]
        self.parameters = [p for p in parameters if p.requires_grad]
        self.programs: dict[_Kind, _Recording | None] = {}
        self.counts: dict[_Kind, int] = {}

    def __call__(self, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        return self._fastest(seen, batch, training=True)

    def evaluate(self, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the same of a batch in evaluation, without gradients."""
        return self._fastest(seen, batch, training=False)

    def doubt(self) -> None:
        """Compare every recording once more: a callback may have changed a constant."""
        for recording in self.programs.values():
            if recording is not None:
                recording.proven, recording.doubted = False, True

    def _plain(self, seen: Tensor, batch: Batch, training: bool) -> dict[str, Tensor]:
        way = super().__call__ if training else super().evaluate
        return way(seen, batch)

    def _fastest(
        self, seen: Tensor, batch: Batch, *, training: bool
    ) -> dict[str, Tensor]:
        parts = (
            seen,
            batch.values,
            batch.observed,
            batch.mask,
            batch.labels,
            batch.index,
            batch.partners,
            batch.weights,
        )
        kind = _Kind(
            training,
            tuple(None if part is None else part.shape for part in parts),
            seen is batch.values,
            self.net.criterion_.phase,
        )
        given = [part for part in parts if part is not None]
        recording = self.programs.get(kind)
        if recording is None and kind not in self.programs and self._repays(kind):
            key = self._key(kind, given)
            recording = self._known(key)
            if recording is None:
                return self._record(given, seen, batch, kind, key)
            self.programs[kind] = recording
        if recording is None:
            return self._plain(seen, batch, training)
        if recording.proven:
            return self._replay(recording, given)
        return self._compare(recording, given, seen, batch, kind)

    def _repays(self, kind: _Kind) -> bool:
        """Tell whether enough steps of a kind are to come, judged by those so far."""
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        done, planned = self.net.steps_
        return bool((planned - done) * count >= STEPS_TO_REPAY * (done + 1))

    def _key(self, kind: _Kind, given: list[Tensor]) -> Hashable | None:
        """Return all that a recording depends on, None if that cannot be said."""
        inputs = [*given, *self.net.term_weights().values()]
        everything = self.net.module_, self.net.criterion_
        try:
            structure = described(everything, self.state), settings_of_torch()
        except TypeError:
            return None
        return kind, *structure, self.net.mixed, *map(layout, inputs)

    def _known(self, key: Hashable | None) -> _Recording | None:
        """Return what an earlier fit has recorded, for this net's tensors."""
        stored = None if key is None else RECORDINGS.get(key)
        if stored is None:
            return None
        places = [self._grads()[i] for i in stored.with_gradient]
        run = stored.template.bind(self.state, places)
        return _Recording(run, stored.names, key)

    def _record(
        self,
        given: list[Tensor],
        seen: Tensor,
        batch: Batch,
        kind: _Kind,
        key: Hashable | None,
    ) -> dict[str, Tensor]:
        """Compute a step, and write down what torch does for it."""
        before = _Memory(self.buffers, self._draws(seen))
        weights = self.net.term_weights()
        grads: tuple[Tensor, ...] = ()
        try:
            with Recorder([*given, *weights.values()], self.state) as recorder:
                if kind.training:
                    loss, terms = self._forward(seen, batch)
                    grads = torch.autograd.grad(loss, self.parameters, allow_unused=True)
                else:
                    _, loss, terms = self.net.losses(seen, batch, training=False)
            positions = [i for i, grad in enumerate(grads) if grad is not None]
            places = self._grads()
            wanted = [(grads[i], places[i]) for i in positions]
            losses = {"loss": loss, **terms}
            program = Program(recorder, list(losses.values()), wanted)
        except TraceError as error:
            self._give_up(kind, str(error))
            before.restore()
            return self._plain(seen, batch, kind.training)
        if kind.training:
            self.zero_grad()
        for grad, place in wanted:
            place.copy_(grad)
        recording = _Recording(program.run, list(losses), key)
        template = None if key is None else program.template(recorder, self.state)
        if template is not None:
            recording.stored = StoredStep(template, recording.names, positions)
        self.programs[kind] = recording
        return detached(loss, terms)

    def _replay(self, recording: _Recording, given: list[Tensor]) -> dict[str, Tensor]:
        # tensors that are made under inference_mode could not serve a plain step
        weights = self.net.term_weights().values()
        with torch.inference_mode():
            found = recording.run(*given, *weights)
        return dict(zip(recording.names, found, strict=True))

    def _compare(
        self,
        recording: _Recording,
        given: list[Tensor],
        seen: Tensor,
        batch: Batch,
        kind: _Kind,
    ) -> dict[str, Tensor]:
        """Compute a step both ways; what torch computes is what counts."""
        before = _Memory(self.buffers, self._draws(seen))
        losses = self._plain(seen, batch, kind.training)
        after = _Memory([*self.buffers, *self._grads()], self._draws(seen))
        before.restore()
        if kind.training:
            self.zero_grad()
        found = self._replay(recording, given)
        if after.holds() and all(torch.equal(losses[k], found[k]) for k in losses):
            self._prove(recording, kind)
            return losses
        after.restore()
        from_before = recording.stored is None and recording.key is not None
        if recording.doubted or from_before:
            RECORDINGS.drop(recording.key)
            del self.programs[kind]  # to be recorded anew
        else:
            self._give_up(kind, "the recording gives other bits")
        return losses

    def _draws(self, seen: Tensor) -> GlobalDraws | None:
        # who does not draw has not borrowed the generators, which another thread may use
        return GlobalDraws(seen.device) if self.net.replays_draws else None

    def _grads(self) -> list[Tensor]:
        return [p.grad for p in self.parameters if p.grad is not None]

    def _prove(self, recording: _Recording, kind: _Kind) -> None:
        recording.proven = True
        if recording.stored is not None:
            RECORDINGS.put(recording.key, recording.stored)
        if kind.training:
            self.net.way_ = "recorded"

    def _give_up(self, kind: _Kind, reason: str) -> None:
        self.programs[kind] = None
        if kind.training:
            self.net.way_ = f"plain: {reason}"


class _Kind(NamedTuple):
    """What steps of the same program have in common."""

    training: bool
    shapes: tuple[Any, ...]
    untouched: bool
    phase: Hashable


class _Recording:
    """A program, the names of what it returns, and whether it was seen to be right."""

    def __init__(
        self, run: Callable[..., tuple[Tensor, ...]], names: list[str], key: Hashable
    ):
        self.run = run
        self.names = names
        self.key = key
        # what to keep for later fits once it is proven; None if it was kept before
        self.stored: StoredStep | None = None
        self.proven = False
        # whether something may have changed since it was made
        self.doubted = False


class _Memory:
    """What tensors and, where there are draws, global generators are at some moment."""

    def __init__(self, tensors: Sequence[Tensor], draws: GlobalDraws | None):
        self.tensors = tensors
        self.values = [t.detach().clone() for t in tensors]
        self.draws = draws

    def restore(self) -> None:
        with torch.no_grad():
            for tensor, value in zip(self.tensors, self.values, strict=True):
                tensor.copy_(value)
        if self.draws is not None:
            self.draws.restore()

    def holds(self) -> bool:
        """Tell whether all is again what it was."""
        pairs = zip(self.tensors, self.values, strict=True)
        held = self.draws is None or self.draws.hold()
        return held and all(torch.equal(a, b) for a, b in pairs)


def choose_step(net: RepresentationNet, earlier: PlainStep | None = None) -> PlainStep:
    """Return how a net's gradients are to be computed in the next epoch.

    Parameters
    ----------
    net : RepresentationNet
        Initialised. Its ``way_`` says from then on how gradients are computed, and why
        they are not recorded if they are not.
    earlier : PlainStep or None, default=None
        How they were computed in the epoch before.

    Returns
    -------
    step : PlainStep
        The earlier one, which is to doubt what it has recorded, unless a callback has
        changed what it relied on.
    """
    module, objective = net.module_, net.criterion_
    parts = [*module.modules(), *objective.modules()]
    ours = all(map(is_recordable, parts))
    parameters = [p for part in (module, objective) for p in part.parameters()]
    zero_grad: Callable[[], Any] = net.optimizer_.zero_grad
    if ours:
        # torch skips weights without a gradient: every one takes part in every step
        trained = [p for p in parameters if p.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        zero_grad = partial(torch._foreach_zero_, [p.grad for p in trained])
    watched = is_watched(module) or is_watched(objective)
    relied_on = [(p, p.data_ptr(), p.grad, p.requires_grad) for p in parameters]
    state = (watched, net.listening_, *map(_identity, relied_on))
    if earlier is not None and earlier.relied_on == state:
        earlier.doubt()
        return earlier
    kind: type[PlainStep] = PlainStep
    if net.chunk_size is not None:
        kind, net.way_ = ChunkedStep, "chunked"
    elif net.listening_:
        net.way_ = "plain: a callback listens to batches"
    elif not ours:
        net.way_ = "plain: a part is not known to be recordable"
    elif watched:
        net.way_ = "plain: a part has hooks"
    else:
        kind = RecordedStep
    step = kind(net, zero_grad)
    step.complete, step.relied_on = ours, state
    return step


def _identity(relied_on: tuple[Any, ...]) -> tuple[Any, ...]:
    parameter, address, grad, trained = relied_on
    return id(parameter), address, id(grad), trained


def is_recordable(part: nn.Module) -> bool:
    """Tell whether what a part computes depends on tensors, shapes and constants alone.

    Parts of torch and of this package do, and registered objectives and penalties, unless
    they hold a user's function and say so by ``recordable = False``. Another class of the
    user's says so by ``recordable = True``.
    """
    kind = type(part)
    known = kind.__module__.startswith(("torch.nn.", "sklearn_repr."))
    if known or objective.holds(kind) or penalty.holds(kind):
        return bool(getattr(part, "recordable", True))
    return bool(vars(kind).get("recordable", False))
