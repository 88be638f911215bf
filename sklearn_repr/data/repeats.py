"""Weighted rows: whole weights repeat rows, others weigh them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sklearn_repr._contracts import Table
from sklearn_repr.data.blocks import POOL
from sklearn_repr.utils.frames import as_pandas, is_frame
from sklearn_repr.utils.sampling import rows_at, spread_places
from sklearn_repr.utils.validation import parts_of
from sklearn_repr.utils.weights import check_sample_weight

__all__ = ["Arranged", "arrange", "draw_rows"]

# Cells whose bits are mixed at a time
CELLS_AT_A_TIME = 2**15


class Arranged(NamedTuple):
    """The rows that are learned from.

    Attributes
    ----------
    X : {ndarray, CSR matrix} of shape (n, n_features)
        The rows, as often as they count.
    weights : float64 ndarray of shape (n,) or None
        What is not said by how often a row is there: positive, with mean 1.
    origin : int ndarray of shape (n,) or None
        Which row of the table given each of them is; None where they are that table.
    """

    X: Table
    weights: NDArray[np.float64] | None = None
    origin: NDArray[np.intp] | None = None

    def back(
        self,
        found: NDArray[np.float64],
        X: Table,
        function: Callable[[Table], NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """Return what was found of these rows for the rows of the table given.

        Parameters
        ----------
        found : ndarray of shape (n,)
            A number for each of the rows.
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
            The table given.
        function : callable
            Finds that number for rows that were left out.

        Returns
        -------
        found : ndarray of shape (n_samples,)
            A number for each row of the table.
        """
        if self.origin is None:
            return found
        numbers = np.empty(X.shape[0])
        numbers[self.origin] = found
        left_out = np.setdiff1d(np.arange(len(numbers)), self.origin)
        if len(left_out):
            numbers[left_out] = function(X[left_out])
        return numbers


def arrange(
    X: Table, sample_weight: Any = None, *, itemsize: int = 4, whole: bool = False
) -> Arranged:
    """Let rows count as often as their weights say.

    Rows of weight zero are left out. Whole weights repeat rows: a row of weight 2 is two
    rows. Other weights, and whole ones of a table that would no longer fit into one pool
    of rows, are returned, to weigh what is learned of each row.

    A table of repeated rows is put into an order of its own, which depends on what the
    rows are and not on where they stand: shuffling, held-out rows and noise, which all go
    by position, are then the same for a row that is repeated and for one that weighs as
    much. Tables without repeated rows, and those larger than a pool, stay as they are.

    Parameters
    ----------
    X : {ndarray, CSR matrix, DataFrame} of shape (n_samples, n_features)
        Rows.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        How much each row counts; None lets all count alike.
    itemsize : int, default=4
        Bytes of an encoded cell.
    whole : bool, default=False
        Refuse weights that are no whole numbers, and repeat rows however many they are.

    Returns
    -------
    arranged : Arranged
        The rows, with weights where these are needed.

    Raises
    ------
    ValueError
        If `sample_weight` is not one number a row, holds negative numbers or NaN, or
        nothing but zeros.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.data.repeats import arrange
    >>> X = np.array([[1.0], [2.0], [3.0]])
    >>> arrange(X, [1, 0, 1]).X.ravel()
    array([1., 3.])
    >>> sorted(arrange(X, [1, 0, 2]).X.ravel().tolist())
    [1.0, 3.0, 3.0]
    >>> arrange(X, [1.5, 0, 0.5]).weights
    array([1.5, 0.5])
    """
    n_rows, n_columns = X.shape
    pool = POOL // (itemsize * n_columns)
    if sample_weight is None:
        order = _own_order(X) if n_rows <= pool else None
        return Arranged(X) if order is None else Arranged(rows_at(X, order), None, order)
    weights = check_sample_weight(sample_weight, n_rows)
    if whole:
        _refuse_broken(weights)
    if whole or ((weights == np.floor(weights)).all() and weights.sum() <= pool):
        index = np.repeat(np.arange(n_rows), weights.astype(np.intp))
        rows, weights = rows_at(X, index), np.ones(0)
    else:
        index = np.flatnonzero(weights)
        rows, weights = rows_at(X, index), weights[index]
    if weights.size and weights.min() < weights.max():
        return Arranged(rows, weights / weights.mean(), index)
    order = _own_order(rows) if rows.shape[0] <= pool else None
    if order is None:
        return Arranged(rows, None, index)
    return Arranged(rows_at(rows, order), None, index[order])


def draw_rows(
    X: Table, sample_weight: Any, most: int, rng: np.random.Generator
) -> Table | None:
    """Draw rows that are spread over a table, one from each of `most` equal stretches.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Validated rows.
    sample_weight : array-like of shape (n_samples,) or None
        Whole numbers: how often each row counts.
    most : int
        How many rows are drawn.
    rng : Generator
        Source of randomness.

    Returns
    -------
    rows : {ndarray, CSR matrix} of shape (most, n_features) or None
        In memory, in the order of the table. None if no more rows than that count.

    Raises
    ------
    ValueError
        As :func:`arrange` with `whole`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.data.repeats import draw_rows
    >>> X = np.arange(6.0)[:, None]
    >>> draw_rows(X, None, 2, np.random.default_rng(0)).ravel() // 3
    array([0., 1.])
    """
    if sample_weight is None:
        if X.shape[0] <= most:
            return None
        return rows_at(X, spread_places(X.shape[0], most, rng))
    weights = check_sample_weight(sample_weight, X.shape[0])
    _refuse_broken(weights)
    upto = weights.cumsum()
    if upto[-1] <= most:
        return None
    places = spread_places(int(upto[-1]), most, rng)
    return rows_at(X, np.searchsorted(upto, places, side="right"))


def _refuse_broken(weights: NDArray[np.float64]) -> None:
    broken = weights != np.floor(weights)
    if broken.any():
        row = int(broken.argmax())
        raise ValueError(
            "sample_weight must hold whole numbers: a row of weight 2 is two rows. Row"
            f" {row} has {weights[row]:g}; multiply and round the weights."
        )


def _own_order(X: Table) -> NDArray[np.intp] | None:
    """Return an order that depends on the rows alone; None if no two are the same."""
    in_cells = not is_frame(X) and getattr(X, "dtype", np.dtype(float)).kind != "O"
    if in_cells and not isinstance(X, np.ndarray) and not sparse.issparse(X):
        return None
    if in_cells and isinstance(X, np.ndarray):
        # rows that are the same have the same sum: most tables have none
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.sort(X.sum(axis=1))
        if not (sums[1:] == sums[:-1]).any() and not np.isnan(sums[-2:]).all():
            return None
    if in_cells:
        parts = [X] if sparse.issparse(X) else parts_of(X, CELLS_AT_A_TIME)
        keys = np.concatenate([_keys(part) for part in parts])
    else:
        try:
            frame = as_pandas(X)
            keys = pd.util.hash_pandas_object(frame, index=False).to_numpy()
        except TypeError:  # cells that cannot be compared
            return None
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    return order if (ordered[1:] == ordered[:-1]).any() else None


def _keys(X: Table) -> NDArray[np.uint64]:
    """Hash rows to whole numbers, modulo 2⁶⁴; cells that are zero add nothing."""
    factors = np.random.default_rng(0).integers(2**63, size=X.shape[1], dtype=np.uint64)
    factors = 2 * factors + np.uint64(1)
    keys: NDArray[np.uint64]
    if sparse.issparse(X):
        ends = np.cumsum(_mixed(X.data) * factors[X.indices], dtype=np.uint64)
        keys = np.diff(np.append(np.uint64(0), ends)[X.indptr])
    else:
        keys = np.einsum("ij,j->i", _mixed(X), factors)
    return keys


def _mixed(cells: Any) -> NDArray[np.uint64]:
    """Return the bits of cells, those of one spread over all."""
    # adding zero makes one of the two zeros that floats have
    cells = np.ascontiguousarray(cells + cells.dtype.type(0))
    bits: NDArray[np.uint64] = cells.view(f"u{cells.dtype.itemsize}").astype(np.uint64)
    # numbers of few digits differ in their first bits only: bring these down, in the
    # manner of splitmix64
    bits ^= bits >> np.uint64(32)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(32)
    return bits
