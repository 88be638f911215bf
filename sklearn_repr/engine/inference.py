"""Inference in fixed-size chunks: a row's result never depends on its neighbours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from sklearn_repr._outputs import Batch
from sklearn_repr.engine.batches import BatchIterator
from sklearn_repr.engine.inputs import Inputs, number_rows
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.utils.devices import single_thread

__all__ = ["CHUNK", "evaluate", "infer"]

CHUNK = 1024
# Matrix kernels take another path for rows that do not start on such a boundary
ALIGNMENT = 8


class _AlignedLinear(TorchFunctionMode):
    """Pad the inner dimension of every linear map with zeros to a whole alignment.

    Otherwise the matrix kernel adds up a row in an order that depends on where in the
    chunk the row stands, and its last bits with it.
    """

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


def infer(
    function: Callable[[Tensor], Tensor],
    encode: Callable[[Any], Tensor],
    X: Any,
    device: torch.device | str,
    *,
    chunk: int = CHUNK,
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
    chunk : int, default=1024
        Rows at a time; results may differ in their last bits between chunk sizes.

    Returns
    -------
    results : ndarray of shape (n_samples, ...)
        One result a row; memory beyond it does not grow with `X`.
    """
    n_rows = X.shape[0]
    results: NDArray[Any] | None = None
    with torch.inference_mode(), single_thread(), _AlignedLinear():
        for start in range(0, n_rows, chunk):
            values = encode(X[start : start + chunk])
            count = len(values)
            if count < chunk:
                values = functional.pad(values, (0, 0, 0, chunk - count))
            result = function(values.to(device))[:count].cpu().numpy()
            if results is None:
                results = np.empty((n_rows, *result.shape[1:]), dtype=result.dtype)
            results[start : start + count] = result
    assert results is not None  # noqa: S101 - validated tables have rows
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
        inputs = Inputs.fitted(*copy.deepcopy((corruption, pairs)), rows, rows)
        return net.evaluate(BatchIterator(rows, batch_size), inputs)["loss"]
