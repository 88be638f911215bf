"""How far cells are from what all other cells of their row say of them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sklearn_repr._contracts import Block
from sklearn_repr.detection.blame import blame
from sklearn_repr.detection.neighbours import soft
from sklearn_repr.detection.table_cells import ONE_EACH, TableCells
from sklearn_repr.detection.units import ERROR_FLOOR, ColumnUnits

__all__ = ["ConditionalErrors", "ConditionalNetworks", "MildColumns", "ledoit_wolf"]

Rows = NDArray[np.float64]

# Variance added to every column, so that the covariance can be inverted
RIDGE = 1e-3
# Points by which the ranks of a column are interpolated, at most
RANK_POINTS = 1000
# Least probability of a level: this share of what it is in training, and this much more
SHARE_KEPT, LEAST_PROBABILITY = 0.02, 1e-3
# Values to invert a column by, beyond the training values
BEYOND = np.array([1.0, 3.0, 10.0, 100.0, 1e4])


def ledoit_wolf(rows: Rows) -> Rows:
    r"""Return the covariance of centred rows, shrunk towards a multiple of the identity.

    .. math:: \hat\Sigma = (1 - \delta) S + \delta \frac{\mathrm{tr} S}{D} I

    with the :math:`\delta` that is best in the limit, from Ledoit and Wolf, "A
    well-conditioned estimator for large-dimensional covariance matrices", J. Multivar.
    Anal. 88 (2004), doi:10.1016/S0047-259X(03)00096-4.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.conditional import ledoit_wolf
    >>> ledoit_wolf(np.array([[-1.0, -1.0], [1.0, 1.0]])).round(2)
    array([[1., 1.],
           [1., 1.]])
    """
    n, width = rows.shape
    sample = rows.T @ rows / n
    mean = np.trace(sample) / width
    squares = np.square(rows)
    apart = np.square(sample).sum()
    spread = ((squares.T @ squares).sum() / n - apart) / n
    size = apart - width * mean**2
    share = min(max(spread, 0.0), size) / size if size > 0 else 0.0
    shrunk: Rows = (1 - share) * sample
    shrunk.flat[:: width + 1] += share * mean
    return shrunk


class MildColumns:
    r"""Columns halfway between their values and their ranks.

    .. math:: m(x) = \tfrac12 \, 3 \, \mathrm{sign}(x) \log(1 + |x| / 3)
              + \tfrac12 \, \Phi^{-1}\Big(\frac{r(x)}{n + 1}\Big)

    with the rank r among the n training values; equal ones share the mean of their ranks,
    and there are straight lines between. Ranks make relations straight and heavy tails
    mild; values keep what is far out far out.

    Parameters
    ----------
    ranked : bool ndarray of shape (n_columns,)
        Columns that have ranks; the others are left as they are.
    """

    def __init__(self, ranked: NDArray[np.bool_]):
        self.ranked = ranked

    def fit(self, rows: Rows) -> MildColumns:
        """Learn the ranks of rows (n, n_columns), NaN where a cell is missing."""
        self.points_ = {}
        for j in np.flatnonzero(self.ranked):
            values = np.sort(rows[~np.isnan(rows[:, j]), j])
            n = len(values)
            picked = np.linspace(0, n - 1, min(n, RANK_POINTS)).round().astype(np.intp)
            points = np.unique(values[picked])
            left = np.searchsorted(values, points, "left")
            right = np.searchsorted(values, points, "right")
            self.points_[int(j)] = points, ndtri((left + right + 1) / 2 / (n + 1))
        return self

    def __call__(self, rows: Rows) -> Rows:
        """Return milder columns of rows; missing cells stay missing."""
        mild = np.where(self.ranked, soft(rows), rows)
        for j, (points, normal) in self.points_.items():
            # columns one by one lie apart in memory
            ranks = np.interp(rows[:, j], points, normal)
            mild[:, j] = 0.5 * (mild[:, j] + ranks)
        return mild

    def inverse(self, mild: Rows) -> Rows:
        """Return the values of milder columns."""
        rows = mild.copy()
        for j, (points, _) in self.points_.items():
            grid = np.r_[points[0] - BEYOND[::-1], points, points[-1] + BEYOND]
            whole = np.zeros((len(grid), mild.shape[1]))
            whole[:, j] = grid
            rows[:, j] = np.interp(mild[:, j], self(whole)[:, j], grid)
        return rows


class ConditionalNetworks(Protocol):
    """Networks that expect cells given all others, behind NumPy arrays."""

    def fit(
        self, rows: Rows, residual: Rows, cells: NDArray[np.int64], unit: Rows
    ) -> object:
        """Train on rows (n, D) in units (D,), beside the residual rows · residual."""

    def residuals(self, rows: Rows) -> Rows:
        """Return how far the cells of rows are from what is expected, (n, D)."""


class ConditionalErrors:
    r"""Errors of every cell given all others, in units of what is usual for it.

    A linear expectation, the mean of a normal distribution whose covariance is shrunk,
    and what networks add to it. The error of a number is the distance to what is
    expected, in standard deviations of the linear residual, and of a category
    :math:`-\log p` of its level, with p from the expected indicators. Both are divided by
    their mean over the training rows plus a small number, so that every column counts
    alike, and added up.

    Parameters
    ----------
    networks : ConditionalNetworks
        Trained here.
    scaling : {"standard", "robust", "quantile"} or None
        How the rows were scaled. With "standard" columns are made milder, see
        :class:`MildColumns`, and each has its own unit; with others, all have one.
    novelty : bool
        Whether the training rows are clean, for the units of neighbours.

    See Also
    --------
    CellErrors : What the methods do.
    """

    def __init__(
        self, networks: ConditionalNetworks, scaling: str | None, *, novelty: bool
    ):
        self.networks = networks
        # in deviations, which ranks are mixed with, whatever neighbours are compared by
        self.units = ColumnUnits(scaling, novelty=False)
        self.near = ColumnUnits(scaling, novelty=novelty)

    def fit_errors(
        self, rows: Rows, constant: NDArray[np.bool_], table: TableCells = ONE_EACH
    ) -> Rows:
        """Fit to encoded rows, and return the errors; see :class:`CellErrors`."""
        self.table = table
        self.near.fit(rows, constant, table.columns)
        width = rows.shape[1]
        # of several columns of a number the first is its value
        _, self.first_, self.cells_ = np.unique(
            table.columns_of(width), return_index=True, return_inverse=True
        )
        self.categories_ = [b for b in table.blocks if b.kind == "categorical"]
        numeric = np.ones(width, bool)
        for block in self.categories_:
            numeric[block.start : block.stop] = False
        self.values_ = np.intersect1d(np.flatnonzero(numeric), self.first_)
        seen = self.units.fit(rows, constant, table.columns).networks(rows)
        ranked = np.zeros(width, bool)
        if self.units.scaling == "standard":
            ranked[self.values_] = True
        self.mild_ = MildColumns(ranked & ~constant).fit(seen)
        mild = self.mild_(seen)
        self.center_ = np.nanmean(mild, axis=0)
        filled, _ = table.fill(mild - self.center_)
        self.silent_ = constant | (filled.std(axis=0) == 0)
        filled[:, self.silent_] = 0.0
        self.linear_, self.unit_ = self._linear(filled)
        scaled = self.linear_ * self.unit_[:, None] / self.unit_
        self.networks.fit(filled / self.unit_, scaled, self.cells_, self.unit_)
        raw, known = self._raw(rows)
        own = self.units.scaling == "standard"
        usual = raw.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        self.usual_ = usual + ERROR_FLOOR if own else np.ones(raw.shape[1])
        return self._in_units(raw, known)

    def _linear(self, filled: Rows) -> tuple[Rows, Rows]:
        """Return R, with the linear residuals x · R, and their deviations."""
        covariance = ledoit_wolf(filled)
        covariance.flat[:: len(covariance) + 1] += RIDGE
        precision = np.asarray(np.linalg.inv(covariance), np.float64)
        residual = precision.copy()
        deviation = np.empty(len(precision))
        for cell in range(self.cells_.max() + 1):
            mine = np.flatnonzero(self.cells_ == cell)
            within = np.linalg.inv(precision[np.ix_(mine, mine)])
            residual[:, mine] = precision[:, mine] @ within
            deviation[mine] = np.sqrt(np.diag(within))
        return residual, deviation

    def _filled(self, seen: Rows) -> Rows:
        """Return mild columns of rows in units of networks, the mean in holes."""
        filled, _ = self.table.fill(self.mild_(seen) - self.center_)
        filled[:, self.silent_] = 0.0
        return filled

    def _residuals(self, filled: Rows) -> Rows:
        """Return what is not expected of mild columns."""
        found: Rows = self.networks.residuals(filled / self.unit_) * self.unit_
        return found

    def _raw(self, rows: Rows) -> tuple[Rows, NDArray[np.bool_]]:
        """Return errors of cells in units of their residuals, and which are known."""
        seen = self.units.networks(rows)
        errors = self._cell_errors(self._residuals(self._filled(seen)), rows)
        known = self._known(seen)
        return np.where(known, errors, 0.0), known

    def _known(self, seen: Rows) -> NDArray[np.bool_]:
        """Return which cells are not missing, (n, d)."""
        _, observed = self.table.fill(seen)
        if observed is None:
            return np.ones((len(seen), self.cells_.max() + 1), bool)
        return observed[:, self.first_]

    def _cell_errors(self, residuals: Rows, rows: Rows) -> Rows:
        """Return errors of cells by the residuals of encoded rows, (n, d)."""
        errors = np.zeros((len(rows), self.cells_.max() + 1))
        own = self.units.scaling == "standard"
        unit = self.unit_[self.values_] if own else 1.0
        errors[:, self.cells_[self.values_]] = np.abs(residuals[:, self.values_]) / unit
        for block in self.categories_:
            mine = slice(block.start, block.stop)
            missed = residuals[:, mine] * self.units.unit_[mine]
            errors[:, self.cells_[block.start]] = _surprise(block, rows[:, mine], missed)
        return errors

    def _in_units(self, raw: Rows, known: NDArray[np.bool_]) -> Rows:
        # as if all cells were there
        count = np.maximum(known.sum(axis=1, keepdims=True), 1)
        scaled: Rows = raw / self.usual_ * (known.shape[1] / count)
        return scaled

    def errors(self, rows: Rows) -> Rows:
        """Return errors in their units; see :class:`CellErrors`."""
        return self._in_units(*self._raw(rows))

    def sums(self, rows: Rows) -> NDArray[np.float64]:
        """Return the sums of the errors; see :class:`CellErrors`."""
        return np.asarray(self.errors(rows).sum(axis=1))

    def blamed(self, rows: Rows) -> Rows:
        """Return errors by who is to blame; see :class:`CellErrors`."""
        seen = self.units.networks(rows)
        return blame(
            self._filled(seen),
            self._known(seen),
            linear=self.linear_,
            cells=self.cells_,
            residuals=self._residuals,
            errors=lambda found, i: self._cell_errors(found, rows[i]) / self.usual_,
        )

    def expected(self, rows: Rows) -> Rows:
        """Return what cells are expected to be; see :class:`CellErrors`."""
        filled = self._filled(self.units.networks(rows))
        expected = filled - self._residuals(filled) + self.center_
        return self.units.scaled(self.mild_.inverse(expected))

    def neighbour_units(self, rows: Rows) -> Rows:
        """Return rows as neighbours are compared; see :class:`CellErrors`."""
        return self.near.neighbours(rows)

    def fit_table(self, rows: Any, constant: NDArray[np.bool_]) -> None:
        """Refuse a large sparse table: networks without cells of their own take it."""
        raise NotImplementedError


def _surprise(block: Block, encoded: Rows, missed: Rows) -> NDArray[np.float64]:
    """Return -log p of the levels of a category, (n,)."""
    shares = np.asarray(block.shares)
    chances = (encoded - missed) * block.scale + shares
    chances = np.maximum(chances, SHARE_KEPT * shares + LEAST_PROBABILITY)
    chances /= chances.sum(axis=1, keepdims=True)
    indicators = encoded * block.scale + shares
    level = indicators.argmax(axis=1)
    there = np.take_along_axis(indicators, level[:, None], axis=1)[:, 0] > 0.5
    chance = np.take_along_axis(chances, level[:, None], axis=1)[:, 0]
    surprise: NDArray[np.float64] = -np.where(there, np.log(chance), block.unseen)
    return surprise
