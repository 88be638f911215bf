"""Parts of a table that are fitted in place of all of it, and what they lack."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import correlated
from scipy import sparse
from sklearn.decomposition import PCA

from sklearn_repr import ReconstructionOutlierDetector
from sklearn_repr.estimators import outlier_detector
from sklearn_repr.utils.randomness import Seeds

N, SEED = 60, 1


def with_rare_column(kind):
    """Return a table whose column 2 has a single cell, and rows that have one too."""
    X = correlated(N)
    hole = np.arange(N) != 7
    X[hole, 2] = np.nan
    fresh = correlated(8, seed=1)
    if kind == "sparse":
        return sparse.csr_array(X), sparse.csr_array(fresh)
    if kind in ("array", "PCA", "wide"):
        more = correlated(N, d=300, seed=2) if kind == "wide" else X[:, :0]
        X = np.c_[X, more]
        return X, np.c_[fresh, more[:8]]
    tables = pd.DataFrame(X), pd.DataFrame(fresh)
    for table in tables:
        table[2] = table[2].map(lambda x: None if np.isnan(x) else "known")
        table[2] = table[2].astype(object)
    return tables


@pytest.mark.parametrize("kind", ["array", "sparse", "frame", "wide", "PCA"])
@pytest.mark.parametrize("calibration", [3, 0.2])
def test_a_column_may_have_no_cell_in_a_fold(kind, calibration):
    X, fresh = with_rare_column(kind)
    detector = ReconstructionOutlierDetector(
        PCA(2) if kind == "PCA" else None,
        calibration=calibration,
        n_steps=2,
        random_state=SEED,
    ).fit(X)
    folds = detector._calibration_folds(N, Seeds(SEED))
    assert any(7 in held_out for held_out, _ in folds)
    assert np.isfinite(detector.training_scores_).all()
    np.testing.assert_array_equal(detector.score_samples(X), detector.training_scores_)
    p = detector.p_values(fresh)
    assert ((p > 0) & (p <= 1)).all()


def test_a_column_without_cells_in_the_rows_drawn_says_nothing(monkeypatch):
    monkeypatch.setattr(outlier_detector, "CELLS_FITTED", 60)
    monkeypatch.setattr(outlier_detector, "ROWS_FITTED", 10)
    X, fresh = with_rare_column("array")
    # row 7 is not among the ten drawn
    detector = ReconstructionOutlierDetector(n_steps=2, random_state=2).fit(X)
    assert np.isnan(detector._scorer.expected(fresh)[:, 2]).all()
    assert not detector.explain(fresh)[:, 2].any()
    other = fresh.copy()
    other[:, 2] += 9
    np.testing.assert_array_equal(
        detector.score_samples(fresh), detector.score_samples(other)
    )
    holed = fresh.copy()
    holed[:, 2] = np.nan
    np.testing.assert_array_equal(
        detector.score_samples(fresh), detector.score_samples(holed)
    )
    X[:, 2] = np.nan
    with pytest.raises(ValueError, match="Column number 2 of X holds no observed value"):
        detector.fit(X)
