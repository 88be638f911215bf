"""Tables too large to be encoded or shuffled at once: read in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Generator, Tensor

from sklearn_repr._contracts import Array, Batch, Table, in_proportion
from sklearn_repr.data.codec import as_batch
from sklearn_repr.data.pair import Pair
from sklearn_repr.data.scattered import LazyRows, ScatteredCells
from sklearn_repr.utils.mapped import forget, is_mapped
from sklearn_repr.utils.validation import check_compared, parts_of

__all__ = ["RowBlocks", "encode_compared", "encode_table"]

# Bytes of encoded cells: of a block of consecutive rows, of a pool of blocks that are
# shuffled together, and of what is still encoded once and kept
BLOCK = 2**16
POOL = 2**25
KEPT = 2**30
# Rows that a pool holds however wide they are
FEWEST_ROWS = 1024


def encode_table(codec: Any, X: Table, weights: Array | None = None) -> Any:
    """Encode a table, as a whole or as it is needed.

    Parameters
    ----------
    codec : NumericCodec
        Fitted.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Validated rows.
    weights : ndarray of shape (n_samples,) or None, default=None
        How much each row counts, with mean 1.

    Returns
    -------
    rows : Batch or RowBlocks
        A Batch if all rows fit into one pool. What is trained from RowBlocks depends on
        their shape only, not on where the rows are kept; but of sparse ones all that is
        taken from a sample, or from all rows at once, is computed in bounded memory.
    """
    if weights is not None:
        rows = encode_table(codec, X)
        rows.weights = torch.from_numpy(weights).to(rows.values.dtype)
        return rows
    n_cells = X.shape[0] * codec.n_encoded_
    if n_cells * codec.dtype.itemsize <= POOL:
        return codec.encode(X)
    if _is_sparse(X):
        return RowBlocks(_lazy_source(codec, X), X.shape[0], codec.n_encoded_)
    source: Any = _Encoder(codec, X)
    if n_cells * codec.dtype.itemsize <= KEPT and not is_mapped(X):
        kept = np.empty((X.shape[0], codec.n_encoded_), codec.dtype)
        source.read([slice(0, X.shape[0])], out=kept)
        source = _Kept(kept, codec.fill)
    return RowBlocks(source, X.shape[0], codec.n_encoded_)


def encode_compared(codec: Any, X: Table) -> Any:
    """Encode rows that are compared batch by batch, in order: sparse ones when needed."""
    check_compared(X)
    return encode_table(codec, X).whole() if _is_sparse(X) else codec.encode(X)


def _is_sparse(X: Table) -> bool:
    if isinstance(X, Pair):
        return bool(sparse.issparse(X.X) or sparse.issparse(X.y))
    return bool(sparse.issparse(X))


def _lazy_source(codec: Any, X: Table) -> Any:
    """Return what reads few rows of a sparse table as fast as they are asked for."""
    if isinstance(X, Pair):
        sides = (codec.first, X.X), (codec.second, X.y)
        return _SideBySide(*(_lazy_source(*side) for side in sides))
    by_cell = codec.encodes_cells and sparse.issparse(X)
    return ScatteredCells(codec, X) if by_cell else _Encoder(codec, X, lazy=True)


class _SideBySide:
    """The rows of two sources next to each other."""

    lazy = True

    def __init__(self, first: Any, second: Any):
        self.sources = first, second
        self.dtype, self.fill = first.dtype, first.fill

    def read(self, index: list[Any], out: Array) -> None:
        first, second = self.sources
        first.read(index, out[:, : first.width])
        second.read(index, out[:, first.width :])

    def sides(self, rows: Array) -> tuple[Any, ...]:
        """Return what multiplies by the covariance of a side, or its rows."""
        found: list[Any] = []
        for side in self.sources:
            if isinstance(side, ScatteredCells):
                found.append(side.products(rows))
            else:
                values = np.empty((len(rows), side.width), self.dtype)
                side.read([rows], values)
                found.append(as_batch(torch.from_numpy(values), fill=self.fill).values)
        return tuple(found)


class _Encoder:
    """Encodes rows anew whenever they are read."""

    def __init__(self, codec: Any, X: Table, *, lazy: bool = False):
        self.codec = codec
        self.X = X
        self.dtype = codec.dtype
        self.fill = codec.fill
        self.width = codec.n_encoded_
        # whether few rows are read as fast as many, in any order
        self.lazy = lazy

    def read(self, index: list[Any], out: Array) -> None:
        position = 0
        for rows in index:
            for part in parts_of(self.X[rows]):
                stop = position + part.shape[0]
                self.codec.scale(part, out=out[position:stop])
                position = stop
            if not (self.lazy or isinstance(rows, slice)):
                forget(self.X[rows[0] : rows[-1] + 1])


class _Kept:
    """Rows that were encoded once."""

    lazy = False

    def __init__(self, encoded: Array, fill: bool):
        self.encoded = encoded
        self.dtype = encoded.dtype
        self.fill = fill

    def read(self, index: list[Any], out: Array) -> None:
        position = 0
        for rows in index:
            part = self.encoded[rows]
            out[position : position + len(part)] = part
            position += len(part)


class RowBlocks:
    """Encoded rows that are read when they are needed, with the interface of a Batch.

    Rows are shuffled in two steps: blocks among each other, and the rows of as many
    blocks as make up a pool.

    Parameters
    ----------
    source : object
        Reads and encodes rows.
    n_rows, width : int
        Shape of the encoded table.

    Attributes
    ----------
    labels : int64 Tensor of shape (n,) or None
        As in a Batch.
    weights : Tensor of shape (n,) or None
        As in a Batch.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.data import NumericCodec
    >>> from sklearn_repr.data.blocks import encode_table
    >>> X = np.random.default_rng(0).normal(size=(300_000, 32))
    >>> rows = encode_table(NumericCodec().fit(X), X)
    >>> [len(pool) for pool in rows.pools(None)]
    [150016, 149984]
    """

    def __init__(self, source: Any, n_rows: int, width: int):
        self.source = source
        self.table_rows = n_rows
        self.width = width
        self.device = torch.device("cpu")
        self.labels: Tensor | None = None
        self.weights: Tensor | None = None
        row = width * source.dtype.itemsize
        self.block_rows = max(1, 2 ** (max(1, BLOCK // row).bit_length() - 1))
        self.pool_rows = max(POOL // row, FEWEST_ROWS)
        self.blocks = np.arange(-(-n_rows // self.block_rows))

    def __len__(self) -> int:
        starts = self.blocks * self.block_rows
        return int(np.minimum(self.block_rows, self.table_rows - starts).sum())

    @property
    def values(self) -> _Values:
        """Shape, type and parts of the encoded cells."""
        return _Values(self)

    def to(self, device: torch.device | str) -> RowBlocks:
        """Return the same rows, to be read on to `device`."""
        moved = self._only(self.blocks)
        moved.device = torch.device(device)
        return moved

    def _only(self, blocks: Array) -> RowBlocks:
        some = RowBlocks(self.source, self.table_rows, self.width)
        some.device, some.labels, some.blocks = self.device, self.labels, blocks
        some.weights = self.weights
        return some

    def _own_weights(self, weights: Tensor) -> Tensor:
        """Return the weights of these rows, in the order of the table."""
        starts = np.sort(self.blocks) * self.block_rows
        return torch.cat([weights[start : start + self.block_rows] for start in starts])

    def with_mean_weight(self) -> RowBlocks:
        """Return the same rows, with weights whose mean is 1."""
        if self.weights is None:
            return self
        scaled = self._only(self.blocks)
        scaled.weights = self.weights / self._own_weights(self.weights).mean()
        return scaled

    def hold_out(
        self, fraction: float, generator: Generator
    ) -> tuple[RowBlocks, RowBlocks]:
        """Return rows to train on, and a share of all blocks."""
        order = torch.randperm(len(self.blocks), generator=generator).numpy()
        count = max(1, int(fraction * len(order)))
        train, valid = np.sort(order[count:]), np.sort(order[:count])
        return self._only(self.blocks[train]), self._only(self.blocks[valid])

    def _pools(self, blocks: Array) -> list[Array]:
        count = -(-len(blocks) * self.block_rows // self.pool_rows)
        return np.array_split(blocks, count)

    def pool_sizes(self) -> list[int]:
        """Return how many rows make up each pool, in the order of the table."""
        return [len(self._only(pool)) for pool in self._pools(self.blocks)]

    def pools(self, generator: Generator | None) -> Iterator[Any]:
        """Yield all rows, a pool at a time, shuffled if there is a generator."""
        blocks = self.blocks
        if generator is not None:
            order = torch.randperm(len(blocks), generator=generator)
            blocks = blocks[order.numpy()]
        for pool in self._pools(blocks):
            starts = pool * self.block_rows
            stops = np.minimum(starts + self.block_rows, self.table_rows)
            index = [slice(a, b) for a, b in zip(starts, stops, strict=True)]
            rows: Any
            if self.source.lazy:
                rows = self._lazy(np.concatenate([np.r_[part] for part in index]))
            else:
                rows = self._read(index, int((stops - starts).sum()))
            if generator is not None:
                rows = rows.take(torch.randperm(len(rows), generator=generator))
            yield rows.to(self.device)

    def _read(self, index: list[Any], n_rows: int) -> Batch:
        encoded = np.empty((n_rows, self.width), self.source.dtype)
        self.source.read(index, encoded)
        labels = self.labels
        if labels is not None:
            labels = torch.cat([labels[rows] for rows in index])
        weights = self.weights
        if weights is not None:
            weights = torch.cat([weights[rows] for rows in index])
        batch = as_batch(torch.from_numpy(encoded), fill=self.source.fill)
        batch.labels, batch.weights = labels, weights
        return batch

    def _lazy(self, rows: Array) -> LazyRows:
        table = self.labels, self.weights
        return LazyRows(self.source, rows, self.width, *table, device=self.device)

    def lazy(self) -> LazyRows:
        """Return the rows of a sparse table in order, to be read when they are needed."""
        starts = np.sort(self.blocks)[:, None] * self.block_rows
        rows = (starts + np.arange(self.block_rows)).ravel()
        return self._lazy(rows[rows < self.table_rows])

    def some(self, limit: int) -> Batch:
        """Return at most `limit` rows, spread over all; see :meth:`Batch.some`.

        There are fewer of sparse rows, see :meth:`LazyRows.some`.
        """
        if self.source.lazy:
            return self.lazy().some(limit)
        if self.weights is not None:
            own = self._own_weights(self.weights)
            drawn = self._at(in_proportion(own, limit).numpy())
            drawn.weights = None
            return drawn
        return self._at(np.arange(0, len(self), -(-len(self) // limit)))

    def _at(self, position: Array) -> Batch:
        """Return rows by where they are among these, in increasing order."""
        # the shorter last block of the table is the last here too
        blocks = np.sort(self.blocks)[position // self.block_rows]
        rows = blocks * self.block_rows + position % self.block_rows
        index = [part for part in np.array_split(rows, 64) if len(part)]
        return self._read(index, len(rows)).to(self.device)

    def sample(self) -> Batch:
        """Return as many rows, spread over all, as make up a quarter of a pool."""
        return self.some(max(self.pool_rows // 4, FEWEST_ROWS))

    def whole(self) -> Any:
        """Return all rows at once; of a sparse table they are read when needed."""
        return self.lazy() if self.source.lazy else self._at(np.arange(len(self)))


class _Values:
    """What code asks of a tensor of cells, but for the cells; iterates over parts."""

    def __init__(self, rows: RowBlocks):
        self.rows = rows
        self.shape = torch.Size((len(rows), rows.width))
        self.dtype = torch.from_numpy(np.empty(0, rows.source.dtype)).dtype
        self.device = rows.device

    def __iter__(self) -> Iterator[Tensor]:
        lazy = self.rows.source.lazy
        for pool in self.rows.pools(None):
            yield (pool.read() if lazy else pool).values

    def products(self) -> Any:
        """Return what multiplies by the covariance of sparse rows; None of others."""
        source = self.rows.source
        return self.rows.lazy().values.products() if source.lazy else None

    def sample(self) -> Tensor:
        """Return the values of :meth:`RowBlocks.sample`."""
        return self.rows.sample().values
