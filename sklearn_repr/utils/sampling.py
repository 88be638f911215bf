"""Rows spread over a table, read without a copy of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import _safe_indexing

from sklearn_repr.utils.frames import is_frame
from sklearn_repr.utils.mapped import forget, is_mapped

if TYPE_CHECKING:
    from sklearn_repr._contracts import Table

__all__ = ["rows_at", "spread_places"]

# Parts in which rows of a mapped file are read: one is resident at a time
N_PARTS = 64


def spread_places(n_rows: int, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw one place from each of `count` equal stretches of `n_rows` places.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.sampling import spread_places
    >>> spread_places(10, 5, np.random.default_rng(0)) // 2
    array([0, 1, 2, 3, 4])
    """
    spread = np.arange(count) + rng.random(count)
    return (spread * (n_rows / count)).astype(np.intp).clip(max=n_rows - 1)


def rows_at(X: Table, places: NDArray[np.intp]) -> Table:
    """Return rows of a table of any kind by their places, as a table in memory."""
    if is_frame(X):
        return _safe_indexing(X, places)
    if sparse.issparse(X) or not is_mapped(X):
        return X[places]
    rows = np.empty((len(places), X.shape[1]), X.dtype)
    for part in np.array_split(np.arange(len(places)), N_PARTS):
        if len(part):
            index = places[part]
            rows[part] = X[index]
            forget(X[index.min() : index.max() + 1])
    return rows
