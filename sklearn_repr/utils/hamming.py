"""Codes of bits, eight in a byte, and what is near by the number of bits that differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["hamming_distances", "hamming_neighbors", "pack_bits"]

Words = NDArray[np.uint64]

# Bits of every byte that are set, for NumPy before 2.0
SET_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1).sum(
    axis=1, dtype=np.uint8
)


def pack_bits(bits: NDArray[np.bool_]) -> Words:
    """Pack codes, 64 bits in a word.

    Parameters
    ----------
    bits : bool ndarray of shape (n_samples, n_bits)
        The codes.

    Returns
    -------
    words : uint64 ndarray of shape (n_samples, ceil(n_bits / 64))
        The codes, the last word filled with zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.hamming import pack_bits
    >>> pack_bits(np.ones((2, 70), dtype=bool)).shape
    (2, 2)
    """
    packed = np.packbits(bits, axis=1)
    words = np.zeros((len(bits), -(-bits.shape[1] // 64) * 8), dtype=np.uint8)
    words[:, : packed.shape[1]] = packed
    return words.view(np.uint64)


def hamming_distances(first: Words, second: Words) -> NDArray[np.uint32]:
    """Count the bits in which packed codes differ.

    Parameters
    ----------
    first, second : uint64 ndarray of shape (..., n_words)
        Packed codes of shapes that broadcast.

    Returns
    -------
    distances : uint32 ndarray of shape (...)
        Number of bits.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.hamming import hamming_distances, pack_bits
    >>> words = pack_bits(np.array([[1, 0, 1], [0, 0, 1]], dtype=bool))
    >>> int(hamming_distances(words[0], words[1]))
    1
    """
    differ = np.bitwise_xor(first, second)
    if hasattr(np, "bitwise_count"):
        counts = np.bitwise_count(differ)
    else:
        counts = SET_BITS[differ.view(np.uint8)]
    return np.asarray(counts.sum(axis=-1, dtype=np.uint32))


def hamming_neighbors(queries: Words, rows: Words, n_neighbors: int) -> NDArray[np.int64]:
    """Find the rows whose codes differ in the fewest bits, among equals the first ones.

    Parameters
    ----------
    queries, rows : uint64 ndarray of shape (n_queries or n_rows, n_words)
        Packed codes.
    n_neighbors : int
        How many rows to find.

    Returns
    -------
    found : int64 ndarray of shape (n_queries, n_neighbors)
        Positions in `rows`, the nearest first.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.hamming import hamming_neighbors, pack_bits
    >>> rows = pack_bits(np.array([[1, 1], [0, 0], [0, 1]], dtype=bool))
    >>> hamming_neighbors(rows[:1], rows, 2)
    array([[0, 2]])
    """
    found = np.empty((len(queries), n_neighbors), dtype=np.int64)
    # one at a time: comparing many at once waits for memory
    for place, query in enumerate(queries):
        distances = hamming_distances(query, rows)
        farthest = np.partition(distances, n_neighbors - 1)[n_neighbors - 1]
        near = np.flatnonzero(distances <= farthest)
        first = np.argsort(distances[near], kind="stable")[:n_neighbors]
        found[place] = near[first]
    return found
