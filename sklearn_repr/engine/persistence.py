"""Fitted estimators in files that hold numbers and text only."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator

from sklearn_repr import __version__
from sklearn_repr.engine.portable import Reader, Writer
from sklearn_repr.exceptions import (
    CannotSaveError,
    InvalidFileError,
    NewerFileError,
)

__all__ = ["load", "save"]

# Raised whenever files of the version before could not be read as they are
FORMAT = 1
LIBRARIES = "numpy", "pandas", "scikit-learn", "scipy", "skorch", "torch"
# The name of the JSON text among the arrays; these are named "0", "1", ...
STATE = "state"
# Text is read whole, and takes several times its size while it is: bytes of the names of
# arrays and of the text, and values in each
MOST_BYTES, MOST_VALUES = 2**24, 500_000


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
        :doc:`docs/saving.md` lists, such as a Pipeline around ours.
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
    writer = Writer()
    try:
        state = writer.write(estimator, type(estimator).__name__)
    except RecursionError:
        raise CannotSaveError("An attribute holds itself, or too many others.") from None
    text = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
    arrays = {str(i): array for i, array in enumerate(writer.arrays)}
    arrays[STATE] = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    _check_length(arrays[STATE].tobytes(), CannotSaveError)
    metadata = {"format": str(FORMAT), "class": type(estimator).__name__}
    metadata |= {"sklearn_repr": __version__, "python": platform.python_version()}
    metadata |= {name: version(name) for name in LIBRARIES}
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(arrays, partial, metadata)
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
        start = file.read(8)
        # the length of the names of arrays, their types, shapes and places
        length = int.from_bytes(start, "little")
        size = path.stat().st_size
        if len(start) < 8 or length > size - 8:
            raise InvalidFileError(
                f"{path} is cut off, or is none that sklearn_repr.save has written."
            )
        _check_length(file.read(min(length, MOST_BYTES + 1)), InvalidFileError)
    try:
        with safe_open(path, framework="numpy") as file:
            return _read(file, path)
    except (NewerFileError, InvalidFileError):
        raise
    except Exception as error:
        # whatever goes wrong in reading says that the file is not as it should be
        raise InvalidFileError(
            f"{path} is damaged, or is none that sklearn_repr.save has written"
            f" ({type(error).__name__}: {str(error)[:200]})."
        ) from error


def _read(file: Any, path: Path) -> Any:
    metadata = file.metadata() or {}
    if int(metadata["format"]) > FORMAT:
        raise NewerFileError(
            f"{path} was written by sklearn_repr {metadata.get('sklearn_repr')}, in a"
            f" format that {__version__} does not know: install that version or a later"
            " one."
        )
    names = set(file.keys())
    (length,) = file.get_slice(STATE).get_shape()
    if length > MOST_BYTES:
        raise ValueError("too much text")
    text = file.get_tensor(STATE).tobytes()
    _check_length(text, InvalidFileError)

    def array(at: int) -> NDArray[Any]:
        # a copy, in memory that NumPy aligned
        return np.array(file.get_tensor(str(at)))

    estimator = Reader(array).read(json.loads(text))
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(f"no estimator but {type(estimator).__name__}")
    return estimator


def _check_length(text: bytes, error: type[Exception]) -> None:
    n_values = sum(map(text.count, (b",", b"[", b"{")))
    if len(text) > MOST_BYTES or n_values > MOST_VALUES:
        raise error(
            f"More than {MOST_BYTES:,} bytes or {MOST_VALUES:,} values are not numbers in"
            " arrays, such as levels of categories or their names. A lower max_categories"
            " or a higher min_frequency keeps fewer."
        )
