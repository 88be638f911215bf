"""From scores to decisions: thresholds, p-values, false discoveries."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import binom, false_discovery_control, genpareto, kstest
from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef

from sklearn_repr.detection import (
    benjamini_hochberg,
    best_threshold,
    conformal_p_values,
    conformal_threshold,
    cross_conformal_p_values,
    gpd_threshold,
    mad_threshold,
    outlier_probability,
    quantile_threshold,
)

ALPHAS = [0.01, 0.05, 0.1]


def draws(kind, size, seed=0):
    """Scores of several shapes, high for normal rows."""
    rng = np.random.default_rng(seed)
    return {
        "normal": rng.normal(size=size),
        "ties": rng.integers(0, 6, size=size).astype(float),
        "heavy": -np.abs(rng.standard_cauchy(size=size)),
        "constant": np.full(size, -2.5),
        "huge": rng.normal(size=size) * 1e307,
        "tiny": rng.normal(size=size) * 1e-310,
    }[kind]


SHAPES = ["normal", "ties", "heavy", "constant", "huge", "tiny"]
SIZES = [1, 2, 3, 7, 60, 500]


# Thresholds without labels


@pytest.mark.parametrize("contamination", [0.0, 0.01, 0.1, 0.3, 0.5, 0.77])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_share_flagged_is_as_near_as_ties_permit(shape, size, contamination):
    scores = draws(shape, size)
    flagged = (scores < quantile_threshold(scores, contamination)).mean()
    reachable = np.array([(scores < s).mean() for s in [*scores, np.inf]])
    reachable = reachable[reachable <= contamination + 1 / size + 1e-12]
    reachable = reachable[reachable < 1]
    best = np.abs(reachable - contamination).min()
    assert abs(flagged - contamination) == pytest.approx(best, abs=1e-12)
    if shape == "normal":
        assert abs(flagged - contamination) <= 1 / size


def test_a_tie_at_the_quantile_is_flagged_if_that_is_nearer():
    scores = np.r_[np.zeros(4), np.ones(6)]
    assert (scores < quantile_threshold(scores, 0.3)).sum() == 4
    assert (scores < quantile_threshold(scores, 0.1)).sum() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_no_contamination_flags_no_training_row(shape):
    scores = draws(shape, 100)
    assert quantile_threshold(scores, 0.0) == scores.min()


def test_pareto_threshold_is_the_quantile_of_the_truth():
    errors = []
    for shape, alpha in [(-0.2, 1e-4), (0.0, 1e-4), (0.3, 1e-3)]:
        truth = genpareto.isf(alpha, shape)
        for seed in range(5):
            scores = -genpareto.rvs(shape, size=20_000, random_state=seed)
            errors.append(-gpd_threshold(scores, alpha) / truth - 1)
    assert np.abs(np.mean(errors)) < 0.05
    assert np.max(np.abs(errors)) < 0.4


def test_pareto_fit_is_as_likely_as_the_best_fit():
    from sklearn_repr.detection.generalized_pareto import _fit_generalized_pareto

    for shape in (-0.3, 0.0, 0.5):
        excesses = np.sort(genpareto.rvs(shape, size=300, random_state=1))
        fitted = _fit_generalized_pareto(excesses)
        best, _, scale = genpareto.fit(excesses, floc=0)
        ours = genpareto.logpdf(excesses, fitted[0], scale=fitted[1]).sum()
        assert ours > genpareto.logpdf(excesses, best, scale=scale).sum() - 0.5


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_pareto_threshold_is_finite_for_all_samples(shape, size):
    scores = draws(shape, size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thresholds = [gpd_threshold(scores, alpha) for alpha in (1e-3, 0.05, 0.3, 0.9)]
    assert np.isfinite(thresholds).all()
    assert (np.diff(thresholds) >= 0).all()
    assert (scores < thresholds[0]).mean() <= 0.1


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_pareto_threshold_falls_back_to_the_quantile(size):
    for scores in (draws("normal", size), draws("constant", size), draws("ties", size)):
        assert gpd_threshold(scores, 0.05) == quantile_threshold(scores, 0.05)
    scores = np.r_[np.full(20, -np.inf), draws("normal", 500)]
    assert gpd_threshold(scores, 0.01) == quantile_threshold(scores, 0.01)


def test_pareto_threshold_follows_location_and_scale():
    scores = draws("normal", 1000)
    expected = gpd_threshold(scores, 1e-3)
    assert gpd_threshold(1e200 * scores, 1e-3) == pytest.approx(1e200 * expected)
    assert gpd_threshold(5.0 + 2.0 * scores, 1e-3) == pytest.approx(5 + 2 * expected)


# Conformal thresholds and p-values


@pytest.mark.filterwarnings("ignore:No row is flagged")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 9, 19, 60, 99])
def test_conformal_threshold_is_the_order_statistic(shape, size):
    anomaly = -draws(shape, size)
    for alpha in (0.01, 0.05, 0.1, 0.29, 0.5, 0.9):
        # 1e-9: alpha has no exact binary representation
        rank = int(np.ceil((size + 1) * (1 - alpha) - 1e-9))
        expected = np.sort(anomaly)[rank - 1] if rank <= size else np.inf
        assert -conformal_threshold(-anomaly, alpha) == expected


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.1, 0.05, 1 / 49, 1 / 103, 0.001])
def test_how_many_rows_a_conformal_threshold_needs_is_said(alpha):
    scores = np.arange(1000.0)
    needed = next(n for n in range(1, 1000) if 1 / (n + 1) <= alpha)
    if needed > 1:
        message = rf"needs at least {needed} rows to calibrate by, got {needed - 1}\."
        with pytest.warns(UserWarning, match=message):
            assert conformal_threshold(scores[: needed - 1], alpha) == -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert conformal_threshold(scores[:needed], alpha) == 0.0


@pytest.mark.filterwarnings("ignore:No row is flagged")
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_below_the_conformal_threshold_are_those_with_small_p(shape):
    for size in range(1, 130):
        calibration = draws(shape, size, seed=size)
        fresh = np.r_[draws(shape, 30, seed=1), calibration, -np.inf, np.inf]
        p_values = conformal_p_values(calibration, fresh)
        for percent in (1, 5, 7, 10, 14, 28, 29, 55, 57, 58):
            alpha = percent / 100
            flagged = fresh < conformal_threshold(calibration, alpha)
            # minus infinity is not below minus infinity, nor is its p-value small
            np.testing.assert_array_equal(flagged, p_values <= alpha)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 60])
def test_p_values_by_counting(shape, size):
    calibration, fresh = draws(shape, size), draws(shape, 40, seed=1)
    counts = [(-calibration >= -s).sum() for s in fresh]
    expected = (1 + np.array(counts)) / (size + 1)
    np.testing.assert_array_equal(conformal_p_values(calibration, fresh), expected)
    assert expected.min() > 0
    smoothed = conformal_p_values(
        calibration, fresh, 1 - np.random.default_rng(0).random(len(fresh))
    )
    assert (smoothed <= expected).all()
    assert (smoothed > 0).all()


def within_binomial_error(share, expected, n_seeds, n_fresh, n_calibration):
    """Tell whether a mean share over seeds is what exchangeability predicts.

    Given the calibration rows the rate is Beta(k, n + 1 - k), so that fresh rows of one
    seed are not independent: its variance comes on top of the binomial one.
    """
    spread = expected * (1 - expected) * (1 / n_fresh + 1 / (n_calibration + 2))
    return abs(share - expected) <= 3.5 * np.sqrt(spread / n_seeds)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("size", [60, 500])
def test_false_alarms_over_seeds(size, alpha):
    shares, smoothed = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        calibration, fresh = -rng.gamma(2, size=size), -rng.gamma(2, size=2000)
        shares.append((conformal_p_values(calibration, fresh) <= alpha).mean())
        p = conformal_p_values(calibration, fresh, 1 - rng.random(len(fresh)))
        smoothed.append((p <= alpha).mean())
    # the ranks that alpha allows: none with 60 rows and alpha = 0.01
    attainable = np.floor(alpha * (size + 1) + 1e-9) / (size + 1)
    assert within_binomial_error(np.mean(shares), attainable, 20, 2000, size)
    assert attainable <= alpha < attainable + 1 / (size + 1)
    assert within_binomial_error(np.mean(smoothed), alpha, 20, 2000, size)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_false_alarms_of_independent_trials_are_binomial(alpha):
    rng = np.random.default_rng(7)
    trials, size = 4000, 60
    p_values = np.array(
        [
            conformal_p_values(row[:-1], row[-1:], 1 - rng.random(1))[0]
            for row in rng.normal(size=(trials, size + 1))
        ]
    )
    low, high = binom.ppf([1e-4, 1 - 1e-4], trials, alpha)
    assert low <= (p_values <= alpha).sum() <= high
    assert kstest(p_values, "uniform").pvalue > 1e-4


def test_cross_conformal_p_values_by_counting():
    rng = np.random.default_rng(0)
    held_out = [rng.integers(0, 9, size=n).astype(float) for n in (1, 4, 0, 7)]
    fresh = [rng.integers(-1, 9, size=25).astype(float) for _ in held_out]
    counts = [
        sum((-c >= -f[i]).sum() for c, f in zip(held_out, fresh, strict=True))
        for i in range(25)
    ]
    p_values = cross_conformal_p_values(held_out, fresh)
    np.testing.assert_array_equal(p_values, (1 + np.array(counts)) / 13)


def test_ties_of_cross_conformal_p_values_are_smoothed():
    rng = np.random.default_rng(0)
    held_out = [rng.integers(0, 4, size=n).astype(float) for n in (5, 8)]
    fresh = [rng.integers(-1, 5, size=50).astype(float) for _ in held_out]
    uniforms = 1 - rng.random(50)
    p_values = cross_conformal_p_values(held_out, fresh, uniforms)
    for i in range(50):
        below = sum((c < f[i]).sum() for c, f in zip(held_out, fresh, strict=True))
        equal = sum((c == f[i]).sum() for c, f in zip(held_out, fresh, strict=True))
        expected = (below + uniforms[i] * (1 + equal)) / 14
        assert p_values[i] == pytest.approx(expected)
    ones = cross_conformal_p_values(held_out, fresh, np.ones(50))
    np.testing.assert_array_equal(ones, cross_conformal_p_values(held_out, fresh))


def test_equal_models_make_cross_conformal_split_conformal():
    calibration, fresh = draws("normal", 60), draws("normal", 100, seed=1)
    np.testing.assert_array_equal(
        cross_conformal_p_values(np.split(calibration, 5), [fresh] * 5),
        conformal_p_values(calibration, fresh),
    )


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("folds", [5, 60])
def test_false_alarms_of_cross_conformal(folds, alpha):
    """The model is a mean of few rows of many columns: folds differ."""
    n_rows, n_fresh, shares = 60, 500, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, fresh = rng.normal(size=(n_rows, 10)), rng.normal(size=(n_fresh, 10))
        held_out, scores = [], []
        for fold in np.array_split(np.arange(n_rows), folds):
            center = np.delete(X, fold, axis=0).mean(axis=0)
            held_out.append(-np.square(X[fold] - center).sum(axis=1))
            scores.append(-np.square(fresh - center).sum(axis=1))
        shares.append((cross_conformal_p_values(held_out, scores) <= alpha).mean())
    attainable = np.floor(alpha * (n_rows + 1) + 1e-9) / (n_rows + 1)
    assert within_binomial_error(np.mean(shares), attainable, 20, n_fresh, n_rows)


# False discoveries


def test_benjamini_hochberg_is_scipys():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 10, 200):
        for power in (1, 4):
            p_values = (rng.random(size) ** power).round(2)
            for fdr in (0.01, 0.1, 0.5):
                expected = false_discovery_control(p_values) <= fdr
                np.testing.assert_array_equal(benjamini_hochberg(p_values, fdr), expected)
    assert benjamini_hochberg(np.array([])).shape == (0,)


@pytest.mark.parametrize("fdr", [0.05, 0.1, 0.2])
def test_the_false_discovery_rate_is_kept_on_planted_data(fdr):
    proportions, power = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        outlier = np.arange(400) < 40
        fresh = rng.normal(size=400) - 4.5 * outlier
        p_values = conformal_p_values(rng.normal(size=1000), fresh)
        selected = benjamini_hochberg(p_values, fdr)
        proportions.append((selected & ~outlier).sum() / max(selected.sum(), 1))
        power.append((selected & outlier).sum() / 40)
    error = np.std(proportions) / np.sqrt(200)
    # for continuous scores the rate is fdr times the share of inliers, almost exactly
    assert abs(np.mean(proportions) - 0.9 * fdr) < 3 * error + 0.005
    assert np.mean(power) > 0.7


# Thresholds from labels


def slow_best(scores, outlier, metric):
    """Try every cut."""
    cuts = [*np.unique(scores), np.nextafter(scores.max(), np.inf)]
    return max(metric(outlier, (scores < cut).astype(int)) for cut in cuts)


METRICS = {
    "f1": lambda t, p: f1_score(t, p, zero_division=0.0),
    "balanced_accuracy": balanced_accuracy_score,
    "youden": lambda t, p: balanced_accuracy_score(t, p, adjusted=True),
    "mcc": matthews_corrcoef,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", list(METRICS))
def test_best_threshold_against_all_cuts(name, shape):
    metric = METRICS[name]
    for size, seed in [(2, 0), (3, 1), (12, 2), (40, 3)]:
        scores = draws(shape, size, seed)
        outlier = (np.random.default_rng(seed).random(size) < 0.4).astype(int)
        outlier[:2] = 0, 1
        threshold = best_threshold(scores, outlier, name)
        found = metric(outlier, (scores < threshold).astype(int))
        assert found == pytest.approx(slow_best(scores, outlier, metric))
        by_callable = best_threshold(scores, outlier, metric)
        flagged = metric(outlier, (scores < by_callable).astype(int))
        assert flagged == pytest.approx(found)


def test_labels_of_either_convention():
    scores = draws("normal", 50)
    outlier = scores < np.quantile(scores, 0.2)
    expected = best_threshold(scores, outlier)
    np.testing.assert_array_equal(scores < expected, outlier)
    for labels in (outlier.astype(int), outlier.astype(float), np.where(outlier, -1, 1)):
        assert best_threshold(scores, labels) == expected
        assert best_threshold(scores, list(labels), f1_score) == expected


@pytest.mark.parametrize("metric", [*METRICS, METRICS["f1"]])
@pytest.mark.parametrize("shape", SHAPES)
def test_without_outliers_no_inlier_is_flagged(shape, metric):
    scores = draws(shape, 30)
    for labels in (np.zeros(30), np.ones(30), np.zeros(30, bool)):
        threshold = best_threshold(scores, labels, metric)
        assert -threshold >= (-scores).max()
    assert best_threshold(scores, np.ones(30), metric, outlier_label=-1) == scores.min()
    everything = best_threshold(scores, np.ones(30), "f1", outlier_label=1)
    assert (scores < everything).all()
    assert best_threshold(scores, np.ones(30, bool)) == everything


def test_perfect_separation_is_cut_halfway_and_ties_flag_fewest():
    assert best_threshold(np.array([0.0, 4.0]), [1, 0]) == 2.0
    # upside down: flagging nothing is as good as flagging everything
    assert best_threshold(np.array([0.0, 4.0]), [0, 1], "youden") == 0.0
    close = np.array([1.0, np.nextafter(1.0, 2.0)])
    assert (close < best_threshold(close, [1, 0])).tolist() == [True, False]
    assert best_threshold(np.array([-np.inf, np.inf]), [1, 0]) == np.inf


# Errors


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: quantile_threshold(np.array([]), 0.1), "scores"),
        (lambda: quantile_threshold(np.array([np.nan]), 0.1), "scores"),
        (lambda: quantile_threshold(np.ones((2, 2)), 0.1), "scores"),
        (lambda: quantile_threshold(np.ones(3), 1.0), "contamination"),
        (lambda: quantile_threshold(np.ones(3), np.nan), "contamination"),
        (lambda: mad_threshold(np.array([0.0, np.nan])), "scores"),
        (lambda: gpd_threshold(np.ones(3), 0.0), "false_alarm_rate"),
        (lambda: gpd_threshold(np.ones(3), 0.1, tail=1.0), "tail"),
        (lambda: conformal_threshold(np.ones(3), 1.0), "false_alarm_rate"),
        (lambda: conformal_threshold(np.array([]), 0.1), "calibration"),
        (lambda: conformal_p_values(np.array([]), np.ones(2)), "calibration"),
        (lambda: conformal_p_values(np.ones(2), np.array([np.nan])), "scores"),
        (lambda: cross_conformal_p_values([np.ones(2)], []), "fold_test_scores"),
        (
            lambda: cross_conformal_p_values([np.ones(2)] * 2, [np.ones(2), np.ones(3)]),
            "fold_test_scores",
        ),
        (lambda: cross_conformal_p_values([], []), "fold_calibration_scores"),
        (lambda: benjamini_hochberg(np.array([0.1, 1.1])), "p_values"),
        (lambda: benjamini_hochberg(np.array([-0.1])), "p_values"),
        (lambda: benjamini_hochberg(np.array([np.nan])), "p_values"),
        (lambda: benjamini_hochberg(np.array([0.1]), fdr=0.0), "fdr"),
        (lambda: best_threshold(np.ones(3), [0, 1]), "y must"),
        (lambda: best_threshold(np.ones(3), [0, 1, 2]), "y must"),
        (lambda: best_threshold(np.ones(3), [0, 1, -1]), "y must"),
        (lambda: best_threshold(np.ones(2), ["a", "b"]), "y must"),
        (lambda: best_threshold(np.ones(2), [0, 1], "accuracy"), "metric"),
        (lambda: best_threshold(np.ones(2), [0, 1], ["f1"]), "metric"),
        (lambda: best_threshold(np.ones(2), [0, 1], lambda t, p: np.nan), "metric"),
        (lambda: best_threshold(np.ones(2), [0, 1], outlier_label=0), "outlier_label"),
        (lambda: best_threshold(np.ones(2), [0, 1], outlier_label=-1), "outlier_label"),
        (lambda: outlier_probability(np.ones(2), np.array([]), 0.0), "training_scores"),
        (lambda: outlier_probability(np.ones(2), np.ones(2), np.nan), "threshold"),
    ],
)
def test_errors_name_the_parameter(call, name):
    with pytest.raises(ValueError, match=name):
        call()
