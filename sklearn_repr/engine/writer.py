"""Objects to JSON values and arrays.

A value of JSON stands for itself. Anything else is a dict of one key, which says what it
is: ``{"tuple": [...]}``, ``{"array": [3, null]}``, ``{"object": ["Seeds", {...}]}``;
:mod:`sklearn_repr.engine.reader` has the list.
"""

from __future__ import annotations

import math
from inspect import isclass, isroutine
from types import NoneType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from sklearn_repr.data.dtypes import to_plain
from sklearn_repr.engine.portable import (
    DTYPES,
    NUMBERS,
    OWN_WAYS,
    PARTS,
    TORCH_DTYPES,
    check_state,
    names_of_classes,
)
from sklearn_repr.exceptions import CannotSaveError

__all__ = ["Writer"]

# lists of so many numbers become an array, which is shorter than text
LONG = 16


class Writer:
    """Objects to JSON values; arrays are kept beside them.

    Attributes
    ----------
    arrays : list of ndarray
        Contiguous arrays of numbers, which the values speak of by position.
    n_numbers : int
        How many of these numbers will be items of lists.
    """

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self.n_numbers = 0
        # by identity: position of an object, or what stands for an array; and the thing
        # itself, so that none that is made on the way is mistaken for another
        self._known: dict[int, tuple[Any, object]] = {}
        self._n_objects = 0

    def write(self, value: Any, where: str) -> Any:
        """Return a value as JSON.

        Parameters
        ----------
        value : object
            Anything.
        where : str
            What it is an attribute of, for messages.

        Raises
        ------
        CannotSaveError
            If it is, or holds, what a file does not carry.
        """
        kind = type(value)
        if kind in (NoneType, bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if id(value) in self._known:
            return self._known[id(value)][0]
        if kind is list:
            return self._list(value, where)
        if kind is tuple:
            return {"tuple": self._list(list(value), where)}
        if kind in (set, frozenset):
            return {kind.__name__: self._list(sorted(value, key=repr), where)}
        if kind is dict:
            return self._dict(value, where)
        if kind is range:
            return {"range": [value.start, value.stop, value.step]}
        if isinstance(value, np.ndarray | np.generic | Tensor) or sparse.issparse(value):
            written = self._cells(value, where)
            self._known[id(value)] = written, value
            return written
        if isinstance(value, np.dtype) and DTYPES.fullmatch(value.str):
            return {"dtype": value.str}
        if kind is torch.dtype and str(value) in TORCH_DTYPES:
            return {"torch_dtype": str(value)}
        if kind is torch.device:
            return {"device": "cpu"}
        if kind is np.random.RandomState:
            _, *state = value.get_state()
            return {"random_state": self._list(state, where)}
        if kind in names_of_classes():
            return self._object(value, where)
        plain = to_plain(value)
        if plain is None:
            raise _refusal(value, where)
        return {"plain": self._list(plain, where)}

    def _array(self, array: NDArray[Any]) -> int:
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        self.arrays.append(np.ascontiguousarray(array).reshape(array.shape))
        return len(self.arrays) - 1

    def _list(self, items: list[Any], where: str) -> Any:
        for kind in (float, int):
            if len(items) >= LONG and all(type(item) is kind for item in items):
                try:
                    array = np.array(items, dtype=f"{kind.__name__}64")
                except OverflowError:  # of integers
                    break
                self.n_numbers += len(items)
                return {"numbers": self._array(array)}
        return [self.write(item, f"{where}[{i}]") for i, item in enumerate(items)]

    def _dict(self, items: dict[Any, Any], where: str) -> Any:
        if all(type(key) is str for key in items):
            return {"dict": self._named(items, where)}
        keys, values = list(items), list(items.values())
        return {"pairs": [self._list(keys, where), self._list(values, where)]}

    def _named(self, items: dict[str, Any], where: str) -> dict[str, Any]:
        return {key: self.write(item, f"{where}.{key}") for key, item in items.items()}

    def _cells(self, value: Any, where: str) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value, where)
        if isinstance(value, np.generic):
            if value.dtype.name in NUMBERS:
                return {"scalar": [value.dtype.name, self.write(value.item(), where)]}
            if isinstance(value, np.str_):
                return {"scalar": ["str", str(value)]}
        elif isinstance(value, np.ndarray):
            if type(value) not in (np.ndarray, np.memmap):
                raise _refusal(value, where)
            if value.dtype.name in NUMBERS:
                order = _order(value.strides, value.flags.c_contiguous)
                if order is not None and value.transpose(order).flags.c_contiguous:
                    return {"array": [self._array(value.transpose(order)), order]}
                return {"array": [self._array(value), None]}
            if value.dtype == object:
                cells = self._list(value.ravel().tolist(), where)
                return {"objects": [list(value.shape), cells]}
            if value.dtype.kind == "U":
                native = np.ascontiguousarray(value, value.dtype.newbyteorder("="))
                width = value.dtype.itemsize // 4
                codes = native.view(np.uint32).reshape(*value.shape, width)
                return {"text": self._array(codes)}
        elif value.format == "csr":
            parts = self._list([value.data, value.indices, value.indptr], where)
            return {"csr": [type(value).__name__, parts, list(value.shape)]}
        raise _refusal(value, where)

    def _tensor(self, tensor: Tensor, where: str) -> Any:
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.is_sparse:
            raise _refusal(tensor, where)
        values = tensor.detach().cpu()
        order = _order(values.stride(), values.is_contiguous())
        if order is not None and values.permute(order).is_contiguous():
            values = values.permute(order)
        else:
            order = None
        try:
            array = values.numpy()
        except TypeError as error:  # a type that NumPy does not have
            raise _refusal(tensor, where) from error
        written: list[Any] = [self._array(array), order]
        if type(tensor) is nn.Parameter:
            return {"parameter": [*written, tensor.requires_grad]}
        return {"tensor": written}

    def _object(self, value: Any, where: str) -> Any:
        cls, name = type(value), names_of_classes()[type(value)]
        if issubclass(cls, tuple):
            return {"named": [name, self._list(list(value), where)]}
        self._known[id(value)] = {"ref": self._n_objects}, value
        self._n_objects += 1
        if cls in OWN_WAYS:
            state_of, _ = OWN_WAYS[cls]
            return {"object": [name, self._named(state_of(value), where)]}
        # an estimator's own is packed for skops; objects hand on what others have
        name_of_state = "_plain_state" if hasattr(cls, "_plain_state") else "__getstate__"
        state = getattr(cls, name_of_state)(value)
        if isinstance(value, nn.Module):
            return {"module": [name, *self._module(value, state, where)]}
        if isinstance(state, list):  # of a frozen dataclass with slots
            return {"object": [name, self._list(state, where)]}
        if not isinstance(state, dict | NoneType):
            raise _refusal(value, where)
        check_state(cls, state or {})
        return {"object": [name, self._named(state or {}, where)]}

    def _module(self, module: nn.Module, state: dict[str, Any], where: str) -> list[Any]:
        torchs = vars(nn.Module())
        hooks = [key for key in torchs if key not in PARTS and "hooks" in key]
        if any(state.get(key) for key in hooks):
            raise CannotSaveError(
                f"{where} has hooks, which are functions that a file cannot carry: remove"
                " them before you save."
            )
        own = {k: v for k, v in state.items() if k not in torchs}
        own = {"training": module.training, **own}
        check_state(type(module), own)
        parts = [self._named(state[key], where) for key in PARTS[:3]]
        return [*parts, sorted(state[PARTS[3]]), self._named(own, where)]


def _order(strides: tuple[int, ...], contiguous: bool) -> list[int] | None:
    """Return axes from slowest to fastest in memory, None where they are in order.

    Products may round otherwise in another layout.
    """
    if contiguous:
        return None
    return [int(i) for i in np.argsort([-step for step in strides], kind="stable")]


def _refusal(value: Any, where: str) -> CannotSaveError:
    cls = type(value)
    what = f"an object of class {cls.__module__}.{cls.__qualname__}"
    if isroutine(value) or isclass(value):
        what = f"the {'class' if isclass(value) else 'function'} {value.__qualname__}"
    elif isinstance(value, np.ndarray | Tensor):
        what = f"{what} of type {value.dtype}"
    return CannotSaveError(
        f"{where} is {what}, which a file cannot carry. Fit with what has a name, or that"
        " is made of numbers, text and estimators that can be saved (see docs/saving.md);"
        " or keep the estimator with joblib.dump, whose files run code when they are"
        " loaded."
    )
