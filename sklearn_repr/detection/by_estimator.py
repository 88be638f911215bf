"""Errors of cells by what any estimator says: reconstruction, density, hidden cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sklearn_repr.detection.table_cells import ONE_EACH, TableCells
from sklearn_repr.detection.units import FAR_OUT

if TYPE_CHECKING:
    from sklearn_repr.detection.sparse_tables import ScaledRows

__all__ = [
    "ROWS_PER_CHUNK",
    "DensityErrors",
    "EstimatorErrors",
    "HiddenCellErrors",
    "errors_of_estimator",
]

Rows = NDArray[np.float64]

# Rows handed to a reconstructor at a time; always as many, so that a row's error does not
# depend on how many came with it (unless the reconstructor itself iterates over all rows
# together, as NMF does)
ROWS_PER_CHUNK = 1024
# Log-densities are -inf where a density is 0; scores are finite
LEAST_LOG_DENSITY = -1e100


class EstimatorErrors:
    """Squared errors of any reconstructor.

    Parameters
    ----------
    estimator : object with fit, transform and inverse_transform
        Fitted here, to encoded rows; missing cells are 0 there, the mean, unless its tags
        say that it takes NaN.
    """

    def __init__(self, estimator: Any):
        self.estimator = estimator

    def fit_errors(
        self, rows: Rows, constant: NDArray[np.bool_], table: TableCells = ONE_EACH
    ) -> Rows:
        """Fit the estimator, and return the errors; see :class:`CellErrors`."""
        self._fit(rows, table)
        return self.errors(rows)

    def _fit(self, rows: Rows, table: TableCells) -> None:
        self.table = table
        tags = getattr(self.estimator, "__sklearn_tags__", None)
        self.sees_holes = tags is not None and tags().input_tags.allow_nan
        filled, _ = table.fill(rows)
        self.far_out_ = max(FAR_OUT, float(np.abs(filled).max()))
        self.estimator.fit(rows if self.sees_holes else filled)

    def fit_table(self, rows: ScaledRows, constant: NDArray[np.bool_]) -> None:
        """Refuse a large sparse table."""
        raise ValueError(
            f"A sparse table of {rows.shape[0]} x {rows.shape[1]} cells would have to be"
            " made dense for `estimator`, which is fitted on scaled rows. Set"
            " estimator=None, or pass X.toarray() if there is memory for it."
        )

    def errors(self, rows: Rows) -> Rows:
        """Return squared errors; see :class:`CellErrors`."""
        filled, observed = self.table.fill(rows)
        return self.table.join(np.square(filled - self.expected(rows)), observed)

    def sums(self, rows: Rows) -> NDArray[np.float64]:
        """Return the sums of the errors; see :class:`CellErrors`."""
        return np.asarray(self.errors(rows).sum(axis=1))

    def blamed(self, rows: Rows) -> Rows:
        """Return the errors; see :class:`CellErrors`."""
        return self.errors(rows)

    def expected(self, rows: Rows) -> Rows:
        """Return the reconstruction; see :class:`CellErrors`."""

        def rebuild(part: Rows) -> Any:
            code = self.estimator.transform(self.neighbour_units(part))
            return self.estimator.inverse_transform(code)

        return self._by_chunks(rebuild, rows)

    def _by_chunks(self, ask: Callable[[Rows], Any], rows: Rows) -> Rows:
        """Return what the estimator says of rows, always of as many at a time."""
        parts = []
        if not self.sees_holes:
            rows, _ = self.table.fill(rows)
        for start in range(0, len(rows), ROWS_PER_CHUNK):
            part = rows[start : start + ROWS_PER_CHUNK]
            padded = np.resize(part, (ROWS_PER_CHUNK, rows.shape[1]))
            parts.append(np.asarray(ask(padded), np.float64)[: len(part)])
        return np.concatenate(parts)

    def neighbour_units(self, rows: Rows) -> Rows:
        """Return the rows themselves; see :class:`CellErrors`."""
        return rows.clip(-self.far_out_, self.far_out_)


class HiddenCellErrors(EstimatorErrors):
    """Squared errors of every cell when it is hidden, and imputed from the others.

    Parameters
    ----------
    estimator : object with fit and impute, the latter of rows with NaN
        Fitted here, to encoded rows.
    """

    def _fit(self, rows: Rows, table: TableCells) -> None:
        super()._fit(rows, table)
        # `impute` takes them, whatever is said of `fit`
        self.sees_holes = True

    def expected(self, rows: Rows) -> Rows:
        """Return what hidden cells are imputed as; see :class:`CellErrors`."""
        cells = self.table.columns_of(rows.shape[1])
        made = np.empty(rows.shape)
        for cell in np.unique(cells):
            mine = cells == cell
            holed = rows.copy()
            holed[:, mine] = np.nan
            made[:, mine] = self._by_chunks(
                lambda part: self.estimator.impute(self.neighbour_units(part)), holed
            )[:, mine]
        return made


class DensityErrors(EstimatorErrors):
    r"""How improbable rows are, shared among cells by what each does to it.

    .. math:: a(x) = \log(1 + e^{m - \log p(x)})

    with the median m of the log-densities of the training rows: increasing in
    :math:`-\log p`, and positive. Cells share it in proportion to how much smaller it
    is, if at all, with the cell's median of the training rows in the cell's place.
    Log-densities below :math:`-10^{100}`, as outside of a kernel, count as this.

    Parameters
    ----------
    estimator : object with fit and score_samples
        Fitted here, to encoded rows.
    """

    def fit_errors(
        self, rows: Rows, constant: NDArray[np.bool_], table: TableCells = ONE_EACH
    ) -> Rows:
        """Fit the estimator, and return the rows' errors, (n, 1)."""
        self.usual_ = np.nanmedian(rows, axis=0)
        self._fit(rows, table)
        log_density = self._log_density(rows)
        self.median_ = float(np.median(log_density))
        return self._surprise(log_density)[:, None]

    def _log_density(self, rows: Rows) -> NDArray[np.float64]:
        def ask(part: Rows) -> Any:
            return self.estimator.score_samples(self.neighbour_units(part))

        return np.maximum(self._by_chunks(ask, rows), LEAST_LOG_DENSITY)

    def sums(self, rows: Rows) -> NDArray[np.float64]:
        """Return the errors of rows; see :class:`CellErrors`."""
        return self._surprise(self._log_density(rows))

    def _surprise(self, log_density: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.logaddexp(0.0, self.median_ - log_density))

    def errors(self, rows: Rows) -> Rows:
        """Return the shares of cells; see :class:`CellErrors`."""
        whole = self.sums(rows)
        cells = self.table.columns_of(rows.shape[1])
        less: Rows = np.empty((len(rows), int(cells.max()) + 1))
        for cell in range(less.shape[1]):
            mine = (cells == cell) & ~np.isnan(rows)
            other = np.where(mine, self.usual_, rows)
            less[:, cell] = np.maximum(whole - self.sums(other), 0.0)
        return self.table.shares(less, rows) * whole[:, None]

    def expected(self, rows: Rows) -> Rows:
        """Return the medians of the training rows; see :class:`CellErrors`."""
        return np.tile(self.usual_, (len(rows), 1))


KINDS = {
    "reconstruction": (EstimatorErrors, ["transform", "inverse_transform"]),
    "density": (DensityErrors, ["score_samples"]),
    "conditionals": (HiddenCellErrors, ["impute"]),
}


def errors_of_estimator(score_with: str, estimator: Any) -> EstimatorErrors:
    """Return the errors of an estimator, not yet fitted.

    Raises
    ------
    TypeError
        If the estimator lacks the methods that `score_with` needs.
    """
    kind, needed = KINDS[score_with]
    lacking = [name for name in needed if not hasattr(estimator, name)]
    if lacking:
        raise TypeError(
            f"score_with={score_with!r} needs an `estimator` with the methods"
            f" {' and '.join(needed)}; {type(estimator).__name__} has no"
            f" {' and no '.join(lacking)}."
        )
    return kind(estimator)
