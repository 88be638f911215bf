"""One gradient step: as torch takes it, recorded, or a chunk of rows at a time.

All three leave the gradients of a batch's loss in the parameters, to the same bits where
they hold for the same net, and return the loss and its terms by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.data.batches import batch_sizes
from sklearn_repr.objectives import objective, penalty
from sklearn_repr.utils.hooks import is_watched
from sklearn_repr.utils.program import Program
from sklearn_repr.utils.randomness import GlobalDraws
from sklearn_repr.utils.trace import Recorder, TraceError

if TYPE_CHECKING:
    from sklearn_repr.engine.net import RepresentationNet

__all__ = [
    "ChunkedStep",
    "PlainStep",
    "RecordedStep",
    "choose_step",
    "detached",
    "forward_in_chunks",
    "is_recordable",
]

# Steps that a recording must be expected to serve: it takes as long as some ten of them
STEPS_TO_REPAY = 40


class PlainStep:
    """Forward, loss and backward, as torch does them.

    Parameters
    ----------
    net : RepresentationNet
        Initialised.
    zero_grad : callable
        Drops earlier gradients.

    Attributes
    ----------
    outputs : Outputs
        What the module said about the last batch.
    """

    outputs: Outputs
    # whether every weight gets a gradient in every step
    complete = False
    # what must be as it was for the step to serve in another epoch
    relied_on: tuple[Any, ...] = ()

    def __init__(self, net: RepresentationNet, zero_grad: Callable[[], Any]):
        self.net = net
        self.zero_grad = zero_grad

    def __call__(self, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        loss, terms = self._forward(seen, batch)
        self.zero_grad()
        torch.autograd.backward(loss)
        return detached(loss, terms)

    def _forward(self, seen: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        self.outputs, loss, terms = self.net.losses(seen, batch)
        return loss, terms


def detached(loss: Tensor, terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return "loss" and the terms by name, without their graphs."""
    return {"loss": loss.detach(), **{k: v.detach() for k, v in terms.items()}}


class RecordedStep(PlainStep):
    """A step that is recorded once and replayed without autograd.

    The first batches of a shape are computed as torch does it. Where enough of that shape
    are to come, one of them is recorded meanwhile. The next is computed both ways, and
    only if all bits are the same, those of buffers and random generators included, the
    recording serves from then on. Where a step cannot be recorded, nothing changes.
    """

    def __init__(self, net: RepresentationNet, zero_grad: Callable[[], Any]):
        super().__init__(net, zero_grad)
        everything = (net.module_, net.criterion_)
        self.buffers = [b for part in everything for b in part.buffers()]
        parameters = [p for part in everything for p in part.parameters()]
        self.state = [*parameters, *self.buffers]
        self.parameters = [p for p in parameters if p.requires_grad]
        self.programs: dict[Any, _Recording | None] = {}
        self.counts: dict[Any, int] = {}

    def __call__(self, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
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
        kind = (
            *[None if part is None else part.shape for part in parts],
            seen is batch.values,
            self.net.criterion_.phase,
        )
        given = [part for part in parts if part is not None]
        recording = self.programs.get(kind)
        if recording is not None and recording.proven:
            return self._replay(recording, given)
        if recording is not None:
            return self._compare(recording, given, seen, batch, kind)
        if kind not in self.programs and self._repays(kind):
            return self._record(given, seen, batch, kind)
        return super().__call__(seen, batch)

    def _repays(self, kind: Any) -> bool:
        """Tell whether enough steps of a kind are to come, judged by those so far."""
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        done, planned = self.net.steps_
        return bool((planned - done) * count >= STEPS_TO_REPAY * (done + 1))

    def _record(
        self, given: list[Tensor], seen: Tensor, batch: Batch, kind: Any
    ) -> dict[str, Tensor]:
        """Compute a step, and write down what torch does for it."""
        before = _Memory(self.buffers, seen.device)
        weights = self.net.term_weights()
        try:
            with Recorder([*given, *weights.values()], self.state) as recorder:
                loss, terms = self._forward(seen, batch)
                grads = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            self.zero_grad()
            pairs = zip(grads, self._grads(), strict=True)
            places = [(grad, place) for grad, place in pairs if grad is not None]
            for grad, place in places:
                place.copy_(grad)
            losses = {"loss": loss, **terms}
            program = Program(recorder, list(losses.values()), places)
            self.programs[kind] = _Recording(program.run, list(losses))
        except TraceError as error:
            self._give_up(kind, str(error))
            before.restore()
            return super().__call__(seen, batch)
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
        kind: Any,
    ) -> dict[str, Tensor]:
        """Compute a step both ways; what torch computes is what counts."""
        before = _Memory(self.buffers, seen.device)
        losses = super().__call__(seen, batch)
        after = _Memory([*self.buffers, *self._grads()], seen.device)
        before.restore()
        self.zero_grad()
        found = self._replay(recording, given)
        same = after.holds() and all(torch.equal(losses[k], found[k]) for k in losses)
        if same:
            recording.proven = True
            self.net.way_ = "recorded"
        else:
            after.restore()
            self._give_up(kind, "the recording gives other bits")
        return losses

    def _grads(self) -> list[Tensor]:
        return [p.grad for p in self.parameters if p.grad is not None]

    def _give_up(self, kind: Any, reason: str) -> None:
        self.programs[kind] = None
        self.net.way_ = f"plain: {reason}"


class _Recording:
    """A program, the names of what it returns, and whether it was seen to be right."""

    def __init__(self, run: Callable[..., tuple[Tensor, ...]], names: list[str]):
        self.run = run
        self.names = names
        self.proven = False


class _Memory:
    """What tensors and torch's global generators are at some moment."""

    def __init__(self, tensors: Sequence[Tensor], device: torch.device):
        self.tensors = tensors
        self.values = [t.detach().clone() for t in tensors]
        self.draws = GlobalDraws(device)

    def restore(self) -> None:
        with torch.no_grad():
            for tensor, value in zip(self.tensors, self.values, strict=True):
                tensor.copy_(value)
        self.draws.restore()

    def holds(self) -> bool:
        """Tell whether all is again what it was."""
        pairs = zip(self.tensors, self.values, strict=True)
        return self.draws.hold() and all(torch.equal(a, b) for a, b in pairs)


class ChunkedStep(PlainStep):
    """Loss and gradients of a batch, of which one chunk at a time keeps its graph.

    First all chunks are encoded without a graph, the loss of the whole batch is
    differentiated as far as the embeddings, and then each chunk is encoded once more, now
    with a graph through which its share of that gradient flows back. The net's
    ``chunk_size`` is how many rows (of all views) are encoded at a time; its module maps
    rows by ``encoder`` and embeddings by ``complete``.

    Notes
    -----
    Time is that of one more forward pass of the encoder. Dropout draws the same in both.
    Heads see the whole batch, and may normalise over it; an encoder that does so sees a
    chunk.

    References
    ----------
    Gao, Zhang, Han and Callan, "Scaling deep contrastive learning batch size under memory
    limited setup", RepL4NLP 2021, arXiv:2101.06983 (GradCache).
    """

    def __call__(self, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        net, module = self.net, self.net.module_
        with net.precision(training=True):
            sizes = batch_sizes(len(seen), int(net.chunk_size or len(seen)))
            chunks = torch.split(seen, sizes)
            draws: list[GlobalDraws | None] = []
            embedding, targets = _encoded(net, chunks, draws)
            embedding.requires_grad_()
            self.outputs = module.complete(embedding, targets)
            terms = net.criterion_(self.outputs, batch)
            loss, terms = net.reduce_terms(terms, batch.weights)
            self.zero_grad()
            torch.autograd.backward(loss)
            after = GlobalDraws(seen.device) if net.replays_draws else None
            assert embedding.grad is not None  # noqa: S101 - the loss depends on it
            shares = torch.split(embedding.grad, sizes)
            for chunk, share, drawn in zip(chunks, shares, draws, strict=True):
                if drawn is not None:
                    drawn.restore()
                encoded = module.encoder(chunk)
                if encoded.requires_grad:  # an encoder may be frozen
                    torch.autograd.backward(encoded, share)
            if after is not None:
                after.restore()
        return detached(loss, terms)


def forward_in_chunks(net: RepresentationNet, seen: Tensor) -> Outputs:
    """Call a net's module, whose encoder sees ``net.chunk_size`` rows at a time.

    Parameters
    ----------
    net : RepresentationNet
        Its module is called as it is if ``chunk_size`` is None.
    seen : Tensor of shape (n, d)
        Rows.

    Returns
    -------
    outputs : Outputs
        Without a graph of the encoder if there are chunks.
    """
    if net.chunk_size is None:
        return net.module_(seen)  # type: ignore[no-any-return]
    chunks = torch.split(seen, batch_sizes(len(seen), net.chunk_size))
    return net.module_.complete(*_encoded(net, chunks, []))  # type: ignore[no-any-return]


@torch.no_grad()
def _encoded(
    net: RepresentationNet, chunks: Sequence[Tensor], draws: list[GlobalDraws | None]
) -> tuple[Tensor, Tensor | None]:
    """Encode chunk by chunk, and note in `draws` what the draws of each start from."""
    embeddings, targets = [], []
    for chunk in chunks:
        draws.append(GlobalDraws(chunk.device) if net.replays_draws else None)
        embeddings.append(net.module_.encoder(chunk))
        targets.append(net.module_.targets_of(chunk))
    beside = None if targets[0] is None else torch.cat(targets)
    return torch.cat(embeddings), beside


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
        The earlier one, unless a callback has changed what it relied on.
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
