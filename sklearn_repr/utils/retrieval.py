"""How often a row finds its partner among the others, shared with inspection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn_repr._contracts import Array


__all__ = ["top_match_share"]

# Rows that are compared with all others at a time
CHUNK = 1024


def top_match_share(Z1: Array, Z2: Array) -> float:
    """Share of rows whose partner is the most similar row of the other side.

    Parameters
    ----------
    Z1, Z2 : ndarray of shape (n_samples, n_components)
        Embeddings, row by row; compared by the cosine.

    Returns
    -------
    score : float
        Mean over both directions. Among m equally similar rows a partner counts 1 / m.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.retrieval import top_match_share
    >>> Z = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> top_match_share(Z, 2 * Z), top_match_share(Z, Z[::-1])
    (1.0, 0.0)
    """
    first, second = _unit(Z1), _unit(Z2)
    return (_one_way(first, second) + _one_way(second, first)) / 2


def _one_way(queries: NDArray[np.float64], gallery: NDArray[np.float64]) -> float:
    # cosines that differ by less are the same, however they were added up
    rounding = 16 * np.finfo(np.float64).eps
    total = 0.0
    for start in range(0, len(queries), CHUNK):
        part = queries[start : start + CHUNK]
        cosines = part @ gallery.T
        best = cosines.max(axis=1) - rounding
        own = cosines[np.arange(len(part)), start + np.arange(len(part))]
        ties = (cosines >= best[:, np.newaxis]).sum(axis=1)
        total += float(((own >= best) / ties).sum())
    return total / len(queries)


def _unit(Z: Array) -> NDArray[np.float64]:
    rows = np.asarray(Z, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
