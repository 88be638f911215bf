"""Checks of tables whose messages name the column."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

__all__ = ["check_latent", "column_label", "validate_table"]


def column_label(names: Any, index: int) -> str:
    """Name a column in a message: by its name where it has one, else by position."""
    return f"{names[index]!r}" if names is not None else f"number {index}"


def validate_table(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    largest: float,
    ensure_min_samples: int = 1,
) -> Any:
    """Validate a numeric table as scikit-learn does, then look at its values.

    Parameters
    ----------
    estimator : estimator
        Remembers, or is asked for, number and names of the columns.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The table.
    reset : bool
        True in fit, False elsewhere.
    largest : float
        Largest absolute value that the computing dtype can hold.
    ensure_min_samples : int, default=1
        Fewer rows are an error.

    Returns
    -------
    X : ndarray or CSR matrix of shape (n_samples, n_features), float32 or float64
        The validated table.

    Raises
    ------
    ValueError
        If a value is missing, infinite or beyond `largest`; the message names the
        first such row and its column.
    """
    X = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_min_samples=ensure_min_samples,
    )
    cells = X.data if sparse.issparse(X) else X
    # as Python floats: a float32 bound would round up to infinity
    if cells.size and not (
        float(cells.min()) >= -largest and float(cells.max()) <= largest
    ):
        names = getattr(estimator, "feature_names_in_", None)
        raise ValueError(_describe_bad_cell(X, largest, names, type(estimator).__name__))
    return X


def _describe_bad_cell(X: Any, largest: float, names: Any, who: str) -> str:
    if sparse.issparse(X):
        X = X.tocoo()
        cells = X.data.astype(np.float64)
        position = int(np.flatnonzero(~(np.abs(cells) <= largest))[0])
        row, column, value = X.row[position], X.col[position], cells[position]
    else:
        cells = X.astype(np.float64, copy=False)
        row, column = np.argwhere(~(np.abs(cells) <= largest))[0]
        value = cells[row, column]
    where = f"column {column_label(names, column)} (row {row})"
    if np.isnan(value):
        return (
            f"Input X contains NaN: {where}. {who} does not accept missing values;"
            " put sklearn.impute.SimpleImputer before it in a pipeline, or drop the"
            " rows."
        )
    if np.isinf(value):
        return (
            f"Input X contains infinity: {where}. Replace or drop the value before"
            f" passing the table to {who}."
        )
    return (
        f"Input X contains a value too large for dtype('float32'): {value:g} in {where}."
        f" Rescale or clip the column, or set dtype='float64' where {who} has it."
    )


def check_latent(Z: Any, n_components: int, who: str) -> Any:
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
