"""What a table looked like, so that drawn rows can look the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from sklearn_repr._contracts import Array, Table
from sklearn_repr.data.codec import dense
from sklearn_repr.data.columns import Columns
from sklearn_repr.utils.frames import is_frame
from sklearn_repr.utils.validation import parts_of

__all__ = ["Original"]

# Kinds of NumPy's types that hold truth values or numbers
NUMBERS = "biuf"


class Original:
    """What the table that `fit` saw looked like, and the range of its numbers.

    Parameters
    ----------
    X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
        The table.
    columns : Columns or None
        What reads its categories, if it has any.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.data.original import Original
    >>> Original(np.array([[1], [3]]), None).restore(np.array([[1.6], [9.0]]))
    array([[2],
           [3]])
    """

    def __init__(self, X: Table, columns: Columns | None):
        # what takes a frame with categories for numbers returns cells, not levels
        self.of_cells = columns is None and is_frame(X)
        self.columns = Columns().fit(X) if self.of_cells else columns
        rows: Any = X if self.columns is None else self.columns.read(X)
        options: dict[str, Any] = {"dtype": None, "ensure_all_finite": False}
        rows = check_array(rows, accept_sparse="csr", **options)
        if rows.dtype.kind not in NUMBERS:
            rows = rows.astype(np.float64)
        given = X.dtype if isinstance(X, np.ndarray) else rows.dtype
        self.dtype = given if given.kind in NUMBERS else rows.dtype
        self.low = np.full(rows.shape[1], np.inf)
        self.high = -self.low
        for part in parts_of(rows):
            cells = dense(part)
            self.low = np.fmin(self.low, np.fmin.reduce(cells, axis=0))
            self.high = np.fmax(self.high, np.fmax.reduce(cells, axis=0))

    def restore(self, rows: Table) -> Table:
        """Return rows within the range, as a table of the same kind and types.

        Parameters
        ----------
        rows : {ndarray, DataFrame} of shape (n_samples, n_features)
            Rows in original units; levels by their numbers, or labels in a frame or an
            array of objects. Of a frame that no `columns` were given for, cells of
            categories are numbers, of which the nearest level is taken.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            The table.
        """
        columns = self.columns
        if columns is not None and (is_frame(rows) or rows.dtype == object):
            rows = columns.read(rows)
        elif columns is not None and self.of_cells:
            rows = _nearest_levels(rows, columns)
        made: Any = np.asarray(rows, dtype=np.float64).clip(self.low, self.high)
        if columns is not None:
            made = columns.restore(made, round_integers=True)
            if columns.container_ != "array" or made.dtype == object:
                return made
        return (made.round() if self.dtype.kind in "biu" else made).astype(self.dtype)


def _nearest_levels(rows: Array, columns: Columns) -> Array:
    """Put numbers of levels for cells of categories that are numbers or truth values."""
    found = np.array(rows, dtype=np.float64)
    for j in np.flatnonzero(columns.categorical_):
        levels = np.asarray(columns.levels_[j], dtype=np.float64)
        cells = found[:, j]
        nearest = abs(cells[:, None] - levels).argmin(axis=1)
        found[:, j] = np.where(np.isnan(cells), np.nan, nearest)
    return found
