"""How abnormal every cell of a row is: errors of a reconstructor and of neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Protocol,
)

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_repr.detection.by_estimator import ROWS_PER_CHUNK
from sklearn_repr.detection.joining import TailJoin
from sklearn_repr.detection.neighbours import LocalNeighbours, SetNeighbours
from sklearn_repr.detection.sparse_tables import (
    CELLS_AT_A_TIME,
    LARGE,
    ScaledRows,
    SparseSetNeighbours,
    is_large,
    rows_at_a_time,
)
from sklearn_repr.detection.table_cells import ONE_EACH, TableCells
from sklearn_repr.detection.units import ColumnUnits, ErrorUnits
from sklearn_repr.utils.mapped import forget

if TYPE_CHECKING:
    from sklearn_repr._contracts import Names, Table


__all__ = [
    "CellErrors",
    "CellScorer",
    "NetworkErrors",
    "Networks",
    "TableScorer",
]

Rows = NDArray[np.float64]

# Training rows by which the errors of networks are made comparable, at most, and as many
# at a time
ROWS_TO_NORMALISE_BY = 20_000
# The same for large sparse tables
LARGE_ROWS_TO_NORMALISE_BY = 4_000


class CellErrors(Protocol):
    """A reconstructor: how wrong it is in every cell of encoded rows.

    Encoded rows are of shape (n, n_encoded), NaN where a cell is missing; errors are of
    the d cells of the table, and 0 there.
    """

    def fit_errors(
        self, rows: Rows, constant: NDArray[np.bool_], table: TableCells = ONE_EACH
    ) -> Rows:
        """Fit to encoded rows of a table, and return their errors (n, d)."""

    def errors(self, rows: Rows) -> Rows:
        """Return errors of encoded rows, (n, d)."""

    def sums(self, rows: Rows) -> NDArray[np.float64]:
        """Return the sums of the errors of encoded rows, (n,)."""

    def blamed(self, rows: Rows) -> Rows:
        """Return what cells are to blame for, (n, d), for explanations."""

    def expected(self, rows: Rows) -> Rows:
        """Return what encoded rows are rebuilt to, (n, n_encoded)."""

    def neighbour_units(self, rows: Rows) -> Rows:
        """Return rows in the units in which neighbours are compared, (n, n_encoded)."""


class Networks(Protocol):
    """Trained networks behind NumPy arrays."""

    def fit(self, rows: Rows | ScaledRows) -> object:
        """Train on rows of comparable columns."""

    def errors(self, rows: Rows) -> Rows:
        """Return absolute errors (n, L, d) at each of L noise levels."""

    def expected(self, rows: Rows) -> Rows:
        """Return what rows are rebuilt to, (n, d)."""


class NetworkErrors:
    """Errors of networks, in units of what is usual in training.

    Parameters
    ----------
    networks : Networks
        Trained here.
    units : ColumnUnits
        Learned here.
    error_units : ErrorUnits or None
        Learned here; None leaves errors as they are, for networks of a single level.
    """

    def __init__(
        self, networks: Networks, units: ColumnUnits, error_units: ErrorUnits | None
    ):
        self.networks = networks
        self.units = units
        self.error_units = error_units

    def fit_errors(
        self, rows: Rows, constant: NDArray[np.bool_], table: TableCells = ONE_EACH
    ) -> Rows:
        """Train the networks, and return the errors; see :class:`CellErrors`."""
        self.table = table
        seen = self.units.fit(rows, constant, table.columns).networks(rows)
        self.networks.fit(table.fill(seen)[0])
        if self.error_units is None:
            return self.errors(rows)
        some = seen[:: -(-len(seen) // ROWS_TO_NORMALISE_BY)]
        raw = self._raw_errors(some)
        self.error_units.fit(raw)
        return (
            self.error_units.apply(raw) if len(some) == len(rows) else self.errors(rows)
        )

    def fit_table(self, rows: ScaledRows, constant: NDArray[np.bool_]) -> None:
        """Train the networks on a large sparse table."""
        self.table, units = ONE_EACH, self.units.fit(rows, constant).networks
        self.networks.fit(rows.seen(lambda part: self.table.fill(units(part))[0]))
        if self.error_units is not None:
            seen = rows.seen(units)
            self.error_units.fit_chunks(
                lambda limit: map(self._raw_errors, seen.chunks(limit)),
                LARGE_ROWS_TO_NORMALISE_BY,
            )

    def errors(self, rows: Rows) -> Rows:
        """Return errors in their units; see :class:`CellErrors`."""
        seen = self.units.networks(rows)
        parts = []
        for part in np.array_split(seen, -(-len(seen) // ROWS_TO_NORMALISE_BY)):
            raw = self._raw_errors(part)
            if self.error_units is None:
                parts.append(raw[:, 0])
            else:
                parts.append(self.error_units.apply(raw))
        return np.concatenate(parts)

    def sums(self, rows: Rows) -> NDArray[np.float64]:
        """Return the sums of the errors; see :class:`CellErrors`."""
        return np.asarray(self.errors(rows).sum(axis=1))

    def blamed(self, rows: Rows) -> Rows:
        """Return the errors; see :class:`CellErrors`."""
        return self.errors(rows)

    def _raw_errors(self, seen: Rows) -> Rows:
        filled, observed = self.table.fill(seen)
        return self.table.join(self.networks.errors(filled), observed)

    def expected(self, rows: Rows) -> Rows:
        """Return the reconstruction; see :class:`CellErrors`."""
        seen, _ = self.table.fill(self.units.networks(rows))
        return self.units.scaled(self.networks.expected(seen))

    def neighbour_units(self, rows: Rows) -> Rows:
        """Return rows as neighbours are compared; see :class:`CellErrors`."""
        return self.units.neighbours(rows)


class CellScorer:
    r"""Errors and neighbour distances joined to one score, cell by cell.

    The row sums of errors and of neighbour distances are joined by :class:`TailJoin` with
    the weight w, and cells share what a part adds in proportion to their share of it.
    With w = 0 the score is the sum of errors itself.

    Parameters
    ----------
    reconstructor : CellErrors
        Fitted here.
    neighbor_weight : float
        w.
    novelty : bool
        Whether the training rows are clean.
    seed : int
        Of the training rows that neighbours are drawn from.
    """

    def __init__(
        self,
        reconstructor: CellErrors,
        *,
        neighbor_weight: float,
        novelty: bool,
        seed: int,
    ):
        self.reconstructor = reconstructor
        self.neighbor_weight = neighbor_weight
        self.novelty = novelty
        self.neighbours: SetNeighbours | LocalNeighbours | None = None
        if neighbor_weight:
            self.neighbours = LocalNeighbours() if novelty else SetNeighbours()
        self.seed = seed

    def fit_sums(
        self, rows: Rows, constant: NDArray[np.bool_], table: TableCells = ONE_EACH
    ) -> dict[str, Rows]:
        """Fit both parts to encoded rows, and return the sums of the rows.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_encoded)
            Encoded training rows, NaN where a cell is missing.
        constant : bool ndarray of shape (n_encoded,)
            Columns that hold no more than rounding noise.
        table : TableCells
            What the columns make up.

        Returns
        -------
        sums : dict of str to ndarray of shape (n_samples,)
            As :meth:`sums` of the same rows.
        """
        self.table = table
        errors = self.reconstructor.fit_errors(rows, constant, table).sum(axis=1)
        if self.neighbours is None:
            return self._join(errors, None)
        units = self._filled_units(rows)
        self.neighbours.fit(units, np.random.default_rng(self.seed))
        return self._fit_join(errors, self._near(rows))

    def _fit_join(self, errors: Rows, near: Rows) -> dict[str, Rows]:
        self.join_ = TailJoin(self.neighbor_weight, clean=self.novelty)
        self.join_.fit([errors, near])
        return self._join(errors, near)

    def fit_sums_of_table(
        self, rows: ScaledRows, constant: NDArray[np.bool_]
    ) -> dict[str, Rows]:
        """Fit both parts to a large sparse table, as :meth:`fit_sums` to others.

        The reconstructor must have ``fit_table(rows, constant)``.
        """
        reconstructor: Any = self.reconstructor
        self.table = ONE_EACH
        reconstructor.fit_table(rows, constant)
        found = [reconstructor.sums(part) for part in rows.chunks()]
        errors = np.concatenate(found)
        if self.neighbours is None:
            return self._join(errors, None)
        units = rows.seen(self._filled_units)
        rng, width = np.random.default_rng(self.seed), rows.shape[1]
        if self.novelty:
            kept, chunk = max(1, LARGE // width), max(1, CELLS_AT_A_TIME // width // 16)
            self.neighbours = LocalNeighbours(n_kept=kept, n_chunk=chunk).fit(units, rng)
        else:
            zero = rows.codec.scale(np.zeros((1, width)))
            background = self._filled_units(zero)[0]
            self.neighbours = SparseSetNeighbours(background).fit(units, rng)
        near = np.concatenate([self._near(part) for part in rows.chunks()])
        return self._fit_join(errors, near)

    def _filled_units(self, rows: Rows) -> Rows:
        return self.table.fill(self.reconstructor.neighbour_units(rows))[0]

    def _near(self, rows: Rows) -> Rows:
        """Return distances to neighbours, (n,), by cells only where some are missing."""
        neighbours: Any = self.neighbours
        units, observed = self.table.fill(self.reconstructor.neighbour_units(rows))
        if observed is None:
            return np.asarray(neighbours.sums(units))
        holed = ~observed.all(axis=1)
        cells = self.table.join(neighbours.distances(units[holed]), observed[holed])
        near = np.empty(len(rows))
        near[holed] = cells.sum(axis=1)
        if not holed.all():
            near[~holed] = neighbours.sums(units[~holed])
        return near

    def _join(self, errors: Rows, near: Rows | None) -> dict[str, Rows]:
        """Turn row sums into what each part adds to the score."""
        if near is None:
            return {"reconstruction": errors}
        errors, near = self.join_([errors, near])
        return {"reconstruction": errors, "neighbors": near}

    def sums(self, rows: Rows) -> dict[str, Rows]:
        """Return what each part adds to the scores of scaled rows, each (n,)."""
        errors = self.reconstructor.sums(rows)
        return self._join(errors, None if self.neighbours is None else self._near(rows))

    def contributions(self, rows: Rows) -> Rows:
        """Return contributions of shape (n, d); their sum over a row is its score."""
        found = [self.reconstructor.blamed(rows)]
        if self.neighbours is not None:
            units, observed = self.table.fill(self.reconstructor.neighbour_units(rows))
            found.append(self.table.join(self.neighbours.distances(units), observed))
        joined = zip(found, self.sums(rows).values(), strict=True)
        # a part that no cell adds to is not 0: the row is as usual
        shares = (
            self.table.shares(cells, rows) * part[:, None] for cells, part in joined
        )
        return np.asarray(sum(shares))


class TableScorer:
    """From rows in original units to scores: a codec's scaling, then a CellScorer.

    Parameters
    ----------
    codec : object
        Scales and decodes, as :class:`~sklearn_repr.data.NumericCodec` does; fitted here.
    cells : CellScorer
        Fitted here.
    """

    def __init__(self, codec: Any, cells: CellScorer):
        self.codec = codec
        self.cells = cells

    def fit(
        self, X: Table, names: Names = None, lacking: Sequence[int] = ()
    ) -> TableScorer:
        """Fit scaling and cells to validated rows.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
            Validated rows.
        names : sequence of str or None, default=None
            Names of the columns, for messages.
        lacking : sequence of int, default=()
            Columns of which these rows hold no cell, but other rows do: they say
            nothing, whatever they hold when rows are scored.

        Returns
        -------
        self : TableScorer
            Itself.
        """
        self.lacking = np.array(lacking, np.intp)
        X = _with_constants(X, self.lacking)
        self.codec.fit(X, names)
        if is_large(X):
            self.chunk_ = rows_at_a_time(X.shape[1])
            scaled = ScaledRows(self.codec, X)
            squares = (float(np.nansum(np.square(part))) for part in scaled.chunks())
            self.size_ = sum(squares) / X.shape[0]
            sums = self.cells.fit_sums_of_table(scaled, self.codec.constant_)
        else:
            self.chunk_ = ROWS_PER_CHUNK
            rows = self.codec.scale(X)
            table = TableCells(getattr(self.codec, "columns_", None), self.codec.blocks_)
            self.size_ = float(np.square(table.fill(rows)[0]).sum(axis=1).mean())
            sums = self.cells.fit_sums(rows, self.codec.constant_, table)
        # what `score` says of the training rows
        self.training_scores_ = -np.asarray(sum(sums.values()))
        return self

    def contributions(self, X: Table) -> Rows:
        """Return contributions of all cells to the scores, (n, d)."""
        parts = [self.cells.contributions(rows) for rows in self.scaled_chunks(X)]
        return np.concatenate(parts)

    def expected(self, X: Table) -> Rows:
        """Return what cells are rebuilt to, in original units, (n, d)."""
        rebuilt = self.cells.reconstructor.expected
        parts = [self.codec.decode(rebuilt(rows)) for rows in self.scaled_chunks(X)]
        found = np.concatenate(parts)
        found[:, self.lacking] = np.nan
        return found

    def scaled_chunks(self, X: Table) -> Iterator[Rows]:
        """Yield scaled rows, a chunk at a time."""
        step = getattr(self, "chunk_", ROWS_PER_CHUNK)
        for start in range(0, X.shape[0], step):
            part = X[start : start + step]
            rows = self.codec.scale(part)
            if len(self.lacking):
                columns = getattr(self.codec, "columns_", None)
                columns = np.arange(rows.shape[1]) if columns is None else columns
                # what the constants of `fit` became
                rows[:, np.isin(columns, self.lacking)] = 0.0
            yield rows
            forget(part)

    def sums(self, X: Table) -> dict[str, Rows]:
        """Return what each part adds to the scores, in bounded memory."""
        parts = [self.cells.sums(rows) for rows in self.scaled_chunks(X)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def score(self, X: Table) -> Rows:
        """Return scores, high for normal rows; memory grows by these alone."""
        scores, start = np.empty(X.shape[0]), 0
        for rows in self.scaled_chunks(X):
            sums = self.cells.sums(rows).values()
            scores[start : start + len(rows)] = -np.asarray(sum(sums))
            start += len(rows)
        return scores


def _with_constants(X: Table, columns: NDArray[np.intp]) -> Table:
    """Return rows with a constant in columns that hold no cell."""
    if not len(columns):
        return X
    X = X.copy()
    if sparse.issparse(X):
        X.data[np.isin(X.indices, columns)] = 0.0
    else:
        X[:, columns] = 0.0
    return X
