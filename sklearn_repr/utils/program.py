"""A recorded computation, cleaned and compiled to straight-line code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from sklearn_repr.utils.trace import Operation, Recorder, Value, is_view, map_nested

__all__ = ["Program"]

aten = torch.ops.aten

# What these return depends on the shape of a tensor alone
OF_SHAPES = frozenset(
    {"ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full"}
)
# Python's kinds of torch's own functions and methods
BINDINGS = (type(torch.mm), type(Tensor.view))


class Program:
    """What a Recorder wrote down, cleaned and compiled.

    What depends on neither inputs nor state is computed once, views of parameters are
    taken once, results that nobody reads are left out, memory that is no longer needed is
    written over, and gradients are written where they are wanted.

    Parameters
    ----------
    recorder : Recorder
        After its context has ended.
    results : sequence of Tensor
        What a run returns.
    wanted : sequence of (Tensor, Tensor), default=()
        What else a run computes, and the tensors that it is written to.

    Attributes
    ----------
    run : callable
        Maps tensors like the recorder's inputs to the results.
    operations : list of Operation
        What a run executes.
    constants : dict of int to Tensor
        The tensors that are the same in every run.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.utils.program import Program
    >>> from sklearn_repr.utils.trace import Recorder
    >>> x = torch.ones(2)
    >>> with Recorder([x]) as recorder:
    ...     y = (x + 1).square()
    >>> Program(recorder, [y]).run(torch.zeros(2))
    (tensor([1., 1.]),)
    """

    def __init__(
        self,
        recorder: Recorder,
        results: Sequence[Tensor],
        wanted: Sequence[tuple[Tensor, Tensor]] = (),
    ):
        operations, same = _simplified(recorder)
        returned = [recorder.number_of(t) for t in results]
        returned = [same.get(number, number) for number in returned]
        numbers = [recorder.number_of(t) for t, _ in wanted]
        places = [(same.get(n, n), p) for n, (_, p) in zip(numbers, wanted, strict=True)]
        operations, self.constants = _folded(recorder, operations)
        needed = {*returned, *(number for number, _ in places)}
        self.operations = _without_unread(operations, needed)
        writer = _Writer(recorder, self.operations, self.constants, returned, places)
        self.run: Callable[..., tuple[Tensor, ...]] = writer.compiled()


def _simplified(recorder: Recorder) -> tuple[list[Operation], dict[int, int]]:
    """Return the operations with x for t(t(x)), and what was replaced by what.

    Sums that keep a dimension which a view then takes away do not keep it.
    """
    uses: dict[int, int] = {}
    for op in recorder.operations:
        for number in op.read():
            uses[number] = uses.get(number, 0) + 1
    same: dict[int, int] = {}
    maker: dict[int, int] = {}

    def read(value: Value) -> Value:
        return Value(same.get(value.number, value.number))

    operations: list[Operation] = []
    for op in recorder.operations:
        args, kwargs = map_nested((op.args, op.kwargs), Value, read)
        op = op._replace(args=args, kwargs=kwargs)
        at = maker.get(args[0].number) if op.function in TWICE else None
        before = operations[at] if at is not None else None
        if before is not None and before.function is op.function is aten.t.default:
            same[op.results[0]] = before.args[0].number
        elif before is not None and before.function is aten.sum.dim_IntList:
            summed = before.args[0].number
            flat = aten.sum.dim_IntList(recorder.tensors[summed], before.args[1]).shape
            if (
                uses[before.results[0]] == 1
                and flat == recorder.tensors[op.results[0]].shape
            ):
                recorder.owner[op.results[0]] = op.results[0]
                op = op._replace(function=before.function, args=before.args[:2])
        maker.update({number: len(operations) for number in op.results})
        operations.append(op)
    return operations, same


# Functions that may undo what was done before them
TWICE = (aten.t.default, aten.view.default)


def _folded(
    recorder: Recorder, operations: list[Operation]
) -> tuple[list[Operation], dict[int, Tensor]]:
    """Return what remains to do in a run, and the values that are the same in all."""
    unsteady = recorder.state | recorder.changed
    outside = recorder.outside.difference(recorder.inputs)
    constants = {number: recorder.tensors[number] for number in outside}
    rest = []
    for op in operations:
        read, made = op.read(), {recorder.owner[number] for number in op.results}
        known = all(number in constants for number in read)
        # the memory of parameters stays where it is, whatever is in it
        fixed = known and is_view(op.function)
        if not made & recorder.changed:
            steady = known and not unsteady & {recorder.owner[number] for number in read}
            fixed = fixed or steady or op.name in OF_SHAPES
        if fixed and not op.acts and not recorder.reshaped.intersection(op.results):
            constants.update({n: recorder.tensors[n] for n in op.results if n >= 0})
        else:
            rest.append(op)
    return rest, constants


def _without_unread(operations: list[Operation], needed: set[int]) -> list[Operation]:
    kept = []
    for op in reversed(operations):
        if op.acts or needed.intersection(op.results):
            needed.update(op.read())
            kept.append(op)
    return kept[::-1]


class _Writer:
    """Writes operations as the source of a Python function."""

    def __init__(
        self,
        recorder: Recorder,
        operations: list[Operation],
        constants: dict[int, Tensor],
        results: list[int],
        wanted: list[tuple[int, Tensor]],
    ):
        self.tensors, self.owner = recorder.tensors, recorder.owner
        self.operations, self.results = operations, results
        # what the function refers to: operations, constants, places
        self.bound: dict[str, Any] = {}
        self.names = {number: self._bind(t) for number, t in constants.items()}
        self.inputs = [f"x{i}" for i in range(len(recorder.inputs))]
        self.names.update(zip(recorder.inputs, self.inputs, strict=True))
        fresh = {number for op in operations if not op.acts for number in op.results}
        # what is an input, a constant or wanted twice is copied in the end
        self.places = {n: p for n, p in wanted if n in fresh and n not in results}
        self.copies = [(n, p) for n, p in wanted if self.places.get(n) is not p]
        # after which operation a tensor's memory is no longer needed
        self.last = {
            self.owner[n]: i for i, op in enumerate(operations) for n in op.read()
        }
        kept = (*results, *(number for number, _ in self.copies))
        self.last.update({self.owner[number]: len(operations) for number in kept})
        self.living: dict[int, list[str]] = {}
        self.free: list[str] = []
        self.n_names = 0

    def compiled(self) -> Callable[..., tuple[Tensor, ...]]:
        """Return the function."""
        lines = [line for at in range(len(self.operations)) for line in self._lines(at)]
        lines += [self._copied(number, place) for number, place in self.copies]
        returned = "".join(f"{self.names[number]}, " for number in self.results)
        body = "\n        ".join([*lines, f"return ({returned})"])
        source = (
            f"def make({', '.join(self.bound)}):\n"
            f"    def run({', '.join(self.inputs)}):\n        {body}\n    return run\n"
        )
        made: dict[str, Any] = {}
        exec(_code(source), made)  # noqa: S102 - our own text
        run: Callable[..., tuple[Tensor, ...]] = made["make"](**self.bound)
        return run

    def _lines(self, at: int) -> Iterator[str]:
        op = self.operations[at]
        over = self._writes_over(op)
        call = self._call(op, at, over)
        targets = [self._named(number) for number in op.results]
        if over is not None or not any(targets):
            yield call
        else:
            single = len(targets) == 1 and not _returns_list(op.function)
            left = ", ".join(name or "_" for name in targets)
            yield f"{left} = {call}" if single else f"{left}, = {call}"
        for number in op.results:
            if over is None and number in self.places:
                yield self._copied(number, self.places[number])
        ended = {self.owner[n] for n in (*op.read(), *op.results) if n >= 0}
        for owner in ended:
            if self.last.get(owner, at) <= at:
                self.free += self.living.pop(owner, [])

    def _named(self, number: int) -> str | None:
        """Return a name for a result, None for one that has a name already."""
        if number < 0 or number in self.names:
            return None
        if not self.free:
            self.free.append(f"v{self.n_names}")
            self.n_names += 1
        name = self.names[number] = self.free.pop()
        self.living.setdefault(self.owner[number], []).append(name)
        return name

    def _writes_over(self, op: Operation) -> str | None:
        """Return the place of a gradient if the operation itself can write there."""
        number = op.results[0] if len(op.results) == 1 else -1
        place, like = self.places.get(number), self.tensors[number]
        outs = {"out", f"{op.function._overloadname}_out", "IntList_out"}
        outs &= set(op.function._overloadpacket.overloads())
        if place is None or not outs or _binding(op.name) is None:
            return None
        if (place.shape, place.stride()) != (like.shape, like.stride()):
            return None
        self.names[number] = self._bind(place)
        return self.names[number]

    def _call(self, op: Operation, at: int, over: str | None) -> str:
        function = _binding(op.name) or op.function._op
        if over is None and self._may_overwrite(op, at):
            function = _in_place(op.function) or function
        given = [self._argument(value) for value in op.args]
        kwargs = {k: self._argument(v) for k, v in op.kwargs.items() if v is not None}
        if over is not None:
            kwargs["out"] = over
        given += [f"{key}={text}" for key, text in kwargs.items()]
        return f"{self._bind(function)}({', '.join(given)})"

    def _may_overwrite(self, op: Operation, at: int) -> bool:
        """Tell whether the result may take the memory of the first argument."""
        first = op.args[0] if op.args else None
        if not isinstance(first, Value) or len(op.results) != 1 or op.acts:
            return False
        number, owner = first.number, self.owner[first.number]
        before, after = self.tensors[number], self.tensors[op.results[0]]
        return (
            owner == number
            and self.last.get(owner) == at
            and [self.owner[n] for n in op.read()].count(owner) == 1
            and self.names[number].startswith("v")
            and (before.shape, before.dtype, before.stride())
            == (after.shape, after.dtype, after.stride())
        )

    def _argument(self, value: Any) -> str:
        if isinstance(value, Value):
            return self.names[value.number]
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self._argument, value))}]"
        simple = value is None or isinstance(value, bool | int | str)
        return repr(value) if simple else self._bind(value)

    def _copied(self, number: int, place: Tensor) -> str:
        return f"{self._bind(Tensor.copy_)}({self._bind(place)}, {self.names[number]})"

    def _bind(self, thing: Any) -> str:
        name = f"b{len(self.bound)}"
        self.bound[name] = thing
        return name


@lru_cache(maxsize=64)
def _code(source: str) -> CodeType:
    # fits of the same networks, as in a search, have programs of the same text
    return compile(source, "<recorded>", "exec")


@cache
def _returns_list(function: Any) -> bool:
    returns = function._schema.returns
    return len(returns) == 1 and isinstance(returns[0].type, torch.ListType)


@cache
def _binding(name: str) -> Callable[..., Any] | None:
    """Return torch's own Python function or method of a name; calling it is fast."""
    found = getattr(torch._C._VariableFunctions, name, None) or getattr(
        Tensor, name, None
    )
    return found if isinstance(found, BINDINGS) else None


@cache
def _in_place(function: Any) -> Callable[..., Any] | None:
    """Return the operation that writes its result over its first argument."""
    name = function._schema.name.removeprefix("aten::") + "_"
    packet = getattr(aten, name, None)
    if packet is None or function._overloadname not in packet.overloads():
        return None
    return _binding(name) or getattr(packet, function._overloadname)._op
