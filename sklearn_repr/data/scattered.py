"""Sparse tables, encoded: what a zero becomes, and the cells that are not zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Generator, Tensor

from sklearn_repr._contracts import FEWEST_DRAWN, Array, Batch, Table, in_proportion
from sklearn_repr.data.codec import as_batch
from sklearn_repr.utils.memory import give_back

__all__ = ["LazyRows", "ScatteredCells", "ScatteredTable"]

# Cells that are encoded at a time, and those of rows that are looked at as a sample
CELLS_AT_A_TIME = 2**18
CELLS_OF_A_SAMPLE = 2**20
# Cells that are read before memory that became free is given back
CELLS_BETWEEN_TRIMS = 2**21
# Distances that are held in memory at a time
DISTANCES_AT_A_TIME = 2**18


class ScatteredCells:
    """A sparse table of which every cell is encoded by itself, kept sparse.

    Parameters
    ----------
    codec : NumericCodec
        Fitted; encodes a cell by its value and column alone.
    X : CSR matrix of shape (n_samples, n_features)
        Validated rows.

    Attributes
    ----------
    background : ndarray of shape (n_features,)
        What zeros are encoded as.
    cells : CSR array of shape (n_samples, n_features)
        The encoded cells that are stored in `X`.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from sklearn_repr.data import NumericCodec
    >>> from sklearn_repr.data.scattered import ScatteredCells
    >>> X = sparse.csr_array([[0.0, 4.0], [2.0, 0.0]])
    >>> cells = ScatteredCells(NumericCodec().fit(X), X)
    >>> cells.background
    array([-1., -1.], dtype=float32)
    >>> cells.cells.data
    array([1., 1.], dtype=float32)
    """

    lazy = True

    def __init__(self, codec: Any, X: Table):
        self.dtype = codec.dtype
        self.fill = codec.fill
        self.width = X.shape[1]
        X = sparse.csr_array(X)
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        self.background: Array = codec.scale(np.zeros((1, X.shape[1]), X.dtype))[0]
        self.cells = _encoded(codec, X)
        give_back()

    def read(self, index: list[Any], out: Array) -> None:
        """Write rows to `out`, those of one part of `index` after the other."""
        np.copyto(out, self.background)
        start = 0
        for rows in index:
            part = self.cells[rows]
            count = np.diff(part.indptr)
            row = np.repeat(np.arange(start, start + len(count)), count)
            out[row, part.indices] = part.data
            start += len(count)

    def products(self, rows: NDArray[np.int64]) -> Products:
        """Return what multiplies by the covariance of some rows."""
        complete = not np.isnan(self.cells.data.sum())
        return Products(self._apart(rows), self.background.astype(np.float64), complete)

    def nearest(
        self, rows: NDArray[np.int64], among: NDArray[np.int64], k: int
    ) -> NDArray[np.int64]:
        """Return positions in `among` of the k nearest other rows, (n, k)."""
        ours, theirs = self._apart(rows), self._apart(among)
        lengths, turned = theirs.power(2).sum(axis=1), theirs.T.tocsr()
        place = np.full(self.cells.shape[0], -1)
        place[among] = np.arange(len(among))
        found = np.empty((len(rows), k), np.int64)
        step = max(1, DISTANCES_AT_A_TIME // len(among))
        for start in range(0, len(rows), step):
            part = ours[start : start + step]
            # the row's own squared length is left out: it does not change the order
            apart = lengths - 2.0 * (part @ turned).toarray()
            own = place[rows[start : start + step]]
            inside = np.flatnonzero(own >= 0)
            apart[inside, own[inside]] = np.inf
            near = torch.from_numpy(apart).topk(k, dim=1, largest=False).indices
            found[start : start + step] = near.numpy()
        del ours, theirs, turned, part, apart
        give_back()
        return found

    def _apart(self, rows: NDArray[np.int64]) -> Any:
        """Return how far cells are from what zeros are encoded as, in double precision.

        A missing cell is encoded as 0, the mean.
        """
        part = self.cells[rows]
        known = np.nan_to_num(part.data.astype(np.float64))
        part = (known - self.background[part.indices], part.indices, part.indptr)
        return sparse.csr_array(part, shape=(len(rows), self.cells.shape[1]))


class ScatteredTable:
    """A sparse table that is encoded as a whole, and made dense some rows at a time.

    Parameters
    ----------
    cells : ScatteredCells
        The encoded table.
    rows : slice, default=slice(None)
        Which rows.
    """

    def __init__(self, cells: ScatteredCells, rows: slice = slice(None)):
        self.cells = cells
        self.rows = rows
        n, d = cells.cells.shape
        self.shape = len(range(n)[rows]), d

    def __getitem__(self, rows: slice) -> ScatteredTable:
        return ScatteredTable(self.cells, rows)

    def read(self, out: Array) -> Array:
        """Write the rows to `out`, and return it."""
        self.cells.read([self.rows], out)
        return out


def _encoded(codec: Any, X: Any) -> Any:
    """Encode the stored cells of a CSR array."""
    columns = X.tocsc()
    height = np.diff(columns.indptr)
    column = np.repeat(np.arange(X.shape[1]), height)
    # the stored cells of a column one below the other: a narrow table in place of X
    depth = np.arange(columns.nnz) - np.repeat(columns.indptr[:-1], height)
    encoded = np.empty(columns.nnz, codec.dtype)
    step = max(1, CELLS_AT_A_TIME // X.shape[1])
    for start in range(0, int(height.max(initial=0)), step):
        here = np.flatnonzero((depth >= start) & (depth < start + step))
        rows = np.zeros((min(step, int(height.max()) - start), X.shape[1]), X.dtype)
        place = depth[here] - start, column[here]
        rows[place] = columns.data[here]
        encoded[here] = codec.scale(rows)[place]
    cells = encoded, columns.indices, columns.indptr
    return sparse.csc_array(cells, shape=X.shape).tocsr()


class Products:
    """Products with the covariance matrix of sparse rows, which is never made.

    Parameters
    ----------
    apart : CSR array of shape (n, d)
        Rows, less what is the same in all.
    background : ndarray of shape (d,)
        What is the same.
    complete : bool
        Whether no cell of the table is missing.

    Attributes
    ----------
    shape : (int, int)
        Of the rows.
    mean, variance : ndarray of shape (d,)
        Of the columns.
    """

    def __init__(self, apart: Any, background: NDArray[np.float64], complete: bool):
        self.complete = complete
        self.apart = apart
        self.shape = apart.shape
        self.shift = np.asarray(apart.mean(axis=0))
        self.mean = background + self.shift
        squares = np.asarray(apart.power(2).mean(axis=0))
        self.variance = np.maximum(squares - np.square(self.shift), 0.0)

    def scores(self, vectors: NDArray[np.float64], rows: slice) -> NDArray[np.float64]:
        """Return the centred rows times vectors (d, q)."""
        found: NDArray[np.float64] = self.apart[rows] @ vectors - self.shift @ vectors
        return found

    def transposed_times(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the rows, transposed, times centred vectors (n, q)."""
        found: NDArray[np.float64] = self.apart.T @ vectors
        return found

    def times(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the covariance matrix times vectors (d, q)."""
        n = self.apart.shape[0]
        found = np.zeros(vectors.shape)
        step = max(1, CELLS_AT_A_TIME // vectors.shape[1])
        total = np.zeros(vectors.shape[1])
        for start in range(0, n, step):
            rows = slice(start, start + step)
            scores = self.scores(vectors, rows)
            found += self.apart[rows].T @ scores
            total += scores.sum(axis=0)
        # the scores of all rows add up to next to nothing
        return np.asarray((found - np.outer(self.shift, total)) / n)


class LazyRows:
    """Rows that are read when a batch of them is needed, with the interface of a Batch.

    Parameters
    ----------
    source : object
        Reads encoded rows by their numbers.
    rows : int64 ndarray of shape (n,)
        Numbers of the rows, in order.
    width : int
        Encoded columns.
    labels, weights : Tensor or None, default=None
        Of all rows of the table.
    device : torch.device, default="cpu"
        Where batches are put.
    numbered : bool, default=False
        Whether batches say the numbers of their rows.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from sklearn_repr.data import NumericCodec
    >>> from sklearn_repr.data.scattered import LazyRows, ScatteredCells
    >>> X = sparse.csr_array(np.eye(5))
    >>> source = ScatteredCells(NumericCodec(None).fit(X), X)
    >>> rows = LazyRows(source, np.arange(5), 5)
    >>> [len(batch.values) for batch in rows.split([2, 3])]
    [2, 3]
    """

    def __init__(
        self,
        source: Any,
        rows: NDArray[np.int64],
        width: int,
        labels: Tensor | None = None,
        weights: Tensor | None = None,
        *,
        device: torch.device | str = "cpu",
        numbered: bool = False,
    ):
        self.source = source
        self.rows = rows
        self.width = width
        self.labels = labels
        self.weights = weights
        self.device = torch.device(device)
        self.is_numbered = numbered
        self.values = LazyValues(self)

    def __len__(self) -> int:
        return len(self.rows)

    def _with(self, **changes: Any) -> LazyRows:
        now: dict[str, Any] = {
            "rows": self.rows,
            "labels": self.labels,
            "weights": self.weights,
            "device": self.device,
            "numbered": self.is_numbered,
        }
        return LazyRows(self.source, width=self.width, **{**now, **changes})

    def numbered(self) -> LazyRows:
        """Return the same rows, which say their numbers."""
        return self._with(numbered=True)

    @property
    def index(self) -> Tensor | None:
        """Numbers of the rows, where they say them."""
        return torch.from_numpy(self.rows).to(self.device) if self.is_numbered else None

    def to(self, device: torch.device | str) -> LazyRows:
        """Return the same rows, to be read on to `device`."""
        return self._with(device=device)

    def take(self, index: Tensor | slice) -> LazyRows:
        """Return the rows at `index`."""
        chosen = index if isinstance(index, slice) else index.cpu().numpy()
        return self._with(rows=self.rows[chosen])

    def read(self) -> Batch:
        """Return all rows in memory."""
        encoded = np.empty((len(self), self.width), self.source.dtype)
        self.source.read([self.rows], encoded)
        batch = as_batch(torch.from_numpy(encoded), fill=self.source.fill)
        batch.labels, batch.weights = self._own(self.labels), self._own(self.weights)
        batch.index = self.index
        return batch.to(self.device)

    def _own(self, of_table: Tensor | None) -> Tensor | None:
        """Return what belongs to these rows, of what belongs to all of the table."""
        if of_table is None:
            return None
        return of_table[torch.from_numpy(self.rows).to(of_table.device)]

    def with_mean_weight(self) -> LazyRows:
        """Return the same rows, with weights whose mean is 1."""
        own = self._own(self.weights)
        if self.weights is None or own is None:
            return self
        return self._with(weights=self.weights / own.mean())

    def split(self, sizes: list[int]) -> Iterator[Batch]:
        """Read consecutive batches of the given sizes."""
        stop, cells = 0, 0
        for size in sizes:
            start, stop = stop, stop + size
            if cells <= 0:
                give_back()
                cells = CELLS_BETWEEN_TRIMS
            cells -= size * self.width
            yield self.take(slice(start, stop)).read()

    def thinned(self, limit: int) -> LazyRows:
        """Return at most `limit` rows, spread over all; see :meth:`Batch.some`."""
        own = self._own(self.weights)
        if own is None:
            return self.take(slice(None, None, -(-len(self) // limit)))
        return self.take(in_proportion(own, limit))._with(weights=None)

    def evened(self) -> LazyRows:
        """Return rows of which none weighs more: each as often as its weight says."""
        if self.weights is None:
            return self
        return self.thinned(max(len(self), FEWEST_DRAWN))

    def parts(self, limit: int | None = None) -> Iterator[Batch]:
        """Read at most `limit` rows, spread over all, a bounded number at a time."""
        some = self if limit is None else self.thinned(limit)
        step = max(1, CELLS_OF_A_SAMPLE // self.width)
        starts = range(0, len(some), step)
        return some.split([min(step, len(some) - start) for start in starts])

    def some(self, limit: int) -> Batch:
        """Read at most `limit` rows, spread over all, or as many as are bounded."""
        limit = min(limit, max(1, CELLS_OF_A_SAMPLE // self.width))
        return self.thinned(limit).read()

    def sample(self) -> Batch:
        """Read as many rows, spread over all, as are bounded."""
        return self.some(len(self))

    def whole(self) -> LazyRows:
        """Return all rows."""
        return self

    def pool_sizes(self) -> list[int]:
        """Return how many rows are shuffled together."""
        return [len(self)]

    def pools(self, generator: Generator | None) -> Iterator[LazyRows]:
        """Yield all rows at once, shuffled if there is a generator."""
        if generator is None:
            yield self
        else:
            yield self.take(torch.randperm(len(self), generator=generator))


class LazyValues:
    """What code asks of a tensor of cells, but for the cells of all rows at once."""

    def __init__(self, rows: LazyRows):
        self.rows = rows
        self.shape = torch.Size((len(rows), rows.width))
        self.dtype = torch.from_numpy(np.empty(0, rows.source.dtype)).dtype
        self.device = rows.device

    def __iter__(self) -> Iterator[Tensor]:
        return (batch.values for batch in self.rows.parts())

    def sample(self) -> Tensor:
        """Return the values of :meth:`LazyRows.sample`."""
        return self.rows.sample().values

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Read the rows at `index`, as a tensor's method of that name."""
        return self.rows.take(index).read().values

    def products(self) -> Any:
        """Return what multiplies by the rows' covariance; None without sparse cells."""
        found = getattr(self.rows.source, "products", None)
        return None if found is None else found(self.rows.evened().rows)

    def nearest(self, among: Tensor, k: int) -> Tensor:
        """Return positions in `among` of each row's k nearest other rows, (n, k)."""
        rows = self.rows.rows
        found = self.rows.source.nearest(rows, rows[among.cpu().numpy()], k)
        return torch.from_numpy(found).to(among.device)
