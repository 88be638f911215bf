"""A computation recorded once, and replayed as straight-line code without autograd.

While a computation runs, torch says which of its operations it executes, those of the
backward pass included. Written down in their order, they are a program that computes the
same from other numbers, without modules, graphs and Python's control flow around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Program", "Recorder", "TraceError"]

aten = torch.ops.aten

# What these return depends on numbers: a program recorded with one batch could not repeat
# it with another
UNREPEATABLE = frozenset(
    [
        "_local_scalar_dense",
        "item",
        "is_nonzero",
        "equal",
        "nonzero",
        "masked_select",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "resize_",
        "set_",
        "as_strided_",
        "bincount",
        "histc",
        "repeat_interleave",
    ]
)
# These change the shape of their argument
RESHAPING = frozenset(["t_", "transpose_", "squeeze_", "unsqueeze_", "swapaxes_"])
# What these return depends on the shape of a tensor alone
OF_SHAPES = frozenset(
    ["ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full"]
)
# These return their argument itself
SAME = ("detach", "alias", "lift_fresh")


class TraceError(Exception):
    """A computation cannot be recorded."""


class Value(NamedTuple):
    """A tensor of the program, by its number."""

    number: int


class Operation(NamedTuple):
    """One call of a torch operation; tensors among its arguments are Values."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]
    # whether it changes an argument, draws random numbers or only checks
    acts: bool


class Recorder(TorchDispatchMode):  # type: ignore[misc]
    """Write down the operations that torch executes while the context lasts.

    Parameters
    ----------
    inputs : sequence of Tensor
        What the program is to be given anew in every run.
    state : sequence of Tensor
        What the program reads and changes in place, parameters and buffers: their
        memory, not their numbers, is what it remembers.

    Raises
    ------
    TraceError
        If an operation's result depends on numbers in a way that cannot be repeated.
    """

    def __init__(self, inputs: Sequence[Tensor], state: Sequence[Tensor]):
        super().__init__()
        self.tensors: list[Tensor] = []
        self.numbers: dict[int, int] = {}
        self.operations: list[Operation] = []
        # for every tensor, the one whose memory it shares
        self.owner: list[int] = []
        # whose numbers change, and whose shape
        self.changed: set[int] = set()
        self.reshaped: set[int] = set()
        # tensors that no recorded operation made
        self.outside: set[int] = set()
        self.inputs = [self._given(t) for t in inputs]
        self.state = [self._given(t) for t in state]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave torch's compiler alone, whose import takes a second."""
        return False

    def number_of(self, tensor: Tensor) -> int:
        """Return the number of a tensor that the computation returned."""
        return self.numbers[id(tensor)]

    def _given(self, tensor: Tensor) -> int:
        """Return an argument's number; one that is new is a constant of the program."""
        if id(tensor) not in self.numbers:
            self.outside.add(len(self.tensors))
        return self._number(tensor)

    def _number(self, tensor: Tensor) -> int:
        if id(tensor) not in self.numbers:
            self.numbers[id(tensor)] = len(self.tensors)
            self.owner.append(len(self.tensors))
            self.tensors.append(tensor)  # kept, so that no other gets its identity
        return self.numbers[id(tensor)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Execute an operation and write it down."""
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name in UNREPEATABLE or (name.startswith("index") and _by_mask(args)):
            raise TraceError(f"{name} depends on the numbers of a batch")
        result = func(*args, **kwargs)
        if name in SAME:
            number = self._given(args[0])
            self.numbers[id(result)] = number
            self.tensors.append(result)
            self.owner.append(number)
            return result
        recorded = _map(args, self._given), _map(kwargs, self._given)
        changed = [
            self.owner[value.number]
            for given, argument in zip(args, func._schema.arguments, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
            for value in _values(_map(given, self._given))
        ]
        self.changed.update(changed)
        if name in RESHAPING:
            self.reshaped.add(_first(recorded[0]))
            if self.outside & self.reshaped:
                raise TraceError(f"{name} reshapes what it is given")
        returned = () if result is None else result
        returned = returned if isinstance(returned, tuple | list) else (returned,)
        if not all(t is None or isinstance(t, Tensor) for t in returned):
            raise TraceError(f"{name} returns something else than tensors")
        results = []
        for tensor, said in zip(_flat(returned), _said(func, returned), strict=True):
            results.append(-1 if tensor is None else self._number(tensor))
            if said and tensor is not None:  # a view, or the argument itself
                self.owner[results[-1]] = self.owner[_first(recorded[0])]
        draws = torch.Tag.nondeterministic_seeded in func.tags
        acts = bool(changed) or draws or not results
        self.operations.append(Operation(func, *recorded, tuple(results), acts))
        return result


class Program:
    """What a Recorder wrote down, cleaned and compiled.

    Operations that depend on neither inputs nor state are executed once, views of
    parameters are taken once, results that nobody reads are left out, memory that is no
    longer needed is written over, and gradients are written where they are wanted.

    Parameters
    ----------
    recorder : Recorder
        After its context has ended.
    results : sequence of Tensor
        What a run returns.
    wanted : sequence of (Tensor or None, Tensor)
        What a run writes, and where; nothing for None.
    """

    def __init__(
        self,
        recorder: Recorder,
        results: Sequence[Tensor],
        wanted: Sequence[tuple[Tensor | None, Tensor]],
    ):
        self.recorder = recorder
        self.results = [recorder.number_of(t) for t in results]
        self.wanted = [
            (recorder.number_of(t), place) for t, place in wanted if t is not None
        ]
        self.run: Callable[..., tuple[Tensor, ...]] = self._compile()
        # the tensors of the recorded batch are not kept; constants are part of the code
        del self.recorder

    def _compile(self) -> Callable[..., tuple[Tensor, ...]]:
        operations, same = _without_double_transposes(self.recorder)
        self.results = [same.get(number, number) for number in self.results]
        self.wanted = [(same.get(n, n), place) for n, place in self.wanted]
        constants, operations = self._folded(operations)
        operations = self._without_dead(operations, constants)
        writer = _Writer(self.recorder, constants, operations, self.results, self.wanted)
        return writer.compiled()

    def _folded(
        self, operations: list[Operation]
    ) -> tuple[dict[int, Tensor], list[Operation]]:
        """Return the values that are the same in every run, and what remains to do."""
        recorder = self.recorder
        state = set(recorder.state)
        constants = {
            number: recorder.tensors[number]
            for number in recorder.outside.difference(recorder.inputs)
        }
        rest = []
        for op in operations:
            read = [value.number for value in _values((op.args, op.kwargs))]
            fixed = all(number in constants for number in read)
            # where only the shape of a tensor is read, or its place in memory
            shape = op.function._opname in OF_SHAPES
            view = fixed and _is_view(op.function)
            owners = {recorder.owner[number] for number in read}
            fixed = fixed and not owners & (state | recorder.changed)
            fresh = {recorder.owner[number] for number in op.results if number >= 0}
            fixed = view or ((fixed or shape) and not fresh & recorder.changed)
            if fixed and not op.acts and not recorder.reshaped.intersection(op.results):
                constants.update({n: recorder.tensors[n] for n in op.results if n >= 0})
            else:
                rest.append(op)
        return constants, rest

    def _without_dead(
        self, operations: list[Operation], constants: dict[int, Tensor]
    ) -> list[Operation]:
        needed = {*self.results, *(number for number, _ in self.wanted)}
        kept = []
        for op in reversed(operations):
            if op.acts or needed.intersection(op.results):
                needed.update(value.number for value in _values((op.args, op.kwargs)))
                kept.append(op)
        return kept[::-1]


class _Writer:
    """Writes a program's operations as the source of a Python function."""

    def __init__(
        self,
        recorder: Recorder,
        constants: dict[int, Tensor],
        operations: list[Operation],
        results: list[int],
        wanted: list[tuple[int, Tensor]],
    ):
        self.tensors, self.owner = recorder.tensors, recorder.owner
        self.inputs = recorder.inputs
        self.operations = operations
        self.results = results
        # names of what the function refers to: operations, constants, places
        self.bound: dict[str, Any] = {}
        self.names = {number: self._bind(t) for number, t in constants.items()}
        self.names.update({number: f"x{i}" for i, number in enumerate(self.inputs)})
        self.places: dict[int, Tensor] = {}
        self.copies: list[tuple[int, Tensor]] = []
        fresh = {number for op in operations if not op.acts for number in op.results}
        for number, place in wanted:
            # an input, a constant or what is wanted twice is copied in the end
            direct = number in fresh and number not in {*self.places, *results}
            if direct:
                self.places[number] = place
            else:
                self.copies.append((number, place))
        self.uses: dict[int, int] = {}
        self.last: dict[int, int] = {}
        for i, op in enumerate(operations):
            for value in _values((op.args, op.kwargs)):
                self.uses[value.number] = self.uses.get(value.number, 0) + 1
                self.last[self.owner[value.number]] = i
        for number in (*results, *(number for number, _ in self.copies)):
            self.last[self.owner[number]] = len(operations)
        self.free: list[str] = []
        self.n_names = 0

    def _bind(self, thing: Any) -> str:
        name = f"b{len(self.bound)}"
        self.bound[name] = thing
        return name

    def compiled(self) -> Callable[..., tuple[Tensor, ...]]:
        """Return the function."""
        lines: list[str] = []
        # which operations end the life of which tensors
        ending: dict[int, set[int]] = {}
        for owner, last in self.last.items():
            ending.setdefault(last, set()).add(owner)
        living: dict[int, list[str]] = {}
        skipped = self._joined_sums()
        for i, op in enumerate(self.operations):
            if i in skipped:
                continue
            call, over = self._call(op, i, skipped)
            targets = []
            for number in op.results:
                if number < 0 or over or number in self.names:
                    # nothing, or written over a gradient or an argument
                    targets.append("_")
                else:
                    name = self.free.pop() if self.free else f"v{self.n_names}"
                    self.n_names += name == f"v{self.n_names}"
                    self.names[number] = name
                    living.setdefault(self.owner[number], []).append(name)
                    targets.append(name)
            used = [name for name in targets if name != "_"]
            if not used:
                lines.append(call)
            elif len(targets) == 1 and not _returns_list(op.function):
                lines.append(f"{targets[0]} = {call}")
            else:
                lines.append(f"{', '.join(targets)}, = {call}")
            lines += self._written(op, over)
            for owner in ending.get(i, ()):
                self.free += living.pop(owner, [])
            # results that nobody reads
            for number in op.results:
                if number >= 0 and self.owner[number] not in self.last:
                    self.free += living.pop(self.owner[number], [])
        copy = self._bind(Tensor.copy_)
        for number, place in self.copies:
            lines.append(f"{copy}({self._bind(place)}, {self.names[number]})")
        returned = "".join(f"{self.names[number]}, " for number in self.results)
        given = ", ".join(f"x{i}" for i in range(len(self.inputs)))
        body = "\n        ".join([*lines, f"return ({returned})"])
        source = (
            f"def make({', '.join(self.bound)}):\n"
            f"    def run({given}):\n        {body}\n    return run\n"
        )
        made: dict[str, Any] = {}
        exec(compile(source, "<recorded step>", "exec"), made)  # noqa: S102 - our own text
        run: Callable[..., tuple[Tensor, ...]] = made["make"](**self.bound)
        return run

    def _joined_sums(self) -> dict[int, int]:
        """Find gradients that are views of a sum; the sum is written in their place.

        Returns the sums' positions by the positions of the views.
        """
        maker = {n: i for i, op in enumerate(self.operations) for n in op.results}
        joined = {}
        for i, op in enumerate(self.operations):
            if op.function is not aten.view.default or op.results[0] not in self.places:
                continue
            source = op.args[0].number
            at = maker.get(source)
            if at is None or self.uses[source] > 1 or op.results[0] in self.uses:
                continue
            if self.operations[at].function is aten.sum.dim_IntList:
                place = self.places.pop(op.results[0])
                self.places[source] = place.view(self.tensors[source].shape)
                joined[i] = at
        return joined

    def _call(self, op: Operation, at: int, skipped: dict[int, int]) -> tuple[str, bool]:
        """Return the text of a call, and whether it writes where a gradient belongs."""
        function, args = op.function, list(op.args)
        kwargs = {k: v for k, v in op.kwargs.items() if v is not None}
        number = op.results[0] if len(op.results) == 1 else -1
        place = self.places.get(number)
        python = _python_function(function)
        if place is not None and python is not None and _has_out(function):
            same = place.shape == self.tensors[number].shape
            if same and place.stride() == self.tensors[number].stride():
                out = self.names[number] = self._bind(place)
                return self._text(python, args, {**kwargs, "out": out}), True
        if place is None and self._can_overwrite(op, at):
            in_place = _in_place(function)
            if in_place is not None:
                return self._text(in_place, args, kwargs), False
        return self._text(python or function._op, args, kwargs), False

    def _written(self, op: Operation, over: bool) -> list[str]:
        """Return the copies of results to where they are wanted."""
        copies = []
        for number in op.results:
            if number in self.places and not over:
                copy, place = self._bind(Tensor.copy_), self._bind(self.places[number])
                copies.append(f"{copy}({place}, {self.names[number]})")
        return copies

    def _can_overwrite(self, op: Operation, at: int) -> bool:
        """Tell whether the first argument may be written over by the result."""
        first = op.args[0] if op.args else None
        if not isinstance(first, Value) or len(op.results) != 1 or op.acts:
            return False
        number = first.number
        owner = self.owner[number]
        before, after = self.tensors[number], self.tensors[op.results[0]]
        others = [
            v for v in _values((op.args[1:], op.kwargs)) if self.owner[v.number] == owner
        ]
        return (
            self.last.get(owner) == at
            and owner == number
            and not others
            and not self.names[number].startswith(("b", "x"))
            and (before.shape, before.dtype, before.stride())
            == (after.shape, after.dtype, after.stride())
        )

    def _text(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
        given = [self._argument(value) for value in args]
        given += [f"{key}={self._argument(value)}" for key, value in kwargs.items()]
        return f"{self._bind(function)}({', '.join(given)})"

    def _argument(self, value: Any) -> str:
        if isinstance(value, Value):
            return self.names[value.number]
        if isinstance(value, str):
            return value if value in self.bound else repr(value)
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self._argument, value))}]"
        if value is None or isinstance(value, bool | int):
            return repr(value)
        return self._bind(value)


def _without_double_transposes(
    recorder: Recorder,
) -> tuple[list[Operation], dict[int, int]]:
    """Return the operations with x for t(t(x)), and what was replaced by what."""
    source: dict[int, int] = {}
    same: dict[int, int] = {}

    def read(value: Value) -> Value:
        return Value(same.get(value.number, value.number))

    operations = []
    for op in recorder.operations:
        args, kwargs = _replace(op.args, read), _replace(op.kwargs, read)
        if op.function is aten.t.default:
            before = source.get(args[0].number)
            if before is not None:
                same[op.results[0]] = before
            source[op.results[0]] = args[0].number
        operations.append(op._replace(args=args, kwargs=kwargs))
    return operations, same


def _map(given: Any, number: Callable[[Tensor], int]) -> Any:
    if isinstance(given, Tensor):
        return Value(number(given))
    if isinstance(given, tuple | list):
        return type(given)(_map(part, number) for part in given)
    if isinstance(given, dict):
        return {key: _map(part, number) for key, part in given.items()}
    return given


def _replace(given: Any, value: Callable[[Value], Value]) -> Any:
    if isinstance(given, Value):
        return value(given)
    if isinstance(given, tuple | list):
        return type(given)(_replace(part, value) for part in given)
    if isinstance(given, dict):
        return {key: _replace(part, value) for key, part in given.items()}
    return given


def _values(given: Any) -> list[Value]:
    if isinstance(given, Value):
        return [given]
    if isinstance(given, dict):
        given = list(given.values())
    if isinstance(given, tuple | list):
        return [value for part in given for value in _values(part)]
    return []


def _first(recorded: Any) -> int:
    return _values(recorded)[0].number


def _flat(returned: Sequence[Any]) -> list[Any]:
    return [t for part in returned for t in (part if isinstance(part, list) else [part])]


def _said(function: Any, returned: Sequence[Any]) -> list[bool]:
    """Tell for every result whether the schema says that it shares an argument's memory."""
    said = [r.alias_info is not None for r in function._schema.returns]
    if len(said) < len(returned):  # one list of tensors
        said *= len(returned)
    return said


def _is_view(function: Any) -> bool:
    returns = function._schema.returns
    return bool(returns) and returns[0].alias_info is not None


def _by_mask(args: Any) -> bool:
    masks = (torch.bool, torch.uint8)
    index = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(t is not None and t.dtype in masks for t in index)


def _returns_list(function: Any) -> bool:
    returns = function._schema.returns
    return len(returns) == 1 and isinstance(returns[0].type, torch.ListType)


def _python_function(function: Any) -> Callable[..., Any] | None:
    """Return torch's own Python binding of an operation, which is called faster."""
    name = function._schema.name.removeprefix("aten::")
    found = getattr(torch._C._VariableFunctions, name, None)
    if found is None:
        found = getattr(Tensor, name, None)
    kinds = (type(torch.mm), type(Tensor.view))
    return found if isinstance(found, kinds) else None


def _in_place(function: Any) -> Callable[..., Any] | None:
    """Return the operation that writes its result over its first argument."""
    name = function._schema.name.removeprefix("aten::") + "_"
    packet = getattr(aten, name, None)
    if packet is None or function._overloadname not in packet.overloads():
        return None
    found = getattr(Tensor, name, None)
    if isinstance(found, type(Tensor.view)):
        return found
    operation: Callable[..., Any] = getattr(packet, function._overloadname)._op
    return operation


def _has_out(function: Any) -> bool:
    names = {"out", f"{function._overloadname}_out", "IntList_out"}
    return bool(names & set(function._overloadpacket.overloads()))
