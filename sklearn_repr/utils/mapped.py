"""Files mapped into memory: what was read need not stay resident."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

__all__ = ["forget", "is_mapped"]


def _mapping(rows: Any) -> tuple[mmap.mmap, int] | None:
    """Return the map under an array, and where it begins in memory."""
    base = rows
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            found = base._mmap  # type: ignore[attr-defined]
            # private pages that somebody has written to exist nowhere else
            if found is None or base.mode == "c":
                return None
            return found, np.frombuffer(found, np.uint8).ctypes.data
        base = base.base
    return None


def is_mapped(rows: Any) -> bool:
    """Tell whether rows are read from a file as they are needed.

    Parameters
    ----------
    rows : array-like
        Any table.

    Returns
    -------
    mapped : bool
        Whether it is a view of a :class:`numpy.memmap` that shares its file.
    """
    return _mapping(rows) is not None


def forget(rows: Any) -> None:
    """Tell the operating system that mapped rows are not needed for now.

    They stay in its cache as long as there is room, but no longer count as memory of
    this process.

    Parameters
    ----------
    rows : array-like
        Rows of a table; nothing happens unless they are read from a file.
    """
    found = _mapping(rows)
    if found is None or not rows.size or not hasattr(mmap, "MADV_DONTNEED"):
        return
    file, origin = found
    first = rows.ctypes.data - origin
    reach = [(n - 1) * step for n, step in zip(rows.shape, rows.strides, strict=True)]
    start = first + sum(step for step in reach if step < 0)
    stop = first + sum(step for step in reach if step > 0) + rows.itemsize
    start -= start % mmap.PAGESIZE  # a neighbour on the same page is read again
    file.madvise(mmap.MADV_DONTNEED, start, stop - start)
