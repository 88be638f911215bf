"""Which cells of a row make its code, or the score of a class."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from math import factorial
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from scipy import sparse
from sklearn.utils import check_random_state, check_scalar

from sklearn_repr.utils.frames import as_pandas, container_of, refuse_lazy

__all__ = ["Attribution", "attribution"]

Values = NDArray[np.float64]
Positions = NDArray[np.intp]

# Rows that an estimator is asked about at a time
ROWS_AT_A_TIME = 2**13


class Attribution(NamedTuple):
    """What is said of a row, by column; see :func:`attribution`.

    Parameters
    ----------
    contributions : ndarray of shape (n_samples, n_features[, n_outputs])
        By how much each cell moves the output away from `base`.
    base : float or ndarray of shape (n_outputs,)
        The output of the baseline.
    """

    contributions: Values
    base: Any


def attribution(
    estimator: Any,
    X: ArrayLike,
    *,
    baseline: ArrayLike | None = None,
    method: str = "transform",
    output: int | None = None,
    n_permutations: int = 10,
    random_state: int | np.random.RandomState | None = 0,
) -> Attribution:
    r"""Say which cells move the output of a row from that of a baseline to its own.

    The cells of the baseline are replaced by those of the row, one by one in a random
    order, and each is credited with the change that it makes. The mean over orders is the
    Shapley value of the cell; whatever the orders, contributions add up:

    .. math:: f(x)_k = f(b)_k + \sum_j c_{jk}

    Parameters
    ----------
    estimator : object
        Fitted: an embedder, PCA, a classifier, a pipeline.
    X : {array-like, DataFrame} of shape (n_samples, n_features)
        Rows to explain, as `estimator` takes them; categories and missing cells too.
    baseline : {array-like, DataFrame} of shape (1, n_features) or None, default=None
        The row to compare with, of the same kind as `X`. None takes of every column of
        `X` its median, or its most frequent level.
    method : str, default="transform"
        The method of `estimator` that says the output: "transform" for codes,
        "predict_proba" or "decision_function" for scores of classes.
    output : int or None, default=None
        Which component or class; None explains all.
    n_permutations : int, default=10
        Orders to try; every second one is the reverse of the one before. Where there are
        no more orders than that, each is tried once, and Shapley values are exact. They
        are exact for linear functions in any case.
    random_state : int, RandomState instance or None, default=0
        Seed of the orders.

    Returns
    -------
    attribution : Attribution
        Named tuple (contributions, base). Contributions have the shape (n_samples,
        n_features), and a third axis for outputs if there are several and `output` is
        None.

    Raises
    ------
    TypeError
        If `estimator` has no such method, or `X` is sparse.
    ValueError
        If shapes do not fit, `output` is out of range, or there is one row and no
        baseline.

    Notes
    -----
    The estimator is asked about n_permutations · (n_features + 1) rows for each row of
    `X`. It is asked about rows with cells of two rows, which need not be like any row of
    the table.

    References
    ----------
    Štrumbelj and Kononenko, "Explaining prediction models and individual predictions with
    feature contributions", Knowledge and Information Systems 41 (2014),
    doi:10.1007/s10115-013-0679-x.

    Lundberg and Lee, "A unified approach to interpreting model predictions", NeurIPS
    2017, arXiv:1705.07874.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_repr.inspection import attribution
    >>> X = load_iris().data
    >>> pca = PCA(2).fit(X)
    >>> contributions, base = attribution(pca, X, output=0)
    >>> np.allclose(base + contributions.sum(axis=1), pca.transform(X)[:, 0])
    True
    """
    if not callable(getattr(estimator, method, None)):
        raise TypeError(
            f"attribution needs {method}; {type(estimator).__name__} has none."
        )
    check_scalar(n_permutations, "n_permutations", Integral, min_val=1)
    if output is not None:
        check_scalar(output, "output", Integral, min_val=0)
    table, typical = _joined(X, baseline)
    n, d = len(table) - (baseline is not None), len(typical)

    def ask(cells: Positions) -> Values:
        """Return the outputs of rows whose cell j is that of row cells[:, j]."""
        said = getattr(estimator, method)(_picked(table, cells))
        said = said.toarray() if sparse.issparse(said) else np.asarray(said)
        try:
            said = said.astype(np.float64)
        except ValueError as error:
            raise ValueError(f"{method} must return numbers: {error}.") from error
        said = said.reshape(len(cells), -1)
        if output is None:
            return said
        if output >= said.shape[1]:
            raise ValueError(
                f"output={output} is out of range: {method} has {said.shape[1]} outputs."
            )
        return said[:, [output]]

    base = ask(typical[np.newaxis])[0]
    contributions = np.zeros((n, d, len(base)))
    size = max(1, ROWS_AT_A_TIME // (d + 1))
    orders = list(_orders(d, n_permutations, check_random_state(random_state)))
    for start in range(0, n, size):
        rows = np.arange(start, min(n, start + size))
        for order in orders:
            place = np.argsort(order)
            replaced = place < np.arange(d + 1)[:, np.newaxis]
            own = rows[:, np.newaxis] + (baseline is not None)
            cells = np.where(replaced[:, np.newaxis], own, typical)
            outputs = ask(cells.reshape(-1, d)).reshape(d + 1, len(rows), -1)
            contributions[rows] += np.diff(outputs, axis=0)[place].swapaxes(0, 1)
    contributions /= len(orders)
    if output is not None or contributions.shape[2] == 1:
        return Attribution(contributions[:, :, 0], float(base[0]))
    return Attribution(contributions, base)


def _orders(d: int, count: int, rng: np.random.RandomState) -> Iterator[Positions]:
    """Yield orders of d columns: all if there are no more, else random ones in pairs."""
    # beyond 12 columns there are more orders than anybody asks for
    if d <= 12 and factorial(d) <= count:
        yield from map(np.array, permutations(range(d)))
        return
    order = np.arange(d)
    for i in range(count):
        order = rng.permutation(d) if i % 2 == 0 else order[::-1]
        yield order


def _joined(X: Any, baseline: Any) -> tuple[Any, Positions]:
    """Return one table, and of every column the row whose cell is the baseline."""
    if sparse.issparse(X):
        raise TypeError("attribution needs a dense table: call toarray() first.")
    refuse_lazy(X)
    X, baseline = _read(X), None if baseline is None else _read(baseline)
    if len(X.shape) != 2:
        raise ValueError(f"X must have two dimensions; got shape {X.shape}.")
    d = X.shape[1]
    if baseline is None:
        if len(X) < 2:
            raise ValueError("One row has no typical one: give a baseline.")
        frame = as_pandas(X)
        typical = [_typical(frame.iloc[:, j].infer_objects()) for j in range(d)]
        return X, np.array(typical)
    if type(baseline) is not type(X) or baseline.shape != (1, d):
        shape = getattr(baseline, "shape", "no shape")
        raise ValueError(
            f"baseline must be one row of {d} columns in a {type(X).__name__}, as X is;"
            f" got a {type(baseline).__name__} of {shape}."
        )
    if hasattr(X, "columns") and list(baseline.columns) != list(X.columns):
        raise ValueError(
            f"baseline must have the columns of X in their order, {list(X.columns)}; got"
            f" {list(baseline.columns)}."
        )
    if isinstance(X, pd.DataFrame):
        table: Any = pd.concat([baseline, X], ignore_index=True)
    elif isinstance(X, np.ndarray):
        table = np.concatenate([baseline, X])
    else:  # polars
        table = baseline.vstack(X)
    return table, np.zeros(d, dtype=np.intp)


def _read(X: Any) -> Any:
    """Return a frame of polars or pandas, which pyarrow's becomes, or an array."""
    kind = container_of(X)
    if kind == "polars":
        return X
    return as_pandas(X) if kind == "pandas" else np.asarray(X)


def _typical(column: Any) -> int:
    """Return the row of the median of numbers, or of the most frequent level."""
    if is_numeric_dtype(column) and not is_bool_dtype(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
        order = np.argsort(values, kind="stable")  # missing cells come last
        known = int((~np.isnan(values)).sum())
        return int(order[max(known - 1, 0) // 2])
    levels = pd.factorize(column)[0]
    if levels.max() < 0:
        return 0
    return int(np.argmax(levels == np.bincount(levels[levels >= 0]).argmax()))


def _picked(table: Any, cells: Positions) -> Any:
    """Return rows whose cell j is that of row cells[:, j]."""
    if isinstance(table, np.ndarray):
        return table[cells, np.arange(cells.shape[1])]
    if isinstance(table, pd.DataFrame):
        columns = [
            table.iloc[:, j].take(rows).reset_index(drop=True)
            for j, rows in enumerate(cells.T)
        ]
        return pd.concat(columns, axis=1)
    return type(table)(
        [table.to_series(j).gather(rows) for j, rows in enumerate(cells.T)]
    )
