"""Tables that hold the same columns, read as numbers that can be compared."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_repr.utils.frames import (
    as_pandas,
    factorized,
    is_frame,
    kind_of,
    refuse_lazy,
    spoken,
)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """A table as numbers; a cell of a category is the number of its level.

    Levels are numbered over all tables that were read together, by decreasing frequency.
    """

    names: list[Hashable]
    categorical: NDArray[np.bool_]  # (n_features,)
    values: Values  # (n_samples, n_features), NaN where a cell is missing

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: NDArray[Any]) -> Cells:
        """Return some rows."""
        return Cells(self.names, self.categorical, self.values[index])


def read_alike(**tables: Any) -> list[Cells]:
    """Read tables of the same columns; the first one says which columns are categories.

    Parameters
    ----------
    **tables : array-like or DataFrame of shape (n_samples, n_features)
        Tables, by the names that messages call them. `Cells` are left as they are.

    Returns
    -------
    cells : list of Cells
        One for each table.

    Raises
    ------
    ValueError
        If the columns differ, or one holds what cannot be compared.
    """
    if all(isinstance(table, Cells) for table in tables.values()):
        return list(tables.values())
    frames = {name: _frame(table, name) for name, table in tables.items()}
    first, reference = next(iter(frames.items()))
    named = is_frame(tables[first])
    for name, frame in frames.items():
        both = named and is_frame(tables[name])
        frames[name] = _in_order(frame, reference, name, first, both)
    names = list(reference.columns)
    categorical, columns = [], []
    for j, label in enumerate(names):
        parts = {name: frame.iloc[:, j] for name, frame in frames.items()}
        categorical.append(_is_category(parts[first], f"{label!r} of {first}"))
        read = _levels if categorical[-1] else _numbers
        columns.append(read(parts, label))
    mask = np.array(categorical)
    return [
        Cells(names, mask, np.column_stack(found)) for found in zip(*columns, strict=True)
    ]


def largest(values: Values) -> Values:
    """Return the largest absolute value of every column, 1 where that is 0."""
    found = np.fmax.reduce(np.abs(values), axis=0, initial=0.0)
    return np.where(found > 0.0, found, 1.0)


def _frame(table: Any, name: str) -> pd.DataFrame:
    refuse_lazy(table)
    if not is_frame(table) and len(np.shape(table)) != 2:
        raise ValueError(
            f"{name} must be a table, rows by columns; got shape {np.shape(table)}."
        )
    frame = as_pandas(table)
    if not all(frame.shape):
        raise ValueError(f"{name} has no cells: its shape is {frame.shape}.")
    return frame


def _in_order(
    frame: pd.DataFrame, reference: pd.DataFrame, name: str, first: str, named: bool
) -> pd.DataFrame:
    """Return a frame with the columns of another in its order; of arrays by position."""
    here, there = list(frame.columns), list(reference.columns)
    if here == there or (not named and len(here) == len(there)):
        return frame
    if len(here) != len(there) or set(here) != set(there) or len(set(here)) < len(here):
        raise ValueError(
            f"{name} must have the {len(there)} columns of {first}, in its order where"
            f" two have one name, and has {len(here)}:"
            f" missing are {[c for c in there if c not in here][:5]}, not expected"
            f" {[c for c in here if c not in there][:5]}."
        )
    return frame[there]


def _is_category(column: pd.Series[Any], where: str) -> bool:
    kind = kind_of(column)
    if kind == "date":
        raise ValueError(
            f"Column {where} holds dates or times, which are neither numbers nor"
            " categories. Turn them into numbers first, in all tables."
        )
    if kind == "other":
        raise ValueError(
            f"Column {where} holds {spoken(column.dropna().tolist())}, which are neither"
            " numbers nor categories."
        )
    return kind == "category"


def _numbers(parts: Mapping[str, pd.Series[Any]], label: Hashable) -> list[Values]:
    """Return the numbers of a column, one array a table."""
    found = []
    for name, column in parts.items():
        try:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Column {label!r} of {name} must hold numbers, as in the other table:"
                f" {error}."
            ) from error
        if np.isinf(values).any():
            raise ValueError(f"Column {label!r} of {name} contains infinity.")
        found.append(values)
    return found


def _levels(parts: Mapping[str, pd.Series[Any]], label: Hashable) -> list[Values]:
    """Return the levels of a column as numbers, one array a table."""
    cells = [column.astype(object) for column in parts.values()]
    codes, _ = factorized(pd.concat(cells, ignore_index=True), repr(label))
    counts = np.bincount(codes[codes >= 0])
    rank = np.empty(len(counts) + 1)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    rank[-1] = np.nan  # what code -1, a missing cell, points at
    ends = np.cumsum([len(column) for column in cells])
    return np.split(rank[codes], ends[:-1])
