"""Recordings of steps that later fits of the same networks may use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sklearn_repr.utils.program import Template

__all__ = [
    "RECORDINGS",
    "Recordings",
    "StoredStep",
    "described",
    "layout",
    "settings_of_torch",
]

# A candidate of a grid search asks for some four: whole and last batches, in training
# and in evaluation
MOST = 64
# Of every torch module; of these, parts, tensors and the mode are described one by one
OF_TORCH = frozenset(vars(nn.Module()))
SIMPLE = (
    *(type(None), bool, int, str, bytes, torch.dtype, torch.device),
    *(torch.layout, torch.memory_format),
)
OURS = ("torch.nn.", "sklearn_repr.")


class StoredStep(NamedTuple):
    """What a recorded step is made from.

    Attributes
    ----------
    template : Template
        Its program without tensors.
    names : list of str
        Names of what it returns.
    with_gradient : list of int
        Positions of the parameters that it computes gradients of.
    """

    template: Template
    names: list[str]
    with_gradient: list[int]


class Recordings:
    """Recordings by what they depend on; of more than so many, the oldest are dropped.

    They hold no tensors. Threads may share them.

    Parameters
    ----------
    most : int
        How many are kept.

    Examples
    --------
    >>> from sklearn_repr.engine.recordings import Recordings, StoredStep
    >>> from sklearn_repr.utils.program import Template
    >>> known = Recordings(1)
    >>> step = StoredStep(Template(compile("", "", "exec"), {}, [], {}), ["loss"], [])
    >>> known.put("first", step)
    >>> known.put("second", step)
    >>> known.get("first") is None, known.get("second") is step
    (True, True)
    """

    def __init__(self, most: int):
        self.most = most
        self._steps: OrderedDict[Hashable, StoredStep] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> StoredStep | None:
        """Return what is kept under a key, None if nothing is."""
        with self._lock:
            if key in self._steps:
                self._steps.move_to_end(key)
            return self._steps.get(key)

    def put(self, key: Hashable, step: StoredStep) -> None:
        """Keep a recording."""
        with self._lock:
            self._steps[key] = step
            self._steps.move_to_end(key)
            while len(self._steps) > self.most:
                self._steps.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        """Forget a recording that turned out to be of no use."""
        with self._lock:
            self._steps.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._steps.clear()

    def __len__(self) -> int:
        return len(self._steps)


# Of this process
RECORDINGS = Recordings(MOST)


def described(thing: object, state: Sequence[Tensor]) -> Hashable:
    """Return what decides what a part of a network computes, but for numbers of `state`.

    Parameters
    ----------
    thing : object
        A module, or anything that it refers to.
    state : sequence of Tensor
        Tensors that stand for themselves by their positions, such as parameters.

    Returns
    -------
    key : hashable
        Equal for things of the same structure and the same constants. It holds no tensor.

    Raises
    ------
    TypeError
        If the thing refers to what cannot be described: other tensors, a user's classes
        and functions, functions with variables of their own.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_repr.engine.recordings import described
    >>> few, many = nn.Dropout(0.1), nn.Dropout(0.2)
    >>> described(few, []) == described(nn.Dropout(0.1), []) != described(many, [])
    True
    """
    return _described(thing, {id(tensor): i for i, tensor in enumerate(state)}, {})


def _described(
    thing: Any, positions: dict[int, int], seen: dict[int, tuple[int, object]]
) -> Hashable:
    kind = type(thing)
    if kind in SIMPLE:
        return kind, thing
    if kind in (float, complex):
        return kind, repr(thing)  # tells zeros apart, and is equal to itself if it is NaN
    if id(thing) in positions:
        grad = thing.grad
        return positions[id(thing)], *layout(thing), grad is not None and layout(grad)
    if isinstance(thing, type | FunctionType) and _is_ours(thing):
        return thing
    if id(thing) in seen:
        return "seen", seen[id(thing)][0]
    seen[id(thing)] = len(seen), thing  # kept, lest another take its identity
    if kind in (dict, OrderedDict):
        parts: Any = [part for pair in thing.items() for part in pair]
    elif kind in (tuple, list) or (isinstance(thing, tuple) and _is_ours(kind)):
        parts = thing
    elif kind in (set, frozenset):
        parts = sorted(thing)
    elif isinstance(thing, Tensor | type | FunctionType) or not _is_ours(kind):
        raise TypeError(f"{kind} cannot be described")
    elif isinstance(thing, nn.Module):
        own = {k: v for k, v in vars(thing).items() if k not in OF_TORCH}
        tensors = thing._parameters, thing._buffers
        parts = [thing.training, *tensors, thing._modules, own]
    else:
        parts = [vars(thing)]
    return kind, *[_described(part, positions, seen) for part in parts]


def _is_ours(thing: type | FunctionType) -> bool:
    """Tell whether what a class or function does never changes."""
    whole = isinstance(thing, type) or thing.__closure__ is None
    return whole and thing.__module__.startswith(OURS)


def layout(tensor: Tensor) -> tuple[Hashable, ...]:
    """Return how a tensor lies in memory, and whether it is trained."""
    kind = tensor.dtype, tensor.device, tensor.requires_grad, type(tensor)
    return tuple(tensor.shape), tensor.stride(), *kind


def settings_of_torch() -> Hashable:
    """Return what of torch's settings decides which operations it executes.

    Returns
    -------
    settings : hashable
        Equal if all are the same.

    Raises
    ------
    TypeError
        If torch's functions are overridden.
    """
    if torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack():
        raise TypeError("torch's functions are overridden")
    return (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        *(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")),
        *(torch.get_autocast_dtype(kind) for kind in ("cpu", "cuda")),
        torch._C._get_mkldnn_enabled(),
        torch._C._get_cudnn_enabled(),
        torch._C._get_cudnn_deterministic(),
        torch._C._get_cudnn_benchmark(),
        torch._C._get_flash_sdp_enabled(),
        torch._C._get_mem_efficient_sdp_enabled(),
        torch._C._get_math_sdp_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
    )
