"""Checks of tables whose messages name the column."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, get_tags
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _get_feature_names,
    validate_data,
)

from sklearn_repr.utils.mapped import forget

if TYPE_CHECKING:
    from sklearn_repr._contracts import LevelOrRange, Names, Table

__all__ = [
    "check_cells",
    "check_compared",
    "check_input_shape",
    "check_latent",
    "check_layer_sizes",
    "check_share",
    "column_label",
    "has_holes",
    "parts_of",
    "unobserved_columns",
    "validate_partner",
    "validate_table",
]

# Cells that are looked at at a time
CELLS = 2**18


def column_label(names: Names, index: int) -> str:
    """Name a column in a message: by its name where it has one, else by position."""
    return f"{names[index]!r}" if names is not None else f"number {index}"


def validate_table(
    estimator: BaseEstimator,
    X: Table,
    *,
    reset: bool,
    largest: float | None,
    ensure_min_samples: int = 1,
    read: Callable[[Table], Table] | None = None,
) -> Table:
    """Validate a table as scikit-learn does, then look at its values.

    Parameters
    ----------
    estimator : estimator
        Remembers, or is asked for, number and names of the columns.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The table.
    reset : bool
        True in fit, False elsewhere.
    largest : float or None
        Largest absolute value that the computing dtype can hold; None leaves the look at
        values to :func:`check_cells`.
    ensure_min_samples : int, default=1
        Fewer rows are an error.
    read : callable or None, default=None
        Maps the table to an array of numbers, where `X` itself is not numbers.

    Returns
    -------
    X : ndarray or CSR matrix of shape (n_samples, n_features), float32 or float64
        The validated table.

    Raises
    ------
    ValueError
        If a value is missing (unless the estimator's tags allow it), infinite or beyond
        `largest`; the message names the first such row and its column.
    """
    options: dict[str, object] = {
        "accept_sparse": "csr" if get_tags(estimator).input_tags.sparse else False,
        "dtype": [np.float64, np.float32],
        "ensure_all_finite": False,
        "ensure_min_samples": ensure_min_samples,
    }
    if read is None:
        try:
            X = validate_data(estimator, X, reset=reset, **options)
        except (ValueError, TypeError) as error:
            where = _no_number(X)
            if where is None:
                raise
            raise type(error)(
                f"{where} cannot be read as numbers: {error}. Convert it, drop it, or"
                " declare it in categorical_features where there is such a parameter."
            ) from error
    else:
        _check_feature_names(estimator, X, reset=reset)
        _check_n_features(estimator, X, reset=reset)
        X = check_array(read(X), estimator=estimator, **options)
    if largest is not None:
        check_cells(estimator, X, largest)
    return X


def _no_number(X: Table) -> str | None:
    """Name the first column that is not made of numbers, if that is what is wrong."""
    names = getattr(X, "columns", None)
    if names is None:
        X = np.asarray(X, dtype=object) if not sparse.issparse(X) else np.empty((0, 0))
        if X.ndim != 2:
            return None
        columns = ((f"Column number {j}", X[:, j]) for j in range(X.shape[1]))
    else:
        columns = ((f"Column {name!r}", X[name]) for name in names)
    for label, column in columns:
        try:
            np.asarray(column).astype(np.float64)
        except (ValueError, TypeError):
            return label
    return None


def has_holes(X: Table) -> bool:
    """Tell whether a cell of a table is missing, NaN."""
    for part in parts_of(X):
        cells = part.data if sparse.issparse(part) else part
        with np.errstate(over="ignore", invalid="ignore"):
            # one fast pass for usual values; infinities of both signs add up to NaN too
            if np.isnan(cells.sum()) and np.isnan(cells).any():
                return True
    return False


def unobserved_columns(X: Table) -> NDArray[np.bool_]:
    """Tell which columns of a table hold no observed cell.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.validation import unobserved_columns
    >>> unobserved_columns(np.array([[np.nan, 1.0], [np.nan, np.nan]]))
    array([ True, False])
    """
    unobserved = np.ones(X.shape[1], bool)
    for part in parts_of(X):
        if sparse.issparse(part):
            holes = part.indices[np.isnan(part.data)]
            missing = np.bincount(holes, minlength=X.shape[1]) == part.shape[0]
        else:
            missing = np.isnan(part).all(axis=0)
        unobserved &= missing
        if not unobserved.any():
            break
    return unobserved


def check_cells(estimator: BaseEstimator, X: Table, largest: float) -> None:
    """Look at the values of a table; the second half of :func:`validate_table`.

    Parameters
    ----------
    estimator : estimator
        Knows the names of the columns.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        What :func:`validate_table` returned.
    largest : float
        Largest absolute value that the computing dtype can hold.

    Raises
    ------
    ValueError
        As :func:`validate_table`.
    """
    names = getattr(estimator, "feature_names_in_", None)
    may_miss = get_tags(estimator).input_tags.allow_nan
    _check_cells(X, "X", largest, names, type(estimator).__name__, may_miss)


def validate_partner(
    y: Table,
    *,
    who: str,
    largest: float,
    n_columns: int | None = None,
    names: Names = None,
    read: Callable[[Table], Table] | None = None,
) -> tuple[Table, Names]:
    """Validate the other table of rows that come in pairs.

    Parameters
    ----------
    y : {array-like, sparse matrix} of shape (n_samples, n_columns) or (n_samples,)
        The table; of one dimension, it is a single column.
    who : str
        Name of the estimator, for messages.
    largest : float
        Largest absolute value that the computing dtype can hold.
    n_columns : int or None, default=None
        Number of columns seen in fit; None in fit.
    names : ndarray of str or None, default=None
        Names of the columns seen in fit.
    read : callable or None, default=None
        Maps the table to an array of numbers, where `y` itself is not numbers.

    Returns
    -------
    y : ndarray or CSR matrix of shape (n_samples, n_columns), float32 or float64
        The validated table.
    names : ndarray of str or None
        Names of its columns.

    Raises
    ------
    ValueError
        If there is no table, its columns are not those of fit, or a value is infinite
        or too large.
    """
    if y is None:
        raise ValueError(f"{who} requires y to be passed, but the target y is None.")
    found = _get_feature_names(y)
    y = check_array(
        y if read is None else read(y),
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_2d=False,
        input_name="y",
    )
    if y.ndim == 1:
        y = y.reshape(-1, 1)
    if n_columns not in (None, y.shape[1]):
        raise ValueError(
            f"y has {y.shape[1]} features, but {who} is expecting {n_columns} features as"
            " its second input."
        )
    if names is not None and found is not None and not np.array_equal(names, found):
        raise ValueError(
            "The feature names of y should match those that were passed during fit:"
            f" {list(names)}; got {list(found)}."
        )
    _check_cells(y, "y", largest, found if names is None else names, who, True)
    return y, found


def _check_cells(
    X: Table, input_name: str, largest: float, names: Names, who: str, may_miss: bool
) -> None:
    start = 0
    for part in parts_of(X):
        if not _is_within(part, largest, may_miss):
            raise ValueError(
                _describe_bad_cell(part, start, input_name, largest, names, who, may_miss)
            )
        start += part.shape[0]


def parts_of(X: Table, cells: int = CELLS) -> Iterator[Table]:
    """Cut a table into consecutive parts; of mapped files one is resident at a time.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The table.
    cells : int, default=2**18
        How many a part has at most, where a row has no more.

    Yields
    ------
    part : {ndarray, CSR matrix}
        Its rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.validation import parts_of
    >>> [len(part) for part in parts_of(np.zeros((5, 2)), cells=4)]
    [2, 2, 1]
    """
    step = max(1, cells // max(X.shape[1], 1))
    for start in range(0, X.shape[0], step):
        part = X[start : start + step]
        yield part
        forget(part)


def _is_within(X: Table, largest: float, may_miss: bool) -> bool:
    cells = X.data if sparse.issparse(X) else X
    if not cells.size:
        return True
    flat = cells.ravel(order="K")
    with np.errstate(over="ignore", invalid="ignore"):
        # one fast pass for usual values: no square is beyond that of the largest
        if np.dot(flat, flat) < largest * largest:
            return True
    low, high = (np.fmin, np.fmax) if may_miss else (np.minimum, np.maximum)
    lowest, highest = (float(f.reduce(cells, axis=None)) for f in (low, high))
    if may_miss and np.isnan(lowest):  # nothing but missing cells
        return True
    # as Python floats: a float32 bound would round up to infinity
    return lowest >= -largest and highest <= largest


def _describe_bad_cell(
    X: Table,
    start: int,
    input_name: str,
    largest: float,
    names: Names,
    who: str,
    may_miss: bool,
) -> str:
    X = X.tocoo() if sparse.issparse(X) else sparse.coo_array(X)
    cells = X.data.astype(np.float64)
    bad = np.abs(cells) > largest if may_miss else ~(np.abs(cells) <= largest)
    position = int(np.flatnonzero(bad)[0])
    row, column, value = start + X.row[position], X.col[position], cells[position]
    where = f"column {column_label(names, column)} (row {row})"
    if np.isnan(value):
        return (
            f"Input {input_name} contains NaN: {where}. {who} does not accept missing"
            " values; put sklearn.impute.SimpleImputer before it in a pipeline, fill them"
            " by MaskedAutoencoder's impute, or drop the rows."
        )
    if np.isinf(value):
        return (
            f"Input {input_name} contains infinity: {where}. Replace or drop the value"
            f" before passing the table to {who}."
        )
    return (
        f"Input {input_name} contains a value too large for dtype('float32'): {value:g}"
        f" in {where}. Rescale or clip the column, or set dtype='float64' where"
        f" {who} has it."
    )


def check_latent(Z: Table, n_components: int, who: str) -> Table:
    """Validate codes given to inverse_transform.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        The codes.
    n_components : int
        Width of the fitted code.
    who : str
        Name of the estimator, for the message.

    Returns
    -------
    Z : ndarray of shape (n_samples, n_components)
        The validated codes.

    Raises
    ------
    ValueError
        If the width differs from `n_components`.
    """
    Z = check_array(Z, dtype=[np.float64, np.float32], input_name="Z")
    if Z.shape[1] != n_components:
        raise ValueError(
            f"Z has {Z.shape[1]} columns, but {who} was fitted with"
            f" {n_components} components: pass what transform returned."
        )
    return Z


def check_input_shape(
    input_shape: Sequence[int] | None, n_features: int
) -> tuple[int, ...]:
    """Check the parameter `input_shape` against the table.

    Parameters
    ----------
    input_shape : sequence of int or None
        (channels, height, width) or (channels, length).
    n_features : int
        Columns of the table.

    Returns
    -------
    input_shape : tuple of int
        The same.

    Raises
    ------
    ValueError
        If it is missing, has another number of entries, or does not fit.

    Examples
    --------
    >>> from sklearn_repr.utils.validation import check_input_shape
    >>> check_input_shape([1, 8, 8], 64)
    (1, 8, 8)
    """
    if input_shape is None:
        raise ValueError(
            "input_shape must say what a row is: (channels, height, width) or (channels,"
            " length); got None."
        )
    shape: tuple[Any, ...] = tuple(input_shape)
    whole = all(isinstance(n, Integral) and int(n) >= 1 for n in shape)
    if not whole or len(shape) not in (2, 3) or math.prod(shape) != n_features:
        raise ValueError(
            f"input_shape={shape} does not fit rows of {n_features} columns: it must be"
            " (channels, height, width) or (channels, length) whose product is"
            f" {n_features}."
        )
    return tuple(int(n) for n in shape)


def check_layer_sizes(hidden_layer_sizes: ArrayLike) -> str | tuple[int, ...]:
    """Check the parameter `hidden_layer_sizes`.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or str
        One width, several, or "auto".

    Returns
    -------
    sizes : tuple of int or str
        The widths, or "auto" as it was.

    Raises
    ------
    ValueError
        If a width is no positive integer.

    Examples
    --------
    >>> from sklearn_repr.utils.validation import check_layer_sizes
    >>> check_layer_sizes(8)
    (8,)
    """
    if isinstance(hidden_layer_sizes, str):
        return hidden_layer_sizes
    sizes = np.atleast_1d(np.asarray(hidden_layer_sizes, dtype=object)).tolist()
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise ValueError(
                "hidden_layer_sizes must be 'auto' or hold positive integers, got"
                f" {hidden_layer_sizes!r}."
            )
    return tuple(sizes)


def check_share(name: str, share: Any) -> LevelOrRange:
    """Check a parameter that is a share below 1, or a range of shares.

    Parameters
    ----------
    name : str
        Name of the parameter, for the message.
    share : float or sequence of two
        The share, or its range.

    Returns
    -------
    share : float or (float, float)
        A range only where its ends differ.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> from sklearn_repr.utils.validation import check_share
    >>> check_share("mask_ratio", [0.5, 0.5])
    0.5
    """
    pair = isinstance(share, tuple | list)
    ends: tuple[Any, ...] = tuple(share) if pair else (share, share)
    numbers = all(isinstance(end, Real) and math.isfinite(end) for end in ends)
    if len(ends) != 2 or not numbers or not 0 <= ends[0] <= ends[1] < 1:
        raise ValueError(
            f"{name} must be a share in [0, 1) or a range (low, high) of such;"
            f" got {share!r}."
        )
    return float(ends[0]) if ends[0] == ends[1] else ends


def check_compared(X: Table) -> Table:
    """Return `X`, whose rows a score compares with each other, if it has two.

    Raises
    ------
    ValueError
        If it has one row.
    """
    if X.shape[0] < 2:
        raise ValueError(
            "score needs at least 2 rows, for each is compared with the others; got"
            " n_samples = 1."
        )
    return X
