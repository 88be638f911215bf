"""From the detector's scores to decisions: thresholds, p-values, probabilities."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import correlated, fast
from scipy.stats import kstest
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score, f1_score

from sklearn_repr import ReconstructionOutlierDetector

NOVELTY = pytest.mark.parametrize("novelty", [False, True])


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("calibration", [None, 3, 0.3])
def test_the_training_share_flagged_is_the_contamination(contamination, calibration):
    X = correlated(150)
    detector = fast(
        ReconstructionOutlierDetector(
            contamination=contamination, calibration=calibration
        )
    )
    flagged = (detector.fit_predict(X) == -1).mean()
    assert flagged == pytest.approx(contamination, abs=1 / 150)


def test_rules_of_the_threshold():
    X = correlated(500)
    fresh = correlated(4000, seed=5)
    detector = ReconstructionOutlierDetector(PCA(2), random_state=0, calibration=0.4)
    detector.fit(X)
    scores = detector.anomaly_score(fresh)
    for rule in ("gpd", "conformal"):
        for alpha in (0.02, 0.1):
            detector.set_threshold(rule, false_alarm_rate=alpha)
            rate = (detector.predict(fresh) == -1).mean()
            assert rate == pytest.approx(alpha, abs=0.6 * alpha)
    detector.set_threshold("quantile", contamination=0.3)
    assert (detector.predict(X) == -1).mean() == pytest.approx(0.3, abs=1 / 500)
    detector.set_threshold(1.25)
    assert detector.offset_ == -1.25
    np.testing.assert_array_equal(detector.predict(fresh) == -1, scores > 1.25)
    auto = detector.set_threshold("auto").offset_
    assert auto == detector.set_threshold("mad").offset_
    fixed = ReconstructionOutlierDetector(PCA(2), threshold=1.25).fit(X)
    assert fixed.offset_ == -1.25
    assert detector.threshold == "auto"


def test_tuned_thresholds():
    X = correlated(400)
    detector = ReconstructionOutlierDetector(PCA(2)).fit(X)
    rows = np.r_[correlated(200, seed=1), correlated(20, seed=2) + 1]
    y = np.arange(220) >= 200
    for metric, score in (
        ("f1", f1_score),
        ("balanced_accuracy", balanced_accuracy_score),
    ):
        tuned = score(y, detector.tune_threshold(rows, y, metric).predict(rows) == -1)
        for quantile in np.linspace(0.5, 0.99, 20):
            cut = np.quantile(detector.anomaly_score(rows), quantile)
            other = detector.set_threshold(float(cut)).predict(rows) == -1
            assert tuned >= score(y, other)
    signed = np.where(y, -1, 1)
    offset = detector.tune_threshold(rows, y).offset_
    assert detector.tune_threshold(rows, signed).offset_ == offset
    inliers = rows[:200]
    detector.tune_threshold(inliers, np.ones(200, int))
    assert -detector.offset_ >= detector.anomaly_score(inliers).max()
    assert (detector.predict(inliers) == 1).all()


@pytest.mark.parametrize("n", [2, 3, 4])
def test_fewer_rows_than_folds_are_a_fold_each(n):
    detector = ReconstructionOutlierDetector(n_steps=2, threshold="conformal")
    X = correlated(n)
    with pytest.warns(UserWarning, match=f"at least 19 rows to calibrate by, got {n}"):
        detector.fit(X)
    assert (detector.predict(X) == 1).all()
    assert detector.offset_ == -np.inf
    assert (detector.p_values(X, smoothed=False) >= 1 / (n + 1)).all()


@pytest.mark.parametrize(
    "setting",
    [
        {"threshold": "quantile", "contamination": "much"},
        {"threshold": "quantile", "contamination": 1.5},
        {"threshold": "gpd", "false_alarm_rate": "little"},
        {"threshold": "conformal", "false_alarm_rate": 0.0},
    ],
)
def test_a_share_that_is_none_is_named(setting, X):
    detector = ReconstructionOutlierDetector(PCA(2), calibration=0.3).fit(X)
    before = detector.offset_
    name, value = list(setting.items())[-1]
    with pytest.raises(ValueError, match=rf"{name} must be in .*, got {value!r}"):
        detector.set_threshold(**setting)
    assert detector.offset_ == before


def test_what_a_rule_needs_is_said(X):
    detector = ReconstructionOutlierDetector(PCA(2)).fit(X)
    before = detector.offset_
    with pytest.raises(ValueError, match=r"set calibration to a number of folds"):
        detector.p_values(X)
    with pytest.raises(ValueError, match=r"threshold='quantile' needs contamination"):
        detector.set_threshold("quantile")
    with pytest.raises(ValueError, match=r"got 'loud'"):
        detector.set_threshold("loud")
    with pytest.raises(ValueError, match="calibration=200 folds need as many rows"):
        ReconstructionOutlierDetector(PCA(2), calibration=200).fit(X)
    with pytest.raises(ValueError, match=r"calibration=0\.001 of n_samples=133"):
        ReconstructionOutlierDetector(PCA(2), calibration=0.001).fit(X)
    assert detector.offset_ == before


@pytest.mark.parametrize("calibration", [0.5, 5])
@pytest.mark.parametrize("n", [60, 400])
def test_p_values_keep_the_rate_of_false_alarms(n, calibration):
    m, seeds = 400, 20
    p = []
    for seed in range(seeds):
        detector = ReconstructionOutlierDetector(
            PCA(2), calibration=calibration, random_state=seed
        ).fit(correlated(n, seed=seed))
        fresh = correlated(m, seed=1000 + seed)
        p.append(detector.p_values(fresh))
        plain = detector.p_values(fresh, smoothed=False)
        assert (p[-1] > 0).all()
        assert (p[-1] <= plain).all()
        np.testing.assert_array_equal(p[-1][5:6], detector.p_values(fresh[5:6]))
    size = n * calibration if calibration < 1 else n
    for alpha in (0.01, 0.05, 0.1):
        # fresh rows share their calibration rows, which adds to the binomial error
        error = np.sqrt(alpha * (1 - alpha) * (1 / m + 1 / size) / seeds)
        assert np.mean(np.array(p) <= alpha) == pytest.approx(alpha, abs=4 * error)


@pytest.mark.parametrize("calibration", [0.5, 5])
def test_rows_that_calibrate_are_not_in_the_fit(calibration):
    """Half as many components as columns and few rows: a fit knows its own rows."""
    rates = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        detector = ReconstructionOutlierDetector(
            PCA(10), calibration=calibration, scaling=None, random_state=seed
        ).fit(rng.normal(size=(60, 20)))
        rates.append((detector.p_values(rng.normal(size=(200, 20))) <= 0.1).mean())
    error = 3.5 * np.std(rates) / np.sqrt(40)
    # folds differ, which makes their p-values conservative on few rows
    lowest = 0.1 if calibration == 0.5 else 0.03
    assert lowest - error <= np.mean(rates) <= 0.1 + error
    assert error < 0.04


@pytest.mark.parametrize("calibration", [5, 0.5])
def test_mad_looks_at_rows_that_were_not_fitted_where_there_are(calibration):
    """Half as many components as columns and few rows: a fit knows its own rows."""
    rates = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, fresh = rng.normal(size=(80, 20)), rng.normal(size=(400, 20))
        for given in (None, calibration):
            detector = ReconstructionOutlierDetector(
                PCA(10), calibration=given, scaling=None, random_state=seed
            ).fit(X)
            unseen = np.concatenate(detector._calibration.held_out or [[0.0]])
            said = (unseen < detector.offset_).mean()
            rates.append(((detector.predict(fresh) == -1).mean(), said))
    plain, calibrated = np.mean(rates[::2], axis=0)[0], np.mean(rates[1::2], axis=0)
    assert calibrated[0] < 0.5 * plain
    assert calibrated[0] < calibrated[1] + 0.02


def test_too_few_held_out_rows_set_no_threshold():
    X = correlated(100)
    detector = ReconstructionOutlierDetector(PCA(2), calibration=0.01).fit(X)
    rate = (detector.predict(correlated(500, seed=1)) == -1).mean()
    assert rate < 0.1


def test_smoothed_p_values_are_spread_between_two_ranks():
    X = np.random.default_rng(0).normal(size=(60, 20))
    far = 50 + np.random.default_rng(1).normal(size=(300, 20))
    for calibration, n in ((0.5, 30), (5, 60)):
        detector = ReconstructionOutlierDetector(
            PCA(10), calibration=calibration, random_state=0
        ).fit(X)
        plain = detector.p_values(far, smoothed=False)
        np.testing.assert_array_equal(plain, 1 / (n + 1))
        assert kstest(detector.p_values(far) * (n + 1), "uniform").pvalue > 1e-3


def test_p_values_take_little_more_memory_than_a_number_a_row():
    n, d = 40_000, 30
    rows = np.random.default_rng(0).normal(size=(n, d))
    detector = ReconstructionOutlierDetector(PCA(2), calibration=0.5).fit(rows[:200])
    detector.p_values(rows[:2000])
    tracemalloc.start()
    try:
        detector.p_values(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows.nbytes / 2


@NOVELTY
def test_p_values_of_the_ensemble(novelty):
    rates = []
    for seed in range(4):
        detector = ReconstructionOutlierDetector(
            novelty=novelty, calibration=0.4, n_steps=50, random_state=seed
        ).fit(correlated(300, seed=seed))
        rates.append((detector.p_values(correlated(500, seed=50 + seed)) <= 0.1).mean())
    assert np.mean(rates) == pytest.approx(0.1, abs=0.06)


def test_selections_keep_the_false_discovery_rate():
    shares, found = [], []
    y = np.arange(300) >= 250
    for seed in range(20):
        detector = ReconstructionOutlierDetector(
            PCA(2), calibration=0.5, random_state=seed
        ).fit(correlated(1000, seed=seed))
        rows = correlated(300, seed=100 + seed)
        rows[y, :2] += 1.5 * np.random.default_rng(seed).choice([-1, 1], size=(50, 2))
        selected = detector.select(rows, fdr=0.2)
        shares.append((selected & ~y).sum() / max(selected.sum(), 1))
        found.append(selected[y].mean())
    assert np.mean(shares) <= 0.2 + 3 * np.std(shares) / np.sqrt(20)
    assert np.mean(found) > 0.5


def test_probabilities_are_above_a_half_exactly_where_rows_are_flagged():
    X = np.r_[correlated(300), correlated(20, seed=1) * 3 + 1]
    detector = ReconstructionOutlierDetector(PCA(2), contamination=0.06).fit(X)
    for rule in (0.3, "mad", "quantile", "gpd"):
        detector.set_threshold(rule)
        probability = detector.outlier_probability(X)
        assert ((probability > 0) & (probability < 1)).all()
        np.testing.assert_array_equal(probability > 0.5, detector.predict(X) == -1)
        order = np.argsort(detector.anomaly_score(X))
        assert (np.diff(probability[order]) >= 0).all()


def test_frames_and_calibrated_detectors_survive_fit_in_a_frame():
    frame = pd.DataFrame(correlated(120), columns=list("abcdef"))
    detector = fast(ReconstructionOutlierDetector(calibration=3)).fit(frame)
    assert (detector.p_values(frame) > 0).all()
