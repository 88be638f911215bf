"""Scaled rows of sparse tables, and neighbours among them, without dense copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_repr.detection.neighbours import SAME_SHARE, SetNeighbours, soft

__all__ = [
    "LARGE",
    "ScaledRows",
    "SparseSetNeighbours",
    "is_large",
    "narrowed_recipe",
]

# Cells beyond which a sparse table is not scaled as a whole, and cells at a time then
LARGE, CELLS_AT_A_TIME = 2**22, 2**18
FEWEST_ROWS = 16
# Cells of a training step and of a pass when rows are scored; weights of a layer beside
# the table, and the columns beyond which there are fewer networks
CELLS_PER_STEP, CELLS_PER_PASS = 2**20, 2**17
WEIGHTS_PER_LAYER, WIDE = 2**17, 1024
# Rows whose distances to all others are held at a time
ROWS_PER_CHUNK = 128


def is_large(X: Any) -> bool:
    """Tell sparse tables of which no dense copy may be made."""
    return bool(sparse.issparse(X) and X.shape[0] * X.shape[1] > LARGE)


def narrowed_recipe(recipe: Any, rows: Any) -> Any:
    """Return how networks are trained on rows, if they are of a large sparse table.

    Parameters
    ----------
    recipe : dataclass
        With `n_members`, `batch_size`, `hidden_layer_sizes` and `rows_per_pass`.
    rows : ndarray or ScaledRows of shape (n_samples, n_features)
        The rows.

    Returns
    -------
    recipe : dataclass
        For ScaledRows with fewer of each where there are many columns.
    """
    if isinstance(rows, np.ndarray):
        return recipe
    width = rows.shape[1]
    members = recipe.n_members if width <= WIDE else min(recipe.n_members, 4)
    most = max(16, WEIGHTS_PER_LAYER // width // 8 * 8)
    cells = width * members
    return replace(
        recipe,
        n_members=members,
        batch_size=min(recipe.batch_size, max(8, CELLS_PER_STEP // cells)),
        hidden_layer_sizes=tuple(min(n, most) for n in recipe.hidden_layer_sizes),
        # products of other numbers of rows compute the last ones in another way
        rows_per_pass=min(recipe.rows_per_pass, max(8, CELLS_PER_PASS // cells // 8 * 8)),
    )


class ScaledRows:
    """Rows that are scaled, and shown in some units, when they are needed.

    Parameters
    ----------
    codec : object
        Fitted; scales.
    X : CSR matrix of shape (n_samples, n_features)
        Validated rows.
    units : callable or None, default=None
        What is done to scaled rows; None leaves them.

    Attributes
    ----------
    shape : (int, int)
        Of the table.
    """

    def __init__(self, codec: Any, X: Any, units: Any = None):
        self.codec = codec
        self.X = X
        self.units = units
        self.shape = X.shape

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: Any) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = self.codec.scale(self.X[rows])
        return scaled if self.units is None else self.units(scaled)

    def seen(self, units: Any) -> ScaledRows:
        """Return the same rows in other units."""
        return ScaledRows(self.codec, self.X, units)

    def chunks(self, limit: int | None = None) -> Iterator[NDArray[np.float64]]:
        """Yield rows in order, some at a time; at most `limit`, spread over all."""
        every = -(-len(self) // (limit or len(self)))
        step = every * rows_at_a_time(self.shape[1])
        for start in range(0, len(self), step):
            yield self[start : start + step : every]

    def moments(self) -> tuple[NDArray[np.float64], ...]:
        """Return mean, deviation and range of every column, of the cells that it has."""
        count, total = np.zeros((2, self.shape[1]))
        low, high = np.full((2, self.shape[1]), np.nan)
        for rows in self.chunks():
            count += (~np.isnan(rows)).sum(axis=0)
            total += np.nansum(rows, axis=0)
            low = np.fmin(low, np.fmin.reduce(rows, axis=0))
            high = np.fmax(high, np.fmax.reduce(rows, axis=0))
        mean = total / count
        squares = sum(np.nansum(np.square(rows - mean), axis=0) for rows in self.chunks())
        return mean, np.sqrt(squares / count), high - low


def rows_at_a_time(width: int) -> int:
    """Return how many rows of a wide table are handled at a time."""
    return max(FEWEST_ROWS, CELLS_AT_A_TIME // width)


class SparseSetNeighbours(SetNeighbours):
    r"""The same distances where nearly all cells of a column are alike.

    With the common value b of a column, :math:`|x - y|` is :math:`|x - b| + |y - b|`
    unless both differ from it, and only there anything is left to compute.

    Parameters
    ----------
    background : ndarray of shape (n_features,)
        The common values.
    """

    def __init__(self, background: NDArray[np.float64]):
        super().__init__()
        self.background = soft(background)

    def fit(self, rows: Any, rng: np.random.Generator) -> SparseSetNeighbours:
        """Draw the sets from :class:`ScaledRows`; see :class:`SetNeighbours`."""
        self.sets_, kept = self.draw(len(rows), rng)
        step = rows_at_a_time(rows.shape[1])
        parts = [
            self._apart(soft(rows[kept[i : i + step]])) for i in range(0, len(kept), step)
        ]
        self.apart_ = sparse.vstack(parts, format="csc")
        self.sizes_ = np.asarray(np.abs(self.apart_).sum(axis=1))
        return self

    def _apart(self, softened: NDArray[np.float64]) -> Any:
        return sparse.csr_array(softened - self.background)

    def sums(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distances, (n,)."""
        parts = [
            self._nearest(self._apart(soft(rows[i : i + ROWS_PER_CHUNK])))[1]
            for i in range(0, len(rows), ROWS_PER_CHUNK)
        ]
        means = [
            np.where(np.isfinite(p), p, 0.0).sum(axis=1)
            / np.maximum(np.isfinite(p).sum(axis=1), 1)
            for p in parts
        ]
        return np.concatenate(means)

    def distances(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shares of each column; see :class:`SetNeighbours`."""
        total = np.zeros(rows.shape)
        kept = self.apart_.tocsr()
        for i in range(0, len(rows), ROWS_PER_CHUNK):
            apart = self._apart(soft(rows[i : i + ROWS_PER_CHUNK]))
            best, near = self._nearest(apart)
            known = np.isfinite(near)
            for members, there in zip(best.T, known.T, strict=True):
                part = np.abs((apart - kept[members]).toarray())
                total[i : i + ROWS_PER_CHUNK] += np.where(there[:, None], part, 0.0)
            count = np.maximum(known.sum(axis=1, keepdims=True), 1)
            total[i : i + ROWS_PER_CHUNK] /= count
        return total

    def _nearest(self, apart: Any) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the nearest row of every set, and how far it is, each (n, n_sets)."""
        n, m = apart.shape[0], len(self.sizes_)
        size = np.asarray(np.abs(apart).sum(axis=1))
        row = np.repeat(np.arange(n), np.diff(apart.indptr))
        # every cell with all kept cells of its column
        first = self.apart_.indptr[apart.indices]
        count = self.apart_.indptr[apart.indices + 1] - first
        mine = np.repeat(np.arange(apart.nnz), count)
        place = np.arange(len(mine)) + np.repeat(first - np.cumsum(count) + count, count)
        x, y = apart.data[mine], self.apart_.data[place]
        less = np.abs(x - y) - np.abs(x) - np.abs(y)
        flat = row[mine] * m + self.apart_.indices[place]
        shared = np.bincount(flat, less, minlength=n * m).reshape(n, m)
        distance = np.maximum(size[:, None] + self.sizes_ + shared, 0.0)
        whole = size + np.abs(self.background).sum()
        same = distance <= SAME_SHARE * (1.0 + whole[:, None])
        # (n, sets, members): a twin of the row is left out once
        near, twin = distance[:, self.sets_], same[:, self.sets_]
        found = twin.any(axis=2)
        i, j = np.nonzero(found)
        near[i, j, twin.argmax(axis=2)[found]] = np.inf
        best = near.argmin(axis=2)
        closest = np.take_along_axis(near, best[:, :, None], axis=2)[:, :, 0]
        return np.take_along_axis(self.sets_[None], best[:, :, None], axis=2)[
            :, :, 0
        ], closest
