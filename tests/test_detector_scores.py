"""What the detector's score is made of: errors, neighbours, units, cells."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import correlated, fast
from scipy import sparse
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from sklearn_repr import ReconstructionOutlierDetector

NOVELTY = pytest.mark.parametrize("novelty", [False, True])


@NOVELTY
@pytest.mark.parametrize("weight", ["auto", 0.0, 3.0])
@pytest.mark.parametrize("estimator", [None, PCA(3)])
def test_contributions_add_up(novelty, weight, estimator, X):
    detector = fast(
        ReconstructionOutlierDetector(estimator, novelty=novelty, neighbor_weight=weight)
    ).fit(X)
    rows = np.r_[X, X[:5] * 50]
    score = detector.anomaly_score(rows)
    cells = detector.explain(rows)
    assert cells.shape == rows.shape
    assert (cells >= 0).all()
    np.testing.assert_allclose(cells.sum(axis=1), score, rtol=1e-9)
    parts = detector.score_parts(rows)
    np.testing.assert_allclose(sum(parts.values()), score, rtol=1e-12)
    weight = 0.0 if weight == "auto" and estimator is not None else weight
    assert set(parts) == {"reconstruction", *(["neighbors"] if weight else [])}


@NOVELTY
def test_contributions_add_up_where_no_cell_is_unusual(novelty):
    tables = {
        "equal": np.ones((30, 3)),
        "twice": np.repeat(correlated(10), 8, axis=0),
        "few values": np.random.default_rng(0).integers(0, 3, (100, 3)).astype(float),
        "empty rows": np.r_[correlated(40), np.full((2, 6), np.nan)],
    }
    tables["holed"] = tables["equal"].copy()
    tables["holed"][::3, 1] = np.nan
    for name, table in tables.items():
        detector = fast(ReconstructionOutlierDetector(novelty=novelty)).fit(table)
        cells, score = detector.explain(table), detector.anomaly_score(table)
        np.testing.assert_allclose(cells.sum(axis=1), score, err_msg=name)
        some = np.isnan(table) & ~np.isnan(table).all(axis=1, keepdims=True)
        assert not cells[some].any()


@NOVELTY
@pytest.mark.parametrize("weight", [1e-6, 400.0, 1e6])
def test_any_weight_of_neighbours_gives_finite_scores(novelty, weight, X):
    detector = ReconstructionOutlierDetector(
        PCA(3), novelty=novelty, neighbor_weight=weight, random_state=0
    ).fit(X)
    rows = np.r_[X, X[:5] * 1e6]
    score, cells = detector.anomaly_score(rows), detector.explain(rows)
    assert (score > 0).all()
    np.testing.assert_allclose(cells.sum(axis=1), score, rtol=1e-9)
    assert score[-5:].min() > score[:-5].max()


@NOVELTY
def test_a_wrong_cell_ranks_first(novelty):
    train, rows = correlated(500, d=8), correlated(200, d=8, seed=1)
    detector = ReconstructionOutlierDetector(novelty=novelty, random_state=0)
    detector.fit(train)
    wrong = np.arange(200) % 8
    rows[np.arange(200), wrong] += 6 * train.std(axis=0)[wrong]
    assert (detector.explain(rows).argmax(axis=1) == wrong).mean() >= 0.9


@NOVELTY
def test_constant_and_duplicated_columns_do_not_dominate(novelty):
    train, rows = correlated(400), correlated(100, seed=1)

    def widened(rows, shift):
        n = len(rows)
        flat = [np.full(n, 5.0) + shift, 1e3 + 1e-9 * np.arange(n), np.zeros(n)]
        return np.c_[rows, rows[:, :1], np.transpose(flat)]

    detector = ReconstructionOutlierDetector(novelty=novelty, random_state=0)
    detector.fit(widened(train, 0.0))
    rows[:, 2] += 6 * train.std(axis=0)[2]
    cells = detector.explain(widened(rows, 1e-4))
    assert (cells.argmax(axis=1) == 2).mean() >= 0.9
    assert (cells[:, 7:] < 0.1 * cells[:, 2:3]).all()


def test_the_tidy_frame_speaks_original_units():
    data = load_breast_cancer(as_frame=True)
    X = data.data[data.target == 1].iloc[:, :8]
    X.index = [f"patient {i}" for i in range(len(X))]
    detector = ReconstructionOutlierDetector(novelty=True, random_state=0).fit(X)
    odd = X.iloc[:3].copy()
    odd.loc["patient 0", "mean radius"] *= 3
    frame = detector.explain(odd, as_frame=True)
    assert list(frame) == ["row", "column", "observed", "expected", "contribution"]
    assert len(frame) == 24
    first = frame.iloc[0]
    assert (first["row"], first["column"]) == ("patient 0", "mean radius")
    assert first["observed"] == odd.iloc[0, 0]
    assert abs(first["expected"] - X.iloc[0, 0]) < 0.5 * abs(
        odd.iloc[0, 0] - X.iloc[0, 0]
    )
    sums = frame.groupby("row")["contribution"].sum()
    np.testing.assert_allclose(sums, detector.anomaly_score(odd))
    falling = frame.groupby("row")["contribution"].apply(
        lambda c: c.is_monotonic_decreasing
    )
    assert falling.all()
    with pytest.warns(UserWarning, match="feature names"):
        plain = detector.explain(sparse.csr_array(odd.to_numpy()), as_frame=True)
    assert plain["column"].iloc[0] == "mean radius"


@NOVELTY
def test_it_finds_clustered_and_scattered_outliers(novelty):
    rng = np.random.default_rng(0)
    inliers = correlated(500)
    scattered = rng.permuted(correlated(25, seed=2), axis=0) * 2
    clustered = rng.normal(size=(25, 6)) * 0.1 + [2, -3, 2, -3, 2, -3]
    X = np.r_[inliers, scattered, clustered]
    train = inliers if novelty else X
    detector = ReconstructionOutlierDetector(novelty=novelty, random_state=0)
    scores = detector.fit(train).anomaly_score(X)
    assert roc_auc_score(np.arange(550) >= 500, scores) > 0.97


@NOVELTY
@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_tiny_tables(novelty, n):
    X = correlated(n, d=3)
    detector = fast(ReconstructionOutlierDetector(novelty=novelty)).fit(X)
    for rows in (X, X[:1] * 1e30, -X * 1e12):
        assert np.isfinite(detector.anomaly_score(rows)).all()
        assert np.isfinite(detector.explain(rows)).all()
    constant = fast(detector).fit(np.full((n, 2), 3.0))
    assert (constant.predict(np.full((2, 2), 3.0)) == 1).all()
    assert np.isfinite(constant.anomaly_score([[3.0, 4.0]])).all()


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", None])
def test_units_do_not_matter(scaling):
    X = correlated(300)
    detector = fast(ReconstructionOutlierDetector(scaling=scaling))
    plain = detector.fit(X).anomaly_score(X)
    moved = detector.fit(X * 1e6 + 1e7).anomaly_score(X * 1e6 + 1e7)
    assert np.corrcoef(plain, moved)[0, 1] > 0.999


@NOVELTY
def test_rows_alone_and_in_long_tables(novelty):
    X = correlated(2500, d=5)
    detector = fast(ReconstructionOutlierDetector(novelty=novelty)).fit(X)
    scores, cells = detector.score_samples(X), detector.explain(X)
    for i in (0, 255, 256, 1023, 1024, 2499):
        assert detector.score_samples(X[i : i + 1])[0] == scores[i]
        np.testing.assert_array_equal(detector.explain(X[i : i + 1])[0], cells[i])


@NOVELTY
def test_scaling_changes_what_the_networks_see(novelty):
    """Once, columns were standardised again, whatever the scaling."""
    rng = np.random.default_rng(0)
    X = correlated(200)
    X[:, 5] = np.exp(3 * rng.normal(size=200))

    def scores(scaling):
        detector = ReconstructionOutlierDetector(
            novelty=novelty, scaling=scaling, neighbor_weight=0.0, random_state=0
        )
        return fast(detector).fit(X).anomaly_score(X)

    found = {name: scores(name) for name in ("standard", "robust", "quantile", None)}
    for name, score in found.items():
        for other in set(found) - {name}:
            assert not np.allclose(score, found[other], rtol=0.01)


@pytest.mark.parametrize("scaling", ["robust", "quantile", None])
@NOVELTY
def test_any_scaling_finds_outliers(novelty, scaling):
    inliers, rows = correlated(400), correlated(100, seed=1)
    rows[:30] = np.random.default_rng(0).permuted(rows[:30], axis=0) * 2
    detector = ReconstructionOutlierDetector(
        novelty=novelty, scaling=scaling, random_state=0
    ).fit(inliers)
    assert roc_auc_score(np.arange(100) < 30, detector.anomaly_score(rows)) > 0.9
