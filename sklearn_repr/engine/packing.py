"""Objects as arrays, one of which is text: what files hold, and what skops is given."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from sklearn_repr.engine.portable import MOST_VALUES, PACKED
from sklearn_repr.engine.reader import Reader
from sklearn_repr.engine.writer import Writer
from sklearn_repr.exceptions import CannotSaveError

__all__ = ["MOST_BYTES", "STATE", "Packable", "is_long", "pack", "unpack"]

# The name of the JSON text among the arrays; the others are named "0", "1", ...
STATE = "state"
# Text takes several times its size while it is read: so much of it at most
MOST_BYTES = 2**24


def pack(value: object, where: str) -> dict[str, NDArray[Any]]:
    """Return an object as arrays by name.

    Parameters
    ----------
    value : object
        What files carry; see :class:`Writer`.
    where : str
        What it is called in messages.

    Raises
    ------
    CannotSaveError
        If it holds what cannot be carried, or too much that is not in arrays.
    """
    writer = Writer()
    try:
        state = writer.write(value, where)
        text = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise CannotSaveError("An attribute holds itself, or too many others.") from None
    encoded = text.encode("utf-8", "surrogatepass")
    if is_long(encoded) or writer.n_numbers > MOST_VALUES:
        raise CannotSaveError(
            f"More than {MOST_BYTES >> 20} MiB, or {MOST_VALUES:,} values, are not in"
            " arrays but in text: there may be a category of very many levels, such as"
            " names. Drop that column."
        )
    arrays = {str(i): array for i, array in enumerate(writer.arrays)}
    return {**arrays, STATE: np.frombuffer(encoded, np.uint8)}


def unpack(array: Callable[[str], NDArray[Any]]) -> Any:
    """Return the object that :func:`pack` made arrays of; `array` returns one by name."""
    text = array(STATE).tobytes()
    if is_long(text):
        raise ValueError("too much text")
    # copies, in memory that NumPy aligned
    return Reader(lambda at: np.array(array(str(at)))).read(json.loads(text))


def is_long(text: bytes) -> bool:
    """Tell text that would take too much memory when it is read."""
    n_values = sum(map(text.count, (b",", b"[", b"{")))
    return len(text) > MOST_BYTES or n_values > MOST_VALUES


class Packable(BaseEstimator):  # type: ignore[misc]
    """An estimator that hands on its state as arrays to skops, which knows no tensors.

    skops asks for the state as pickle does, so that pickles hold arrays too in a process
    that has imported skops. What cannot be packed is handed on as it is.
    """

    def _plain_state(self) -> dict[str, Any]:
        """Return the state as it is."""
        state: dict[str, Any] = super().__getstate__()
        return state

    def __getstate__(self) -> dict[str, Any]:
        state = self._plain_state()
        if "skops" not in sys.modules:
            return state
        try:
            return {PACKED: pack(state, type(self).__name__)}
        except CannotSaveError:
            return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if PACKED in state:
            state = unpack(state[PACKED].__getitem__)
        super().__setstate__(state)
