"""A table that is not ours to keep."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["Reference"]


class Reference:
    """A table, as long as somebody else keeps it.

    A copy and what comes out of a pickle have none.

    Parameters
    ----------
    table : object
        The table; one that cannot be referred to weakly, as a list, is kept.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.references import Reference
    >>> X = np.zeros(3)
    >>> reference = Reference(X)
    >>> reference() is X
    True
    >>> del X
    >>> reference() is None
    True
    """

    def __init__(self, table: Any):
        self._find: Callable[[], Any]
        try:
            self._find = weakref.ref(table)
        except TypeError:
            self._find = lambda: table

    def __call__(self) -> Any:
        """Return the table, None if it is gone."""
        return self._find()

    def __getstate__(self) -> dict[str, None]:
        return {"table": None}

    def __setstate__(self, state: dict[str, None]) -> None:
        self._find = lambda: None
