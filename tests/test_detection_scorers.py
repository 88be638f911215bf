"""Scorers for searches over detectors: excess mass, mass-volume, labels."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_repr import ReconstructionOutlierDetector
from sklearn_repr.inspection import (
    detection_score,
    excess_mass_score,
    mass_volume_score,
)

LEVEL_SETS = pytest.mark.parametrize("score", [excess_mass_score, mass_volume_score])
DETECTORS = pytest.mark.parametrize(
    "detector",
    [
        IsolationForest(n_estimators=20, random_state=0),
        LocalOutlierFactor(novelty=True),
        ReconstructionOutlierDetector(n_steps=5, random_state=0),
        make_pipeline(StandardScaler(), ReconstructionOutlierDetector(PCA(1))),
    ],
    ids=["forest", "LOF", "ours", "pipeline"],
)


class Known(OutlierMixin, BaseEstimator):
    """A detector whose score is given."""

    def __init__(self, function):
        self.function = function

    def fit(self, X, y=None):
        self.n_fitted_, self.n_features_ = np.shape(X)
        return self

    def score_samples(self, X):
        return self.function(np.asarray(X, dtype=float))


def nothing(X):
    return np.zeros(len(X))


def near_zero(X):
    return -np.square(X).sum(axis=1)


def by_the_formula(detector, X, min_mass=0.9, n_points=10_000, seed=0):
    """Areas as the papers write them, on fine grids of t and alpha."""
    shares = np.random.RandomState(seed).uniform(size=(n_points, X.shape[1]))
    points = X.min(axis=0) * (1 - shares) + X.max(axis=0) * shares
    s, s_points = detector.score_samples(X), detector.score_samples(points)
    volumes, masses = [], []
    for u in s:
        masses.append(np.mean(s >= u))
        volumes.append((1 + np.sum(s_points >= u)) / (1 + n_points))
    masses, volumes = np.array(masses), np.array(volumes)
    t, step, excess, volume = 0.0, 1e-3, 0.0, 0.0
    while (height := np.max(masses - t * volumes)) > min_mass:
        excess += step * height
        t += step
    for alpha in np.linspace(min_mass, 1, 2001)[1:]:
        volume += (1 - min_mass) / 2000 * volumes[masses >= alpha - 1e-12].min()
    return excess, -volume


@pytest.mark.parametrize("min_mass", [0.5, 0.9])
def test_areas_are_those_of_the_formula(min_mass):
    X = np.random.default_rng(1).standard_t(3, size=(150, 2))
    X[:40] = np.round(X[:40])
    for function in (near_zero, lambda X: np.round(near_zero(X)), lambda X: X[:, 0]):
        detector = Known(function)
        excess, volume = by_the_formula(detector, X, min_mass)
        given = {"min_mass": min_mass}
        assert excess_mass_score(detector, X, **given) == pytest.approx(excess, rel=0.01)
        assert mass_volume_score(detector, X, **given) == pytest.approx(volume, rel=0.01)


@pytest.mark.parametrize("d", [1, 3])
def test_of_uniform_rows_and_a_score_that_says_nothing(d):
    X = np.random.default_rng(0).uniform(3, 7, size=(50, d))
    assert excess_mass_score(Known(nothing), X) == pytest.approx(0.095)
    assert mass_volume_score(Known(nothing), X) == pytest.approx(-0.1)
    assert excess_mass_score(Known(nothing), X, min_mass=0.5) == pytest.approx(0.375)


def test_of_rows_on_a_share_of_the_box():
    """Two slabs, a quarter of the box each: EM(t) = 1 - t / 2 and MV = 1 / 2."""
    X = np.random.default_rng(0).uniform(0, 0.25, size=(2000, 2))
    X[1000:, 0] += 0.75
    X[:, 1] *= 400
    X[0], X[1] = (0, 0), (1, 100)

    def density(X):
        return ((X[:, 0] <= 0.25) | (X[:, 0] >= 0.75)).astype(float)

    rows = {"n_points": 100_000}
    found = excess_mass_score(Known(density), X, **rows)
    assert found == pytest.approx(0.095 / 0.5, rel=0.01)
    assert mass_volume_score(Known(density), X, **rows) == pytest.approx(-0.05, rel=0.01)


def test_of_normal_rows():
    X = np.random.default_rng(0).normal(size=(20_000, 1))
    width = np.ptp(X)

    def volume(alpha):
        return 2 * norm.ppf((1 + alpha) / 2) / width

    def excess(t):
        # the best level set ends where the density is t, per width of the box
        z = np.sqrt(max(-2 * np.log(t / width * np.sqrt(2 * np.pi)), 0)) if t else np.inf
        return 2 * norm.cdf(z) - 1 - (t * 2 * z / width if t else 0)

    last = np.array([t for t in np.linspace(1e-6, 3, 30_000) if excess(t) > 0.9]).max()
    found = excess_mass_score(Known(near_zero), X, n_points=200_000)
    assert found == pytest.approx(quad(excess, 0, last)[0], rel=0.02)
    # no sample holds the mass beyond its extremes
    area = quad(volume, 0.9, 1 - 1 / len(X))[0]
    found = mass_volume_score(Known(near_zero), X, n_points=200_000)
    assert found == pytest.approx(-area, rel=0.02)


@LEVEL_SETS
def test_only_the_order_of_scores_counts(score):
    X = np.random.default_rng(0).normal(size=(200, 3))
    plain = score(Known(near_zero), X)
    assert score(Known(lambda X: np.exp(near_zero(X)) * 1e9 - 7), X) == plain
    # infinite scores have a place in the order
    far = np.sort(near_zero(X))[0]
    cut = Known(lambda X: np.where(near_zero(X) <= far, -np.inf, near_zero(X)))
    assert np.isfinite(score(cut, X))


@LEVEL_SETS
def test_units_of_columns_do_not_count(score):
    X = np.random.default_rng(0).normal(size=(200, 2))
    scaled = Known(lambda X: near_zero(X / [1e3, 1e-6] - [5, 0]))
    plain = score(Known(near_zero), X)
    assert score(scaled, np.add(X, [5, 0]) * [1e3, 1e-6]) == pytest.approx(
        plain, rel=1e-2
    )


@LEVEL_SETS
def test_the_better_detector_has_the_better_score(score):
    rng = np.random.default_rng(0)
    train, X = rng.normal(size=(2, 1000, 3)) @ np.diag([1.0, 3.0, 0.2])
    noisy = Known(lambda X: near_zero(X / [1, 3, 0.2]) + 20 * np.sin(99 * X[:, 0]))
    truth = Known(lambda X: near_zero(X / [1, 3, 0.2]))
    sizes = ((5, 8), (20, 16), (200, 256))
    forests = [
        IsolationForest(n_estimators=n, max_samples=m, random_state=0).fit(train)
        for n, m in sizes
    ]
    found = [score(d, X) for d in (Known(nothing), *forests)]
    assert found == sorted(found)
    assert found[0] < score(noisy, X) < score(truth, X)
    assert score(Known(lambda X: -near_zero(X)), X) < score(truth, X)


@LEVEL_SETS
@DETECTORS
def test_they_are_scorers(score, detector):
    X = np.random.default_rng(0).normal(size=(120, 3)) * [1.0, 2.0, 3.0]
    scoring = partial(score, n_points=2000)
    found = cross_val_score(detector, X, scoring=scoring, cv=2)
    assert np.isfinite(found).all()
    again = cross_val_score(detector, X, scoring=scoring, cv=2)
    np.testing.assert_array_equal(again, found)
    noise = {excess_mass_score: 0.095, mass_volume_score: -0.1}[score]
    assert found.mean() > noise


def test_in_a_search_over_detectors_on_two_processes():
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(-4, 0.3, size=(100, 2)), rng.normal(4, 0.3, size=(100, 2))]
    X = rng.permutation(X)
    pipeline = make_pipeline(StandardScaler(), IsolationForest())
    grid = {
        "isolationforest": [
            Known(nothing),
            ReconstructionOutlierDetector(n_steps=20, random_state=0),
            IsolationForest(n_estimators=20, random_state=0),
        ]
    }
    found = []
    scoring = partial(excess_mass_score, n_points=2000)
    for n_jobs in (1, 2):
        search = GridSearchCV(pipeline, grid, scoring=scoring, cv=2, n_jobs=n_jobs)
        search.fit(X)
        found.append(search.cv_results_["mean_test_score"])
        assert search.best_index_ > 0
    np.testing.assert_array_equal(*found)


@LEVEL_SETS
def test_wide_tables_are_judged_by_subsets_of_columns(score):
    X = np.random.default_rng(0).normal(size=(101, 12))
    seen = []

    def remember(X):
        seen.append(X.shape)
        return near_zero(X)

    detector = Known(remember).fit(X)
    found = score(detector, X, max_features=2, n_subsets=4, n_points=500)
    assert seen == [(50, 2), (500, 2)] * 4
    assert detector.n_features_ == 12
    assert score(detector, X, max_features=2, n_subsets=4, n_points=500) == found
    other = {"max_features": 2, "n_subsets": 4, "n_points": 500, "random_state": 1}
    assert score(detector, X, **other) != found
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(12)])
    assert score(detector, frame, max_features=2, n_subsets=4, n_points=500) == found


@LEVEL_SETS
def test_wide_tables_of_noise_and_of_a_plane(score):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(
        size=(400, 8)
    )
    detector = make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)).fit(X)
    assert score(detector, X) > score(Known(nothing), X)


@LEVEL_SETS
def test_global_randomness_is_left_alone(score):
    X = np.random.default_rng(0).normal(size=(60, 7))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    score(Known(near_zero), X)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@LEVEL_SETS
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_frames_stay_frames(score, container):
    rng = np.random.default_rng(0)
    cells = {"size": rng.normal(size=80), "rooms": rng.integers(1, 9, size=80)}
    frame = pytest.importorskip(container).DataFrame(cells)
    detector = ReconstructionOutlierDetector(n_steps=5, random_state=0).fit(frame)
    forest = IsolationForest(random_state=0).fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [score(d, frame) for d in (detector, forest)]
    plain = np.column_stack(list(cells.values()))
    assert found[1] == score(IsolationForest(random_state=0).fit(plain), plain)


@LEVEL_SETS
def test_a_constant_column_takes_no_part(score):
    X = np.random.default_rng(0).normal(size=(200, 2))
    X[:, 1] = 5.0
    alone = Known(lambda X: -np.abs(X[:, 0]))
    assert score(alone, X) == pytest.approx(score(alone, X[:, :1]), rel=0.05)
    assert np.isfinite(score(alone, X[:1]))
    assert np.isfinite(score(alone, np.full((5, 2), 1e300)))


@LEVEL_SETS
@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([[1.0, np.nan], [2.0, 3.0]], ValueError, "Missing cells have no volume.*1 of 2"),
        ([[1.0, np.inf], [2.0, 3.0]], ValueError, "infinity"),
        ([["a"], ["b"]], ValueError, "could not convert"),
        (pd.DataFrame({"n": [1, 2], "c": ["a", "b"]}), ValueError, "no volume.*'c'"),
        (pd.DataFrame({"b": [True, False]}), ValueError, "no volume.*'b' has dtype bool"),
        (sparse.csr_array(np.eye(3)), TypeError, "[Ss]parse"),
        (np.zeros((1, 9)), ValueError, "9 columns, more than max_features=5.*got 1"),
    ],
)
def test_what_has_no_volume_is_named(score, X, error, message):
    with pytest.raises(error, match=message):
        score(Known(nothing), X)


@LEVEL_SETS
@pytest.mark.parametrize(
    ("setting", "value"),
    [("min_mass", 1.0), ("n_points", 0), ("max_features", 0), ("n_subsets", 0)],
)
def test_settings_out_of_range_are_named(score, setting, value):
    with pytest.raises(ValueError, match=rf"{setting} must be .*, got {value!r}"):
        score(Known(nothing), np.eye(2), **{setting: value})


@LEVEL_SETS
def test_detectors_without_score_samples_or_with_nan(score):
    X = np.eye(3)
    with pytest.raises(TypeError, match=r"novelty=True.*LocalOutlierFactor has none"):
        score(LocalOutlierFactor(), X)
    with pytest.raises(ValueError, match="score_samples returned NaN"):
        score(Known(lambda X: np.full(len(X), np.nan)), X)


@LEVEL_SETS
def test_volumes_too_small_to_be_measured_are_reported(score):
    X = np.random.default_rng(0).standard_t(2, size=(500, 12))
    with pytest.warns(UserWarning, match=r"Only \d of 10000 .* holds 90%") as found:
        assert np.isfinite(score(Known(near_zero), X, max_features=None))
    assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(Known(near_zero), X, max_features=1)


def labelled():
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=(90, 3)), rng.normal(size=(10, 3)) * 2 + 1]
    return X, (np.arange(100) >= 90).astype(int)


@DETECTORS
def test_detection_score_is_scikit_learns_metric(detector):
    X, y = labelled()
    detector.fit(X)
    anomaly = -detector.score_samples(X)
    assert detection_score(detector, X, y) == average_precision_score(y, anomaly)
    auroc = detection_score(detector, X, y, metric="roc_auc")
    assert auroc == pytest.approx(roc_auc_score(y, anomaly))
    for labels in (y.astype(bool), np.where(y, -1, 1), y.astype(float), list(y)):
        assert detection_score(detector, X, labels, metric="roc_auc") == auroc


def test_detection_score_takes_infinite_scores_and_ties():
    given = Known(lambda X: np.array([-np.inf, -np.inf, 0.0, 1.0]))
    assert detection_score(given, np.zeros((4, 1)), [1, 0, 0, 0]) == 0.5
    auroc = detection_score(given, np.zeros((4, 1)), [1, 0, 0, 0], metric="roc_auc")
    assert auroc == pytest.approx(2.5 / 3)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 1, 1], r"all labels here are 1.*StratifiedKFold"),
        ([0, 0, 0], r"all labels here are 0"),
        ([-1, -1, -1], r"all labels here are -1"),
        ([0, 1, -1], r"got labels"),
        ([0, 1, 2], r"0 \(inlier\) and 1 \(outlier\).*got labels \[0, 1, 2\]"),
        (["in", "out", "in"], r"got labels \['in', 'out'\]"),
        ([0, 1, np.nan], r"got labels"),
        ([0, 1], r"inconsistent numbers of samples"),
        ([[0, 1], [1, 0]], r"1d"),
    ],
)
def test_labels_that_follow_no_convention(y, message):
    with pytest.raises(ValueError, match=message):
        detection_score(Known(nothing), np.zeros((3, 1)), y)


def test_what_detection_score_needs_is_named():
    with pytest.raises(ValueError, match=r"metric must be one of .*, got 'f1'"):
        detection_score(Known(nothing), np.zeros((2, 1)), [0, 1], metric="f1")
    with pytest.raises(TypeError, match=r"score_samples.*KMeans has none"):
        detection_score(KMeans(), np.zeros((2, 1)), [0, 1])
    with pytest.raises(ValueError, match="score_samples returned NaN"):
        detection_score(Known(lambda X: [np.nan] * len(X)), np.zeros((2, 1)), [0, 1])


def test_detection_score_in_a_search_with_categories():
    X, y = labelled()
    frame = pd.DataFrame(X, columns=list("abc")).assign(kind=np.where(y, "odd", "usual"))
    detector = ReconstructionOutlierDetector(PCA(1), random_state=0)
    scoring = partial(detection_score, metric="roc_auc")
    search = GridSearchCV(
        detector, {"neighbor_weight": [0, 1]}, scoring=scoring, cv=StratifiedKFold(3)
    ).fit(frame, y)
    assert search.best_score_ > 0.8


def test_detectors_have_no_score_and_say_what_to_take_instead():
    detector = ReconstructionOutlierDetector(n_steps=2)
    X = np.eye(5)
    for model in (detector, make_pipeline(StandardScaler(), detector)):
        assert not hasattr(model, "score")
        with pytest.raises(TypeError, match="If no scoring is specified"):
            GridSearchCV(model, {}).fit(X)
    with pytest.raises(
        AttributeError, match=r"Detector has no score.*excess_mass_score.*detection_score"
    ):
        detector.score(X)
    assert not hasattr(detector.fit(X), "score")
