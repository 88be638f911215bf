"""Labels of rows, of which some may be unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from sklearn_repr._contracts import Array, Labels

__all__ = [
    "distinct_labels",
    "encode_labels",
    "known_labels",
    "read_labels",
    "read_numbers",
]


def read_labels(y: Labels, who: str) -> Array:
    """Return labels as an array of shape (n_samples,), of the type they have.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or None
        Labels of any type.
    who : str
        What needs the labels, for the message.

    Returns
    -------
    y : ndarray of shape (n_samples,)
        The labels.

    Raises
    ------
    ValueError
        If there are none, or the array has another shape or holds infinity.

    Examples
    --------
    >>> from sklearn_repr.utils.labels import read_labels
    >>> read_labels(["b", None], "this")
    array(['b', None], dtype=object)
    """
    if y is None:
        raise ValueError(_none_given(who))
    values: Array = column_or_1d(y, dtype=None, warn=True)
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise ValueError("Input y contains infinity: labels are finite, NaN marks none.")
    return values


def read_numbers(y: Labels, who: str) -> NDArray[np.float64]:
    """Return targets of a regression as an array, NaN where one is unknown.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        Numbers.
    who : str
        What needs them, for the message.

    Returns
    -------
    y : float64 ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The numbers.

    Raises
    ------
    ValueError
        If there are none, or they are infinite or no numbers.

    Examples
    --------
    >>> from sklearn_repr.utils.labels import read_numbers
    >>> read_numbers([1, None], "this")
    array([ 1., nan])
    """
    if y is None:
        raise ValueError(_none_given(who))
    values: NDArray[np.float64] = check_array(
        y,
        dtype=np.float64,
        ensure_2d=False,
        ensure_all_finite="allow-nan",
        input_name="y",
    )
    return values


def _none_given(who: str) -> str:
    return (
        f"{who} requires y to be passed, but the target y is None. Pass the labels as"
        " fit(X, y); a row whose label is -1 or NaN counts as unlabelled."
    )


def known_labels(values: Array, *, two_signs: bool = False) -> NDArray[np.bool_]:
    """Tell rows with a label: not -1, NaN or None.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        As :func:`read_labels` returns them.
    two_signs : bool, default=False
        Read labels that are all -1 or 1 as two classes.

    Returns
    -------
    known : bool ndarray of shape (n_samples,)
        True where a row has a label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.labels import known_labels
    >>> known_labels(np.array([0, 1, -1]))
    array([ True,  True, False])
    >>> known_labels(np.array([1, 1, -1]), two_signs=True)
    array([ True,  True,  True])
    """
    known = ~np.asarray(pd.isna(values), dtype=bool)
    if values.dtype.kind in "iufO":
        here: Any = values[known]
        unknown = np.asarray(here == -1, dtype=bool)
        signs = two_signs and bool(np.all(unknown | np.asarray(here == 1, dtype=bool)))
        if not (signs and unknown.any() and not unknown.all()):
            known[known] = ~unknown
    return known


def distinct_labels(labels: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the distinct labels in sorted order, and for every label its number.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        None of them unknown. Objects become numbers or booleans if that is what all are.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        The distinct labels.
    numbers : int ndarray of shape (n,)
        Which of them each label is.

    Raises
    ------
    ValueError
        If labels are of types that have no common order.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.labels import distinct_labels
    >>> distinct_labels(np.array([3, 1, 3], dtype=object))
    (array([1, 3]), array([1, 0, 1]))
    """
    if labels.dtype.kind == "O":
        labels = pd.Series(labels).infer_objects().to_numpy()
    try:
        classes, numbers = np.unique(labels, return_inverse=True)
    except TypeError as error:
        types = ", ".join(sorted({type(label).__name__ for label in labels}))
        raise ValueError(
            f"y mixes labels of types {types}, which cannot be sorted. Make them all"
            " text or all numbers."
        ) from error
    return classes, numbers


def encode_labels(y: Labels, n_rows: int, who: str) -> Tensor:
    """Give every class of `y` a number; some entries may be unknown.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or None
        Labels of any type. -1, NaN and None mean that a row is not labelled.
    n_rows : int
        Number of rows of the table.
    who : str
        What needs the labels, for the message.

    Returns
    -------
    labels : int64 Tensor of shape (n_rows,)
        Classes in sorted order from 0; -1 where there is no label.

    Raises
    ------
    ValueError
        If `y` is missing, has another length, holds no label at all or real numbers.

    Examples
    --------
    >>> from sklearn_repr.utils.labels import encode_labels
    >>> encode_labels(["b", "a", None], 3, "this").tolist()
    [1, 0, -1]
    """
    values = read_labels(y, who)
    if len(values) != n_rows:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: X has"
            f" {n_rows} rows and y has {len(values)}."
        )
    known = known_labels(values)
    if not known.any():
        raise ValueError(f"{who} needs labels, but y holds none: all are -1 or NaN.")
    check_classification_targets(values[known].tolist())
    labels = np.full(n_rows, -1)
    labels[known] = distinct_labels(values[known])[1]
    return torch.from_numpy(labels)
