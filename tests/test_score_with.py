"""Outliers by densities and by hidden cells of an estimator."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import correlated
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from sklearn_repr import (
    MaskedAutoencoder,
    ReconstructionOutlierDetector,
    VariationalAutoencoder,
)

X = correlated(300)
FAR = X[:5] + 9.0
KINDS = {
    "mixture": ("density", GaussianMixture(2, random_state=0)),
    "variational": ("density", VariationalAutoencoder(2, max_iter=5, random_state=0)),
    "masked": ("conditionals", MaskedAutoencoder(2, max_iter=5, random_state=0)),
}
EACH = pytest.mark.parametrize("kind", KINDS)


def fitted(kind, rows=X, **settings):
    score_with, estimator = KINDS[kind]
    detector = ReconstructionOutlierDetector(estimator, score_with=score_with, **settings)
    return detector.fit(rows)


def test_the_score_of_a_density_is_its_definition():
    detector = fitted("mixture", scaling=None)
    log_density = GaussianMixture(2, random_state=0).fit(X).score_samples(X)
    expected = np.log1p(np.exp(np.median(log_density) - log_density))
    np.testing.assert_allclose(detector.anomaly_score(X), expected)


def test_the_score_of_hidden_cells_is_its_definition():
    detector = fitted("masked", scaling=None)
    model = MaskedAutoencoder(2, max_iter=5, random_state=0).fit(X)
    expected = np.empty(X.shape)
    for j in range(X.shape[1]):
        holed = X.copy()
        holed[:, j] = np.nan
        expected[:, j] = np.square(X[:, j] - model.impute(holed)[:, j])
    np.testing.assert_allclose(detector.explain(X), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_scores_are_finite_where_a_density_is_0(weight):
    detector = ReconstructionOutlierDetector(
        KernelDensity(kernel="tophat"), score_with="density", neighbor_weight=weight
    ).fit(X)
    rows = np.r_[X, 100 * X]
    scores, cells = detector.anomaly_score(rows), detector.explain(rows)
    assert scores[300:].min() > scores[:300].max()
    np.testing.assert_allclose(cells.sum(axis=1), scores)


class Means(BaseEstimator):
    """Imputes means, and has no tag that says so."""

    def fit(self, X):
        self.mean_ = np.nanmean(X, axis=0)
        return self

    def impute(self, X):
        return np.where(np.isnan(X), self.mean_, X)


def test_cells_are_hidden_from_whatever_imputes():
    detector = ReconstructionOutlierDetector(
        Means(), score_with="conditionals", scaling=None
    ).fit(X + 5)
    np.testing.assert_allclose(detector.explain(X + 5), np.square(X - X.mean(axis=0)))


@EACH
def test_a_missing_cell_has_no_part_in_a_score(kind):
    rows = X[:60].copy()
    rows[np.arange(60), np.arange(60) % 6] = np.nan
    detector = fitted(kind, X, random_state=0)
    cells = detector.explain(rows)
    assert not cells[np.isnan(rows)].any()
    np.testing.assert_allclose(cells.sum(axis=1), detector.anomaly_score(rows))


@EACH
def test_all_else_works_with_them(kind):
    detector = fitted(kind, calibration=0.3, random_state=0)
    np.testing.assert_array_equal(detector.training_scores_, detector.score_samples(X))
    assert (detector.predict(FAR) == -1).all()
    assert detector.p_values(FAR).max() < 0.05
    cells = detector.explain(np.r_[X[:20], FAR])
    scores = detector.anomaly_score(np.r_[X[:20], FAR])
    assert (cells >= 0).all()
    np.testing.assert_allclose(cells.sum(axis=1), scores)
    np.testing.assert_array_equal(
        detector.score_samples(X[7:8]), detector.score_samples(X)[7:8]
    )
    frame = detector.explain(FAR, as_frame=True)
    assert len(frame) == FAR.size
    joined = fitted(kind, neighbor_weight=1.0, random_state=0)
    assert set(joined.score_parts(X)) == {"reconstruction", "neighbors"}


@EACH
def test_the_planted_cell_comes_first(kind):
    rows = X.copy()
    planted = np.arange(40) % X.shape[1]
    rows[np.arange(40), planted] += 8 * X.std(axis=0)[planted]
    detector = fitted(kind, random_state=0)
    cells = detector.explain(rows[:40])
    assert (cells.argmax(axis=1) == planted).mean() > 0.8
    labels = np.arange(300) < 40
    assert roc_auc_score(labels, detector.anomaly_score(rows)) > 0.9


@pytest.mark.parametrize(
    ("score_with", "estimator", "message"),
    [
        ("density", MaskedAutoencoder(2), "MaskedAutoencoder has no score_samples"),
        ("conditionals", PCA(2), "'conditionals' needs .* methods impute; PCA has no"),
        ("reconstruction", GaussianMixture(2), "no transform and no inverse_transform"),
        ("likelihood", PCA(2), "'score_with' parameter"),
    ],
)
def test_what_an_estimator_lacks_is_said(score_with, estimator, message):
    detector = ReconstructionOutlierDetector(estimator, score_with=score_with)
    with pytest.raises((TypeError, ValueError), match=message):
        detector.fit(X)
