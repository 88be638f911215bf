"""In which units cells are compared: of columns, and of a network's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ColumnUnits", "ErrorUnits"]

# Scaled values that a float32 network can still square without overflow; no row is less
# of an outlier for being clipped there before it is rebuilt
FAR_OUT = 1e15
# Deviations between the smallest and the largest of some hundred normal numbers
NORMAL_RANGE = 6.0
# Added to a column's mean error, so that constant columns do not decide
ERROR_FLOOR = 0.05
# Rows of a large sparse table from which the median of unscaled columns is taken
ROWS_TO_CENTRE_BY = 200


class ColumnUnits:
    """Centre and unit of every column, for networks and for neighbours.

    With `scaling` "standard" every column has a unit of its own: its deviation, or for
    clean training rows its range, beside which neighbours have the geometric mean of
    range and deviation. With any other scaling columns keep the proportions in which
    they come: "robust" and "quantile" already are units (of a normal column's range for
    clean rows), and the columns of an unscaled table are divided by one number, the
    median of what each would be divided by.

    Parameters
    ----------
    scaling : {"standard", "robust", "quantile"} or None
        How the rows were scaled.
    novelty : bool
        Whether the training rows are clean.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.units import ColumnUnits
    >>> rows = np.array([[-1.0, -100.0], [1.0, 100.0]])
    >>> constant = np.zeros(2, bool)
    >>> ColumnUnits("standard", novelty=False).fit(rows, constant).networks(rows[1:])
    array([[1., 1.]])
    >>> ColumnUnits(None, novelty=False).fit(rows, constant).networks(rows[1:])
    array([[0.01980198, 1.98019802]])
    """

    def __init__(self, scaling: str | None, *, novelty: bool):
        self.scaling = scaling
        self.novelty = novelty

    def fit(
        self,
        rows: Any,
        constant: NDArray[np.bool_],
        columns: NDArray[np.int64] | None = None,
    ) -> ColumnUnits:
        """Learn centres and units.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features), or ScaledRows
            Scaled training rows.
        constant : bool ndarray of shape (n_features,)
            Columns that hold no more than rounding noise; they keep their unit.
        columns : int ndarray of shape (n_features,) or None, default=None
            Number of the table's column of each; several that make up one keep their
            unit.

        Returns
        -------
        self : ColumnUnits
            Itself.
        """
        if isinstance(rows, np.ndarray):
            holes = bool(np.isnan(rows).any())
            mean, std = (np.nanmean, np.nanstd) if holes else (np.mean, np.std)
            center, deviation = mean(rows, axis=0), std(rows, axis=0)
            low, high = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
        else:
            center, deviation, low, high = rows.moments()
            rows = np.concatenate([*rows.chunks(ROWS_TO_CENTRE_BY)])
            # in so few rows a column may hold nothing else than holes
            rows = np.where(np.isnan(rows), center, rows)
        spread = high - low if self.novelty else deviation
        flat = constant | (spread == 0)
        if columns is not None:
            together = np.bincount(columns)[columns] > 1
            flat |= together
            low[together], high[together] = -np.inf, np.inf
        self.low_, self.high_ = low, high
        if self.scaling == "standard":
            self.center_ = center
            self.unit_ = np.where(flat, 1.0, spread)
            both = np.sqrt(spread) * np.sqrt(deviation)
            self.neighbour_unit_ = np.where(flat, 1.0, both)
            return self
        if self.scaling is None:
            self.center_ = np.nanmedian(rows, axis=0)
            unit = 1.0 if flat.all() else float(np.median(spread[~flat]))
        else:
            self.center_ = np.zeros(rows.shape[1])
            unit = NORMAL_RANGE if self.novelty else 1.0
        self.unit_ = self.neighbour_unit_ = np.full(rows.shape[1], unit)
        return self

    def networks(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scaled rows as networks see them."""
        return self._in_units(rows, self.unit_)

    def neighbours(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scaled rows as neighbours are compared."""
        return self._in_units(rows, self.neighbour_unit_)

    def scaled(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scaled rows from what networks say, numbers inside of what was seen."""
        inside = np.clip(rows * self.unit_ + self.center_, self.low_, self.high_)
        return np.asarray(inside)

    def _in_units(
        self, rows: NDArray[np.float64], unit: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        inside: NDArray[np.float64] = rows - self.center_
        inside /= unit
        return inside.clip(-FAR_OUT, FAR_OUT, out=inside)


class ErrorUnits:
    r"""Errors at several noise levels, in units of what is usual in training.

    The error :math:`e_{ilj}` of row i at level l in column j becomes

    .. math:: \frac1L \sum_l \frac{e_{ilj}}{u_{lj} \, m_l}, \qquad
              u_{lj} = 0.05 + \operatorname{mean}_i e_{ilj}, \quad
              m_l = \operatorname{median}_i \sum_j \frac{e_{ilj}}{u_{lj}}

    Columns that nobody can predict count no more than others, and no level more than
    another.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.units import ErrorUnits
    >>> errors = np.array([[[0.95, 9.95]]])  # a row, a level, two columns
    >>> ErrorUnits().fit(errors).apply(errors).round(2)
    array([[0.49, 0.51]])
    """

    def fit(self, errors: NDArray[np.float64]) -> ErrorUnits:
        """Learn what is usual.

        Parameters
        ----------
        errors : ndarray of shape (n_samples, n_levels, n_features)
            Absolute errors of training rows.

        Returns
        -------
        self : ErrorUnits
            Itself.
        """
        self.usual_ = errors.mean(axis=0) + ERROR_FLOOR
        sums = (errors / self.usual_).sum(axis=2)
        self.medians_ = np.median(sums, axis=0)[:, None] + np.finfo(np.float64).tiny
        return self

    def fit_chunks(
        self, chunks: Callable[[int], Iterator[NDArray[np.float64]]], n_rows: int
    ) -> ErrorUnits:
        """Learn the same from errors that come some rows at a time.

        Parameters
        ----------
        chunks : callable
            Returns the errors of at most so many rows, spread over all.
        n_rows : int
            How many the means are taken from; a quarter is enough for medians.

        Returns
        -------
        self : ErrorUnits
            Itself.
        """
        count, total = 0, 0.0
        for errors in chunks(n_rows):
            count, total = count + len(errors), total + errors.sum(axis=0)
        self.usual_ = total / count + ERROR_FLOOR
        few = chunks(-(-n_rows // 4))
        sums = [(errors / self.usual_).sum(axis=2) for errors in few]
        medians = np.median(np.concatenate(sums), axis=0)[:, None]
        self.medians_ = medians + np.finfo(np.float64).tiny
        return self

    def apply(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return errors of shape (n_samples, n_features), the mean over levels."""
        mean: NDArray[np.float64] = (errors / self.usual_ / self.medians_).mean(axis=1)
        return mean
