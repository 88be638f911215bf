"""Inference in chunks: a row's result never depends on its neighbours."""

from __future__ import annotations

import copy
from collections.abc import (
    Callable,
    Hashable,
    Iterable,
)
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sklearn_repr._contracts import (
    Array,
    Batch,
    CorruptionLike,
    PairsLike,
    Table,
)
from sklearn_repr.data.batches import BatchIterator, Split, number_rows
from sklearn_repr.engine.inputs import Inputs
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.engine.step import is_recordable
from sklearn_repr.utils.devices import single_thread
from sklearn_repr.utils.hooks import is_watched
from sklearn_repr.utils.mapped import forget, is_mapped
from sklearn_repr.utils.program import Program
from sklearn_repr.utils.trace import Recorder, TraceError

__all__ = ["ROWS_PER_CHUNK", "chunk_rows", "evaluate", "infer"]

# Rows at a time, and the weights above which fewer fill the time that one row may take
ROWS_PER_CHUNK = 1024
WEIGHTS_PER_CHUNK = 2**24
# How many times as many where fewer rows, if fewer come, have the same bits
LARGER = 4
# Cells of a larger chunk at most, and of the chunks of all threads
CELLS_PER_CHUNK, CELLS_AT_A_TIME = 2**19, 2**22
# Rows below which a matrix product takes hardly less time
FEWEST_ROWS = 64
# Chunks for which a thread is worth starting
CHUNKS_PER_THREAD = 2
# Matrix kernels take another path for rows that do not start on such a boundary, and for
# results that are narrower than this
ALIGNED_COLUMNS = 8
NARROW_COLUMNS = 16
# Besides cell-wise ones, operations whose sums do not depend on the number of rows; a
# product of matrices is looked at by `_agree`
STEADY = frozenset(
    {"view", "_unsafe_view", "t", "unsqueeze", "squeeze", "slice", "select", "expand"}
    | {"split", "split_with_sizes", "unbind", "cat", "stack", "constant_pad_nd", "clone"}
    | {
        "_to_copy",
        "native_layer_norm",
        "sum",
        "mean",
        "amax",
        "topk",
        "gather",
        "scatter",
    }
)


class _AlignedLinear(TorchFunctionMode):
    """Compute linear maps so that a row's bits do not depend on its place in a chunk."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.linear:
            return _aligned_linear(*args, **kwargs)
        return func(*args, **kwargs)


def _aligned_linear(
    input: Tensor,  # noqa: A002 - torch's name
    weight: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    width = weight.shape[0]
    missing = -weight.shape[1] % ALIGNED_COLUMNS
    beside = NARROW_COLUMNS - width if 4 < width < NARROW_COLUMNS else 0
    if missing:
        input = functional.pad(input, (0, missing))  # noqa: A001
    if missing or beside:
        weight = functional.pad(weight, (0, missing, 0, beside))
        bias = None if bias is None else functional.pad(bias, (0, beside))
    # a transposed view takes another kernel, in which the place of a row matters again
    result = functional.linear(input.contiguous(), weight.contiguous(), bias)
    return result[..., :width] if beside else result


def chunk_rows(module: nn.Module) -> int:
    """Return how many rows a module maps at a time: fewer the larger it is.

    Parameters
    ----------
    module : torch.nn.Module
        Any module.

    Returns
    -------
    n_rows : int
        A power of two.

    Examples
    --------
    >>> from torch import nn
    >>> from sklearn_repr.engine.inference import chunk_rows
    >>> chunk_rows(nn.Linear(32, 64)), chunk_rows(nn.Linear(500, 500))
    (1024, 64)
    """
    weights = sum(parameter.numel() for parameter in module.parameters())
    rows = WEIGHTS_PER_CHUNK // max(weights, 1)
    return int(min(ROWS_PER_CHUNK, max(FEWEST_ROWS, 2 ** (rows.bit_length() - 1))))


class _Mapping(NamedTuple):
    """How a chunk is mapped.

    `products` are the shapes of its matrix products with weights, (columns of the result,
    inner columns, type), None where the order of sums may depend on the number of rows.
    """

    run: Callable[[Tensor], Tensor]
    products: frozenset[tuple[int, int, torch.dtype]] | None = None


class _Mappings:
    """What a module was recorded to do, as long as its weights are what they were."""

    known: ClassVar[WeakKeyDictionary[nn.Module, _Mappings]] = WeakKeyDictionary()

    def __init__(self, state: tuple[object, ...]):
        self.state = state
        self.found: dict[Hashable, _Mapping | None] = {}

    @classmethod
    def of(cls, module: nn.Module) -> _Mappings:
        tensors = [*module.parameters(), *module.buffers()]
        # a change through ``.data`` leaves memory and version as they were
        sums = [float(t.sum(dtype=torch.float64)) for t in tensors]
        state = (*((t.data_ptr(), t._version, t.device) for t in tensors), *sums)
        if module not in cls.known or cls.known[module].state != state:
            cls.known[module] = cls(state)
        return cls.known[module]


def _record(apply: Callable[[Tensor], Tensor], x: Tensor) -> _Mapping:
    try:
        with torch.no_grad(), _AlignedLinear(), Recorder([x]) as recorder:
            result = apply(x)
        program = Program(recorder, [result])
    except TraceError:
        return _Mapping(_plain(apply))
    products = set()
    for op in program.operations:
        matrix = op.args[-1].number if op.name == "addmm" else -1
        weight = program.constants.get(matrix)
        if weight is not None:
            products.add((weight.shape[1], weight.shape[0], weight.dtype))
        elif torch.Tag.pointwise not in op.function.tags and op.name not in STEADY:
            return _Mapping(lambda x: program.run(x)[0])
    return _Mapping(lambda x: program.run(x)[0], frozenset(products))


def _plain(apply: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        with _AlignedLinear():
            return apply(x)

    return run


@cache
def _agree(width: int, inner: int, dtype: torch.dtype, few: int, many: int) -> bool:
    """Tell whether a row has the same bits among few rows and among many."""
    # kernels choose the order of their sums by shapes alone: random numbers show it
    generator = torch.Generator().manual_seed(0)
    few, many = sorted((few, many))
    sizes = (width,), (many, inner), (inner, width)
    bias, rows, weight = (torch.randn(n, generator=generator, dtype=dtype) for n in sizes)
    weight = weight.t().contiguous().t()
    whole = torch.addmm(bias, rows, weight)
    parts = ((rows[i : i + few], whole[i : i + few]) for i in (0, many - few))
    return all(torch.equal(torch.addmm(bias, x.clone(), weight), y) for x, y in parts)


def infer(
    function: Callable[..., Tensor],
    encode: Callable[[Table], Tensor],
    X: Table,
    device: torch.device | str,
    *,
    module: nn.Module | None = None,
    finish: Callable[[Array], Array] | None = None,
    dtype: DTypeLike | None = None,
    chunk: int | None = None,
) -> Array:
    """Apply `function` to all rows of `X`, a zero-padded chunk at a time.

    Parameters
    ----------
    function : callable
        Maps an encoded chunk (chunk, d) to one result a row.
    encode : callable
        Maps rows of `X` to an encoded tensor.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Validated rows.
    device : torch.device or str
        Where `function` computes.
    module : torch.nn.Module or None, default=None
        What `function` is given as its first argument. A method of a module needs no
        mention.
    finish : callable or None, default=None
        Maps the results of a chunk, as an array, to what is returned.
    dtype : numpy.dtype or None, default=None
        Type of the results; None leaves them as they are.
    chunk : int or None, default=None
        Rows at a time; None is :func:`chunk_rows`. Results may differ in their last bits
        between chunk sizes.

    Returns
    -------
    results : ndarray of shape (n_samples, ...)
        One result a row; memory beyond it does not grow with `X`.

    Notes
    -----
    Chunks are shared out to as many threads as torch may use, where there are enough of
    them. Each is computed on one thread: the bits do not depend on their number. Where
    that changes no bit, few rows are mapped in a smaller chunk and many in a larger one.
    """
    owner = getattr(function, "__self__", None)
    if module is None and isinstance(owner, nn.Module):
        apply, module = function, owner
    else:
        apply = function if module is None else partial(function, module)
    usual = chunk or (ROWS_PER_CHUNK if module is None else chunk_rows(module))
    n_rows, mapped = X.shape[0], is_mapped(X)

    def encoded(start: int, size: int) -> Tensor:
        rows = X[start : start + size]
        values = encode(rows)
        if mapped:
            forget(rows)
        if len(values) < size:
            values = functional.pad(values, (0, 0, 0, size - len(values)))
        return values.to(device)

    def result_of(values: Tensor, count: int) -> Tensor:
        result = mapping.run(values)[:count].cpu()
        return result if finish is None else torch.from_numpy(finish(result.numpy()))

    def work(starts: Iterable[int]) -> None:
        with torch.inference_mode(), single_thread():
            for start in starts:
                count = min(size, n_rows - start)
                # copies rows of a wider tensor twice as fast as NumPy
                places[start : start + count] = result_of(encoded(start, size), count)

    threads = torch.get_num_threads()
    with torch.inference_mode(False), torch.no_grad(), single_thread():
        size, mapping = usual, _Mapping(_plain(apply))
        if module is not None:
            size, mapping = _fitting(apply, module, encoded, n_rows, X.shape[1], usual)
        with torch.inference_mode():
            first = result_of(encoded(0, size), min(size, n_rows))
    results = np.empty((n_rows, *first.shape[1:]), dtype=dtype or first.numpy().dtype)
    places = torch.from_numpy(results)
    places[:size] = first
    starts = range(size, n_rows, size)
    threads = min(threads, len(starts) // CHUNKS_PER_THREAD)
    threads = min(threads, max(1, CELLS_AT_A_TIME // (size * X.shape[1])))
    if threads <= 1 or mapping.products is None:
        work(starts)
        return results
    with ThreadPoolExecutor(threads) as pool:
        # each takes a stretch of its own, as readers of files like it
        step = -(-len(starts) // threads)
        list(pool.map(work, [starts[i : i + step] for i in range(0, len(starts), step)]))
    return results


def _fitting(
    apply: Callable[[Tensor], Tensor],
    module: nn.Module,
    encoded: Callable[[int, int], Tensor],
    n_rows: int,
    width: int,
    usual: int,
) -> tuple[int, _Mapping]:
    """Return how many rows to map at a time, and how.

    What comes once and fits in a chunk is not worth a recording. The chunk is larger for
    many rows, and smaller for few, where that changes no bit.
    """
    plain = _Mapping(_plain(apply))
    if not all(map(is_recordable, module.modules())) or is_watched(module):
        return usual, plain
    few = max(FEWEST_ROWS, 1 << (n_rows - 1).bit_length())
    mappings = _Mappings.of(module).found
    # which of the two is taken changes no bit
    larger = LARGER * usual
    if larger * width > CELLS_PER_CHUNK:
        larger = usual
    for size in (min(few, larger), usual):
        x = encoded(0, size)
        key = _key(apply, x)
        if n_rows <= usual and (key is None or key not in mappings):
            mappings[key] = None
            return usual, plain
        mapping = mappings.get(key) or _record(apply, x)
        if key is not None:
            mappings[key] = mapping
        products = mapping.products
        agreed = products is not None and all(_agree(*p, size, usual) for p in products)
        if size == usual or agreed:
            return size, mapping
    raise AssertionError  # the usual size always fits


def _key(apply: Callable[..., Tensor], x: Tensor) -> Hashable:
    """Return what tells a function from others, None if it may be another next time."""
    function = getattr(apply, "func", apply)
    owner = getattr(function, "__self__", None)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None or code.co_freevars:
        return None
    return code, id(owner), x.shape, x.dtype


def evaluate(
    net: RepresentationNet,
    rows: Batch,
    corruption: CorruptionLike | None,
    batch_size: int,
    pairs: PairsLike | None = None,
) -> float:
    """Return the net's mean loss on `rows` under corruptions that are always the same.

    Parameters
    ----------
    net : RepresentationNet
        A trained net.
    rows : Batch
        Encoded rows.
    corruption : Corruption or None
        Fitted here, on `rows`.
    batch_size : int
        Rows per batch, for objectives that compare rows with each other.
    pairs : Pairs or None, default=None
        Fitted here, on `rows`.

    Returns
    -------
    loss : float
        Mean over rows.
    """
    rows = rows.to(net.device)
    if pairs is not None:
        rows = number_rows(rows)
    with single_thread():
        corruption, pairs = copy.deepcopy((corruption, pairs))
        inputs = Inputs.fitted(corruption, pairs, Split(rows, rows, None))
        return net.evaluate(BatchIterator(rows, batch_size), inputs)["loss"]
