"""Memory that is free within the process, given back to the operating system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

__all__ = ["give_back"]


def give_back() -> None:
    """Let the C library return what it keeps for later, where it can.

    Many arrays of some megabytes, made and dropped, leave holes that count as memory of
    the process. Only glibc has a call for it; elsewhere nothing happens. It changes no
    result, and takes about a millisecond.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
