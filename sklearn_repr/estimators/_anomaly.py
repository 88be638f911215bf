"""How abnormal every cell of a row is: errors of a reconstructor and of neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_repr.data import NumericCodec
from sklearn_repr.detection.neighbours import LocalNeighbours, SetNeighbours
from sklearn_repr.estimators._noise_networks import (
    CleanNetworks,
    ContaminatedNetworks,
    NoiseNetworks,
)
from sklearn_repr.utils.draws import row_shifts
from sklearn_repr.utils.mapped import forget
from sklearn_repr.utils.randomness import Seeds

__all__ = ["CellScorer", "EstimatorErrors", "NetworkErrors", "TableScorer"]

# Scaled values that a float32 network can still square without overflow; no row is less
# of an outlier for being clipped there before it is rebuilt
FAR_OUT = 1e15
# Rows handed to a reconstructor at a time; always as many, so that a row's error does not
# depend on how many came with it (unless the reconstructor itself iterates over all rows
# together, as NMF does)
CHUNK = 1024
# Share of training rows that a contaminated table's neighbours are drawn from
KEPT = 0.9
FEWEST_STEPS, STEPS_PER_ROW = 100, 2
# Networks, their number and their steps of training
PRESETS: dict[str, tuple[type[NoiseNetworks], int, int]] = {
    "contaminated": (ContaminatedNetworks, 8, 200),
    "clean": (CleanNetworks, 2, 600),
}


class NetworkErrors:
    """The default reconstructor: networks on columns in units of their spread.

    Columns of clean training rows are divided by their range for the networks, and for
    neighbours by the geometric mean of range and deviation.
    """

    def __init__(self, training_data: str, n_steps: Any, seeds: Seeds, verbose: int):
        self.clean = training_data == "clean"
        self.preset = PRESETS[training_data]
        self.n_steps = n_steps
        self.seed = seeds["networks"]
        self.verbose = verbose

    def fit_errors(
        self, rows: NDArray[np.float64], constant: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Fit the networks to scaled rows, and return the errors of the rows.

        Constant columns keep their unit.
        """
        self.center_ = rows.mean(axis=0)
        deviation = rows.std(axis=0)
        spread = np.ptp(rows, axis=0) if self.clean else deviation
        flat = constant | (spread == 0)
        self.unit_ = np.where(flat, 1.0, spread)
        self.neighbour_unit_ = np.where(flat, 1.0, np.sqrt(spread) * np.sqrt(deviation))
        kind, members, steps = self.preset
        # few rows are learned in few steps
        steps = min(steps, max(FEWEST_STEPS, STEPS_PER_ROW * len(rows)))
        steps = steps if self.n_steps == "auto" else int(self.n_steps)
        seeds = np.random.SeedSequence(self.seed).generate_state(members)
        self.networks_ = kind(seeds.tolist(), steps, self.verbose)
        found: NDArray[np.float64] = self.networks_.fit_errors(
            self._inside(rows, self.unit_)
        )
        return found

    def _inside(
        self, rows: NDArray[np.float64], unit: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        inside: NDArray[np.float64] = (rows - self.center_) / unit
        return inside.clip(-FAR_OUT, FAR_OUT)

    def units(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rows in the units in which neighbours are compared."""
        return self._inside(rows, self.neighbour_unit_)

    def errors(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return errors by cell."""
        found: NDArray[np.float64] = self.networks_.errors(self._inside(rows, self.unit_))
        return found

    def expected(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the reconstruction in the units of `rows`."""
        rebuilt = self.networks_.expected(self._inside(rows, self.unit_))
        return np.asarray(rebuilt * self.unit_ + self.center_)


class EstimatorErrors:
    """Any reconstructor: squared errors of what it rebuilds."""

    def __init__(self, estimator: Any):
        self.estimator = estimator

    def fit_errors(
        self, rows: NDArray[np.float64], constant: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Fit the estimator to scaled rows, and return the errors of the rows."""
        self.far_out_ = max(FAR_OUT, float(np.abs(rows).max()))
        self.estimator.fit(rows)
        return self.errors(rows)

    def units(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rows in the units in which neighbours are compared."""
        return rows.clip(-self.far_out_, self.far_out_)

    def errors(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return squared errors by cell."""
        return np.square(rows - self.expected(rows))

    def expected(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the reconstruction."""
        parts = []
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            padded = self.units(np.resize(part, (CHUNK, rows.shape[1])))
            rebuilt = self.estimator.inverse_transform(self.estimator.transform(padded))
            parts.append(np.asarray(rebuilt, np.float64)[: len(part)])
        return np.concatenate(parts)


class CellScorer:
    r"""Errors and neighbour distances joined to one score, cell by cell.

    With the row sums E of errors and T of neighbour distances and the weight w,

    .. math:: a = \frac{E / s_E + w \, T / s_T}{1 + w}
              \quad\text{or}\quad
              a = \Big( \frac{E}{m_E} \Big( \frac{T}{m_T} \Big)^w \Big)^{1 / (1 + w)}

    for contaminated and clean training rows, with their standard deviations s and
    medians m over the training rows; cells share a in proportion to their share of each
    part. With w = 0 the score is E itself.
    """

    def __init__(self, errors: Any, training_data: str, weight: float, seeds: Seeds):
        self.reconstructor = errors
        self.weight = weight
        self.clean = training_data == "clean"
        self.neighbours: SetNeighbours | LocalNeighbours | None = None
        if weight:
            self.neighbours = LocalNeighbours() if self.clean else SetNeighbours()
        self.seed = seeds["neighbors"]

    def fit_sums(
        self, rows: NDArray[np.float64], constant: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.float64]]:
        """Fit both parts to scaled rows, and return the sums of the rows."""
        errors = self.reconstructor.fit_errors(rows, constant).sum(axis=1)
        if self.neighbours is None:
            return self._join(errors, None)
        units = self.reconstructor.units(rows)
        rng = np.random.default_rng(self.seed)
        if self.clean:
            self.neighbours.fit(units, rng)
        else:
            self.neighbours.fit(units[errors <= np.quantile(errors, KEPT)], rng)
        near = self.neighbours.distances(units).sum(axis=1)
        middle = np.median if self.clean else np.std
        # parts without spread say nothing, whatever they are divided by
        self.usual_ = float(middle(errors)) or 1.0, float(middle(near)) or 1.0
        return self._join(errors, near)

    def _cells(self, rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        found = [self.reconstructor.errors(rows)]
        if self.neighbours is not None:
            found.append(self.neighbours.distances(self.reconstructor.units(rows)))
        return found

    def _join(
        self, errors: NDArray[np.float64], near: NDArray[np.float64] | None
    ) -> dict[str, NDArray[np.float64]]:
        """Turn row sums into what each part adds to the score."""
        if near is None:
            return {"reconstruction": errors}
        errors, near = errors / self.usual_[0], near / self.usual_[1]
        share = 1.0 / (1.0 + self.weight)
        if self.clean:
            # roots first: powers of a heavy weight would be beyond all floats
            errors = near = errors**share * near ** (1.0 - share)
        return {"reconstruction": share * errors, "neighbors": (1.0 - share) * near}

    def sums(self, rows: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return what each part adds to the rows' scores, each of shape (n,)."""
        errors, *near = (cells.sum(axis=1) for cells in self._cells(rows))
        return self._join(errors, near[0] if near else None)

    def contributions(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
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
    """From rows in original units to contributions: scaling, then a CellScorer."""

    def __init__(self, codec: NumericCodec, cells: CellScorer):
        self.codec = codec
        self.cells = cells

    def fit(self, X: Any, names: Any = None) -> TableScorer:
        """Fit scaling and cells to validated rows."""
        rows = self.codec.fit(X, names).scale(X)
        self.size_ = float(np.square(rows).sum(axis=1).mean())
        sums = self.cells.fit_sums(rows, self.codec.constant_)
        # what `score` says of the training rows
        self.training_scores_ = -np.asarray(sum(sums.values()))
        return self

    def contributions(self, X: Any) -> NDArray[np.float64]:
        """Return contributions of all cells to the scores."""
        return self.cells.contributions(self.codec.scale(X))

    def expected(self, X: Any) -> NDArray[np.float64]:
        """Return what cells are rebuilt to, in original units."""
        rebuilt = self.cells.reconstructor.expected(self.codec.scale(X))
        return self.codec.decode(rebuilt)

    def _chunks(self, X: Any) -> Iterator[NDArray[np.float64]]:
        for start in range(0, X.shape[0], CHUNK):
            part = X[start : start + CHUNK]
            yield self.codec.scale(part)
            forget(part)

    def uniforms(self, X: Any) -> NDArray[np.float64]:
        """Hash every row to a number in (0, 1]."""
        shifts = [row_shifts(torch.from_numpy(rows), 1) for rows in self._chunks(X)]
        return 1.0 - torch.cat(shifts)[:, 0].numpy()

    def sums(self, X: Any) -> dict[str, NDArray[np.float64]]:
        """Return what each part adds to the scores, in bounded memory."""
        collected: dict[str, list[NDArray[np.float64]]] = {}
        for rows in self._chunks(X):
            for name, sums in self.cells.sums(rows).items():
                collected.setdefault(name, []).append(sums)
        return {name: np.concatenate(sums) for name, sums in collected.items()}

    def score(self, X: Any) -> NDArray[np.float64]:
        """Return scores, high for normal rows; memory grows by these alone."""
        scores, start = np.empty(X.shape[0]), 0
        for rows in self._chunks(X):
            sums = self.cells.sums(rows).values()
            scores[start : start + len(rows)] = -np.asarray(sum(sums))
            start += len(rows)
        return scores
