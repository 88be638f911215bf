"""Rows of a table as tensors, a chunk at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sklearn_repr._contracts import Table
from sklearn_repr.data.codec import NumericCodec
from sklearn_repr.data.scattered import ScatteredCells, ScatteredTable

__all__ = ["chunk_encoder", "encoded_once"]

# Encoded values beyond this are as far out as a float32 network can tell
FAR_OUT = 1e15


def encoded_once(codec: NumericCodec, X: Table) -> Table:
    """Return a table whose stored cells are encoded, if it is sparse; else as it is.

    Parameters
    ----------
    codec : NumericCodec
        Fitted.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Validated rows.

    Returns
    -------
    X : {ndarray, CSR matrix, ScatteredTable}
        Rows for :func:`chunk_encoder`.
    """
    if not (sparse.issparse(X) and getattr(codec, "encodes_cells", False)):
        return X
    return ScatteredTable(ScatteredCells(codec, X))


def chunk_encoder(
    codec: NumericCodec, X: Table, *, read_only: bool, check: Callable[[], None]
) -> Callable[[Table], Tensor]:
    """Return what encodes chunks of `X`, in memory that the next chunk uses again.

    Parameters
    ----------
    codec : NumericCodec
        Fitted.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Validated rows, of cells that need not have been looked at.
    read_only : bool
        Nobody writes to the chunks: rows that need no encoding are handed out as they
        are.
    check : callable
        Raises if a cell of `X` is missing or too large. It is called, once, when a chunk
        holds values far out: one look at all cells is cheaper than one at each chunk.

    Returns
    -------
    encode : callable
        Maps some rows of `X` to a Tensor of shape (n, n_encoded); threads may share it.
    """
    own, as_they_are = threading.local(), read_only and codec.is_identity(X)
    check_once = cache(check)

    def encode(rows: Table) -> Tensor:
        if as_they_are:
            encoded = rows
        else:
            # fresh memory for every chunk would cost as much as scaling it
            if not hasattr(own, "memory"):
                own.memory = np.empty(rows.shape, codec.dtype)
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
        return values

    return encode
