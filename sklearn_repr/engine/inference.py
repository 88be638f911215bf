"""Inference in chunks: a row's result never depends on its neighbours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sklearn_repr._contracts import Batch
from sklearn_repr.engine.batches import BatchIterator, Inputs, Split, number_rows
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.modules.frozen import (
    ALIGNMENT,
    FEWEST,
    freeze,
    is_frozen,
    rows_together,
)
from sklearn_repr.utils.devices import single_thread
from sklearn_repr.utils.mapped import forget, is_mapped

__all__ = ["CHUNK", "chunk_rows", "evaluate", "infer"]

# Rows at a time, and the weights above which fewer fill the time that one row may take
CHUNK = 1024
WEIGHTS = 2**24
# How many times as many a frozen module takes: where few come, few are computed
FROZEN = 4
# Chunks for which a thread is worth starting
CHUNKS_A_THREAD = 2


class _AlignedLinear(TorchFunctionMode):
    """Pad the inner dimension of every linear map; see :mod:`modules.frozen`."""

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
    missing = -weight.shape[1] % ALIGNMENT
    if missing:
        input = functional.pad(input, (0, missing))  # noqa: A001
        weight = functional.pad(weight, (0, missing))
    # a transposed view takes another kernel, in which the place of a row matters again
    return functional.linear(input.contiguous(), weight.contiguous(), bias)


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
    rows = WEIGHTS // max(weights, 1)
    return int(min(CHUNK, max(FEWEST, 2 ** (rows.bit_length() - 1))))


def infer(
    function: Callable[..., Tensor],
    encode: Callable[[Any], Tensor],
    X: Any,
    device: torch.device | str,
    *,
    module: nn.Module | None = None,
    finish: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    dtype: Any = None,
    chunk: int | None = None,
) -> NDArray[Any]:
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
        What `function` is given as its first argument, in a form that is made for
        inference. A method of a module needs no mention.
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
    them. Each is computed on one thread: the bits do not depend on their number. Frozen
    modules map few rows in a smaller chunk, see
    :func:`~sklearn_repr.modules.frozen.rows_together`.
    """
    owner = getattr(function, "__self__", None)
    apply, aligned = function, False
    method = module is None and isinstance(owner, nn.Module)
    module = owner if method else module
    if module is not None:
        twin = freeze(module)
        apply = getattr(twin, function.__name__) if method else partial(function, twin)
        aligned = is_frozen(twin)
        chunk = chunk or chunk_rows(module)
    size = chunk or CHUNK
    n_rows, mapped = X.shape[0], is_mapped(X)
    if aligned:
        with single_thread(), torch.inference_mode():
            size = rows_together(twin, n_rows, FROZEN * size)

    def result_of(start: int) -> Tensor:
        rows = X[start : start + size]
        values = encode(rows)
        if mapped:
            forget(rows)
        count = len(values)
        if count < size:
            values = functional.pad(values, (0, 0, 0, size - count))
        result = apply(values.to(device))
        result = (result if count == size else result[:count]).cpu()
        return result if finish is None else torch.from_numpy(finish(result.numpy()))

    def work(starts: Iterable[int]) -> None:
        mode = nullcontext() if aligned else _AlignedLinear()
        with torch.inference_mode(), single_thread(), mode:
            for start in starts:
                # copies rows of a wider tensor twice as fast as NumPy
                places[start : start + size] = result_of(start)

    with torch.inference_mode(), nullcontext() if aligned else _AlignedLinear():
        threads = torch.get_num_threads()
        with single_thread():
            first = result_of(0)
        kind = dtype or first.numpy().dtype
        results = np.empty((n_rows, *first.shape[1:]), dtype=kind)
        places = torch.from_numpy(results)
        places[:size] = first
    starts = range(size, n_rows, size)
    threads = min(threads, len(starts) // CHUNKS_A_THREAD)
    if threads <= 1 or not aligned:
        work(starts)
        return results
    with ThreadPoolExecutor(threads) as pool:
        # each takes a stretch of its own, as readers of files like it
        step = -(-len(starts) // threads)
        list(pool.map(work, [starts[i : i + step] for i in range(0, len(starts), step)]))
    return results


def evaluate(
    net: RepresentationNet,
    rows: Batch,
    corruption: Any,
    batch_size: int,
    pairs: Any = None,
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
