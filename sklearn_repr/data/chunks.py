"""Rows of a table as tensors, a chunk at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sklearn_repr._contracts import Table
from sklearn_repr.data.scattered import ScatteredCells, ScatteredTable
from sklearn_repr.data.table import Codec

__all__ = ["chunk_encoder"]

# Encoded values beyond this are as far out as a float32 network can tell
FAR_OUT = 1e15


def chunk_encoder(
    codec: Codec,
    X: Table,
    *,
    read_only: bool,
    check: Callable[[], None],
    fill: bool,
) -> tuple[Table, Callable[[Table], Tensor]]:
    """Return what chunks are cut from, and what encodes them in memory used again.

    Parameters
    ----------
    codec : NumericCodec or TableCodec
        Fitted.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Validated rows, of cells that need not have been looked at.
    read_only : bool
        Nobody writes to the chunks: rows that need no encoding are handed out as they
        are.
    check : callable
        Raises if a cell of `X` is missing or too large. It is called, once, when a chunk
        holds values far out: one look at all cells is cheaper than one at each chunk.
    fill : bool
        Put 0, the mean, where a cell is missing.

    Returns
    -------
    table : {ndarray, CSR matrix, ScatteredTable}
        `X` itself, or a sparse table whose stored cells are encoded once and for all.
    encode : callable
        Maps some rows of it to a Tensor of shape (n, n_encoded); threads may share it.
    """
    table: Any = X
    if codec.encodes_cells and sparse.issparse(X):
        table = ScatteredTable(ScatteredCells(codec, X))
    own, as_they_are = threading.local(), read_only and codec.is_identity(X)
    check_once = cache(check)

    def encode(rows: Table) -> Tensor:
        if as_they_are:
            encoded = rows
        else:
            # fresh memory for every chunk would cost as much as scaling it
            if not hasattr(own, "memory"):
                own.memory = np.empty((rows.shape[0], codec.n_encoded_), codec.dtype)
            memory = own.memory[: rows.shape[0]]
            if isinstance(rows, ScatteredTable):
                encoded = rows.read(memory)
            else:
                encoded = codec.convert(rows, memory)
        values = torch.from_numpy(encoded)
        cells = values.view(-1)
        if not float(cells.dot(cells)) < FAR_OUT**2:
            check_once()
            if not isinstance(rows, ScatteredTable):
                # those were looked at when they were encoded
                codec.refuse_infinite(encoded, rows)
            values = values.clamp(-FAR_OUT, FAR_OUT)
            if fill:
                values = values.masked_fill_(values.isnan(), 0.0)
        return values

    return table, encode
