"""How abnormal every cell of a row is: errors of a reconstructor and of neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sklearn_repr.detection.neighbours import LocalNeighbours, SetNeighbours
from sklearn_repr.detection.sparse_tables import (
    CELLS_AT_A_TIME,
    LARGE,
    ScaledRows,
    SparseSetNeighbours,
    is_large,
    rows_at_a_time,
)
from sklearn_repr.detection.units import FAR_OUT, ColumnUnits, ErrorUnits
from sklearn_repr.utils.mapped import forget

__all__ = [
    "ROWS_PER_CHUNK",
    "CellErrors",
    "CellScorer",
    "EstimatorErrors",
    "NetworkErrors",
    "Networks",
    "TableScorer",
]

Rows = NDArray[np.float64]

# Rows handed to a reconstructor at a time; always as many, so that a row's error does not
# depend on how many came with it (unless the reconstructor itself iterates over all rows
# together, as NMF does)
ROWS_PER_CHUNK = 1024
# Training rows by which the errors of networks are made comparable, at most, and as many
# at a time
ROWS_TO_NORMALISE_BY = 20_000
# The same for large sparse tables
LARGE_ROWS_TO_NORMALISE_BY = 4_000
# Share of the training rows, those rebuilt best, that neighbours are drawn from where
# there may be outliers among them
NORMAL_SHARE = 0.9


class CellErrors(Protocol):
    """A reconstructor: how wrong it is in every cell of scaled rows."""

    def fit_errors(self, rows: Rows, constant: NDArray[np.bool_]) -> Rows:
        """Fit to scaled rows (n, d), and return their errors (n, d)."""

    def errors(self, rows: Rows) -> Rows:
        """Return errors of scaled rows, (n, d)."""

    def expected(self, rows: Rows) -> Rows:
        """Return what scaled rows are rebuilt to, (n, d)."""

    def neighbour_units(self, rows: Rows) -> Rows:
        """Return rows in the units in which neighbours are compared, (n, d)."""


class Networks(Protocol):
    """Trained networks behind NumPy arrays."""

    def fit(self, rows: Any) -> Any:
        """Train on rows of comparable columns, an ndarray or ScaledRows."""

    def errors(self, rows: Rows) -> Rows:
        """Return absolute errors (n, L, d) at each of L noise levels."""

    def expected(self, rows: Rows) -> Rows:
        """Return what rows are rebuilt to, (n, d)."""


class EstimatorErrors:
    """Squared errors of any reconstructor.

    Parameters
    ----------
    estimator : object with fit, transform and inverse_transform
        Fitted here, to scaled rows.
    """

    def __init__(self, estimator: Any):
        self.estimator = estimator

    def fit_errors(self, rows: Rows, constant: NDArray[np.bool_]) -> Rows:
        """Fit the estimator, and return the errors; see :class:`CellErrors`."""
        self.far_out_ = max(FAR_OUT, float(np.abs(rows).max()))
        self.estimator.fit(rows)
        return self.errors(rows)

    def fit_table(self, rows: ScaledRows, constant: NDArray[np.bool_]) -> None:
        """Refuse a large sparse table."""
        raise ValueError(
            f"A sparse table of {rows.shape[0]} x {rows.shape[1]} cells would have to be"
            " made dense for `estimator`, which is fitted on scaled rows. Set"
            " estimator=None, or pass X.toarray() if there is memory for it."
        )

    def errors(self, rows: Rows) -> Rows:
        """Return squared errors; see :class:`CellErrors`."""
        return np.square(rows - self.expected(rows))

    def expected(self, rows: Rows) -> Rows:
        """Return the reconstruction; see :class:`CellErrors`."""
        parts = []
        for start in range(0, len(rows), ROWS_PER_CHUNK):
            part = rows[start : start + ROWS_PER_CHUNK]
            padded = np.resize(part, (ROWS_PER_CHUNK, rows.shape[1]))
            code = self.estimator.transform(self.neighbour_units(padded))
            rebuilt = self.estimator.inverse_transform(code)
            parts.append(np.asarray(rebuilt, np.float64)[: len(part)])
        return np.concatenate(parts)

    def neighbour_units(self, rows: Rows) -> Rows:
        """Return the rows themselves; see :class:`CellErrors`."""
        return rows.clip(-self.far_out_, self.far_out_)


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

    def fit_errors(self, rows: Rows, constant: NDArray[np.bool_]) -> Rows:
        """Train the networks, and return the errors; see :class:`CellErrors`."""
        seen = self.units.fit(rows, constant).networks(rows)
        self.networks.fit(seen)
        if self.error_units is None:
            return self.errors(rows)
        some = seen[:: -(-len(seen) // ROWS_TO_NORMALISE_BY)]
        raw = self.networks.errors(some)
        self.error_units.fit(raw)
        return (
            self.error_units.apply(raw) if len(some) == len(rows) else self.errors(rows)
        )

    def fit_table(self, rows: ScaledRows, constant: NDArray[np.bool_]) -> None:
        """Train the networks on a large sparse table."""
        seen = rows.seen(self.units.fit(rows, constant).networks)
        self.networks.fit(seen)
        if self.error_units is not None:
            self.error_units.fit_chunks(
                lambda: map(self.networks.errors, seen.chunks(LARGE_ROWS_TO_NORMALISE_BY))
            )

    def errors(self, rows: Rows) -> Rows:
        """Return errors in their units; see :class:`CellErrors`."""
        seen = self.units.networks(rows)
        parts = []
        for part in np.array_split(seen, -(-len(seen) // ROWS_TO_NORMALISE_BY)):
            raw = self.networks.errors(part)
            if self.error_units is None:
                parts.append(raw[:, 0])
            else:
                parts.append(self.error_units.apply(raw))
        return np.concatenate(parts)

    def expected(self, rows: Rows) -> Rows:
        """Return the reconstruction; see :class:`CellErrors`."""
        return self.units.scaled(self.networks.expected(self.units.networks(rows)))

    def neighbour_units(self, rows: Rows) -> Rows:
        """Return rows as neighbours are compared; see :class:`CellErrors`."""
        return self.units.neighbours(rows)


class CellScorer:
    r"""Errors and neighbour distances joined to one score, cell by cell.

    With the row sums E of errors and T of neighbour distances and the weight w,

    .. math:: a = \frac{E / s_E + w \, T / s_T}{1 + w}
              \quad\text{or}\quad
              a = \Big( \frac{E}{m_E} \Big( \frac{T}{m_T} \Big)^w \Big)^{1 / (1 + w)}

    where outliers may be among the training rows and where these are clean, with their
    standard deviations s and medians m over the training rows; cells share a in
    proportion to their share of each part. With w = 0 the score is E itself.

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

    def fit_sums(self, rows: Rows, constant: NDArray[np.bool_]) -> dict[str, Rows]:
        """Fit both parts to scaled rows, and return the sums of the rows.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features)
            Scaled training rows.
        constant : bool ndarray of shape (n_features,)
            Columns that hold no more than rounding noise.

        Returns
        -------
        sums : dict of str to ndarray of shape (n_samples,)
            As :meth:`sums` of the same rows.
        """
        errors = self.reconstructor.fit_errors(rows, constant).sum(axis=1)
        if self.neighbours is None:
            return self._join(errors, None)
        units = self.reconstructor.neighbour_units(rows)
        rng = np.random.default_rng(self.seed)
        if self.novelty:
            self.neighbours.fit(units, rng)
        else:
            normal = errors <= np.quantile(errors, NORMAL_SHARE)
            self.neighbours.fit(units[normal], rng)
        near = self.neighbours.distances(units).sum(axis=1)
        middle = np.median if self.novelty else np.std
        # parts without spread say nothing, whatever they are divided by
        self.usual_ = float(middle(errors)) or 1.0, float(middle(near)) or 1.0
        return self._join(errors, near)

    def fit_sums_of_table(
        self, rows: ScaledRows, constant: NDArray[np.bool_]
    ) -> dict[str, Rows]:
        """Fit both parts to a large sparse table, as :meth:`fit_sums` to others."""
        reconstructor: Any = self.reconstructor
        reconstructor.fit_table(rows, constant)
        self.from_sums_ = True
        found = [reconstructor.errors(part).sum(axis=1) for part in rows.chunks()]
        errors = np.concatenate(found)
        if self.neighbours is None:
            return self._join(errors, None)
        units = rows.seen(reconstructor.neighbour_units)
        rng, width = np.random.default_rng(self.seed), rows.shape[1]
        if self.novelty:
            kept, chunk = max(1, LARGE // width), max(1, CELLS_AT_A_TIME // width // 16)
            self.neighbours = LocalNeighbours(n_kept=kept, n_chunk=chunk).fit(units, rng)
        else:
            zero = rows.codec.scale(np.zeros((1, width)))
            background = reconstructor.neighbour_units(zero)[0]
            normal = np.flatnonzero(errors <= np.quantile(errors, NORMAL_SHARE))
            normal_units = ScaledRows(rows.codec, rows.X[normal], units.units)
            self.neighbours = SparseSetNeighbours(background).fit(normal_units, rng)
        near = np.concatenate([self.neighbours.sums(part) for part in units.chunks()])
        middle = np.median if self.novelty else np.std
        self.usual_ = float(middle(errors)) or 1.0, float(middle(near)) or 1.0
        return self._join(errors, near)

    def _cells(self, rows: Rows) -> list[Rows]:
        found = [self.reconstructor.errors(rows)]
        if self.neighbours is not None:
            units = self.reconstructor.neighbour_units(rows)
            found.append(self.neighbours.distances(units))
        return found

    def _join(self, errors: Rows, near: Rows | None) -> dict[str, Rows]:
        """Turn row sums into what each part adds to the score."""
        if near is None:
            return {"reconstruction": errors}
        errors, near = errors / self.usual_[0], near / self.usual_[1]
        share = 1.0 / (1.0 + self.neighbor_weight)
        if self.novelty:
            # roots first: powers of a heavy weight would be beyond all floats
            errors = near = errors**share * near ** (1.0 - share)
        return {"reconstruction": share * errors, "neighbors": (1.0 - share) * near}

    def sums(self, rows: Rows) -> dict[str, Rows]:
        """Return what each part adds to the scores of scaled rows, each (n,)."""
        if getattr(self, "from_sums_", False):
            errors = self.reconstructor.errors(rows).sum(axis=1)
            if self.neighbours is None:
                return self._join(errors, None)
            units = self.reconstructor.neighbour_units(rows)
            return self._join(errors, self.neighbours.sums(units))
        errors, *near = (cells.sum(axis=1) for cells in self._cells(rows))
        return self._join(errors, near[0] if near else None)

    def contributions(self, rows: Rows) -> Rows:
        """Return contributions of shape (n, d); their sum over a row is its score."""
        found = self._cells(rows)
        errors, *near = totals = [cells.sum(axis=1) for cells in found]
        joined = self._join(errors, near[0] if near else None).values()
        shares = (
            cells * (part / np.where(total > 0, total, 1.0))[:, None]
            for cells, total, part in zip(found, totals, joined, strict=True)
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

    def fit(self, X: Any, names: Any = None) -> TableScorer:
        """Fit scaling and cells to validated rows.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
            Validated rows.
        names : sequence of str or None, default=None
            Names of the columns, for messages.

        Returns
        -------
        self : TableScorer
            Itself.
        """
        self.codec.fit(X, names)
        if is_large(X):
            self.chunk_ = rows_at_a_time(X.shape[1])
            table = ScaledRows(self.codec, X)
            squares = (float(np.square(part).sum()) for part in table.chunks())
            self.size_ = sum(squares) / X.shape[0]
            sums = self.cells.fit_sums_of_table(table, self.codec.constant_)
            self.training_scores_ = -np.asarray(sum(sums.values()))
            return self
        rows = self.codec.scale(X)
        self.size_ = float(np.square(rows).sum(axis=1).mean())
        sums = self.cells.fit_sums(rows, self.codec.constant_)
        # what `score` says of the training rows
        self.training_scores_ = -np.asarray(sum(sums.values()))
        return self

    def contributions(self, X: Any) -> Rows:
        """Return contributions of all cells to the scores, (n, d)."""
        parts = [self.cells.contributions(rows) for rows in self.scaled_chunks(X)]
        return np.concatenate(parts)

    def expected(self, X: Any) -> Rows:
        """Return what cells are rebuilt to, in original units, (n, d)."""
        rebuilt = self.cells.reconstructor.expected
        parts = [self.codec.decode(rebuilt(rows)) for rows in self.scaled_chunks(X)]
        return np.concatenate(parts)

    def scaled_chunks(self, X: Any) -> Iterator[Rows]:
        """Yield scaled rows, a chunk at a time."""
        step = getattr(self, "chunk_", ROWS_PER_CHUNK)
        for start in range(0, X.shape[0], step):
            part = X[start : start + step]
            yield self.codec.scale(part)
            forget(part)

    def sums(self, X: Any) -> dict[str, Rows]:
        """Return what each part adds to the scores, in bounded memory."""
        parts = [self.cells.sums(rows) for rows in self.scaled_chunks(X)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def score(self, X: Any) -> Rows:
        """Return scores, high for normal rows; memory grows by these alone."""
        scores, start = np.empty(X.shape[0]), 0
        for rows in self.scaled_chunks(X):
            sums = self.cells.sums(rows).values()
            scores[start : start + len(rows)] = -np.asarray(sum(sums))
            start += len(rows)
        return scores
