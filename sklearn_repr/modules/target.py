"""A copy of a module that follows it slowly, to be predicted instead of learned."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

__all__ = ["EMATarget"]


class EMATarget(nn.Module):
    r"""An exponential moving average of a module, without gradient.

    .. math:: \xi \leftarrow m_t \, \xi + (1 - m_t) \, \theta, \qquad
              m_t = 1 - (1 - m) \, \tfrac12 (\cos(\pi t / T) + 1)

    with the weights θ of the module and ξ of the copy after step t of T. Without T the
    momentum stays at m. Buffers, such as running means, are copied as they are.

    Parameters
    ----------
    source : torch.nn.Module
        What to follow. It is not registered as a part of the target.
    momentum : float, default=0.996
        m in [0, 1]: 0 copies the module after every step, 1 never changes.
    n_steps : int or None, default=None
        T, after which the momentum is 1; None keeps it constant.

    Notes
    -----
    The copy's weights are buffers: they are saved, loaded and moved with the module that
    holds the target, but no optimiser and no gradient knows of them. The holder calls
    `update` from its method ``after_step``, which the engine calls after every step.

    References
    ----------
    Grill et al., "Bootstrap your own latent: a new approach to self-supervised learning",
    NeurIPS 2020, arXiv:2006.07733.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules import EMATarget
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(layer.weight)
    >>> target = EMATarget(layer, momentum=0.75)
    >>> _ = nn.init.ones_(layer.weight)
    >>> target.update()
    >>> target(torch.ones(1, 1))
    tensor([[0.2500]])
    """

    def __init__(
        self, source: nn.Module, momentum: float = 0.996, n_steps: int | None = None
    ):
        super().__init__()
        self.momentum = momentum
        self.n_steps = n_steps
        self.n_updates = 0
        self.module = _without_parameters(copy.deepcopy(source))
        # in a tuple, so that the source does not become a part
        self._followed = (source,)
        self._places = _places(self.module, source)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the copy, without gradient."""
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def update(self) -> None:
        """Follow the source by one step."""
        weights, buffers = self._places
        if weights:
            followers = [own[name] for own, _, name in weights]
            followed = [theirs[name] for _, theirs, name in weights]
            torch._foreach_lerp_(followers, followed, 1 - self.current_momentum())
        for own, theirs, name in buffers:
            own[name].copy_(theirs[name])
        self.n_updates += 1

    def current_momentum(self) -> float:
        """Return the momentum of the next update."""
        if self.n_steps is None:
            return self.momentum
        share = min(self.n_updates / max(self.n_steps, 1), 1.0)
        return 1 - (1 - self.momentum) * (math.cos(math.pi * share) + 1) / 2


# where a tensor is kept in the copy, where in the source, and its name in both
_Place = tuple[dict[str, Any], dict[str, Any], str]


def _places(copied: nn.Module, source: nn.Module) -> tuple[list[_Place], list[_Place]]:
    """Find parameters and buffers once, for a walk through modules takes long.

    Tensors may be replaced by others, when modules move to a device; where they are kept
    does not change.
    """
    weights: list[_Place] = []
    buffers: list[_Place] = []
    # parts that stand twice in the module come once, and so move once
    for own, theirs in zip(copied.modules(), source.modules(), strict=True):
        for name, value in theirs._parameters.items():
            if value is not None:
                weights.append((own._buffers, theirs._parameters, name))
        for name, buffer in theirs._buffers.items():
            if buffer is not None:
                buffers.append((own._buffers, theirs._buffers, name))
    return weights, buffers


def _without_parameters(module: nn.Module) -> nn.Module:
    """Turn every parameter, in place, into a buffer of the same name."""
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                del part._parameters[name]
                part.register_buffer(name, parameter.detach().clone())
    return module
