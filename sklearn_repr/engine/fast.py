"""Which of the fast ways of training hold for a net; the plain one is taken elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import torch
from skorch.callbacks import EpochTimer
from torch import Tensor, nn

from sklearn_repr._outputs import Batch, Outputs
from sklearn_repr.engine.bound import BoundStep, bound_step
from sklearn_repr.engine.callbacks import FiniteLoss, Patience, ProgressBar
from sklearn_repr.engine.chunked import ChunkedStep
from sklearn_repr.engine.flat import can_be_flat, flat_step, flat_zero_grad, flattened
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
    """Loss and gradients of two perceptrons in a row, with autograd for the loss alone.

    Parameters
    ----------
    net : RepresentationNet
        Its ``reduce_terms`` makes one loss of the objective's terms.
    halves : pair of FusedPerceptron
        Rows to embedding, and on to what the objective looks at. Gradients are left
        where automatic differentiation leaves them.
    field : str
        What :class:`Outputs` calls the result of the second half.
    link : torch.nn.Module or None, default=None
        What that result passes through first.
    """

    def __init__(
        self,
        net: Any,
        halves: tuple[FusedPerceptron, FusedPerceptron],
        field: str,
        link: nn.Module | None = None,
    ):
        self.net = net
        self.halves = halves
        self.field = field
        self.link = link
        self.squared = link is None and _is_squared_error(net.criterion_)
        self.grads = [[_own_grad(p) for p in half.parameters] for half in halves]

    def __call__(self, inputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        first, second = self.halves
        there: list[Tensor] = []
        back: list[Tensor] = []
        squared = self.squared and batch.observed is None
        squared = squared and inputs.shape == batch.values.shape
        with torch.inference_mode() if squared else torch.no_grad():
            embedding = first.forward(inputs, there)
            result = second.forward(embedding, back)
            if squared:
                grad = result - batch.values
                loss = grad.square().sum(dim=1).mean()
                losses = {"loss": loss, "reconstruction": loss}
                grad.mul_(2 / len(inputs))
            else:
                losses, grad = self._differentiate(embedding, result.detach(), batch)
            flowing, _ = second.backward(grad, back, out=self.grads[1], wants_rows=True)
            first.backward(cast(Tensor, flowing), there, out=self.grads[0])
        return losses

    def _differentiate(
        self, embedding: Tensor, leaf: Tensor, batch: Batch
    ) -> tuple[dict[str, Tensor], Tensor]:
        with torch.enable_grad():
            leaf.requires_grad_()
            result = leaf if self.link is None else self.link(leaf)
            outputs = Outputs(embedding)
            setattr(outputs, self.field, result)
            loss, terms = self.net.reduce_terms(self.net.criterion_(outputs, batch))
            (grad,) = torch.autograd.grad(loss, leaf)
        return {"loss": loss.detach(), **{k: v.detach() for k, v in terms.items()}}, grad


def _is_squared_error(objective: Any) -> bool:
    """Tell the one loss whose gradient is by hand as well."""
    numeric = all(block.kind == "numeric" for block in getattr(objective, "blocks", ()))
    return (
        type(objective) is Reconstruction
        and objective.loss == "squared_error"
        and numeric
        and not objective.masked_only
        and not objective.weights
    )


def _own_grad(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


class FastPath(NamedTuple):
    """What holds for a net while :func:`fast_path` lasts.

    Attributes
    ----------
    gradients : HandStep, BoundStep, ChunkedStep or None
        Replaces forward and backward of a batch; None keeps autograd.
    step : callable
        The optimiser's step.
    zero_grad : callable
        Its ``zero_grad``, for gradients by autograd.
    """

    gradients: HandStep | BoundStep | ChunkedStep | None
    step: Callable[[], Any]
    zero_grad: Callable[[], Any]


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
    known = all(map(_is_library_code, (*module.modules(), *objective.modules())))
    flat = known and can_be_flat(optimizer)
    with ExitStack() as stack:
        if flat:
            stack.enter_context(flattened(optimizer))
        gradients: HandStep | BoundStep | ChunkedStep | None = None
        if not (plain_gradients or objective.second_order or net.mixed):
            if net.chunk_size is None:
                gradients = bound_step(net) or _hand_step(net)
            if type(module) in CONTAINERS:
                stack.enter_context(fused_forward(_parts(module)))
        step = flat_step(optimizer) if flat else optimizer.step
        zero_grad = flat_zero_grad(optimizer) if flat else optimizer.zero_grad
        if net.chunk_size is not None:
            gradients = ChunkedStep(net, zero_grad)
        net.fast_ = FastPath(gradients, step, zero_grad)
        stack.callback(setattr, net, "fast_", None)
        yield net.fast_


def _hand_step(net: Any) -> HandStep | None:
    """Return the step by hand for modules and objectives that are known to fit it."""
    module, objective = net.module_, net.criterion_
    pair: tuple[nn.Module, nn.Module]
    link = None
    if type(module) is Autoencoder and type(objective) is Reconstruction:
        if module.code is not None:
            return None
        pair, field = (module.encoder, module.decoder), "reconstruction"
        link = module.link
    elif (
        type(module) is ContrastiveNetwork
        and module.mixup is None
        and type(objective) in OF_PROJECTIONS
    ):
        pair, field = (module.encoder, module.head), "projection"
    else:
        return None
    first, second = map(fuse, pair)
    if first is None or second is None or is_watched(module) or is_watched(objective):
        return None
    parameters = first.parameters + second.parameters
    # neither shared weights nor an objective that learns
    if len(set(parameters)) < len(parameters) or list(objective.parameters()):
        return None
    return HandStep(net, (first, second), field, link)


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
