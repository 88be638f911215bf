"""Frames of pandas, polars and pyarrow: their columns, kinds and missing cells."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from numbers import Number, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:
    from sklearn_repr._contracts import Table

__all__ = [
    "as_pandas",
    "container_of",
    "factorized",
    "filled_pandas",
    "filled_polars",
    "holed_columns",
    "is_frame",
    "kind_of",
    "missing_cells",
    "of_another_kind",
    "original_dtypes",
    "polars_numbers",
    "refuse_lazy",
    "spoken",
    "what_to_do_with",
    "with_indicators",
]

# what pandas calls columns of objects that are categories, and those that are numbers
WORDS = {"string", "boolean", "categorical"}
NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal", "empty"}
DATES = "datetime64", "timedelta64", "datetime", "timedelta", "date", "period", "time"


def missing_cells(X: Table) -> NDArray[np.bool_]:
    """Return where cells of any table are missing, (n_samples, n_features)."""
    missing: NDArray[np.bool_] = as_pandas(X).isna().to_numpy()
    return missing


def holed_columns(X: Table) -> NDArray[np.intp]:
    """Return the numbers of the columns in which a cell of any table is missing."""
    if sparse.issparse(X):
        cells = sparse.coo_array(X)
        return np.unique(cells.coords[1][np.isnan(cells.data)])
    return np.flatnonzero(missing_cells(X).any(axis=0))


def with_indicators(X: Table, missing: NDArray[np.bool_], names: Sequence[str]) -> Table:
    """Append columns of zeros and ones to a table, in its own container."""
    marks = missing.astype(np.float64)
    if not is_frame(X):
        return np.hstack([X, marks.astype(X.dtype)])
    if _is_from(X, "polars"):
        import polars

        columns = (polars.Series(name, m) for name, m in zip(names, marks.T, strict=True))
        return X.hstack(list(columns))
    return pd.concat([X, pd.DataFrame(marks, columns=list(names), index=X.index)], axis=1)


def is_frame(X: Table) -> bool:
    """Tell tables whose columns have types of their own: pandas, polars, pyarrow."""
    return isinstance(X, pd.DataFrame) or _is_from(X, "polars") or _is_from(X, "pyarrow")


def refuse_lazy(X: Table) -> None:
    """Raise if a frame of polars is still to be computed."""
    if type(X).__module__.partition(".")[0] == "polars" and hasattr(X, "collect"):
        raise TypeError(
            f"X is a {type(X).__name__}, whose rows are not there yet: pass X.collect()."
        )


def filled_polars(X: Table, made: Any, missing: NDArray[np.bool_]) -> Any:
    """Return a frame of polars whose missing cells are those of another."""
    import polars

    if not _is_from(X, "polars"):
        cells = as_pandas(X).astype(object)
        cells = cells.where(cells.notna(), None)
        X = polars.DataFrame(
            [
                polars.Series(new.name, cells.iloc[:, j].tolist(), strict=False)
                for j, new in enumerate(made)
            ]
        )
    columns = []
    for name, hidden in zip(X.columns, missing.T, strict=True):
        old, new = X[name], made[name]
        if hidden.any():
            old = old.fill_nan(None) if old.dtype.is_float() else old
            old = new.zip_with(polars.Series(hidden), old.cast(new.dtype)).alias(name)
        columns.append(old)
    return polars.DataFrame(columns)


def filled_pandas(
    X: pd.DataFrame, made: pd.DataFrame, missing: NDArray[np.bool_]
) -> pd.DataFrame:
    """Return a frame of pandas whose missing cells are those of another."""
    cells = {
        j: _filled(X.iloc[:, j], made.iloc[:, j], hidden)
        if hidden.any()
        else X.iloc[:, j]
        for j, hidden in enumerate(missing.T)
    }
    frame = pd.DataFrame(cells, index=X.index)
    frame.columns = made.columns
    return frame


def _filled(
    old: pd.Series[Any], new: pd.Series[Any], missing: NDArray[np.bool_]
) -> pd.Series[Any]:
    """Return a column of pandas whose missing cells are those of another."""
    if pd.api.types.is_integer_dtype(old.dtype) and not pd.api.types.is_integer_dtype(
        new.dtype
    ):
        old = old.astype("Float64")
    if isinstance(old.dtype, pd.CategoricalDtype):
        # a level that only this table has is kept
        extra = [v for v in new.cat.categories if v not in set(old.cat.categories)]
        old = old.cat.add_categories(extra)
    if pd.api.types.is_numeric_dtype(old.dtype) and not pd.api.types.is_bool_dtype(old):
        cells = pd.Series(new.to_numpy(np.float64), index=old.index)
        return old.where(~missing, cells.astype(old.dtype))
    cells = pd.Series(new.astype(object).to_numpy(), index=old.index)
    return old.astype(object).where(~missing, cells).astype(old.dtype)


def _is_from(X: Any, library: str) -> bool:
    return (
        type(X).__module__.partition(".")[0] == library
        and hasattr(X, "columns")
        and hasattr(X, "shape")
    )


def container_of(X: Table) -> str:
    """Return whose frame a table is: pandas, polars, or else array."""
    if _is_from(X, "polars"):
        return "polars"
    return "pandas" if is_frame(X) else "array"


def as_pandas(X: Table) -> pd.DataFrame:
    """Return any table as a frame of pandas, whose columns are as they were."""
    if isinstance(X, pd.DataFrame):
        return X
    if _is_from(X, "polars"):
        columns = {str(name): _from_polars(X[name]) for name in X.columns}
        return pd.DataFrame(columns)
    if _is_from(X, "pyarrow"):
        X = X.to_pandas()
        assert isinstance(X, pd.DataFrame)  # noqa: S101 - what pyarrow makes
        return X
    if sparse.issparse(X):
        X = X.toarray()
    # cells of a list keep their types: numbers beside text are still numbers
    return pd.DataFrame(X if hasattr(X, "dtype") else np.asarray(X, dtype=object))


def _from_polars(series: Any) -> Any:
    if series.dtype.is_numeric():
        return series.to_numpy()
    return pd.Series(series.to_list(), dtype=object)


def whole_numbers(cells: NDArray[np.float64], dtype: Any) -> NDArray[np.float64]:
    """Round cells to what an integer type of any library can hold; others as they are."""
    found = re.fullmatch(r"(u?)int(\d+)(\[pyarrow\])?", str(dtype).lower())
    if found is None:
        return cells
    unsigned, bits = bool(found[1]), int(found[2])
    end = 2.0 ** (bits - (not unsigned))
    # beyond 2**53 not every integer is a float
    top = min(end - 1, float(np.nextafter(end, 0)))
    return cells.round().clip(0.0 if unsigned else -end, top)


def polars_numbers(name: str, cells: NDArray[np.float64], dtype: Any, whole: bool) -> Any:
    """Return a column of polars, of a type that was that of floats, or of integers."""
    import polars

    series = polars.Series(name, cells)
    if dtype.is_float():
        return series.cast(dtype)
    if whole and dtype.is_integer():
        return polars.Series(name, whole_numbers(cells, dtype)).fill_nan(None).cast(dtype)
    return series


def original_dtypes(X: Table, frame: pd.DataFrame) -> Sequence[Any]:
    """Return the types of the columns in the library that they come from."""
    return list(X.dtypes) if _is_from(X, "polars") else list(frame.dtypes)


def kind_of(column: pd.Series[Any]) -> str:
    """Return "number", "category", "date" or "other"."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return "category"
    if pd.api.types.is_numeric_dtype(dtype):
        return "number" if not pd.api.types.is_complex_dtype(dtype) else "other"
    if isinstance(dtype, pd.ArrowDtype) and "dictionary" in str(dtype):
        return "category"
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if inferred in WORDS:
        return "category"
    if inferred in NUMBERS or _are_numbers(column, inferred):
        return "number"
    return "date" if inferred in DATES else "other"


def _are_numbers(column: pd.Series[Any], inferred: str) -> bool:
    """Tell numbers of several types: fractions, or truth values among integers."""
    mixed = inferred.startswith("mixed") and column.dtype == object
    return mixed and all(isinstance(value, Real) for value in column.dropna())


def factorized(column: pd.Series[Any], label: str) -> tuple[NDArray[np.int64], list[Any]]:
    """Return the number of every cell's value, -1 where it is missing, and the values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = column.cat.categories.astype(object).tolist()
        return column.cat.codes.to_numpy(np.int64), values
    try:
        codes, found = pd.factorize(column.astype(object), use_na_sentinel=True)
    except TypeError as error:
        raise ValueError(
            f"Column {label} holds values that cannot be levels: {error}."
        ) from error
    return np.asarray(codes, np.int64), list(found)


def of_another_kind(known: list[Any], found: list[Any]) -> bool:
    """Tell levels none of which are of a kind that is known: numbers where text was."""

    def kinds(values: list[Any]) -> set[str]:
        # a truth value is also the number 0 or 1
        return {"numbers" if isinstance(v, Number) else _kind(v) for v in values}

    return not kinds(known) & kinds(found)


def spoken(values: list[Any]) -> str:
    """Say in a word or two what values are."""
    kinds = sorted({_kind(value) for value in values})
    return "numbers" if kinds == ["booleans", "numbers"] else " and ".join(kinds)


def _kind(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "booleans"
    if isinstance(value, complex | np.complexfloating):
        return "complex numbers"
    if isinstance(value, Number):
        return "numbers"
    return "text" if isinstance(value, str) else f"objects of type {type(value).__name__}"


def what_to_do_with(values: list[Any]) -> str:
    """Say what to do with a column of objects that are neither numbers nor levels."""
    if all(isinstance(value, Number) for value in values):
        return "Turn them into real numbers."
    if not all(isinstance(value, Hashable) for value in values):
        return "Take them apart into columns of numbers or text."
    return (
        "Turn them into numbers or text, or name the column in categorical_features to"
        " take every value for a level."
    )
