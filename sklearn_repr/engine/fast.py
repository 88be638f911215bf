"""Which of the fast ways of training hold for a net; the plain one is taken elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from skorch.callbacks import EpochTimer
from torch import Tensor, nn

from sklearn_repr._outputs import Batch
from sklearn_repr.engine.callbacks import FiniteLoss, Patience, ProgressBar
from sklearn_repr.engine.flat import can_be_flat, flat_step, flat_zero_grad, flattened
from sklearn_repr.modules import Autoencoder, ContrastiveNetwork
from sklearn_repr.modules.fused import FusedPerceptron, fuse, fused_forward, is_watched
from sklearn_repr.modules.variational import GaussianEncoder, VariationalNetwork
from sklearn_repr.objectives import Reconstruction

__all__ = ["EVALUATION", "FastPath", "SquaredErrorStep", "fast_path", "is_undisturbed"]

# modules whose forward is known to call each of their parts once
CONTAINERS = (Autoencoder, ContrastiveNetwork, VariationalNetwork, GaussianEncoder)
# callbacks that leave parameters and optimiser where they are
OWN = (EpochTimer, FiniteLoss, Patience, ProgressBar)


class SquaredErrorStep:
    """Loss and gradients of an autoencoder under squared error, without autograd.

    Parameters
    ----------
    encoder, decoder : FusedPerceptron
        The two halves. Gradients are left where automatic differentiation leaves them.
    """

    def __init__(self, encoder: FusedPerceptron, decoder: FusedPerceptron):
        self.encoder = encoder
        self.decoder = decoder
        self.grads = [
            [_own_grad(p) for p in half.parameters] for half in (encoder, decoder)
        ]

    def __call__(self, inputs: Tensor, batch: Batch) -> Tensor | None:
        """Return the mean loss, None for a batch that has to take the plain path."""
        target = batch.values
        if batch.observed is not None or inputs.shape != target.shape:
            return None
        with torch.inference_mode():
            there: list[Tensor] = []
            back: list[Tensor] = []
            code = self.encoder.forward(inputs, there)
            residual = self.decoder.forward(code, back) - target
            loss = residual.square().sum(dim=1).mean()
            grad: Tensor | None = residual.mul_(2 / len(target))
            grad, _ = self.decoder.backward(
                residual, back, out=self.grads[1], wants_rows=True
            )
            assert grad is not None  # noqa: S101 - it was asked for
            self.encoder.backward(grad, there, out=self.grads[0])
        return loss


def _own_grad(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


class FastPath(NamedTuple):
    """What holds for a net while :func:`fast_path` lasts.

    Attributes
    ----------
    gradients : SquaredErrorStep or None
        Replaces forward and backward of a batch; None keeps autograd.
    step : callable
        The optimiser's step.
    zero_grad : callable
        Its ``zero_grad``; gradients that others hold are zeroed, not dropped.
    """

    gradients: SquaredErrorStep | None
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
    known = all(map(_is_library_code, (*module.modules(), objective)))
    flat = known and can_be_flat(optimizer)
    with ExitStack() as stack:
        if flat:
            stack.enter_context(flattened(optimizer))
        gradients = None
        if not (plain_gradients or objective.second_order):
            gradients = _squared_error_step(module, objective)
            if type(module) in CONTAINERS:
                stack.enter_context(fused_forward(_parts(module)))
        if flat:
            step, zero_grad = flat_step(optimizer), flat_zero_grad(optimizer)
        else:
            step = optimizer.step
            held = gradients is not None
            zero_grad = partial(optimizer.zero_grad, set_to_none=not held)
        net.fast_ = FastPath(gradients, step, zero_grad)
        stack.callback(setattr, net, "fast_", None)
        yield net.fast_


def _squared_error_step(module: Any, objective: Any) -> SquaredErrorStep | None:
    if type(module) is not Autoencoder or type(objective) is not Reconstruction:
        return None
    plain = module.code is None and module.link is None and not objective.weights
    numeric = all(block.kind == "numeric" for block in objective.blocks)
    if not (plain and numeric and objective.loss == "squared_error"):
        return None
    if is_watched(module) or is_watched(objective):
        return None
    encoder, decoder = fuse(module.encoder), fuse(module.decoder)
    if encoder is None or decoder is None:
        return None
    parameters = encoder.parameters + decoder.parameters
    if len(set(parameters)) < len(parameters):
        return None
    return SquaredErrorStep(encoder, decoder)


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
