"""Which of the fast ways of training hold for a net; the plain one is taken elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from skorch.callbacks import EpochTimer
from torch import Tensor, nn

from sklearn_repr._outputs import Batch
from sklearn_repr.engine.callbacks import FiniteLoss, Patience, ProgressBar
from sklearn_repr.engine.flat import can_be_flat, flattened
from sklearn_repr.modules import Autoencoder, ContrastiveNetwork
from sklearn_repr.modules.fused import FusedPerceptron, fuse, fused_forward, is_watched
from sklearn_repr.modules.variational import GaussianEncoder, VariationalNetwork
from sklearn_repr.objectives import Objective, Reconstruction

__all__ = ["SquaredErrorStep", "fast_gradients", "fast_optimizer", "is_undisturbed"]

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


@contextmanager
def fast_gradients(
    module: nn.Module, objective: Objective
) -> Iterator[SquaredErrorStep | None]:
    """Fuse what can be fused while the context lasts.

    Parameters
    ----------
    module : torch.nn.Module
        In training.
    objective : Objective
        Its objective.

    Yields
    ------
    step : SquaredErrorStep or None
        What replaces forward and backward of a batch; None keeps autograd, for which
        the module's perceptrons are then single nodes.
    """
    step = _squared_error_step(module, objective)
    if step is not None or objective.second_order or type(module) not in CONTAINERS:
        yield step
        return
    with fused_forward(_parts(module)):
        yield None


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


@contextmanager
def fast_optimizer(net: Any) -> Iterator[None]:
    """Flatten a net's optimiser while the context lasts, if it takes the same steps.

    Parameters
    ----------
    net : RepresentationNet
        Initialised; its attribute ``flat_`` tells whether its optimiser is flat.
    """
    # torch skips weights without a gradient: every one must take part in every step
    known = all(map(_is_library_code, (*net.module_.modules(), net.criterion_)))
    if net.flat_ or not known or not can_be_flat(net.optimizer_):
        yield
        return
    with flattened(net.optimizer_):
        net.flat_ = True
        try:
            yield
        finally:
            net.flat_ = False


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
