"""What torch executes while a computation runs, written down.

Torch tells which operations it executes, those of the backward pass included. In their
order they are a program that computes the same from other numbers, without modules,
graphs and Python's control flow around them; see :mod:`sklearn_repr.utils.program`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Operation", "Recorder", "TraceError", "Value", "is_view", "map_nested"]

# What these return depends on numbers, or moves memory: a program recorded with one batch
# could not repeat it with another
UNREPEATABLE = frozenset(
    {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount"}
    | {"_unique2", "unique_dim", "unique_consecutive", "histc", "repeat_interleave"}
    | {"resize_", "set_", "as_strided_"}
)
# A program of more operations than this takes longer to write than it saves
MOST_OPERATIONS = 5000
# These change the shape of their argument
RESHAPING = frozenset({"t_", "transpose_", "squeeze_", "unsqueeze_", "swapaxes_"})
# These return their argument itself
SAME = frozenset({"detach", "alias", "lift_fresh"})


class TraceError(Exception):
    """A computation cannot be recorded."""


class Value(NamedTuple):
    """A tensor of the program, by its number."""

    number: int


class Operation(NamedTuple):
    """One call of a torch operation; tensors among its arguments are Values.

    `acts` says that it changes an argument, draws random numbers or only checks, so that
    it must run whether or not its results are read; a result that is None is -1.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]
    acts: bool

    @property
    def name(self) -> str:
        """The operation's name without its overload."""
        return str(self.function._schema.name.removeprefix("aten::"))

    def read(self) -> list[int]:
        """Return the numbers of the tensors that it is given."""
        return [value.number for value in values_of((self.args, self.kwargs))]


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Write down the operations that torch executes while the context lasts.

    Parameters
    ----------
    inputs : sequence of Tensor
        What the program is to be given anew in every run.
    state : sequence of Tensor, default=()
        What the program reads and may change in place, such as parameters: it remembers
        their memory, not their numbers. All other tensors are constants.

    Attributes
    ----------
    tensors : list of Tensor
        Every tensor that was seen, by number; kept, lest another take its identity.
    operations : list of Operation
        What was executed, in order.
    owner : list of int
        For every tensor, the one whose memory it shares.
    changed, reshaped, outside : set of int
        Whose memory is written to; whose shape changes; what no operation made.

    Raises
    ------
    TraceError
        If an operation's result depends on numbers in a way that cannot be repeated.
    """

    def __init__(self, inputs: Sequence[Tensor], state: Sequence[Tensor] = ()):
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[Tensor] = []
        self.operations: list[Operation] = []
        self.owner: list[int] = []
        self.changed: set[int] = set()
        self.reshaped: set[int] = set()
        self.outside: set[int] = set()
        self._numbers: dict[int, int] = {}
        self.inputs = [self._given(t).number for t in inputs]
        self.state = {self._given(t).number for t in state}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave torch's compiler alone, whose import takes a second."""
        return False

    def number_of(self, tensor: Tensor) -> int:
        """Return the number of a tensor that the computation returned."""
        return self._numbers[id(tensor)]

    def _given(self, tensor: Tensor) -> Value:
        if id(tensor) not in self._numbers:
            self.outside.add(len(self.tensors))
            self._made(tensor, None)
        return Value(self._numbers[id(tensor)])

    def _made(self, tensor: Tensor, shares: int | None) -> int:
        number = self._numbers.setdefault(id(tensor), len(self.tensors))
        if number == len(self.tensors):
            self.tensors.append(tensor)
            self.owner.append(number if shares is None else self.owner[shares])
        return number

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Execute an operation and write it down."""
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name in UNREPEATABLE or (name.startswith("index") and _by_mask(args)):
            raise TraceError(f"{name} depends on the numbers of a batch")
        if len(self.operations) == MOST_OPERATIONS:
            raise TraceError(f"there are more than {MOST_OPERATIONS} operations")
        result = func(*args, **kwargs)
        if name in SAME:
            number = self._given(args[0]).number
            self._numbers[id(result)] = number
            self.tensors.append(result)
            self.owner.append(number)
            return result
        recorded = (
            map_nested(args, Tensor, self._given),
            map_nested(kwargs, Tensor, self._given),
        )
        changed = [
            self.owner[value.number]
            for argument, given in zip(func._schema.arguments, recorded[0], strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
            for value in values_of(given)
        ]
        self.changed.update(changed)
        if name in RESHAPING:
            self.reshaped.add(recorded[0][0].number)
            if self.reshaped & self.outside:
                raise TraceError(f"{name} reshapes what the computation was given")
        shares = recorded[0][0].number if is_view(func) else None
        returned = result if isinstance(result, tuple | list) else (result,)
        if not all(t is None or isinstance(t, Tensor) for t in returned):
            raise TraceError(f"{name} returns something else than tensors")
        results = tuple(-1 if t is None else self._made(t, shares) for t in returned)
        draws = torch.Tag.nondeterministic_seeded in func.tags
        acts = bool(changed) or draws or not func._schema.returns
        self.operations.append(Operation(func, *recorded, results, acts))
        return result


def map_nested(given: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """Return nested arguments with the function's result for whatever is of a kind."""
    if isinstance(given, kind):
        return function(given)
    if isinstance(given, list | tuple):
        return type(given)([map_nested(part, kind, function) for part in given])
    if isinstance(given, dict):
        return {key: map_nested(part, kind, function) for key, part in given.items()}
    return given


def values_of(given: Any) -> list[Value]:
    found: list[Value] = []
    map_nested(given, Value, found.append)
    return found


def is_view(function: Any) -> bool:
    """Tell whether results share the memory of the first argument."""
    return any(part.alias_info is not None for part in function._schema.returns)


def _by_mask(args: Any) -> bool:
    masks = (torch.bool, torch.uint8)
    index = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(t is not None and t.dtype in masks for t in index)
