"""How close drawn rows lie to real ones: manifolds, near copies, exact copies."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from sklearn.utils import check_scalar

from sklearn_repr.inspection._alike import Cells, Values, largest, read_alike

__all__ = ["exact_copy_share", "manifold_precision_recall", "near_copy_share"]

# Distances that are held in memory at a time
DISTANCES = 2**22


def manifold_precision_recall(
    real: ArrayLike, synthetic: ArrayLike, *, n_neighbors: int = 3
) -> tuple[float, float]:
    r"""Share of synthetic rows where real rows lie, and of real where synthetic lie.

    A table covers the balls around its rows that reach to their k-th nearest neighbour
    in it,

    .. math:: M(X) = \bigcup_i \{x: \|x - x_i\| \le \|x_i - \mathrm{NN}_k(x_i)\|\}

    Precision is the share of synthetic rows in M(real), recall that of real rows in
    M(synthetic). Rows that are plausible but all alike have a precision of 1 and a low
    recall.

    Parameters
    ----------
    real, synthetic : array-like or DataFrame of shape (n_samples, n_features)
        Tables of the same columns, best of the same number of rows.
    n_neighbors : int, default=3
        How many, k. The larger, the more space both tables cover.

    Returns
    -------
    precision, recall : float
        In [0, 1]. Samples of one distribution reach less than 1: compare with those of
        `real` and other real rows.

    Raises
    ------
    ValueError
        If the columns differ, one holds what cannot be compared, or a table has no more
        than `n_neighbors` rows.

    See Also
    --------
    near_copy_share : Whether synthetic rows are too close to training rows.

    Notes
    -----
    Distances are Euclidean, of numbers divided by their standard deviation in `real`,
    where they vary. Cells of a category that differ add 2 to the squared distance, which
    is what two standardised numbers add in the mean. A missing number is taken for the
    mean, and adds 2 where the other one is there. All pairs of rows are looked at.

    References
    ----------
    Kynkäänniemi, Karras, Laine, Lehtinen and Aila, "Improved precision and recall metric
    for assessing generative models", NeurIPS 2019, arXiv:1904.06991.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.inspection import manifold_precision_recall
    >>> real = np.random.default_rng(0).normal(size=(200, 2))
    >>> manifold_precision_recall(real, np.full((10, 2), real.mean(axis=0)))
    (1.0, 0.0)
    """
    check_scalar(n_neighbors, "n_neighbors", Integral, min_val=1)
    tables = read_alike(real=real, synthetic=synthetic)
    for name, cells in zip(("real", "synthetic"), tables, strict=True):
        if len(cells) <= n_neighbors:
            raise ValueError(
                f"{name} has {len(cells)} rows, which have no n_neighbors={n_neighbors}"
                " others: lower n_neighbors or pass more rows."
            )
    first, second = tables
    places = Places(first)
    return (
        _covered(second, first, places, n_neighbors),
        _covered(first, second, places, n_neighbors),
    )


def near_copy_share(
    real: ArrayLike, synthetic: ArrayLike, train: ArrayLike, *, quantile: float = 0.01
) -> float:
    """Share of synthetic rows that are closer to training rows than real rows are.

    Close is what is nearer to its nearest training row than the given quantile of the
    held-out rows.

    Parameters
    ----------
    real : array-like or DataFrame of shape (n_samples, n_features)
        Held-out rows, which the generator was not fitted on.
    synthetic : array-like or DataFrame of shape (n_samples, n_features)
        Rows of the same columns.
    train : array-like or DataFrame of shape (n_samples, n_features)
        Rows that the generator was fitted on.
    quantile : float, default=0.01
        Share of the held-out rows that counts as close.

    Returns
    -------
    share : float
        About `quantile` where synthetic rows are as far from training rows as fresh ones
        are; 1 if all are copies. Where so many held-out rows equal a training row that
        their quantile is 0, nothing is closer and the share is 0:
        `exact_copy_share` tells.

    Raises
    ------
    ValueError
        If the columns differ, or one holds what cannot be compared.

    See Also
    --------
    exact_copy_share : Rows that equal a training row.

    Notes
    -----
    Distances are those of `manifold_precision_recall`, with the scales of `train`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.inspection import near_copy_share
    >>> train, real, drawn = np.random.default_rng(0).normal(size=(3, 300, 2))
    >>> near_copy_share(real, drawn, train) < 0.05
    True
    >>> near_copy_share(real, train + 1e-4, train)
    1.0
    """
    check_scalar(quantile, "quantile", Real, min_val=0.0, max_val=1.0)
    fitted, held_out, drawn = read_alike(train=train, real=real, synthetic=synthetic)
    places = Places(fitted)
    close = np.quantile(_nearest(held_out, fitted, places), quantile)
    return float((_nearest(drawn, fitted, places) < close).mean())


def exact_copy_share(synthetic: ArrayLike, train: ArrayLike) -> float:
    """Share of synthetic rows that equal a training row in every cell.

    Parameters
    ----------
    synthetic, train : array-like or DataFrame of shape (n_samples, n_features)
        Tables of the same columns. Two missing cells are equal.

    Returns
    -------
    share : float
        In [0, 1]. Compare with the share of held-out rows: of few columns with few
        values, fresh rows are copies too.

    Raises
    ------
    ValueError
        If the columns differ, or one holds what cannot be compared.

    See Also
    --------
    near_copy_share : Rows that are nearly a training row.

    Examples
    --------
    >>> from sklearn_repr.inspection import exact_copy_share
    >>> exact_copy_share([[1, 2], [1, 3]], [[1, 2], [5, 6]])
    0.5
    """
    fitted, drawn = read_alike(train=train, synthetic=synthetic)
    known = set(_row_keys(fitted))
    return float(np.mean([key in known for key in _row_keys(drawn)]))


def _row_keys(cells: Cells) -> list[bytes]:
    """Return the bytes of every row, the same for zeros of both signs and for holes."""
    values = np.where(np.isnan(cells.values), np.nan, cells.values + 0.0)
    return [row.tobytes() for row in values]


class Places:
    """Rows of several tables in one space.

    Parameters
    ----------
    reference : Cells
        Numbers are centred and scaled by its means and standard deviations.
    """

    def __init__(self, reference: Cells):
        self.category = reference.categorical
        values = reference.values[:, ~self.category]
        self.unit = largest(values)
        values = values / self.unit
        known = ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 1)
        self.mean = np.where(known, values, 0.0).sum(axis=0) / count
        squares = np.where(known, np.square(values - self.mean), 0.0)
        deviation = np.sqrt(squares.sum(axis=0) / count)
        # the mean of equal numbers is rounded
        varies = deviation > 1e-12 * np.abs(self.mean)
        self.scale = np.where(varies, deviation, 1.0)

    def distances(self, points: Cells, table: Cells) -> Iterator[Values]:
        """Yield squared distances of points to all rows of a table, a part at a time."""
        numbers, levels = self._coordinates(points)
        table_numbers, table_levels = self._coordinates(table)
        step = max(1, DISTANCES // len(table))
        for start in range(0, len(points), step):
            part = slice(start, start + step)
            found = np.zeros((len(numbers[part]), len(table)))
            if numbers.shape[1]:
                found += cdist(numbers[part], table_numbers, "sqeuclidean")
            if levels.shape[1]:
                unequal = cdist(levels[part], table_levels, "hamming")
                found += 2.0 * levels.shape[1] * unequal
            yield found

    def _coordinates(self, cells: Cells) -> tuple[Values, Values]:
        """Return scaled numbers, and what is equal or not: levels, holes or none."""
        numbers = cells.values[:, ~self.category] / self.unit
        numbers = (numbers - self.mean) / self.scale
        holes = np.isnan(numbers)
        levels = np.nan_to_num(cells.values[:, self.category], nan=-1.0)
        return np.where(holes, 0.0, numbers), np.hstack([levels, holes])


def _covered(points: Cells, table: Cells, places: Places, n_neighbors: int) -> float:
    """Return the share of points in the balls around the rows of a table."""
    # the nearest row is the row itself
    radii = [
        np.partition(part, n_neighbors, axis=1)[:, n_neighbors]
        for part in places.distances(table, table)
    ]
    radius = np.concatenate(radii)
    inside = [(part <= radius).any(axis=1) for part in places.distances(points, table)]
    return float(np.concatenate(inside).mean())


def _nearest(points: Cells, table: Cells, places: Places) -> Values:
    """Return the squared distance of every point to the nearest row of a table."""
    return np.concatenate([d.min(axis=1) for d in places.distances(points, table)])
