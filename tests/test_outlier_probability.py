"""From scores to probabilities, without labels."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from test_thresholds import SHAPES, SIZES, draws

from sklearn_repr.detection import (
    conformal_threshold,
    fit_probability_map,
    gpd_threshold,
    mad_threshold,
    outlier_probability,
    quantile_threshold,
)

INLIERS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "chi2": lambda rng, n: rng.chisquare(5, size=n),
    "lognormal": lambda rng, n: rng.lognormal(sigma=0.5, size=n),
}


def planted(inliers, clustered, share, size, seed):
    rng = np.random.default_rng(seed)
    middle, high = np.quantile(INLIERS[inliers](rng, 5000), [0.5, 0.9])
    outlier = rng.random(size) < share
    far = 4 + rng.normal(size=size) if clustered else rng.uniform(0, 8, size=size)
    anomaly = np.where(
        outlier, middle + far * (high - middle), INLIERS[inliers](rng, size)
    )
    return -anomaly, outlier


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2])
@pytest.mark.parametrize("clustered", [False, True], ids=["spread", "clustered"])
@pytest.mark.parametrize("inliers", list(INLIERS))
def test_probabilities_are_calibrated_on_planted_data(inliers, clustered, share):
    training, _ = planted(inliers, clustered, share, 2000, seed=0)
    scores, outlier = planted(inliers, clustered, share, 20_000, seed=1)
    threshold = quantile_threshold(training, share)
    probability = outlier_probability(scores, training, threshold)
    bins = np.minimum((10 * probability).astype(int), 9)
    gaps = [
        abs(probability[bins == b].mean() - outlier[bins == b].mean())
        * (bins == b).mean()
        for b in np.unique(bins)
    ]
    assert sum(gaps) < 0.08
    # the outer bins, where almost all rows are, one by one
    for b, tolerance in ((0, 0.06), (9, 0.15)):
        gap = probability[bins == b].mean() - outlier[bins == b].mean()
        assert abs(gap) < tolerance
    assert probability.mean() == pytest.approx(share, abs=0.02)
    # and more is learned than the decision itself says
    hard = np.square((scores < threshold) - 1.0 * outlier).mean()
    assert np.square(probability - outlier).mean() < 1.02 * hard


@pytest.mark.filterwarnings("ignore:No row is flagged")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_probability_says_what_the_threshold_says(shape, size):
    training = draws(shape, size)
    fresh = np.r_[draws(shape, 200, seed=1), training, -np.inf, -1e308, 0, 1e308, np.inf]
    fresh.sort()
    for threshold in (
        quantile_threshold(training, 0.1),
        mad_threshold(training),
        gpd_threshold(training, 0.01),
        conformal_threshold(training, 0.05),
        float(np.median(training)),
        np.inf,
    ):
        rows = np.sort(
            np.r_[
                fresh,
                threshold,
                np.nextafter(threshold, [-np.inf, np.inf]),
            ]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            probability = outlier_probability(rows, training, threshold)
        np.testing.assert_array_equal(probability > 0.5, rows < threshold)
        np.testing.assert_array_equal(probability == 0.5, rows == threshold)
        assert ((probability > 0) & (probability < 1)).all()
        assert (np.diff(probability) <= 0).all()


def test_probability_of_a_row_depends_on_no_other_row():
    training = draws("heavy", 300)
    odds = fit_probability_map(training, quantile_threshold(training, 0.1))
    rows = draws("heavy", 203, seed=1)
    expected = odds(rows)
    np.testing.assert_array_equal(expected, [odds(rows[[i]])[0] for i in range(203)])
    np.testing.assert_array_equal(expected[3:], odds(rows[3:]))
    np.testing.assert_array_equal(expected[::3], odds(rows[::3]))
    np.testing.assert_array_equal(expected[:9], odds(np.r_[rows[:9], -1e300, 1e300])[:9])


def test_probability_follows_location_and_scale():
    training = draws("normal", 500)
    threshold = quantile_threshold(training, 0.05)
    expected = outlier_probability(training, training, threshold)
    moved = outlier_probability(3 + 8 * training, 3 + 8 * training, 3 + 8 * threshold)
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


def test_one_extreme_row_does_not_lower_the_others():
    training = draws("normal", 500)
    threshold = quantile_threshold(training, 0.05)
    before = outlier_probability(training, training, threshold)
    extreme = np.r_[training, -1e12, -np.inf]
    after = outlier_probability(training, extreme, threshold)
    np.testing.assert_allclose(after, before, atol=0.02)
