"""Perceptrons with the gradient written by hand: one node of the graph instead of many.

What is computed is what automatic differentiation computes, operation by operation, so
that results are the same to the last bit; only the bookkeeping between them is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules import module as torch_module

from sklearn_repr.modules.linear import SkipConnected

__all__ = ["FusedPerceptron", "fuse", "fused_forward", "is_watched"]

aten = torch.ops.aten


class Activation(NamedTuple):
    """An activation and its derivative.

    Attributes
    ----------
    forward : callable
        Maps what a linear layer returned, and may overwrite it.
    backward : callable
        Maps the gradient of the result, and the result or what it came from, to the
        gradient of what it came from.
    keeps_result : bool
        Which of the two `backward` wants.
    overwrite : callable
        As `forward`, where nobody needs the argument any more.
    """

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    keeps_result: bool
    overwrite: Callable[[Tensor], Tensor]


def find_activation(layer: nn.Module) -> Activation | None:
    """Return the activation that `layer` computes, None if it is unknown."""
    kind: Any = type(layer)
    made: Any = layer
    if kind is nn.ReLU:
        relu = aten.threshold_backward.default
        return _in_place(torch.relu_, lambda grad, y: relu(grad, y, 0))
    if kind is nn.Tanh:
        return _in_place(torch.tanh_, aten.tanh_backward.default)
    if kind is nn.Sigmoid:
        return _in_place(torch.sigmoid_, aten.sigmoid_backward.default)
    if kind is nn.SiLU:
        silu = functional.silu
        return Activation(silu, aten.silu_backward.default, False, aten.silu_.default)
    if kind is nn.GELU:
        gelu, form = aten.gelu_backward.default, made.approximate
        return Activation(
            lambda x: functional.gelu(x, approximate=form),
            lambda grad, x: gelu(grad, x, approximate=form),
            False,
            lambda x: aten.gelu_.default(x, approximate=form),
        )
    if kind is nn.LeakyReLU:
        leaky, slope = aten.leaky_relu_backward.default, made.negative_slope
        return Activation(
            lambda x: functional.leaky_relu(x, slope),
            lambda grad, x: leaky(grad, x, slope, False),
            False,
            lambda x: functional.leaky_relu_(x, slope),
        )
    if kind is nn.ELU:
        elu, alpha = aten.elu_backward.default, made.alpha
        return Activation(
            lambda x: functional.elu(x, alpha),
            lambda grad, x: elu(grad, alpha, 1, 1, False, x),
            False,
            lambda x: functional.elu_(x, alpha),
        )
    return None


def _in_place(
    forward: Callable[[Tensor], Tensor], backward: Callable[[Tensor, Tensor], Tensor]
) -> Activation:
    return Activation(forward, backward, keeps_result=True, overwrite=forward)


class Norm(NamedTuple):
    """Layer normalisation; tensors without history."""

    shape: list[int]
    weight: Tensor
    bias: Tensor
    eps: float

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised rows, their means and inverse deviations."""
        return aten.native_layer_norm.default(  # type: ignore[no-any-return]
            x, self.shape, self.weight, self.bias, self.eps
        )

    def backward(
        self, grad: Tensor, x: Tensor, mean: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of rows, weight and bias."""
        return aten.native_layer_norm_backward.default(  # type: ignore[no-any-return]
            grad, x, self.shape, mean, scale, self.weight, self.bias, [True] * 3
        )


class Map(NamedTuple):
    """A linear layer, what normalises it and the activation; tensors without history.

    The gradients of its parameters begin at place `at`.
    """

    weight: Tensor
    transposed: Tensor
    bias: Tensor
    norm: Norm | None
    activation: Activation | None
    at: int


# a linear layer with what stands behind it
Layer = tuple[nn.Linear, nn.LayerNorm | None, Activation | None]


class FusedPerceptron:
    """A perceptron, perhaps beside a linear path, that knows its own gradient.

    Parameters
    ----------
    layers : sequence of (torch.nn.Linear, torch.nn.LayerNorm or None, Activation or None)
        The layers.
    path : torch.nn.Linear or None, default=None
        Added to what the layers return.

    Attributes
    ----------
    parameters : list of Tensor
        In the order of the gradients that `backward` returns. They are read where they
        are now: after their storage has changed, build anew.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules.fused import fuse
    >>> layer = nn.Linear(2, 1)
    >>> perceptron = fuse(nn.Sequential(layer))
    >>> kept = []
    >>> y = perceptron.forward(torch.ones(1, 2), kept)
    >>> bool(y == layer(torch.ones(1, 2)))
    True
    >>> perceptron.backward(torch.ones(1, 1), kept)[1]
    [tensor([[1., 1.]]), tensor([1.])]
    """

    def __init__(self, layers: Sequence[Layer], path: nn.Linear | None = None):
        self.parameters: list[Tensor] = []
        self.layers = [self._map(*layer) for layer in layers]
        self.path = None if path is None else self._map(path, None, None)

    def _map(
        self, layer: nn.Linear, norm: nn.LayerNorm | None, activation: Activation | None
    ) -> Map:
        at, normed = len(self.parameters), None
        self.parameters += [layer.weight, layer.bias]
        if norm is not None:
            self.parameters += [norm.weight, norm.bias]
            shape = list(norm.normalized_shape)
            normed = Norm(shape, norm.weight.detach(), norm.bias.detach(), norm.eps)
        weight = layer.weight.detach()
        return Map(weight, weight.t(), layer.bias.detach(), normed, activation, at)

    def __call__(self, x: Tensor) -> Tensor:
        """Map rows, as one node of the graph."""
        if torch.is_grad_enabled():
            return _Node.apply(x, self, *self.parameters)  # type: ignore[no-any-return,no-untyped-call]
        return self.forward(x, [])

    def forward(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """Map rows, and append to `kept` what `backward` will need."""
        h = x
        for _, transposed, bias, norm, activation, _ in self.layers:
            kept.append(h)
            h = torch.addmm(bias, h, transposed)
            if norm is not None:
                kept.append(h)
                h, mean, scale = norm.forward(h)
                kept += mean, scale
            if activation is not None:
                if not activation.keeps_result:
                    kept.append(h)
                h = activation.forward(h)
                if activation.keeps_result:
                    kept.append(h)
        if self.path is not None:
            h = torch.addmm(self.path.bias, x, self.path.transposed).add_(h)
        return h

    def backward(
        self,
        grad: Tensor,
        kept: Sequence[Tensor],
        *,
        out: Sequence[Tensor | None] | None = None,
        wants_rows: bool = False,
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Return the gradients of rows and parameters.

        Parameters
        ----------
        grad : Tensor of shape (n, d_out)
            Gradient of what `forward` returned.
        kept : sequence of Tensor
            What `forward` appended.
        out : sequence of Tensor or None, default=None
            Where to put the gradients of the parameters.
        wants_rows : bool, default=False
            Whether the gradient of the rows is needed.

        Returns
        -------
        grad_rows : Tensor of shape (n, d_in) or None
            None unless wanted.
        grads : list of Tensor
            As `parameters`.
        """
        into = list(out or [None] * len(self.parameters))
        flowing, position = grad, len(kept)
        for layer in reversed(self.layers):
            at = layer.at
            if layer.activation is not None:
                position -= 1
                flowing = layer.activation.backward(flowing, kept[position])
            if layer.norm is not None:
                position -= 3
                there = kept[position : position + 3]
                flowing, *learned = layer.norm.backward(flowing, *there)
                for place, grad_learned in enumerate(learned, at + 2):
                    earlier = into[place]
                    into[place] = (
                        grad_learned if earlier is None else earlier.copy_(grad_learned)
                    )
            position -= 1
            into[at] = torch.mm(flowing.t(), kept[position], out=into[at])
            into[at + 1] = torch.sum(flowing, 0, out=into[at + 1])
            if at or wants_rows:
                flowing = torch.mm(flowing, layer.weight)
        if self.path is not None:
            into[-2] = torch.mm(grad.t(), kept[0], out=into[-2])
            into[-1] = torch.sum(grad, 0, out=into[-1])
            if wants_rows:
                flowing.add_(torch.mm(grad, self.path.weight))
        return flowing if wants_rows else None, into  # type: ignore[return-value]


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, perceptron: FusedPerceptron, *_: Tensor) -> Tensor:
        kept: list[Tensor] = []
        y = perceptron.forward(x, kept)
        ctx.perceptron = perceptron
        ctx.save_for_backward(*kept)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, grads = ctx.perceptron.backward(
            grad, ctx.saved_tensors, wants_rows=ctx.needs_input_grad[0]
        )
        return (rows, None, *grads)


def fuse(module: nn.Module, watched: bool | None = None) -> FusedPerceptron | None:
    """Return `module` with its gradient written by hand, None if it is not known.

    Known are linear layers, sequences of linear layers with at most one layer
    normalisation and then one activation behind each, and such a sequence beside a
    linear path. Hooks anywhere, subclasses,
    frozen weights and mixed precision are not.

    Parameters
    ----------
    module : torch.nn.Module
        Any module.
    watched : bool or None, default=None
        What :func:`is_watched` says; None asks.

    Returns
    -------
    perceptron : FusedPerceptron or None
        It shares the module's parameters.
    """
    if is_watched(module) if watched is None else watched:
        return None
    if type(module) is SkipConnected:
        layers, path = _layers(module.network), _layers(module.linear)
        if layers is None or path is None:
            return None
        return FusedPerceptron(layers, path[0][0])
    found = _layers(module)
    return None if found is None else FusedPerceptron(found)


def _layers(module: nn.Module) -> list[Layer] | None:
    parts = list(module) if type(module) is nn.Sequential else [module]
    found: list[Layer] = []
    for before, layer in pairwise([None, *parts]):
        if type(layer) is nn.Linear:
            if not _is_trained(layer):
                return None
            found.append((layer, None, None))
        elif type(layer) is nn.LayerNorm and type(before) is nn.Linear:
            if not _is_trained(layer) or len(layer.normalized_shape) > 1:
                return None
            found[-1] = (before, layer, None)
        elif layer is not None and type(before) in (nn.Linear, nn.LayerNorm):
            activation = find_activation(layer)
            if activation is None:
                return None
            found[-1] = (*found[-1][:2], activation)
        else:
            return None
    return found or None


def _is_trained(layer: nn.Linear | nn.LayerNorm) -> bool:
    """Tell whether a layer has weight and bias, learns both, and in full precision."""
    weights = (layer.weight, layer.bias)
    return all(
        type(p) is nn.Parameter and p.requires_grad for p in weights
    ) and not torch.is_autocast_enabled(layer.weight.device.type)


def is_watched(module: nn.Module) -> bool:
    """Tell whether somebody listens to any part of a module, or has replaced its forward.

    Parameters
    ----------
    module : torch.nn.Module
        Any module.

    Returns
    -------
    watched : bool
        Whether it, or anything in it, has hooks or a forward of its own.
    """
    if torch_module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return True
    return any(
        part._forward_hooks
        or part._forward_pre_hooks
        or part._backward_hooks
        or part._backward_pre_hooks
        or "forward" in vars(part)
        or any(map(_has_hooks, part._parameters.values()))
        for part in module.modules()
    )


def _has_hooks(parameter: Any) -> bool:
    return parameter is not None and bool(
        parameter._backward_hooks or parameter._post_accumulate_grad_hooks
    )


@contextmanager
def fused_forward(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let those of `modules` that are known compute as one node each.

    Parameters
    ----------
    modules : iterable of torch.nn.Module
        Changed while the context lasts.
    """
    fused = [(module, fuse(module)) for module in modules]
    replaced = [module for module, perceptron in fused if perceptron is not None]
    for module, perceptron in fused:
        if perceptron is not None:
            vars(module)["forward"] = perceptron
    try:
        yield
    finally:
        for module in replaced:
            del vars(module)["forward"]
