"""What a table looked like, so that drawn rows can look the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from sklearn_repr._contracts import Table
from sklearn_repr.data.codec import dense
from sklearn_repr.data.columns import Columns
from sklearn_repr.utils.frames import is_frame
from sklearn_repr.utils.validation import parts_of

__all__ = ["Original"]


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
        self.columns = columns
        if columns is None and is_frame(X):
            self.columns = Columns().fit(X)
        rows: Any = X if self.columns is None else self.columns.read(X)
        options: dict[str, Any] = {"dtype": None, "ensure_all_finite": False}
        rows = check_array(rows, accept_sparse="csr", **options)
        self.dtype = rows.dtype if rows.dtype.kind in "iuf" else np.dtype(np.float64)
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
        rows : {array-like, DataFrame} of shape (n_samples, n_features)
            Rows in original units; levels by their numbers, or labels in a frame.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            The table.
        """
        if self.columns is not None and is_frame(rows):
            rows = self.columns.read(rows)
        rows = np.asarray(rows, dtype=np.float64).clip(self.low, self.high)
        if self.columns is not None:
            return self.columns.restore(rows, round_integers=True)
        if self.dtype.kind in "iu":
            rows = rows.round()
        return rows.astype(self.dtype)
