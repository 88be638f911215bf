"""Frames whose columns are numbers or categories, as arrays of numbers and back."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sklearn_repr._contracts import Table, Weights
from sklearn_repr.data.choice import chosen_columns
from sklearn_repr.utils.constraints import CATEGORIES
from sklearn_repr.utils.frames import (
    as_pandas,
    container_of,
    factorized,
    filled_pandas,
    filled_polars,
    is_frame,
    kind_of,
    of_another_kind,
    original_dtypes,
    polars_numbers,
    refuse_lazy,
    spoken,
    what_to_do_with,
    whole_numbers,
)
from sklearn_repr.utils.validation import validate_table
from sklearn_repr.utils.weights import check_sample_weight

__all__ = ["Columns", "find_categories", "read_table"]


def find_categories(
    X: Table,
    categorical_features: Any = "from_dtype",
    max_categories: int | None = None,
    min_frequency: float | None = None,
    weights: Weights = None,
) -> Columns | None:
    """Return a fitted reader of a table, None if all of its columns are numbers.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_features)
        The table.
    categorical_features, max_categories, min_frequency : object
        See :class:`Columns`.
    weights : array-like of shape (n_samples,) or None, default=None
        How much each row counts; None lets all count alike.
    """
    by_dtype = isinstance(categorical_features, str)
    none = categorical_features is None or (by_dtype and not is_frame(X))
    # of a table without rows nothing is known but that it has none
    if none or np.shape(X)[:1] == (0,):
        return None
    columns = Columns(categorical_features, max_categories, min_frequency)
    columns.fit(X, weights)
    return columns if columns.categorical_.any() else None


def read_table(
    estimator: Any,
    X: Table,
    *,
    reset: bool,
    largest: float | None = None,
    ensure_min_samples: int = 1,
    weights: Weights = None,
) -> Table:
    """Validate a table, and read a frame with categories as an array of numbers.

    Parameters
    ----------
    estimator : estimator
        Keeps the reader as its attribute `_columns`, None where all columns are numbers.
    X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
        The table.
    reset, largest, ensure_min_samples : object
        See :func:`~sklearn_repr.utils.validation.validate_table`.
    weights : array-like of shape (n_samples,) or None, default=None
        How much each row counts where levels are counted; None lets all count alike.

    Returns
    -------
    X : ndarray or CSR matrix of shape (n_samples, n_features), float32 or float64
        The validated table.
    """
    refuse_lazy(X)
    if reset:
        given: dict[str, Any] = {
            name: getattr(estimator, name, None) for name in CATEGORIES
        }
        estimator._columns = find_categories(X, **given, weights=weights)
    columns = estimator._columns
    return validate_table(
        estimator,
        X,
        reset=reset,
        largest=largest,
        ensure_min_samples=ensure_min_samples,
        read=None if columns is None else columns.read,
    )


class Columns:
    """Which columns of a table are categories, their levels, and what each looked like.

    A table is read as an array of floats in which a cell of a category is the number of
    its level, by decreasing frequency: names of levels, and their order, do not matter.
    Levels that are too rare share one number, and a level that `fit` did not see has the
    last. Missing cells are NaN.

    Parameters
    ----------
    categorical_features : "from_dtype", array-like of bool, str or int, or None, \
            default="from_dtype"
        "from_dtype" takes the columns of a frame that hold categories, text or booleans;
        otherwise a mask, names or positions. None means that there are none.
    max_categories : int or None, default=None
        Most levels that a column keeps apart, the shared one included.
    min_frequency : int, float or None, default=None
        Fewest rows, or smallest share of the rows, that a level of its own has.

    Attributes
    ----------
    categorical_ : bool ndarray of shape (n_features,)
        Which columns are categories.
    levels_ : list of list
        Levels of every column, [] for numbers; the first of those that share a number is
        the most frequent.
    n_codes_ : list of int
        How many numbers every category has; the last stands for unknown levels.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_repr.data.columns import Columns
    >>> X = pd.DataFrame({"a": [1.5, 2.5], "b": ["x", None]})
    >>> columns = Columns().fit(X)
    >>> columns.read(X)
    array([[1.5, 0. ],
           [2.5, nan]])
    """

    def __init__(
        self,
        categorical_features: Any = "from_dtype",
        max_categories: int | None = None,
        min_frequency: Any = None,
    ):
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency

    def fit(self, X: Table, weights: Weights = None) -> Columns:
        """Find the categories and their levels.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            The table.
        weights : array-like of shape (n_samples,) or None, default=None
            How many rows each row counts for, where levels are ordered and rare ones
            found; None lets all count once. Those that are not whole are divided by their
            mean first.

        Returns
        -------
        self : Columns
            The fitted reader.

        Raises
        ------
        ValueError
            If a column holds what is neither a number nor a category, or
            `categorical_features` does not fit the table.
        """
        self.container_ = container_of(X)
        frame = as_pandas(X)
        counts = np.ones(len(frame)) if weights is None else _counts(weights, len(frame))
        self.names_ = list(frame.columns)
        self.has_names_ = self.container_ != "array"
        kinds = [kind_of(frame.iloc[:, j]) for j in range(frame.shape[1])]
        names = self.names_ if self.has_names_ else None
        self.categorical_ = chosen_columns(self.categorical_features, names, kinds)
        self.dtypes_ = list(original_dtypes(X, frame))
        self.levels_: list[list[Any]] = []
        self.n_codes_: list[int] = []
        self.numbers_: list[dict[Any, int]] = []
        for j, is_category in enumerate(self.categorical_):
            levels: list[Any] = []
            numbers: dict[Any, int] = {}
            n_codes = 0
            if is_category:
                levels, numbers, n_codes = self._levels(frame.iloc[:, j], j, counts)
            else:
                self._refuse_what_is_no_number(frame.iloc[:, j], j, kinds[j])
            self.levels_.append(levels)
            self.numbers_.append(numbers)
            self.n_codes_.append(n_codes)
        return self

    def first(self) -> int:
        """Return the position of the first category."""
        return int(np.flatnonzero(self.categorical_)[0])

    def label(self, column: int) -> str:
        """Name a column in a message."""
        return repr(self.names_[column]) if self.has_names_ else f"number {column}"

    def _refuse_what_is_no_number(
        self, column: pd.Series[Any], j: int, kind: str
    ) -> None:
        where = f"Column {self.label(j)}"
        if kind == "number":
            return
        if kind == "category":
            raise ValueError(
                f"{where} holds text, categories or booleans, and categorical_features"
                f"={self.categorical_features!r} leaves it out. Add it there, or drop it."
            )
        if kind == "date":
            raise ValueError(
                f"{where} holds dates or times, which are neither numbers nor categories."
                " Turn them into numbers first, for example by"
                " make_pipeline(skrub.TableVectorizer(), ...)."
            )
        values = column.dropna().tolist()
        if not values:
            self._refuse_empty(j)
        raise ValueError(f"{where} holds {spoken(values)}. {what_to_do_with(values)}")

    def _refuse_empty(self, j: int) -> None:
        raise ValueError(
            f"Column {self.label(j)} of X holds no observed value. Drop the column."
        )

    def _levels(
        self, column: pd.Series[Any], j: int, weights: NDArray[np.float64]
    ) -> tuple[list[Any], dict[Any, int], int]:
        """Return levels by decreasing frequency, the number of each, and how many."""
        codes, values = factorized(column, self.label(j))
        seen = (codes >= 0) & (weights > 0)
        counts = np.zeros(len(values))
        np.add.at(counts, codes[seen], weights[seen])
        first = np.full(len(values), len(codes))
        np.minimum.at(first, codes[seen], np.flatnonzero(seen))
        order = np.lexsort([first, -counts])
        order = order[counts[order] > 0]
        if not len(order):
            self._refuse_empty(j)
        kept = self._count_kept(counts[order])
        # those that share a number follow behind, the most frequent first
        levels = [values[i] for i in order]
        numbers = {level: min(i, kept) for i, level in enumerate(levels)}
        return levels, numbers, min(kept + 1, len(levels)) + 1

    def _count_kept(self, counts: NDArray[np.float64]) -> int:
        """Return how many levels keep a number of their own."""
        share = self.min_frequency or 0
        fewest = share if isinstance(share, Integral) else share * counts.sum()
        kept = int(np.sum(counts >= fewest))
        most = self.max_categories
        if most is not None and (len(counts) > most or kept < len(counts)):
            kept = min(kept, int(most) - 1)
        return kept

    def read(self, X: Table) -> NDArray[np.float64]:
        """Return a table as an array of floats.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            A table with the columns of the one that `fit` saw.

        Returns
        -------
        rows : ndarray of shape (n_samples, n_features)
            Numbers, and numbers of levels; NaN where a cell is missing.

        Raises
        ------
        ValueError
            If a column holds what cannot be converted without loss.
        """
        frame = as_pandas(X)
        rows = np.empty(frame.shape, dtype=np.float64)
        if rows.shape[1] != len(self.categorical_):
            return rows  # which is refused by its shape
        for j, is_category in enumerate(self.categorical_):
            column = frame.iloc[:, j]
            if is_category:
                rows[:, j] = self._numbers_of(column, j)
            else:
                rows[:, j] = self._floats(column, j)
        return rows

    def _numbers_of(self, column: pd.Series[Any], j: int) -> NDArray[np.float64]:
        codes, values = factorized(column, self.label(j))
        used = [values[i] for i in np.unique(codes[codes >= 0])]
        known = self.levels_[j]
        if used and of_another_kind(known, used):
            raise ValueError(
                f"Column {self.label(j)} held {spoken(known)} in fit, such as"
                f" {known[0]!r}, and holds {spoken(used)} now, such as {used[0]!r}."
                " Convert it to what it was."
            )
        unknown, numbers = self.n_codes_[j] - 1, self.numbers_[j]
        table = np.array([*(numbers.get(v, unknown) for v in values), np.nan])
        return table[codes]

    def _floats(self, column: pd.Series[Any], j: int) -> NDArray[np.float64]:
        kind = kind_of(column)
        if kind == "category" and not column.dropna().isin([True, False]).all():
            raise ValueError(
                f"Column {self.label(j)} held numbers in fit and holds"
                f" {spoken(column.dropna().tolist())} now, such as"
                f" {column.dropna().iloc[0]!r}. Convert it to numbers."
            )
        if kind not in ("number", "category"):
            self._refuse_what_is_no_number(column, j, kind)
        floats: NDArray[np.float64] = column.to_numpy(np.float64, na_value=np.nan)
        return floats

    # -- back ------------------------------------------------------------------------

    def restore(
        self, rows: NDArray[Any], original: Any = None, *, round_integers: bool = False
    ) -> Table:
        """Return an array of floats as a table like the one that `fit` saw.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features)
            As `read` returns them; numbers of unknown levels become missing cells.
        original : object, default=None
            What a method was given; a pandas index is carried over from it.
        round_integers : bool, default=False
            Round columns that held integers, and return them as such.

        Returns
        -------
        X : DataFrame or ndarray of shape (n_samples, n_features)
            A frame of the library that `fit` saw, with its names; categories are labels
            in their original type, and integers floats unless they are rounded.
        """
        width = range(rows.shape[1])
        columns = [self._restored(rows[:, j], j, round_integers) for j in width]
        if self.container_ == "array":
            text = any(not isinstance(v, Real) for known in self.levels_ for v in known)
            dtype = object if text else np.float64
            return pd.DataFrame(dict(enumerate(columns)), dtype=dtype).to_numpy()
        if self.container_ == "polars":
            import polars

            series = [
                polars.Series(name, list(c), dtype=dtype)
                if is_category
                else polars_numbers(name, c, dtype, round_integers)
                for name, c, dtype, is_category in zip(
                    self.names_, columns, self.dtypes_, self.categorical_, strict=True
                )
            ]
            return polars.DataFrame(series)
        index = original.index if isinstance(original, pd.DataFrame) else None
        made = [pd.Series(c, index=index) for c in columns]
        frame = pd.concat(made, axis=1) if made else pd.DataFrame(index=index)
        frame.columns = pd.Index(self.names_)
        return frame

    def fill(
        self, X: Table, rows: NDArray[Any], *, round_integers: bool = False
    ) -> Table:
        """Return a table whose missing cells hold those of an array of floats.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            The table; its observed cells are kept as they are.
        rows : ndarray of shape (n_samples, n_features)
            As `read` returns them, without missing cells.
        round_integers : bool, default=False
            See :meth:`restore`.

        Returns
        -------
        X : DataFrame or ndarray of shape (n_samples, n_features)
            As :meth:`restore` returns it.
        """
        made = self.restore(rows, X, round_integers=round_integers)
        given = as_pandas(X)
        missing = given.isna().to_numpy()
        if self.container_ == "array":
            cells = given.to_numpy(made.dtype, na_value=np.nan)
            return np.where(missing, made, cells)
        if self.container_ == "polars":
            return filled_polars(X, made, missing)
        return filled_pandas(given, made, missing)

    def _restored(self, cells: NDArray[Any], j: int, round_integers: bool) -> Any:
        dtype = self.dtypes_[j]
        if not self.categorical_[j]:
            return self._restored_numbers(cells, dtype, round_integers)
        labels = self.labels(cells, j)
        if self.container_ == "pandas":
            if None in labels and isinstance(dtype, np.dtype) and dtype.kind in "biu":
                # which has no missing cells
                return pd.Series(labels, dtype="boolean" if dtype.kind == "b" else object)
            return pd.Series(labels, dtype=object).astype(dtype).array
        return labels

    def _restored_numbers(
        self, cells: NDArray[Any], dtype: Any, round_integers: bool
    ) -> Any:
        if self.container_ != "pandas":
            return cells
        if pd.api.types.is_integer_dtype(dtype):
            # NumPy's integers have no missing cells
            lost = isinstance(dtype, np.dtype) and np.isnan(cells).any()
            if not round_integers or lost:
                return cells
            return pd.array(whole_numbers(cells, dtype), dtype="Float64").astype(dtype)
        if pd.api.types.is_float_dtype(dtype):
            return pd.Series(cells).astype(dtype).array
        return cells

    def in_words(
        self, X: Table, rows: NDArray[Any]
    ) -> tuple[list[Any], NDArray[Any], NDArray[Any]]:
        """Return names of columns, and two arrays of objects with labels for levels.

        The first has the cells of a table, unknown labels too, None where one is missing;
        the second those of an array of floats.
        """
        given = as_pandas(X).astype(object)
        observed = given.where(given.notna(), None).to_numpy()
        found = np.array(rows, dtype=object)
        for j in np.flatnonzero(self.categorical_):
            found[:, j] = pd.Series(self.labels(rows[:, j], int(j)), dtype=object)
        return self.names_, observed, found

    def labels(self, cells: NDArray[Any], j: int) -> list[Any]:
        """Return the labels of numbers of levels, None where there is none."""
        n_labels = self.n_codes_[j] - 1
        levels = self.levels_[j]
        found: list[Any] = []
        for cell in np.asarray(cells, dtype=np.float64).tolist():
            known = cell == cell and 0 <= cell < n_labels
            found.append(levels[int(cell)] if known else None)
        return found


def _counts(weights: Weights, n_rows: int) -> NDArray[np.float64]:
    """Return how many rows each row counts for."""
    counts = check_sample_weight(weights, n_rows)
    if (counts == np.floor(counts)).all():
        return counts
    return np.asarray(counts / counts[counts > 0].mean())
