"""Objects as JSON values and arrays, and back: of known classes, without running code.

A value of JSON stands for itself. Anything else is a dict of one key, which says what it
is: ``{"tuple": [...]}``, ``{"array": [3, null]}``, ``{"object": ["Seeds", {...}]}``. An
object is its class's name, looked up among :func:`known_classes`, and its state, by the
protocol of copying: ``__getstate__`` and ``__setstate__``, by default the attributes. What
a class cannot hand on, it leaves out there; `file_state` and `set_file_state` come first,
where a class that pickles otherwise has them.
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from inspect import isclass, isroutine
from types import NoneType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn import (
    decomposition,
    impute,
    linear_model,
    mixture,
    pipeline,
    preprocessing,
)
from torch import Tensor, nn

from sklearn_repr._contracts import Block
from sklearn_repr.data.dtypes import from_plain, to_plain
from sklearn_repr.engine.ensembles import Conditionals, Denoisers
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.exceptions import CannotSaveError
from sklearn_repr.utils.randomness import Seeds

__all__ = ["Reader", "Writer", "known_classes"]

# Rooms all of whose classes are carried; of others, those named here. The engine and
# utils have classes that compile and run code.
ROOMS = "corruptions", "data", "detection", "estimators", "modules", "objectives"
OURS = Block, Conditionals, Denoisers, RepresentationNet, Seeds
# what networks are made of
LAYERS = (
    *("BatchNorm1d", "Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "Dropout"),
    *("ELU", "Flatten", "GELU", "GRU", "GroupNorm", "Identity", "LayerNorm", "LeakyReLU"),
    *("Linear", "ModuleDict", "ModuleList", "ParameterList", "ReLU", "Sequential"),
    *("SiLU", "Sigmoid", "Softplus", "Tanh", "Unflatten"),
)
# scikit-learn's that keep no training rows, and no functions
SKLEARN = (
    *(decomposition.FactorAnalysis, decomposition.FastICA, decomposition.IncrementalPCA),
    *(decomposition.NMF, decomposition.PCA, decomposition.TruncatedSVD),
    *(impute.MissingIndicator, impute.SimpleImputer),
    *(linear_model.LinearRegression, linear_model.LogisticRegression, linear_model.Ridge),
    *(mixture.GaussianMixture, pipeline.Pipeline, preprocessing.LabelEncoder),
    *(preprocessing.MaxAbsScaler, preprocessing.MinMaxScaler, preprocessing.Normalizer),
    *(preprocessing.PowerTransformer, preprocessing.QuantileTransformer),
    *(preprocessing.RobustScaler, preprocessing.StandardScaler),
)
TORCH_DTYPES = {
    str(dtype): dtype
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool)
}
# NumPy's numbers that a file holds
NUMBERS = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
# lists of so many numbers become an array, which is shorter than text
LONG = 16
# where a module keeps its parts; what else torch sets in every module is not carried
PARTS = "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"


@cache
def known_classes() -> dict[str, type]:
    """Return the classes whose objects a file may hold, by their names there."""
    found: dict[str, type] = {f"torch.{name}": getattr(nn, name) for name in LAYERS}
    found |= {f"sklearn.{cls.__name__}": cls for cls in SKLEARN}
    found |= {cls.__name__: cls for cls in OURS}
    for room in ROOMS:
        package = import_module(f"sklearn_repr.{room}")
        names = [info.name for info in pkgutil.iter_modules(package.__path__)]
        for module in [import_module(f"{package.__name__}.{name}") for name in names]:
            for cls in vars(module).values():
                if isclass(cls) and cls.__module__ == module.__name__:
                    assert found.get(cls.__name__, cls) is cls  # noqa: S101 - one name each
                    found[cls.__name__] = cls
    return found


@cache
def _names() -> dict[type, str]:
    return {cls: name for name, cls in known_classes().items()}


class Writer:
    """Objects to JSON values; arrays are kept beside them.

    Attributes
    ----------
    arrays : list of ndarray
        Contiguous arrays of numbers, which the values speak of by position.
    """

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
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
        if isinstance(value, np.dtype) and value.name in NUMBERS:
            return {"dtype": value.name}
        if isinstance(value, np.dtype) and value == object:
            return {"dtype": "object"}
        if kind is torch.dtype and str(value) in TORCH_DTYPES:
            return {"torch_dtype": str(value)}
        if kind is torch.device:
            return {"device": "cpu"}
        if kind is np.random.RandomState:
            _, *state = value.get_state()
            return {"random_state": self._list(state, where)}
        if kind in _names():
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
                value = value if order is None else value.transpose(order)
                if value.flags.c_contiguous:
                    return {"array": [self._array(value), order]}
                return {"array": [self._array(value.transpose(np.argsort(order))), None]}
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
        cls, name = type(value), _names()[type(value)]
        if issubclass(cls, tuple):
            return {"named": [name, self._list(list(value), where)]}
        self._known[id(value)] = {"ref": self._n_objects}, value
        self._n_objects += 1
        if hasattr(cls, "file_state"):
            return {"object": [name, self._named(value.file_state(), where)]}
        state = value.__getstate__()
        if isinstance(value, nn.Module):
            return {"module": [name, *self._module(value, state, where)]}
        if isinstance(state, list):  # of a frozen dataclass with slots
            return {"object": [name, self._list(state, where)]}
        if not isinstance(state, dict | NoneType):
            raise _refusal(value, where)
        _check_state(cls, state or {})
        return {"object": [name, self._named(state or {}, where)]}

    def _module(self, module: nn.Module, state: dict[str, Any], where: str) -> list[Any]:
        torchs = vars(nn.Module())
        hooks = [key for key in torchs if key not in PARTS and "hooks" in key]
        if any(state.get(key) for key in hooks):
            raise CannotSaveError(
                f"{where} has hooks, which are functions: a file cannot carry them. Remove"
                " them before you save."
            )
        own = {k: v for k, v in state.items() if k not in torchs or k == "training"}
        _check_state(type(module), own)
        parts = [self._named(state[key], where) for key in PARTS[:3]]
        return [*parts, sorted(state[PARTS[3]]), self._named(own, where)]


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
        # arrays and tensors that were read, by their kind and position
        self._cells: dict[Any, Any] = {}
        self._readers: dict[str, Callable[[Any], Any]] = {
            "float": lambda text: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[
                text
            ],
            "tuple": lambda items: tuple(self.read(items)),
            "set": lambda items: set(self.read(items)),
            "frozenset": lambda items: frozenset(self.read(items)),
            "numbers": lambda at: self._arrays(at).tolist(),
            "dict": self._named,
            "pairs": lambda pair: dict(zip(*map(self.read, pair), strict=True)),
            "range": lambda ends: range(*ends),
            "scalar": self._scalar,
            "array": lambda at: self._once("array", at),
            "tensor": lambda at: self._once("tensor", at),
            "parameter": lambda at: self._once("parameter", at),
            "text": lambda at: self._once("text", [at, None]),
            "objects": self._objects,
            "csr": self._csr,
            "dtype": lambda name: np.dtype(_among((*NUMBERS, "object"), name)),
            "torch_dtype": TORCH_DTYPES.__getitem__,
            "device": lambda _: torch.device("cpu"),
            "random_state": self._random_state,
            "plain": lambda parts: from_plain(self.read(parts)),
            "named": self._named_tuple,
            "object": self._object,
            "module": self._module,
            "ref": lambda at: self._made[_position(at)],
        }

    def read(self, value: Any) -> Any:
        """Return what a JSON value stands for."""
        if type(value) is list:
            return [self.read(item) for item in value]
        if type(value) is not dict:
            return value
        ((kind, content),) = value.items()
        return self._readers[kind](content)

    def _named(self, items: dict[str, Any]) -> dict[str, Any]:
        return {key: self.read(item) for key, item in items.items()}

    def _scalar(self, parts: list[Any]) -> Any:
        name, value = parts
        if name == "str":
            return np.str_(value)
        return np.dtype(_among(NUMBERS, name)).type(self.read(value))

    def _once(self, kind: str, parts: list[Any]) -> Any:
        """Read an array or a tensor the first time that it is spoken of."""
        at, order, *learned = parts
        key = kind, _position(at)
        if key not in self._cells:
            array = self._arrays(at)
            if order is not None:
                array = array.transpose(np.argsort(order))
            if kind == "text":
                if array.size and array.max() > 0x10FFFF:
                    raise ValueError("no text")
                width = array.shape[-1]
                array = array.view(f"<U{width}")[..., 0]
            made: Any = array
            if kind in ("tensor", "parameter"):
                made = torch.from_numpy(array)
            if kind == "parameter":
                made = nn.Parameter(made, requires_grad=bool(*learned))
            self._cells[key] = made
        return self._cells[key]

    def _objects(self, parts: list[Any]) -> NDArray[Any]:
        shape, items = parts
        found = self.read(items)
        cells = np.empty(len(found), dtype=object)
        for i, item in enumerate(found):
            cells[i] = item
        return cells.reshape(shape)

    def _csr(self, parts: list[Any]) -> Any:
        name, content, shape = parts
        kinds = {"csr_matrix": sparse.csr_matrix, "csr_array": sparse.csr_array}
        found = kinds[name](tuple(self.read(content)), shape=tuple(shape))
        # compiled code trusts these numbers
        found.check_format(full_check=True)
        return found

    def _random_state(self, parts: list[Any]) -> np.random.RandomState:
        key, *rest = self.read(parts)
        made = np.random.RandomState(0)  # noqa: NPY002 - what scikit-learn takes
        made.set_state(("MT19937", key, *rest))
        return made

    def _named_tuple(self, parts: list[Any]) -> Any:
        name, items = parts
        cls: Any = known_classes()[name]
        return cls._make(self.read(items))

    def _start(self, name: str) -> Any:
        cls: Any = known_classes()[name]
        made = cls.__new__(cls)
        self._made.append(made)
        return made

    def _object(self, parts: list[Any]) -> Any:
        name, content = parts
        made = self._start(name)
        if isinstance(content, list):
            made.__setstate__(self.read(content))
            return made
        state = self._named(content)
        if hasattr(made, "set_file_state"):
            made.set_file_state(state)
            return made
        _check_state(type(made), state)
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
        _check_state(type(made), own)
        made.__setstate__({**vars(made), **own})
        return made  # type: ignore[no-any-return]


def _order(strides: tuple[int, ...], contiguous: bool) -> list[int] | None:
    """Return axes from slowest to fastest in memory, None where they are in order.

    Products may round otherwise in another layout.
    """
    if contiguous:
        return None
    return [int(i) for i in np.argsort([-step for step in strides], kind="stable")]


def _position(at: Any) -> int:
    if type(at) is not int or at < 0:
        raise ValueError(f"no position: {at!r}")
    return at


def _among(names: tuple[str, ...], name: Any) -> str:
    if name not in names:
        raise ValueError(f"no such type: {name!r}")
    return str(name)


def _check_state(cls: type, state: dict[str, Any]) -> None:
    """Raise if a state has an attribute in the place of a method, or a cache on disk."""
    for key in state:
        there = getattr(cls, key, None)
        if isroutine(there) or isinstance(there, property):
            raise CannotSaveError(
                f"{cls.__name__}.{key} is a method, and a file cannot carry another in its"
                " place."
            )
    # a later fit would read pickles there
    if cls is pipeline.Pipeline and state.get("memory") is not None:
        raise CannotSaveError(
            "Pipeline.memory is a folder of pickles, which a file cannot carry: set it to"
            " None before you save."
        )


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
