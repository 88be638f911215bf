"""A recorded computation, cleaned and compiled to straight-line code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from types import CodeType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sklearn_repr.utils.trace import Operation, Recorder, Value, is_view, map_nested

__all__ = ["Program", "Template"]

aten = torch.ops.aten

# What these return depends on the shape of a tensor alone
OF_SHAPES = frozenset(
    {"ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full"}
)
# Python's kinds of torch's own functions and methods
BINDINGS = (type(torch.mm), type(Tensor.view))


class _Place(NamedTuple):
    """Where a wanted tensor is written, by its position among them."""

    number: int


# What a program may refer to beside functions, and be kept without its tensors
KEPT = (
    *(Value, _Place, float, complex),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format),
)


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
        operations, self._folded, self.constants = _folded(recorder, operations)
        needed = {*returned, *(number for number, _ in places)}
        self.operations = _without_unread(operations, needed)
        writer = _Writer(recorder, self.operations, self.constants, returned, places)
        self._code, self._bound = writer.code(), writer.bound
        self.run = _made(self._code, self._bound, self.constants, [p for _, p in places])

    def template(self, recorder: Recorder, state: Sequence[Tensor]) -> Template | None:
        """Return the program without its tensors, for others in the places of `state`.

        Parameters
        ----------
        recorder : Recorder
            What the program was made from.
        state : sequence of Tensor
            The recorder's.

        Returns
        -------
        template : Template or None
            None if the program refers to a tensor that neither is in `state` nor follows
            from what is, or to an object that may belong to it.
        """
        bound = self._bound.values()
        if not all(callable(part) or isinstance(part, KEPT) for part in bound):
            return None
        needed = {part.number for part in bound if isinstance(part, Value)}
        folded = [part for op in self._folded for part in _by_shape(recorder, op)]
        prepared = _without_unread(folded, needed)
        made = {number for op in prepared for number in op.results}
        numbers = {recorder.number_of(t): i for i, t in enumerate(state)}
        positions = {n: i for n, i in numbers.items() if n in needed}
        if not needed <= {*made, *positions}:
            return None
        return Template(self._code, self._bound, prepared, positions)


class Template(NamedTuple):
    """A program without its tensors.

    Attributes
    ----------
    code : CodeType
        Defines a function that makes the program from what it refers to.
    bound : dict of str to object
        That, with numbers in place of tensors.
    prepared : list of Operation
        What is computed once for a program.
    positions : dict of int to int
        Which number stands for which tensor of the state.
    """

    code: CodeType
    bound: dict[str, Any]
    prepared: list[Operation]
    positions: dict[int, int]

    def bind(
        self, state: Sequence[Tensor], places: Sequence[Tensor] = ()
    ) -> Callable[..., tuple[Tensor, ...]]:
        """Return the program for other tensors.

        Parameters
        ----------
        state : sequence of Tensor
            Of the shapes of those that were recorded.
        places : sequence of Tensor, default=()
            What the wanted tensors are written to.

        Returns
        -------
        run : callable
            See :class:`Program`.
        """
        tensors = {number: state[at] for number, at in self.positions.items()}

        def look_up(value: Value) -> Tensor:
            return tensors[value.number]

        with torch.no_grad():
            for op in self.prepared:
                args, kwargs = map_nested((op.args, op.kwargs), Value, look_up)
                made = op.function(*args, **kwargs)
                several = made if isinstance(made, tuple | list) else (made,)
                tensors.update(zip(op.results, several, strict=True))
        return _made(self.code, self.bound, tensors, places)


def _made(
    code: CodeType,
    bound: dict[str, Any],
    tensors: dict[int, Tensor],
    places: Sequence[Tensor],
) -> Callable[..., tuple[Tensor, ...]]:
    """Return the function that code defines, given the tensors that it refers to."""
    given = dict(bound)
    for name, thing in bound.items():
        if isinstance(thing, Value):
            given[name] = tensors[thing.number]
        elif isinstance(thing, _Place):
            given[name] = places[thing.number]
    defined: dict[str, Any] = {}
    exec(code, defined)  # noqa: S102 - our own text
    run: Callable[..., tuple[Tensor, ...]] = defined["make"](**given)
    return run


def _by_shape(recorder: Recorder, op: Operation) -> list[Operation]:
    """Return an operation that looks at a tensor's shape alone, without that tensor."""
    if op.name not in OF_SHAPES:
        return [op]
    like = recorder.tensors[op.args[0].number]
    shape = (list(like.shape), list(like.stride()))
    kind = {"dtype": like.dtype, "device": like.device}
    number = -2 - op.results[0]  # of no other tensor
    empty = Operation(aten.empty_strided.default, shape, kind, (number,), False)
    return [empty, op._replace(args=(Value(number), *op.args[1:]))]


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
) -> tuple[list[Operation], list[Operation], dict[int, Tensor]]:
    """Return what remains to do in a run, what does not, and the values it gave."""
    unsteady = recorder.state | recorder.changed
    outside = recorder.outside.difference(recorder.inputs)
    constants = {number: recorder.tensors[number] for number in outside}
    rest, folded = [], []
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
            folded.append(op)
        else:
            rest.append(op)
    return rest, folded, constants


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
        # what the function refers to: operations; Values and Places instead of tensors
        self.bound: dict[str, Any] = {}
        read = {
            *results,
            *(n for n, _ in wanted),
            *(n for op in operations for n in op.read()),
        }
        self.names = {n: self._bind(Value(n)) for n in constants if n in read}
        self.inputs = [f"x{i}" for i in range(len(recorder.inputs))]
        self.names.update(zip(recorder.inputs, self.inputs, strict=True))
        fresh = {number for op in operations if not op.acts for number in op.results}
        self.wanted = [place for _, place in wanted]
        at = [(number, _Place(i)) for i, (number, _) in enumerate(wanted)]
        # what is an input, a constant or wanted twice is copied in the end
        self.places = {n: p for n, p in at if n in fresh and n not in results}
        self.copies = [(n, p) for n, p in at if self.places.get(n) != p]
        # after which operation a tensor's memory is no longer needed
        self.last = {
            self.owner[n]: i for i, op in enumerate(operations) for n in op.read()
        }
        kept = (*results, *(number for number, _ in self.copies))
        self.last.update({self.owner[number]: len(operations) for number in kept})
        self.living: dict[int, list[str]] = {}
        self.free: list[str] = []
        self.n_names = 0

    def code(self) -> CodeType:
        """Return what defines the function that makes the program."""
        lines = [line for at in range(len(self.operations)) for line in self._lines(at)]
        lines += [self._copied(number, place) for number, place in self.copies]
        returned = "".join(f"{self.names[number]}, " for number in self.results)
        body = "\n        ".join([*lines, f"return ({returned})"])
        source = (
            f"def make({', '.join(self.bound)}):\n"
            f"    def run({', '.join(self.inputs)}):\n        {body}\n    return run\n"
        )
        return _code(source)

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
        at, like = self.places.get(number), self.tensors[number]
        outs = {"out", f"{op.function._overloadname}_out", "IntList_out"}
        outs &= set(op.function._overloadpacket.overloads())
        if at is None or not outs or _binding(op.name) is None:
            return None
        place = self.wanted[at.number]
        if (place.shape, place.stride()) != (like.shape, like.stride()):
            return None
        self.names[number] = self._bind(at)
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

    def _copied(self, number: int, place: _Place) -> str:
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
