"""What a file of an estimator may hold, and how its classes hand on their state.

An object in a file is its class's name, which is looked up among :func:`known_classes`,
and its state by the protocol of copying: ``__getstate__`` and ``__setstate__``, or its
attributes. What a class cannot hand on, it leaves out there. `OWN_WAYS` come first, for
classes that pickle otherwise.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable
from functools import cache, cached_property
from importlib import import_module
from inspect import isclass, isroutine
from typing import Any

import torch
from sklearn import (
    decomposition,
    frozen,
    impute,
    linear_model,
    mixture,
    pipeline,
    preprocessing,
)
from sklearn.utils._metadata_requests import MetadataRequest, MethodMetadataRequest
from skorch.history import History
from torch import nn

from sklearn_repr._contracts import Block
from sklearn_repr.engine.ensembles import Conditionals, Denoisers
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.exceptions import CannotSaveError
from sklearn_repr.utils.randomness import Seeds
from sklearn_repr.utils.references import Reference

__all__ = [
    "DTYPES",
    "MOST_VALUES",
    "NUMBERS",
    "OWN_WAYS",
    "PACKED",
    "PARTS",
    "TORCH_DTYPES",
    "check_state",
    "known_classes",
    "names_of_classes",
]

# Rooms all of whose classes are carried; of others, those named here. The engine and
# utils have classes that compile and run code.
ROOMS = "corruptions", "data", "detection", "estimators", "modules", "objectives"
OURS = Block, Conditionals, Denoisers, Reference, RepresentationNet, Seeds
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
    *(frozen.FrozenEstimator, impute.MissingIndicator, impute.SimpleImputer),
    *(linear_model.LinearRegression, linear_model.LogisticRegression, linear_model.Ridge),
    *(MetadataRequest, MethodMetadataRequest, mixture.GaussianMixture),
    *(pipeline.Pipeline, preprocessing.LabelEncoder),
    *(preprocessing.MaxAbsScaler, preprocessing.MinMaxScaler, preprocessing.Normalizer),
    *(preprocessing.PowerTransformer, preprocessing.QuantileTransformer),
    *(preprocessing.RobustScaler, preprocessing.StandardScaler),
)
TORCH_DTYPES = {
    str(dtype): dtype
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool)
}
# Lists become objects of Python, several times as large: so many of their items at most
MOST_VALUES = 500_000
# The only key of a state that is packed, for others than files
PACKED = "arrays_of_state"
# NumPy's numbers that a file holds
NUMBERS = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
# and its types that are attributes: of numbers, objects, text, dates
DTYPES = re.compile(r"[<>|](b1|[iu][1248]|f[248]|O|U\d+|[mM]8(\[\w+\])?)")
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
def names_of_classes() -> dict[type, str]:
    """Return the names of the known classes in a file."""
    return {cls: name for name, cls in known_classes().items()}


# settings of a net that a file keeps
SETTINGS = (
    *("alpha", "batch_size", "chunk_size", "gradient_clip", "learning_rate", "lr"),
    *("max_epochs", "mixed", "seeds"),
)


def state_of_net(net: RepresentationNet) -> dict[str, Any]:
    """Return what a file keeps of a net: nothing that only training needs."""
    names = {name for row in net.history for name in row} - {"batches"}
    return {
        "settings": {name: getattr(net, name) for name in SETTINGS},
        "module": net.module_,
        "criterion": net.criterion_,
        "history": {n: [row.get(n) for row in net.history] for n in sorted(names)},
        "way": net.way_,
    }


def set_state_of_net(net: RepresentationNet, state: dict[str, Any]) -> None:
    """Make a net of its state, on the CPU and without an optimiser."""
    settings = {name: state["settings"][name] for name in SETTINGS}
    module, criterion = state["module"], state["criterion"]
    RepresentationNet.__init__(net, module, criterion, train_split=None, **settings)
    columns = state["history"]
    history = History()
    for values in zip(*columns.values(), strict=True):
        row = zip(columns, values, strict=True)
        history.append({"batches": [], **{k: v for k, v in row if v is not None}})
    # skorch sets modules nowhere but in `initialize`
    net.__dict__.update(
        module_=module,
        criterion_=criterion,
        history_=history,
        way_=state["way"],
        initialized_=True,
    )


# classes that do not follow the protocol of copying: what returns their state, and what
# makes an object of it
OWN_WAYS: dict[type, tuple[Callable[[Any], dict[str, Any]], Callable[..., None]]] = {
    RepresentationNet: (state_of_net, set_state_of_net)
}


def check_state(cls: type, state: dict[str, Any]) -> None:
    """Raise if a state has an attribute in the place of a method, or a cache on disk."""
    if PACKED in state:  # arrays that would be read as often as it stands there
        raise CannotSaveError(f"{cls.__name__} is packed already.")
    for key in state:
        there = getattr(cls, key, None)
        if isinstance(there, cached_property):  # whose place is an attribute's
            continue
        if isroutine(there) or isinstance(there, property):
            raise CannotSaveError(
                f"{cls.__name__}.{key} is a method, and a file cannot bring another."
            )
    # a later fit would read pickles there
    if cls is pipeline.Pipeline and state.get("memory") is not None:
        raise CannotSaveError(
            "Pipeline.memory is a folder of pickles, which a file cannot carry: set it to"
            " None before you save."
        )
    if issubclass(cls, nn.RNNBase):
        names = [name for layer in state["_all_weights"] for name in layer]
        # torch builds these anew, as many as a number in the state says
        if not names or not all(isinstance(name, str) for name in names):
            raise CannotSaveError(f"{cls.__name__}._all_weights must hold names.")
