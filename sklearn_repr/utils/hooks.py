"""Whether somebody listens to a module, so that it must be called as torch calls it."""

from __future__ import annotations

from torch import (
    Tensor,
    nn,
)
from torch.nn.modules import module as torch_module

__all__ = ["is_watched"]


def is_watched(module: nn.Module) -> bool:
    """Tell whether any part of a module has hooks, or a forward of its own.

    Parameters
    ----------
    module : torch.nn.Module
        Any module.

    Returns
    -------
    watched : bool
        Whether there is a hook on it, on a part or a parameter of it, or on all modules,
        or whether the forward of a part was replaced.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_repr.utils.hooks import is_watched
    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.register_forward_hook(lambda *_: None)
    >>> is_watched(nn.Sequential(layer))
    True
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


def _has_hooks(parameter: Tensor | None) -> bool:
    return parameter is not None and bool(
        parameter._backward_hooks or parameter._post_accumulate_grad_hooks
    )
