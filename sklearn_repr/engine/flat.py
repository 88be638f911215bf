"""All parameters in one tensor, so that the optimiser takes one step instead of many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["can_be_flat", "flat_step", "flat_zero_grad", "flattened"]

# Optimisers that treat every number by itself
CELLWISE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
# Numbers to a cache line of float32: matrix kernels add up in another order elsewhere
ALIGNMENT = 16


def can_be_flat(optimizer: Optimizer) -> bool:
    """Tell whether `optimizer` takes the same steps on one flat tensor a group.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any optimiser, used or not.

    Returns
    -------
    flat : bool
        Whether it treats every number by itself, and all parameters of a group alike.
    """
    groups = [group["params"] for group in optimizer.param_groups]
    everything = [p for group in groups for p in group]
    states = [optimizer.state[p] for p in everything if p in optimizer.state]
    steps = {float(state["step"]) for state in states if "step" in state}
    return (
        type(optimizer) in CELLWISE
        and all(groups)
        and all(p.requires_grad for p in everything)
        and len({(p.dtype, p.device) for p in everything}) == 1
        and len(states) in (0, len(everything))
        and len(steps) <= 1
    )


@contextmanager
def flattened(optimizer: Optimizer) -> Iterator[None]:
    """Let `optimizer` see one flat tensor for each of its groups.

    Meanwhile the parameters and their gradients are views of the flat ones: gradients
    are to be zeroed, not dropped. Afterwards the parameters, and the optimiser with its
    state, are ordinary again.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        One that :func:`can_be_flat`.

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
    for group, parameters in zip(optimizer.param_groups, ordinary, strict=True):
        group["params"] = [_flatten(parameters)]
        states = [optimizer.state.pop(p, {}) for p in parameters]
        optimizer.state[group["params"][0]] = {
            key: value if _is_shared(key, value) else _joined([s[key] for s in states])
            for key, value in states[0].items()
        }
    try:
        yield
    finally:
        for group, parameters in zip(optimizer.param_groups, ordinary, strict=True):
            for key, value in optimizer.state.pop(group["params"][0]).items():
                shared = _is_shared(key, value)
                parts = [value] * len(parameters) if shared else _views(value, parameters)
                for parameter, part in zip(parameters, parts, strict=True):
                    optimizer.state[parameter][key] = (
                        part.clone() if isinstance(part, Tensor) else part
                    )
            for parameter in parameters:
                parameter.data = parameter.data.clone()
                parameter.grad = cast(Tensor, parameter.grad).clone()
            group["params"] = parameters


def flat_zero_grad(optimizer: Optimizer) -> Callable[[], Any]:
    """Return what sets the gradients of a flat optimiser to zero.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        A flattened one.

    Returns
    -------
    zero_grad : callable
        Does what ``optimizer.zero_grad(set_to_none=False)`` does.
    """
    grads = [p.grad for group in optimizer.param_groups for p in group["params"]]
    return partial(torch._foreach_zero_, grads)


def flat_step(optimizer: Optimizer) -> Callable[[], Any]:
    """Return a flat optimiser's step, without what surrounds its kernel where possible.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        A flattened one.

    Returns
    -------
    step : callable
        Does what ``optimizer.step()`` does.
    """
    if not _is_bare_adam(optimizer):
        return optimizer.step
    calls: list[Callable[[], None]] = []

    def step() -> None:
        if calls:
            for call in calls:
                call()
            return
        optimizer.step()  # prepares the state where this is the first one
        calls.extend(_kernel(optimizer, group) for group in optimizer.param_groups)

    return step


def _is_bare_adam(optimizer: Any) -> bool:
    """Tell whether a step is one call of a kernel on the CPU, and nothing around it."""
    watched = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW) or watched:
        return False
    return "step" not in vars(optimizer) and all(
        group["fused"]
        and group["params"][0].is_cpu
        and not (group["amsgrad"] or group["maximize"])
        and isinstance(group["lr"], float)
        for group in optimizer.param_groups
    )


def _kernel(optimizer: Optimizer, group: dict[str, Any]) -> Callable[[], None]:
    parameter = group["params"][0]
    state = optimizer.state[parameter]
    names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step")
    moments = ([state[name]] if name in state else [] for name in names)
    lists = [parameter.data], [parameter.grad], *moments
    decoupled = group.get("decoupled_weight_decay", type(optimizer) is torch.optim.AdamW)
    kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_

    def call() -> None:
        state["step"].add_(1)
        kernel(
            *lists,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    return call


def _flatten(parameters: Sequence[Tensor]) -> Tensor:
    """Return a flat parameter of which `parameters` and their gradients become views."""
    flat = nn.Parameter(_joined([p.data for p in parameters]))
    flat.grad = _joined(
        [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    )
    values, grads = _views(flat.data, parameters), _views(flat.grad, parameters)
    for parameter, value, grad in zip(parameters, values, grads, strict=True):
        parameter.data, parameter.grad = value, grad
    return flat


def _joined(values: Sequence[Tensor]) -> Tensor:
    flat = values[0].new_zeros(sum(map(_room, values)))
    for view, value in zip(_views(flat, values), values, strict=True):
        view.copy_(value)
    return flat


def _is_shared(key: str, value: Any) -> bool:
    """Tell what an optimiser keeps of a parameter from what it keeps of its numbers."""
    return key == "step" or not isinstance(value, Tensor)


def _views(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(flat, [_room(tensor) for tensor in like])
    return [
        part[: tensor.numel()].view(tensor.shape)
        for part, tensor in zip(parts, like, strict=True)
    ]


def _room(tensor: Tensor) -> int:
    return -(-tensor.numel() // ALIGNMENT) * ALIGNMENT
