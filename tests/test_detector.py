"""ReconstructionOutlierDetector: any reconstructor, scores, thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import NMF, PCA, KernelPCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_repr import AutoencoderTransformer, ReconstructionOutlierDetector
from sklearn_repr.detection import mad_threshold, quantile_threshold


@pytest.mark.parametrize("scaling", ["standard", None])
def test_the_score_of_pca_is_its_squared_residual(X, scaling):
    detector = ReconstructionOutlierDetector(PCA(2), scaling=scaling).fit(X)
    rows = StandardScaler().fit_transform(X) if scaling else X
    pca = PCA(2).fit(rows)
    residual = rows - pca.inverse_transform(pca.transform(rows))
    expected = np.square(residual).sum(axis=1)
    np.testing.assert_allclose(detector.anomaly_score(X), expected, rtol=1e-8)
    np.testing.assert_array_equal(detector.score_samples(X), -detector.anomaly_score(X))
    np.testing.assert_array_equal(
        detector.decision_function(X), detector.score_samples(X) - detector.offset_
    )


def test_the_score_of_an_autoencoder_is_its_reconstruction_error(X):
    model = AutoencoderTransformer(2, scaling=None, max_iter=3, random_state=0)
    detector = ReconstructionOutlierDetector(model).fit(X)
    encoded = detector._scorer.codec.scale(X)
    np.testing.assert_allclose(
        detector.anomaly_score(X),
        detector.estimator_.reconstruction_error(encoded),
        rtol=1e-3,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("reconstructor", "scaling"),
    [
        (KernelPCA(2, kernel="rbf", fit_inverse_transform=True), "standard"),
        (NMF(2, init="nndsvda", tol=1e-2), None),
        (make_pipeline(StandardScaler(), PCA(2)), None),
        (
            make_pipeline(StandardScaler(), AutoencoderTransformer(2, max_iter=3)),
            "robust",
        ),
        (FunctionTransformer(), "standard"),
    ],
    ids=["KernelPCA", "NMF", "pipeline", "pipeline of ours", "identity"],
)
def test_any_reconstructor(reconstructor, scaling, X):
    rows = X - X.min(axis=0)
    detector = ReconstructionOutlierDetector(
        reconstructor, scaling=scaling, random_state=0
    ).fit(rows)
    scores = detector.score_samples(rows)
    assert np.isfinite(scores).all()
    assert (scores <= 0).all()
    assert not hasattr(reconstructor, "n_features_in_")


def test_what_cannot_reconstruct_is_refused(X):
    with pytest.raises(ValueError, match="object implementing 'fit'"):
        ReconstructionOutlierDetector(KernelPCA(2).set_params(n_components=1).fit).fit(X)


def test_the_seed_reaches_the_reconstructor_unless_it_has_its_own(X):
    free = AutoencoderTransformer(2, max_iter=2)
    fixed = clone(free).set_params(random_state=5)

    def score(reconstructor, seed):
        detector = ReconstructionOutlierDetector(reconstructor, random_state=seed)
        return detector.fit(X).score_samples(X)

    np.testing.assert_array_equal(score(free, 0), score(free, 0))
    assert not np.array_equal(score(free, 0), score(free, 1))
    np.testing.assert_array_equal(score(fixed, 0), score(fixed, 1))
    assert free.random_state is None


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.37, 0.5])
def test_the_share_flagged_is_the_contamination(X, contamination):
    detector = ReconstructionOutlierDetector(PCA(2), contamination=contamination)
    flagged = (detector.fit_predict(X) == -1).mean()
    assert flagged == pytest.approx(contamination, abs=1 / len(X))


def test_auto_flags_what_is_far_out_and_little_else():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 30))
    X += 0.1 * rng.normal(size=X.shape)
    X[:10] += rng.normal(size=(10, 30))
    labels = ReconstructionOutlierDetector(PCA(2)).fit_predict(X)
    assert (labels[:10] == -1).all()
    assert (labels[10:] == -1).mean() < 0.05


def test_rows_that_all_rebuild_are_all_inliers():
    X = np.random.default_rng(0).normal(size=(50, 3))
    labels = ReconstructionOutlierDetector(FunctionTransformer()).fit_predict(X)
    assert (labels == 1).all()


@pytest.mark.parametrize("scaling", ["standard", "robust", None])
def test_a_row_beyond_all_bounds_is_an_outlier(X, scaling):
    X = X / X.std(axis=0)
    detector = ReconstructionOutlierDetector(
        AutoencoderTransformer(2, max_iter=2), random_state=0, scaling=scaling
    ).fit(X)
    far = X[:1].copy()
    far[0, 3] = 3e38
    assert detector.predict(far) == -1
    assert detector.anomaly_score(far) > detector.anomaly_score(X).max()


def test_rounding_is_no_outlier():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 6))
    assert (ReconstructionOutlierDetector(PCA(2)).fit_predict(X) == 1).all()


def test_labels_are_ignored(X):
    detector = ReconstructionOutlierDetector(PCA(2))
    expected = detector.fit(X).score_samples(X)
    labelled = detector.fit(X, np.arange(len(X)) % 2).score_samples(X)
    np.testing.assert_array_equal(expected, labelled)


def test_rows_that_are_there_once_are_no_outliers_for_that():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(200, 4)).astype(float)
    detector = ReconstructionOutlierDetector(novelty=True, random_state=0)
    detector.fit(X)
    _, kind, counts = np.unique(X, axis=0, return_inverse=True, return_counts=True)
    alone = counts[kind] == 1
    assert 0.05 < alone.mean() < 0.5
    assert (detector.predict(X) == -1).mean() < 0.2
    assert (detector.predict(X[alone]) == 1).any()
    assert detector.predict([[9.0, -9.0, 9.0, -9.0]]) == -1


@pytest.mark.parametrize("far", [50.0, 1e9, np.inf])
def test_a_spread_of_zero_falls_back_to_the_mean_deviation(far):
    scores = -np.r_[np.zeros(60), np.linspace(1, 2, 39), far]
    threshold = mad_threshold(scores)
    assert -far < threshold < -2
    finite = -scores[np.isfinite(scores)]
    assert threshold == pytest.approx(-3 * 1.2533 * finite.mean(), rel=1e-4)
    assert mad_threshold(np.full(5, -3.0)) == -3.0


def test_thresholds():
    scores = -np.random.default_rng(0).gamma(2, size=1000)
    assert (scores < quantile_threshold(scores, 0.05)).sum() == 50
    median = np.median(scores)
    expected = median - 3 * 1.4826 * np.median(np.abs(scores - median))
    assert mad_threshold(scores) == pytest.approx(expected)
    normal = np.random.default_rng(1).normal(5, 2, size=200_000)
    assert mad_threshold(normal, 1.0) == pytest.approx(3.0, abs=0.03)
