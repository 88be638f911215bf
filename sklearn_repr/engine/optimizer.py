"""What an optimiser is given, and its step without what surrounds its kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

__all__ = ["OPTIMIZERS", "bare_update", "parameter_groups"]

OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], dict[str, object]]] = {
    "adam": (Adam, {"fused": True}),
    "adamw": (AdamW, {"fused": True}),
    "sgd": (SGD, {"fused": True, "momentum": 0.9, "nesterov": True}),
}


def parameter_groups(
    parameters: Sequence[Tensor],
    alpha: float,
    rate: float,
    slow: Sequence[Tensor] = (),
    factor: float = 1.0,
) -> list[dict[str, Any]]:
    """Return parameters in groups: weight matrices decay, biases and norms do not.

    Parameters
    ----------
    parameters : sequence of Tensor
        All that is trained.
    alpha : float
        Weight decay.
    rate : float
        Learning rate.
    slow : sequence of Tensor, default=()
        Those among them that have a rate of their own.
    factor : float, default=1.0
        Theirs over `rate`; a group says so under "rate".

    Returns
    -------
    groups : list of dict
        As torch's optimisers take them.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_repr.engine.optimizer import parameter_groups
    >>> groups = parameter_groups(list(nn.Linear(2, 1).parameters()), 0.1, 1e-3)
    >>> [group["weight_decay"] for group in groups]
    [0.1, 0.0]
    """
    groups: list[dict[str, Any]] = [{"params": list(parameters), "weight_decay": 0.0}]
    if alpha:
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": alpha},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
    if not slow:
        return groups
    known, parts = {id(p) for p in slow}, []
    for group in groups:
        own = [p for p in group["params"] if id(p) in known]
        rest = [p for p in group["params"] if id(p) not in known]
        parts.append({**group, "params": own, "lr": rate * factor, "rate": factor})
        parts.append({**group, "params": rest})
    return [part for part in parts if part["params"]]


@contextmanager
def bare_update(optimizer: Optimizer) -> Iterator[Callable[[], object]]:
    """Yield a function that does what ``optimizer.step()`` does, to the same bits.

    ``Optimizer.step`` looks for hooks, graphs and types that cannot change from step to
    step; for a small network that takes several times as long as its kernel.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its own step is what is yielded unless it is a fused Adam, AdamW or SGD on the
        CPU. All its parameters must have gradients in every step.

    Yields
    ------
    update : callable
        Takes one step. While the context lasts, parameters share their counts of steps.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.engine.optimizer import bare_update
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> layer.weight.grad = torch.ones(1, 1)
    >>> before = layer.weight.item()
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=1.0, fused=True)
    >>> with bare_update(optimizer) as update:
    ...     update()
    >>> layer.weight.item() == before - 1
    True
    """
    if not _is_bare(optimizer):
        yield optimizer.step
        return
    groups = [group for group in optimizer.param_groups if group["params"]]
    calls = [_call(optimizer, group) for group in groups if optimizer.state]

    def update() -> None:
        if not calls:
            optimizer.step()  # prepares the state where this is the first one
            calls.extend(_call(optimizer, group) for group in groups)
            return
        for call in calls:
            call()

    try:
        yield update
    finally:
        for state in optimizer.state.values() if calls else ():
            if "step" in state:
                state["step"] = state["step"].clone()


def _is_bare(optimizer: Optimizer) -> bool:
    """Tell whether a step is one call of a kernel a group, and nothing around it."""
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    if hooks or type(optimizer) not in (Adam, AdamW, SGD) or "step" in vars(optimizer):
        return False
    counts = {float(state.get("step", 0)) for state in optimizer.state.values()}
    return len(counts) <= 1 and all(
        group["fused"]
        and not (group["maximize"] or group.get("amsgrad"))
        and isinstance(group["lr"], float)
        and all(p.is_cpu and p.requires_grad for p in group["params"])
        for group in optimizer.param_groups
    )


def _call(optimizer: Optimizer, group: dict[str, Any]) -> Callable[[], None]:
    """Return the call of a group's kernel; rates and gradients are read in every step."""
    parameters = group["params"]
    states = [optimizer.state.get(p, {}) for p in parameters]
    names: tuple[str, ...] = ("weight_decay", "maximize")
    if isinstance(optimizer, SGD):
        names += ("momentum", "dampening", "nesterov")
        momenta = [state["momentum_buffer"] for state in states if group["momentum"]]
        rest: list[list[Tensor]] = [momenta]
        options = {"is_first_step": False}
        kernel: Callable[..., object] = torch._fused_sgd_
    else:
        names += ("eps", "amsgrad")
        moments = [[s[name] for s in states] for name in ("exp_avg", "exp_avg_sq")]
        counts = [states[0]["step"]] * len(states)
        for state in states:
            state["step"] = counts[0]
        rest = [*moments, [], counts]
        options = dict(zip(("beta1", "beta2"), group["betas"], strict=True))
        decoupled = group.get("decoupled_weight_decay", isinstance(optimizer, AdamW))
        kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
    options |= {name: group[name] for name in names}
    count = states[0].get("step")

    def call() -> None:
        if count is not None:
            count.add_(1)
        grads = [p.grad for p in parameters]
        kernel(parameters, grads, *rest, lr=group["lr"], **options)

    return call
