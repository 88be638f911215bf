"""From encoded columns to the cells of a table, some of which are missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sklearn_repr._contracts import Block

__all__ = ["ONE_EACH", "Observed", "TableCells"]

Rows = NDArray[np.float64]
Observed = NDArray[np.bool_] | None


class TableCells:
    """Which encoded columns make up which column of the table.

    Parameters
    ----------
    columns : int ndarray of shape (n_encoded,) or None, default=None
        Number of the table's column of each encoded column; None is one each.
    blocks : sequence of Block, default=()
        What the encoded columns hold, of tables with categories.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.table_cells import TableCells
    >>> cells = TableCells(np.array([0, 1, 1]))
    >>> filled, observed = cells.fill(np.array([[np.nan, 1.0, 2.0]]))
    >>> cells.join(np.array([[5.0, 1.0, 2.0]]), observed)
    array([[0., 6.]])
    """

    def __init__(
        self, columns: NDArray[np.int64] | None = None, blocks: Sequence[Block] = ()
    ):
        self.columns = columns
        self.blocks = tuple(blocks)
        if columns is not None:
            self.members = (columns[:, None] == np.arange(columns.max() + 1)).astype(
                float
            )

    def columns_of(self, width: int) -> NDArray[np.int64]:
        """Return the number of the table's column of each of `width` encoded columns."""
        return np.arange(width) if self.columns is None else self.columns

    def fill(self, rows: Rows) -> tuple[Rows, Observed]:
        """Return rows with zeros where cells are missing, and where they are not.

        The latter is None if none is missing.
        """
        observed = ~np.isnan(rows)
        if observed.all():
            return rows, None
        return np.where(observed, rows, 0.0), observed

    def join(self, errors: Rows, observed: Observed) -> Rows:
        """Add up the errors of encoded columns cell by cell.

        Parameters
        ----------
        errors : ndarray of shape (n, ..., n_encoded)
            Errors of encoded columns.
        observed : bool ndarray of shape (n, n_encoded) or None
            As `fill` returns it.

        Returns
        -------
        errors : ndarray of shape (n, ..., d)
            Errors of cells, 0 where these are missing; those of a row are multiplied by d
            over the number of cells that it has, so that holes neither help nor hurt.
        """
        if observed is not None:
            between = (1,) * (errors.ndim - 2)
            seen = observed.reshape(len(observed), *between, -1)
            errors = np.where(seen, errors, 0.0)
        if self.columns is not None:
            errors = errors @ self.members
        if observed is not None:
            known = seen
            if self.columns is not None:
                known = seen @ self.members > 0
            counts = known.sum(axis=-1, keepdims=True)
            errors = errors * (known.shape[-1] / np.maximum(counts, 1))
        return errors

    def even(self, rows: Rows) -> Rows:
        """Return equal shares of the cells that rows have, (n, d), of all if of none.

        They add up to 1: what no cell explains is shared so.
        """
        _, observed = self.fill(rows)
        there = self.join(np.ones(rows.shape), observed) > 0
        there |= ~there.any(axis=1, keepdims=True)
        shares: Rows = there / there.sum(axis=1, keepdims=True)
        return shares

    def shares(self, parts: Rows, rows: Rows) -> Rows:
        """Return parts (n, d) divided by their sum over a row; even ones if it is 0."""
        total = parts.sum(axis=1, keepdims=True)
        found: Rows = np.divide(parts, total, out=self.even(rows), where=total > 0)
        return found


# a table of numbers: every encoded column is a cell
ONE_EACH = TableCells()
