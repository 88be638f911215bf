"""How far cells are from what all other cells of their row say of them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sklearn_repr._contracts import Block
from sklearn_repr.detection.blame import blame
from sklearn_repr.detection.neighbours import soft
from sklearn_repr.detection.table_cells import ONE_EACH, Observed, TableCells
from sklearn_repr.detection.units import ERROR_FLOOR, ColumnUnits

__all__ = [
    "ConditionalErrors",
    "ConditionalNetworks",
    "MildColumns",
    "ledoit_wolf",
    "shrunk_by_correlations",
]

Rows = NDArray[np.float64]

# Variance added to every column, of columns of one variance, so that the covariance can
# be inverted
RIDGE = 1e-3
# Points by which the ranks of a column are interpolated, at most
RANK_POINTS = 1000
# Least probability of a level: this share of what it is in training, and this much more
SHARE_KEPT, LEAST_PROBABILITY = 0.02, 1e-3


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


def shrunk_by_correlations(rows: Rows) -> Rows:
    r"""Return the covariance of centred rows, with shrunk correlations.

    .. math:: \hat\Sigma_{ij} = s_i s_j (1 - \delta) r_{ij} \quad (i \neq j), \qquad
              \delta = \frac{\sum_{i \neq j} \widehat{\mathrm{Var}}(r_{ij})}
              {\sum_{i \neq j} r_{ij}^2}

    with deviations s and correlations r, from Schäfer and Strimmer, "A shrinkage approach
    to large-scale covariance matrix estimation", Stat. Appl. Genet. Mol. Biol. 4 (2005),
    doi:10.2202/1544-6115.1175. Units of columns have no part in it, and one with a heavy
    tail has a small one.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.conditional import shrunk_by_correlations
    >>> shrunk_by_correlations(np.array([[-1.0, -9.0], [1.0, 9.0]])).round(2)
    array([[ 1.,  9.],
           [ 9., 81.]])
    """
    deviation = np.sqrt(np.square(rows).mean(axis=0))
    deviation[deviation == 0] = 1.0
    scaled = rows / deviation
    correlations = scaled.T @ scaled / len(rows)
    np.square(scaled, out=scaled)
    variance = scaled.T @ scaled / len(rows) - np.square(correlations)
    diagonal = np.diag_indices_from(correlations)
    variance[diagonal] = correlations[diagonal] = 0.0
    size = np.square(correlations).sum()
    share = min(max(variance.sum() / len(rows), 0.0), size) / size if size > 0 else 0.0
    shrunk: Rows = (1 - share) * correlations
    shrunk[diagonal] = 1.0
    shrunk *= deviation * deviation[:, None]
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
        mild = soft(rows)
        mild[:, ~self.ranked] = rows[:, ~self.ranked]
        for j, (points, normal) in self.points_.items():
            # in order, values are found beside each other among the points
            column = rows[:, j].copy()
            order = column.argsort()
            column[order] = np.interp(column[order], points, normal)
            mild[:, j] = 0.5 * (mild[:, j] + column)
        return mild

    def inverse(self, mild: Rows) -> Rows:
        """Return the values of milder columns, inside of what was seen where ranked."""
        rows = mild.copy()
        for j, (points, normal) in self.points_.items():
            rows[:, j] = np.interp(mild[:, j], 0.5 * (soft(points) + normal), points)
        return rows


class ConditionalNetworks(Protocol):
    """Networks that expect cells given all others, behind NumPy arrays."""

    def fit(
        self, rows: Rows, residual: Rows, cells: NDArray[np.int64], unit: Rows
    ) -> object:
        """Train on rows (n, D) in units (D,), beside the residual rows · residual."""

    def residuals(self, rows: Rows) -> Rows:
        """Return how far cells are from what is expected, a new array (n, D)."""


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
        # one array of all rows at a time, changed in place
        mild = self.mild_(seen)
        del seen
        self.center_ = np.nanmean(mild, axis=0)
        mild -= self.center_
        filled, observed = table.fill(mild)
        self.silent_ = constant | (filled.std(axis=0) == 0)
        filled[:, self.silent_] = 0.0
        self.linear_, self.unit_ = self._linear(filled)
        scaled = self.linear_ * self.unit_[:, None] / self.unit_
        self.networks.fit(filled / self.unit_, scaled, self.cells_, self.unit_)
        raw, known = self._raw(rows, filled, observed), self._known(observed)
        own = self.units.scaling == "standard"
        count = len(raw) if known is None else np.maximum(known.sum(axis=0), 1)
        usual = raw.sum(axis=0) / count
        self.usual_ = usual + ERROR_FLOOR if own else np.ones(raw.shape[1])
        return self._in_units(raw, known)

    def _linear(self, filled: Rows) -> tuple[Rows, Rows]:
        """Return R, with the linear residuals x · R, and their deviations."""
        if self.units.scaling == "standard":
            covariance = ledoit_wolf(filled)
            covariance.flat[:: len(covariance) + 1] += RIDGE
        else:
            # columns of any unit
            covariance = shrunk_by_correlations(filled)
            covariance.flat[:: len(covariance) + 1] *= 1 + RIDGE
        precision = np.asarray(np.linalg.inv(covariance), np.float64)
        residual = precision.copy()
        deviation = np.empty(len(precision))
        for cell in range(self.cells_.max() + 1):
            mine = np.flatnonzero(self.cells_ == cell)
            within = np.linalg.inv(precision[np.ix_(mine, mine)])
            residual[:, mine] = precision[:, mine] @ within
            deviation[mine] = np.sqrt(np.diag(within))
        return residual, deviation

    def _filled(self, rows: Rows) -> tuple[Rows, Observed]:
        """Return mild columns of rows, the mean in holes, and where there are none."""
        mild = self.mild_(self.units.networks(rows))
        mild -= self.center_
        filled, observed = self.table.fill(mild)
        filled[:, self.silent_] = 0.0
        return filled, observed

    def _known(self, observed: Observed) -> Observed:
        """Return which cells of the table are not missing, None if all are there."""
        return None if observed is None else observed[:, self.first_]

    def _residuals(self, filled: Rows) -> Rows:
        """Return what is not expected of mild columns."""
        found = self.networks.residuals(filled / self.unit_)
        found *= self.unit_
        return found

    def _raw(self, rows: Rows, filled: Rows, observed: Observed) -> Rows:
        """Return errors of cells in units of their residuals, 0 for missing cells."""
        errors = self._cell_errors(self._residuals(filled), rows)
        known = self._known(observed)
        if known is not None:
            errors[~known] = 0.0
        return errors

    def _cell_errors(self, residuals: Rows, rows: Rows) -> Rows:
        """Return errors of cells by the residuals of encoded rows, (n, d)."""
        errors = np.empty((len(rows), self.cells_.max() + 1))
        numbers = residuals[:, self.values_]
        np.abs(numbers, out=numbers)
        if self.units.scaling == "standard":
            numbers /= self.unit_[self.values_]
        errors[:, self.cells_[self.values_]] = numbers
        for block in self.categories_:
            mine = slice(block.start, block.stop)
            missed = residuals[:, mine] * self.units.unit_[mine]
            errors[:, self.cells_[block.start]] = _surprise(block, rows[:, mine], missed)
        return errors

    def _in_units(self, raw: Rows, known: Observed) -> Rows:
        raw /= self.usual_
        if known is not None:
            # as if all cells were there
            count = np.maximum(known.sum(axis=1, keepdims=True), 1)
            raw *= known.shape[1] / count
        return raw

    def errors(self, rows: Rows) -> Rows:
        """Return errors in their units; see :class:`CellErrors`."""
        filled, observed = self._filled(rows)
        return self._in_units(self._raw(rows, filled, observed), self._known(observed))

    def sums(self, rows: Rows) -> NDArray[np.float64]:
        """Return the sums of the errors; see :class:`CellErrors`."""
        return np.asarray(self.errors(rows).sum(axis=1))

    def blamed(self, rows: Rows) -> Rows:
        """Return errors by who is to blame; see :class:`CellErrors`."""
        filled, observed = self._filled(rows)
        known = self._known(observed)
        return blame(
            filled,
            np.ones((len(rows), len(self.usual_)), bool) if known is None else known,
            linear=self.linear_,
            cells=self.cells_,
            residuals=self._residuals,
            errors=lambda found, i: self._cell_errors(found, rows[i]) / self.usual_,
        )

    def expected(self, rows: Rows) -> Rows:
        """Return what cells are expected to be; see :class:`CellErrors`."""
        filled, _ = self._filled(rows)
        expected = filled - self._residuals(filled) + self.center_
        return self.units.scaled(self.mild_.inverse(expected))

    def neighbour_units(self, rows: Rows) -> Rows:
        """Return rows as neighbours are compared; see :class:`CellErrors`."""
        return self.near.neighbours(rows)


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
