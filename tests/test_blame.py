"""Which cells are to blame for the errors of a row."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import correlated

from sklearn_repr import ReconstructionOutlierDetector
from sklearn_repr.detection import blame as blame_module
from sklearn_repr.detection.blame import blame


def problem(seed, cells):
    """Return rows of three factors, some cells wrong, and their linear residual."""
    rng = np.random.default_rng(seed)
    width = len(cells)
    loadings = rng.normal(size=(3, width))
    covariance = loadings.T @ loadings + 0.1 * np.eye(width)
    precision = np.linalg.inv(covariance)
    rows = rng.normal(size=(40, 3)) @ loadings
    rows[np.arange(40), rng.integers(0, width, 40)] += 8.0
    return rows, precision / np.diag(precision)


def slowly(row, known, linear, cells):
    """Try every cell of one row, one after another, by the definition."""
    row, left = row.copy(), known.copy()
    blamed = np.zeros(len(known))

    def errors(row):
        missed = np.abs(row @ linear)
        found = np.array([missed[cells == cell].sum() for cell in range(len(known))])
        return np.where(left, found, 0.0)

    while True:
        before, best, fall = errors(row).sum(), None, 1.0
        for cell in np.flatnonzero(left):
            moved = np.where(cells == cell, row - row @ linear, row)
            left[cell] = False
            if before - errors(moved).sum() > fall:
                best, fall = cell, before - errors(moved).sum()
            left[cell] = True
        if best is None:
            return blamed + errors(row)
        row = np.where(cells == best, row - row @ linear, row)
        left[best] = False
        blamed[best] = fall


@pytest.mark.parametrize("cells", [np.arange(7), np.array([0, 1, 1, 2, 3, 3, 3])])
def test_blame_is_what_the_definition_says(cells, monkeypatch):
    monkeypatch.setattr(blame_module, "CANDIDATES", 7)
    rows, linear = problem(0, cells)
    known = np.ones((40, cells.max() + 1), bool)
    known[::3, 1] = False

    def errors(missed, positions):
        assert len(missed) == len(positions)
        parts = [
            np.abs(missed)[:, cells == cell].sum(axis=1) for cell in range(len(known.T))
        ]
        return np.stack(parts, axis=1)

    found = blame(
        rows,
        known,
        linear=linear,
        cells=cells,
        residuals=lambda x: x @ linear,
        errors=errors,
    )
    expected = [slowly(*pair, linear, cells) for pair in zip(rows, known, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # what is missing is to blame for nothing, and no row gains errors
    assert not found[~known].any()
    assert (found >= 0).all()


def test_cells_that_are_wrong_together_come_first():
    train, rows = correlated(500, d=9), correlated(200, d=9, seed=1)
    rng = np.random.default_rng(0)
    wrong = np.zeros(rows.shape, bool)
    for i in range(len(rows)):
        wrong[i, rng.permutation(9)[:3]] = True
    rows += np.where(wrong, 5 * train.std(axis=0) * rng.choice([-1, 1], rows.shape), 0)
    detector = ReconstructionOutlierDetector(neighbor_weight=0, random_state=0).fit(train)
    cells = detector.explain(rows)
    np.testing.assert_allclose(cells.sum(axis=1), detector.anomaly_score(rows))

    def recall(cells):
        first = np.argsort(-cells, axis=1)[:, :3]
        return np.take_along_axis(wrong, first, axis=1).mean()

    scaled = np.concatenate(list(detector._scorer.scaled_chunks(rows)))
    own = detector._scorer.cells.reconstructor.errors(scaled)
    assert recall(cells) >= 0.9
    assert recall(cells) > recall(own) + 0.05
