"""Tables too large to be fitted whole: rows are drawn, and the others are only scored."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import correlated
from scipy import sparse
from sklearn.decomposition import PCA

from sklearn_repr import ReconstructionOutlierDetector
from sklearn_repr.data.repeats import draw_rows
from sklearn_repr.estimators import outlier_detector

N, MOST = 700, 120


@pytest.fixture
def bounded(monkeypatch):
    monkeypatch.setattr(outlier_detector, "CELLS_FITTED", 6 * MOST)
    monkeypatch.setattr(outlier_detector, "ROWS_FITTED", MOST)


def detector(**options):
    return ReconstructionOutlierDetector(n_steps=3, random_state=0, **options)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("kind", ["array", "file", "sparse", "frame", "lists"])
def test_training_scores_are_computed_when_they_are_asked_for(kind, tmp_path):
    X = correlated(N)
    X.tofile(tmp_path / "table")
    table = {
        "array": lambda: X,
        "file": lambda: np.memmap(tmp_path / "table", np.float64, "r", shape=X.shape),
        "sparse": lambda: sparse.csr_array(X),
        "frame": lambda: pd.DataFrame(X),
        "lists": X.tolist,
    }[kind]()
    model = detector(contamination=0.1).fit(table)
    assert "training_scores_" not in vars(model)
    assert len(model._fitted_scores) == MOST
    assert model.training_scores_ is model.training_scores_
    np.testing.assert_array_equal(model.training_scores_, model.score_samples(X))
    # the same rows, wherever they come from
    same = detector(contamination=0.1).fit(X)
    np.testing.assert_array_equal(same.score_samples(X), model.training_scores_)
    assert same.offset_ == model.offset_
    assert (model.predict(X) == -1).mean() == pytest.approx(0.1, abs=0.08)
    # a table that is fitted whole has scores at once
    model.fit(correlated(MOST))
    assert len(vars(model)["training_scores_"]) == MOST


@pytest.mark.usefixtures("bounded")
def test_the_table_is_not_kept():
    X = correlated(N)
    model = detector().fit(X)
    copy = pickle.loads(pickle.dumps(model))  # noqa: S301 - just written
    np.testing.assert_array_equal(copy.score_samples(X), model.score_samples(X))
    assert len(pickle.dumps(model)) < len(pickle.dumps(detector().fit(X[:MOST]))) + 2000
    del X
    for gone in (model, copy):
        with pytest.raises(AttributeError, match=r"keep it, or call score_samples\(X\)"):
            _ = gone.training_scores_


@pytest.mark.usefixtures("bounded")
def test_rows_that_calibrate_are_drawn_too():
    X = correlated(N)
    model = detector(calibration=3).fit(X)
    assert len(model._calibration.scores()) == MOST
    assert model.p_values(X).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.usefixtures("bounded")
def test_an_estimator_is_fitted_to_all_rows():
    X = correlated(N)
    whole = detector(estimator=PCA(2)).fit(X)
    assert len(vars(whole)["training_scores_"]) == N


def test_rows_are_drawn_as_often_as_they_count():
    rng = np.random.default_rng(0)
    X = np.arange(1000.0)[:, None]
    drawn = draw_rows(X, None, 100, rng).ravel()
    np.testing.assert_array_equal(drawn // 10, np.arange(100))
    assert len(set(drawn % 10)) > 5
    weights = np.zeros(1000, int)
    weights[[3, 7, 500]] = 100, 200, 700
    drawn = draw_rows(X, weights, 100, rng).ravel()
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [3, 7, 500]
    np.testing.assert_allclose(counts, [10, 20, 70], atol=1)
    few = [draw_rows(X[:4], [0, 1, 0, 2], 2, rng) for _ in range(20)]
    assert set(np.unique(few)) == {1, 3}
    assert draw_rows(X, weights, 1000, rng) is None
    assert draw_rows(X, None, 1000, rng) is None
    with pytest.raises(ValueError, match="whole numbers"):
        draw_rows(X, weights + 0.5, 100, rng)


def test_the_fit_of_a_file_takes_memory_for_the_rows_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(outlier_detector, "CELLS_FITTED", 2**14)
    monkeypatch.setattr(outlier_detector, "ROWS_FITTED", 2**10)
    n, d = 200_000, 16
    X = np.memmap(tmp_path / "table", np.float32, "w+", shape=(n, d))
    X[:] = np.random.default_rng(0).normal(size=(n, d))
    model = detector().fit(X[:2000])
    tracemalloc.start()
    try:
        model.fit(X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes / 4
