"""Where tensors live and how many threads work on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

__all__ = [
    "computes_in_bfloat16",
    "full_precision",
    "resolve_device",
    "single_thread",
]

_LOCK = threading.Lock()
_state = {"users": 0, "threads": 0}


def resolve_device(device: str) -> torch.device:
    """Turn the parameter `device` into a torch device that can be used here.

    Parameters
    ----------
    device : str
        "auto" takes CUDA where there is one and the CPU otherwise; anything else is
        torch's own name for a device.

    Returns
    -------
    device : torch.device
        The device.

    Raises
    ------
    ValueError
        If torch does not know the name or cannot use the device.

    Examples
    --------
    >>> from sklearn_repr.utils.devices import resolve_device
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"device={device!r} cannot be used here ({reason})."
            " Use 'auto', 'cpu' or a device that torch.device accepts."
        ) from error
    return resolved


def computes_in_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies matrices of bfloat16 itself.

    Parameters
    ----------
    device : torch.device
        The device.

    Returns
    -------
    computes : bool
        False where torch would only emulate it, which is slower than float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, name, bool)()) for name in asked)
    return False


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Leave mixed precision where it is on, for maps that everything else adds to."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


@contextmanager
def single_thread() -> Iterator[None]:
    """Let torch compute on one thread, and give the threads back afterwards.

    Tensors of tables are too small to be worth sharing out, and the order in which
    several threads add up would make results depend on the machine's load.
    """
    with _LOCK:
        # asked before setting: torch initialises a new thread on the first question
        own = torch.get_num_threads()
        if _state["users"] == 0:
            _state["threads"] = own
        elif own == 1:  # what a new thread inherits while others are in here
            own = _state["threads"]
        _state["users"] += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _LOCK:
            _state["users"] -= 1
            torch.set_num_threads(own)
