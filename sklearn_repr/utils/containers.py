"""Tables in the user's own container, for methods that `set_output` does not reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils._set_output import _get_output_config

from sklearn_repr.utils.optional import import_optional

if TYPE_CHECKING:
    from sklearn_repr._contracts import Array, Table


__all__ = ["cells_as_frame", "wrap_table"]


def wrap_table(
    data: Array, estimator: object, original: Table, columns: Array | None
) -> Table:
    """Put `data` into the container that ``estimator.set_output`` asks for.

    Parameters
    ----------
    data : ndarray of shape (n_samples, n_columns)
        The table.
    estimator : estimator
        Its ``set_output`` configuration decides.
    original : object
        The input of the method; a pandas index is carried over from it.
    columns : ndarray of str or None
        Column names; None numbers the columns x0, x1, ...

    Returns
    -------
    table : ndarray or DataFrame
        The table.
    """
    container = _get_output_config("transform", estimator)["dense"]
    if container == "default":
        return data
    names = [f"x{i}" for i in range(data.shape[1])] if columns is None else columns
    if container == "polars":
        polars = import_optional("polars", extra="polars", purpose="set_output")
        return polars.DataFrame(np.asarray(data), schema=list(names), orient="row")
    index = original.index if isinstance(original, pd.DataFrame) else None
    return pd.DataFrame(data, columns=names, index=index)


def cells_as_frame(
    contributions: NDArray[np.float64],
    observed: Array,
    expected: NDArray[np.float64],
    original: Table,
    columns: Array | None = None,
) -> pd.DataFrame:
    """Return a tidy frame of cells, by row and decreasing contribution.

    Parameters
    ----------
    contributions, observed, expected : ndarray of shape (n_samples, n_features)
        What is said of each cell.
    original : object
        The input of the method; a pandas index is carried over from it.
    columns : sequence of str or None, default=None
        Names of the columns; None numbers them.

    Returns
    -------
    frame : DataFrame
        Columns "row", "column", "observed", "expected" and "contribution".
    """
    n, d = contributions.shape
    order = np.argsort(-contributions, axis=1, kind="stable")
    index = original.index if isinstance(original, pd.DataFrame) else np.arange(n)
    # names that are tuples are names
    names = pd.Index(range(d) if columns is None else columns, tupleize_cols=False)
    cells = {
        "observed": observed,
        "expected": expected,
        "contribution": contributions,
    }
    return pd.DataFrame(
        {
            "row": np.repeat(index, d),
            "column": names.to_numpy()[order.ravel()],
            **{k: np.take_along_axis(v, order, axis=1).ravel() for k, v in cells.items()},
        }
    )
