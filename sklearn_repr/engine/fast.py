"""Which of the fast ways of training hold for a net; the plain one is taken elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import torch
from skorch.callbacks import EpochTimer
from torch import Tensor, nn

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.engine.bound import BoundStep, bound_step
from sklearn_repr.engine.callbacks import FiniteLoss, Patience, ProgressBar
from sklearn_repr.engine.chunked import ChunkedStep
from sklearn_repr.engine.flat import can_be_flat, flat_step, flat_zero_grad, flattened
from sklearn_repr.engine.gradients import losses_by_hand, own_grad, parts_of
from sklearn_repr.engine.hidden import HiddenStep, hidden_step
from sklearn_repr.engine.quality import EmbeddingQuality
from sklearn_repr.modules import Autoencoder, ContrastiveNetwork
from sklearn_repr.modules.frozen import CONTAINERS
from sklearn_repr.modules.fused import FusedPerceptron, fuse, fused_forward, is_watched
from sklearn_repr.objectives import (
    AlignUniform,
    BarlowTwins,
    NTXent,
    Reconstruction,
    SupCon,
    Triplet,
    VICReg,
)

__all__ = ["EVALUATION", "FastPath", "HandStep", "fast_path", "is_undisturbed"]

# objectives that see nothing of a module's outputs but projections
OF_PROJECTIONS = (AlignUniform, BarlowTwins, NTXent, SupCon, Triplet, VICReg)
# callbacks that leave parameters and optimiser where they are
OWN = (EmbeddingQuality, EpochTimer, FiniteLoss, Patience, ProgressBar)


class HandStep:
    """Loss and gradients of a perceptron and of others behind it.

    The losses that are known have their gradient by hand too, others have autograd's.

    Parameters
    ----------
    net : RepresentationNet
        Its ``reduce_terms`` makes one loss of the objective's terms.
    first : FusedPerceptron
        Rows to embedding. Gradients are left where automatic differentiation leaves them.
    behind : dict of str to FusedPerceptron
        Embedding to what the objective looks at, by the name that :class:`Outputs` has
        for the result.
    link : torch.nn.Module or None, default=None
        What that result passes through first, where it is a single one.
    """

    def __init__(
        self,
        net: Any,
        first: FusedPerceptron,
        behind: dict[str, FusedPerceptron],
        link: nn.Module | None = None,
    ):
        self.net = net
        self.first = first
        self.behind = behind
        self.link = link
        self.by_hand = None if link else losses_by_hand(net.criterion_, list(behind))
        self.grads = [own_grad(p) for p in first.parameters]
        self.grads_behind = [
            [own_grad(p) for p in part.parameters] for part in behind.values()
        ]

    def __call__(self, inputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        there: list[Tensor] = []
        back: list[list[Tensor]] = [[] for _ in self.behind]
        by_hand = self.by_hand if batch.observed is None else None
        parts = list(self.behind.values())
        with torch.no_grad() if by_hand is None else torch.inference_mode():
            embedding = self.first.forward(inputs, there)
            results = [p.forward(embedding, k) for p, k in zip(parts, back, strict=True)]
            if by_hand is None:
                losses, grads = self._differentiate(embedding, results, batch)
            else:
                losses, grads = by_hand(results, batch)
            flowing: Tensor | None = None
            for part, grad, kept, out in zip(
                parts, grads, back, self.grads_behind, strict=True
            ):
                share = cast(
                    Tensor, part.backward(grad, kept, out=out, wants_rows=True)[0]
                )
                flowing = share if flowing is None else flowing.add_(share)
            self.first.backward(cast(Tensor, flowing), there, out=self.grads)
        return losses

    def _differentiate(
        self, embedding: Tensor, results: list[Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], Sequence[Tensor]]:
        leaves = [result.detach().requires_grad_() for result in results]
        with torch.enable_grad():
            outputs = Outputs(embedding)
            for field, leaf in zip(self.behind, leaves, strict=True):
                result = leaf if self.link is None else self.link(leaf)
                setattr(outputs, field, result)
            loss, terms = self.net.reduce_terms(self.net.criterion_(outputs, batch))
            grads = torch.autograd.grad(loss, leaves)
        losses = {k: v.detach() for k, v in terms.items()}
        return {"loss": loss.detach(), **losses}, grads


class FastPath(NamedTuple):
    """What holds for a net while :func:`fast_path` lasts.

    Attributes
    ----------
    gradients : HandStep, BoundStep, HiddenStep, ChunkedStep or None
        Replaces forward and backward of a batch; None keeps autograd.
    step : callable
        The optimiser's step.
    zero_grad : callable
        Its ``zero_grad``, for gradients by autograd.
    parts : list of torch.nn.Module or None
        All parts of module and objective, if none does more than to note whether it is
        trained.
    """

    gradients: HandStep | BoundStep | HiddenStep | ChunkedStep | None
    step: Callable[[], Any]
    zero_grad: Callable[[], Any]
    parts: list[nn.Module] | None = None


# nothing is learned here
EVALUATION = nullcontext(FastPath(None, step=bool, zero_grad=bool))


@contextmanager
def fast_path(net: Any, *, plain_gradients: bool = False) -> Iterator[FastPath]:
    """Take what short cuts there are for a net, while the context lasts.

    Parameters
    ----------
    net : RepresentationNet
        Initialised. Inside another such context, that one goes on.
    plain_gradients : bool, default=False
        Leave forward and backward to torch.

    Yields
    ------
    fast : FastPath
        The short cuts; also in the net's attribute ``fast_``.
    """
    if net.fast_ is not None:
        yield net.fast_
        return
    module, objective, optimizer = net.module_, net.criterion_, net.optimizer_
    # torch skips weights without a gradient: every one must take part in every step
    parts = [*module.modules(), *objective.modules()]
    known = all(map(_is_library_code, parts))
    flat = known and can_be_flat(optimizer)
    with ExitStack() as stack:
        if flat:
            stack.enter_context(flattened(optimizer))
        gradients: HandStep | BoundStep | HiddenStep | ChunkedStep | None = None
        if not (plain_gradients or objective.second_order or net.mixed):
            if net.chunk_size is None and not any(map(is_watched, (module, objective))):
                gradients = bound_step(net) or hidden_step(net) or _hand_step(net)
            if type(module) in CONTAINERS:
                stack.enter_context(fused_forward(_parts(module)))
        step = flat_step(optimizer) if flat else optimizer.step
        zero_grad = flat_zero_grad(optimizer) if flat else optimizer.zero_grad
        if net.chunk_size is not None:
            gradients = ChunkedStep(net, zero_grad)
        simple = all(type(part).train is nn.Module.train for part in parts)
        net.fast_ = FastPath(gradients, step, zero_grad, parts if simple else None)
        stack.callback(setattr, net, "fast_", None)
        yield net.fast_


def _hand_step(net: Any) -> HandStep | None:
    """Return the step by hand for modules and objectives that are known to fit it."""
    module, objective = net.module_, net.criterion_
    kinds = [type(part) for part in parts_of(objective)]
    behind: dict[str, nn.Module]
    link = None
    if type(module) is Autoencoder and type(objective) is Reconstruction:
        if module.code is not None:
            return None
        behind, link = {"reconstruction": module.decoder}, module.link
    elif type(module) is ContrastiveNetwork and module.mixup is None:
        behind = {"projection": module.head}
        if module.decoder is not None:
            behind["reconstruction"] = module.decoder
        rebuilds = kinds.count(Reconstruction)
        if rebuilds != len(behind) - 1 or not {*kinds} <= {
            *OF_PROJECTIONS,
            Reconstruction,
        }:
            return None
    else:
        return None
    first, fused = fuse(module.encoder), {k: fuse(part) for k, part in behind.items()}
    known = {field: part for field, part in fused.items() if part is not None}
    if first is None or len(known) < len(fused):
        return None
    halves = [first, *known.values()]
    parameters = [p for half in halves for p in half.parameters]
    # neither shared weights nor an objective that learns
    if len(set(parameters)) < len(parameters) or list(objective.parameters()):
        return None
    return HandStep(net, first, known, link)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if type(child) in CONTAINERS:
            yield from _parts(child)
        else:
            yield child


def is_undisturbed(net: Any) -> bool:
    """Tell whether nobody but the engine hears of epochs.

    Parameters
    ----------
    net : RepresentationNet
        Initialised.

    Returns
    -------
    undisturbed : bool
        Whether all callbacks are the engine's own.
    """
    return all(type(callback) in OWN for _, callback in net.callbacks_)


def _is_library_code(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.nn.", "sklearn_repr."))
