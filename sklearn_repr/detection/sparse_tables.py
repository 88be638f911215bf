"""Scaled rows of sparse tables, and neighbours among them, without dense copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_repr.detection.neighbours import SetNeighbours, soft

__all__ = [
    "LARGE",
    "ScaledRows",
    "SparseSetNeighbours",
    "is_large",
]

# Cells beyond which a sparse table is not scaled as a whole, and cells at a time then
LARGE, CELLS_AT_A_TIME = 2**22, 2**18
FEWEST_ROWS = 16


def is_large(X: Any) -> bool:
    """Tell sparse tables of which no dense copy may be made."""
    return bool(sparse.issparse(X) and X.shape[0] * X.shape[1] > LARGE)


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
        """Return mean, deviation, least and largest cell of every column."""
        count, total = np.zeros((2, self.shape[1]))
        low, high = np.full((2, self.shape[1]), np.nan)
        for rows in self.chunks():
            count += (~np.isnan(rows)).sum(axis=0)
            total += np.nansum(rows, axis=0)
            low = np.fmin(low, np.fmin.reduce(rows, axis=0))
            high = np.fmax(high, np.fmax.reduce(rows, axis=0))
        mean = total / count
        squares = sum(np.nansum(np.square(rows - mean), axis=0) for rows in self.chunks())
        return mean, np.sqrt(squares / count), low, high


def rows_at_a_time(width: int) -> int:
    """Return how many rows of a wide table are handled at a time."""
    return max(FEWEST_ROWS, CELLS_AT_A_TIME // width)


class SparseSetNeighbours(SetNeighbours):
    """The same distances where nearly all cells of a column are alike.

    Differences from the common value of every column are sparse, and so are the inner
    products that distances are made of.

    Parameters
    ----------
    background : ndarray of shape (n_features,)
        The common values.
    """

    def __init__(self, background: NDArray[np.float64]):
        super().__init__()
        self.background = soft(background)

    def _keep(self, rows: Any, drawn: NDArray[np.intp]) -> None:
        step = rows_at_a_time(rows.shape[1])
        parts = [
            self._apart(soft(rows[drawn[i : i + step]]))
            for i in range(0, len(drawn), step)
        ]
        self.rows_ = sparse.vstack(parts, format="csr")
        self.sizes_ = np.asarray(self.rows_.power(2).sum(axis=1))

    def _apart(self, softened: NDArray[np.float64]) -> Any:
        return sparse.csr_array(softened - self.background)

    def _kept(self, members: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.asarray(self.rows_[members].toarray() + self.background)

    def _products(
        self, softened: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        apart = self._apart(softened)
        lacking = (self.rows_ @ apart.T).toarray()
        lacking *= -2.0
        lacking += self.sizes_[:, None]
        return np.asarray(apart.power(2).sum(axis=1)), lacking
