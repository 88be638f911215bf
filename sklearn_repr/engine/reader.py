"""JSON values and arrays back to objects, of known classes and without running code."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import NoneType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from sklearn_repr.data.dtypes import from_plain
from sklearn_repr.engine.portable import (
    DTYPES,
    MOST_VALUES,
    NUMBERS,
    OWN_WAYS,
    PARTS,
    TORCH_DTYPES,
    check_state,
    known_classes,
)

__all__ = ["Reader"]


class Reader:
    """JSON values back to objects; errors of any kind say that the values are no good.

    Parameters
    ----------
    arrays : callable
        Returns the array of a position, a copy of its own.
    """

    def __init__(self, arrays: Callable[[int], NDArray[Any]]):
        self._arrays = arrays
        self._made: list[Any] = []
        # what arrays were read as, by their position: each as one thing only, so that
        # they are not in memory twice
        self._cells: dict[int, tuple[str, Any]] = {}
        self._n_numbers = 0
        self._readers: dict[str, Callable[[Any], Any]] = {
            "float": lambda text: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[
                text
            ],
            "tuple": lambda items: tuple(self._list(items)),
            "set": lambda items: set(self._list(items)),
            "frozenset": lambda items: frozenset(self._list(items)),
            "numbers": self._numbers,
            "dict": self._named,
            "pairs": lambda pair: dict(zip(*map(self._list, pair), strict=True)),
            "range": lambda ends: range(*ends),
            "scalar": self._scalar,
            "array": lambda at: self._once("array", at),
            "tensor": lambda at: self._once("tensor", at),
            "parameter": lambda at: self._once("parameter", at),
            "text": lambda at: self._once("text", [at, None]),
            "objects": self._objects,
            "csr": self._csr,
            "dtype": self._dtype,
            "torch_dtype": TORCH_DTYPES.__getitem__,
            "device": lambda _: torch.device("cpu"),
            "random_state": self._random_state,
            "plain": lambda parts: from_plain(self._list(parts)),
            "named": self._named_tuple,
            "object": self._object,
            "module": self._module,
            "ref": self._ref,
        }

    def read(self, value: Any) -> Any:
        """Return what a JSON value stands for."""
        if type(value) is list:
            return [self.read(item) for item in value]
        if type(value) is not dict:
            return value
        ((kind, content),) = value.items()
        return self._readers[kind](content)

    def _list(self, items: Any) -> list[Any]:
        """Read what must be a list: a range, say, could be longer than memory."""
        found = self.read(items)
        if type(found) is not list:
            raise TypeError(f"no list but {type(found).__name__}")
        return found

    def _numbers(self, at: int) -> list[Any]:
        array = self._once("numbers", [at, None])
        self._n_numbers += array.size
        if self._n_numbers > MOST_VALUES:
            raise ValueError("too many numbers in lists")
        return list(array.tolist())

    def _named(self, items: dict[str, Any]) -> dict[str, Any]:
        return {key: self.read(item) for key, item in items.items()}

    def _dtype(self, text: str) -> np.dtype[Any]:
        if not DTYPES.fullmatch(text):
            raise ValueError(f"no type of an array: {text!r}")
        return np.dtype(text)

    def _scalar(self, parts: list[Any]) -> Any:
        name, value = parts
        if name == "str":
            return np.str_(value)
        if name not in NUMBERS:
            raise ValueError(f"no type of a number: {name!r}")
        number = self.read(value)
        if type(number) not in (bool, int, float):
            raise TypeError(f"no number but {type(number).__name__}")
        return np.dtype(name).type(number)

    def _once(self, kind: str, parts: list[Any]) -> Any:
        """Read an array or a tensor the first time that it is spoken of."""
        at, order, *learned = parts
        if type(at) is not int or at < 0:
            raise ValueError(f"no position: {at!r}")
        if at not in self._cells:
            array = self._arrays(at)
            if order is not None:
                array = array.transpose(np.argsort(order))
            self._cells[at] = kind, self._made_of(kind, array, *learned)
        found, made = self._cells[at]
        if found != kind:
            raise ValueError(f"an array is a {found} and a {kind}")
        return made

    def _made_of(self, kind: str, array: NDArray[Any], *learned: bool) -> Any:
        if kind == "tensor":
            return torch.from_numpy(array)
        if kind == "parameter":
            return nn.Parameter(torch.from_numpy(array), *learned)
        if kind == "text":
            if array.size and array.max() > sys.maxunicode:
                raise ValueError("no text")
            return array.view(f"<U{array.shape[-1]}")[..., 0]
        return array

    def _objects(self, parts: list[Any]) -> NDArray[Any]:
        shape, items = parts
        found = self._list(items)
        cells = np.empty(len(found), dtype=object)
        for i, item in enumerate(found):
            cells[i] = item
        return cells.reshape(shape)

    def _csr(self, parts: list[Any]) -> Any:
        name, content, shape = parts
        kinds = {"csr_matrix": sparse.csr_matrix, "csr_array": sparse.csr_array}
        found = kinds[name](tuple(self._list(content)), shape=tuple(shape))
        # compiled code trusts these numbers
        found.check_format(full_check=True)
        return found

    def _random_state(self, parts: list[Any]) -> np.random.RandomState:
        key, *rest = self._list(parts)
        made = np.random.RandomState(0)
        made.set_state(("MT19937", key, *rest))
        return made

    def _named_tuple(self, parts: list[Any]) -> Any:
        name, items = parts
        cls = self._class(name)
        return cls._make(self._list(items))

    def _ref(self, at: int) -> Any:
        if type(at) is not int or at < 0:
            raise ValueError(f"no position: {at!r}")
        return self._made[at]

    def _class(self, name: str) -> Any:
        if name not in known_classes():
            raise ValueError(f"{name!r} is no class that files may hold")
        return known_classes()[name]

    def _start(self, name: str) -> Any:
        cls = self._class(name)
        made = cls.__new__(cls)
        self._made.append(made)
        return made

    def _object(self, parts: list[Any]) -> Any:
        name, content = parts
        made = self._start(name)
        if isinstance(content, list):
            made.__setstate__(self._list(content))
            return made
        state = self._named(content)
        if type(made) in OWN_WAYS:
            _, set_state = OWN_WAYS[type(made)]
            set_state(made, state)
            return made
        check_state(type(made), state)
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
        else:
            vars(made).update(state)
        return made

    def _module(self, parts: list[Any]) -> nn.Module:
        name, *content, passing, own = parts
        made = self._start(name)
        nn.Module.__init__(made)
        kinds = nn.Parameter, Tensor, nn.Module
        for key, kind, part in zip(PARTS, kinds, content, strict=False):
            found = self._named(part)
            if not all(isinstance(item, kind | NoneType) for item in found.values()):
                raise TypeError(f"parts of a module that are no {kind.__name__}")
            vars(made)[key].update(found)
        vars(made)[PARTS[3]].update(passing)
        own = self._named(own)
        check_state(type(made), own)
        made.__setstate__({**vars(made), **own})
        return made  # type: ignore[no-any-return]
