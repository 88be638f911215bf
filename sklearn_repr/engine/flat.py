"""All parameters in one tensor, so that the optimiser takes one step instead of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["flattened"]

# Numbers to a cache line of float32: matrix kernels add up in another order elsewhere
ALIGNMENT = 16


@contextmanager
def flattened(optimizer: Optimizer) -> Iterator[bool]:
    """Let `optimizer` see one flat tensor for each of its groups.

    Meanwhile the parameters and their gradients are views of the flat ones: gradients
    are to be zeroed, not dropped. Afterwards parameters and the optimiser's state are
    ordinary again.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        One that works cell by cell and has not taken a step yet.

    Yields
    ------
    flat : bool
        True.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.engine.flat import flattened
    >>> layer = nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(layer.parameters())
    >>> with flattened(optimizer):
    ...     len(optimizer.param_groups[0]["params"])
    1
    >>> len(optimizer.param_groups[0]["params"])
    2
    """
    ordinary = [group["params"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["params"] = [_flatten(group["params"])]
    try:
        yield True
    finally:
        for group, parameters in zip(optimizer.param_groups, ordinary, strict=True):
            for key, value in optimizer.state.pop(group["params"][0], {}).items():
                parts = _parts(value, parameters)
                for parameter, part in zip(parameters, parts, strict=True):
                    optimizer.state[parameter][key] = part
            for parameter in parameters:
                parameter.data = parameter.data.clone()
                parameter.grad = (
                    None if parameter.grad is None else parameter.grad.clone()
                )
            group["params"] = parameters


def _flatten(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """Return a flat parameter of which `parameters` and their gradients become views."""
    first = parameters[0]
    flat = nn.Parameter(first.new_zeros(sum(map(_room, parameters))))
    flat.grad = torch.zeros_like(flat)
    values, grads = _views(flat.data, parameters), _views(flat.grad, parameters)
    for parameter, value, grad in zip(parameters, values, grads, strict=True):
        value.copy_(parameter.data)
        parameter.data, parameter.grad = value, grad
    return flat


def _parts(value: Any, parameters: Sequence[nn.Parameter]) -> list[Any]:
    """Return each parameter's own part of a flat optimiser's state."""
    if not isinstance(value, Tensor):
        return [value for _ in parameters]
    if value.ndim == 0:
        return [value.clone() for _ in parameters]
    return [view.clone() for view in _views(value, parameters)]


def _views(flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    parts = torch.split(flat, [_room(p) for p in parameters])
    return [
        part[: p.numel()].view(p.shape) for part, p in zip(parts, parameters, strict=True)
    ]


def _room(parameter: nn.Parameter) -> int:
    return -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
