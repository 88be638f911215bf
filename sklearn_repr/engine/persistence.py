"""Fitted estimators in files that hold numbers and text only."""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy
import pandas
import scipy
import sklearn
import skorch
import torch
from safetensors import safe_open
from safetensors.numpy import save as as_bytes
from sklearn.base import BaseEstimator

import sklearn_repr
from sklearn_repr.engine.packing import MOST_BYTES, STATE, is_long, pack, unpack
from sklearn_repr.exceptions import (
    CannotSaveError,
    InvalidFileError,
    NewerFileError,
)

__all__ = ["load", "save"]

# Raised whenever files of the version before could not be read as they are
FORMAT = 1
LIBRARIES = numpy, pandas, scipy, sklearn, skorch, torch
# The name of what the file says of itself, as JSON too
ABOUT = "sklearn_repr"


def save(estimator: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Write an estimator to one file, from which :func:`load` makes it again.

    The file holds parameters, fitted attributes and weights, as safetensors: arrays of
    numbers, and text. It holds no code, no training rows but those that a detector
    measures distances from, and no state of the optimiser. A file of that name is
    replaced once the new one is complete.

    Parameters
    ----------
    estimator : estimator
        Any estimator of this package, fitted or not, or one of scikit-learn that
        docs/saving.md lists, such as a Pipeline around ours.
    path : str or path-like
        Where to write.

    Raises
    ------
    CannotSaveError
        If the estimator holds what a file cannot carry, such as a function or a module of
        your own. Nothing is written.

    See Also
    --------
    load : The way back.

    Examples
    --------
    >>> import sklearn_repr, tempfile
    >>> from sklearn.datasets import load_iris
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = sklearn_repr.AutoencoderTransformer(2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sklearn_repr.save(model, f"{folder}/iris.safetensors")
    ...     loaded = sklearn_repr.load(f"{folder}/iris.safetensors")
    >>> bool((loaded.transform(X) == model.transform(X)).all())
    True
    """
    if not isinstance(estimator, BaseEstimator):
        raise CannotSaveError(f"{type(estimator).__name__} is no estimator.")
    arrays = pack(estimator, type(estimator).__name__)
    about = {
        "format": FORMAT,
        "version": sklearn_repr.__version__,
        "class": type(estimator).__name__,
        "libraries": {m.__name__: m.__version__ for m in LIBRARIES},
        "python": platform.python_version(),
    }
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        # the library would make a file that only its owner reads
        partial.write_bytes(as_bytes(arrays, {ABOUT: json.dumps(about)}))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Any:
    """Make the estimator again that :func:`save` wrote to a file.

    Nothing that the file names is imported or run: classes come from a fixed list, and
    whatever else a file says is data. The estimator is on the CPU, gives the same bits as
    the one that was saved where versions and machine are the same, and can be fitted
    again.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : estimator
        The estimator.

    Raises
    ------
    InvalidFileError
        If the file is damaged, or is none that `save` has written.
    NewerFileError
        If a later version of the package wrote it.

    See Also
    --------
    save : What writes the file, with an example.
    """
    path = Path(path)
    with path.open("rb") as file:
        # the length of the names of arrays, their types, shapes and places
        length = int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
        places = file.read(min(length, size, MOST_BYTES + 1))
    about: Any = None
    try:
        if is_long(places):
            raise ValueError("too much text")
        with safe_open(path, framework="numpy") as arrays:
            about = json.loads(arrays.metadata()[ABOUT])
            if about["format"] == FORMAT:
                return _read(arrays)
            newer = about["format"] > FORMAT
    except Exception as error:
        # whatever goes wrong in reading says that the file is not as it should be
        written = about.get("version") if isinstance(about, dict) else None
        versions = (
            f"written by sklearn_repr {written}, read by {sklearn_repr.__version__}"
        )
        raise InvalidFileError(
            f"{path} is damaged, or is none that sklearn_repr.save has written:"
            f" {type(error).__name__}: {str(error)[:200]} ({versions})."
        ) from error
    if newer:
        raise NewerFileError(
            f"{path} was written by sklearn_repr {about.get('version')}, in a format that"
            f" {sklearn_repr.__version__} does not know: install that version or a later"
            " one."
        )
    raise InvalidFileError(f"{path} has no format that sklearn_repr.save has written.")


def _read(file: Any) -> Any:
    stored = file.get_slice(STATE)
    if stored.get_dtype() != "U8" or math.prod(stored.get_shape()) > MOST_BYTES:
        raise ValueError("no text, or too much")
    estimator = unpack(file.get_tensor)
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(f"no estimator but {type(estimator).__name__}")
    return estimator
