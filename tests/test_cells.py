"""Errors and neighbours joined to a score, on a reconstructor made for the test."""

from __future__ import annotations

import numpy as np
import pytest

from sklearn_repr.detection import CellScorer, ColumnUnits, ErrorUnits, NetworkErrors
from sklearn_repr.detection.neighbours import LocalNeighbours, SetNeighbours


class Known:
    """Errors are the absolute cells, times a factor."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit_errors(self, rows, constant, table):
        return self.errors(rows)

    def errors(self, rows):
        return self.factor * np.abs(rows)

    def sums(self, rows):
        return self.errors(rows).sum(axis=1)

    def blamed(self, rows):
        return self.errors(rows)

    def expected(self, rows):
        return np.zeros_like(rows)

    def neighbour_units(self, rows):
        return rows


def fitted(rows, weight, novelty, factor=1.0):
    scorer = CellScorer(Known(factor), neighbor_weight=weight, novelty=novelty, seed=3)
    return scorer, scorer.fit_sums(rows, np.zeros(rows.shape[1], bool))


def joined(found, training, weight, clean):
    """The formula of TailJoin."""
    z, heights = [], []
    for scores, part in zip(found, training, strict=True):
        low, quartile, high = np.quantile(np.log(part), [0.5, 0.75, 0.98])
        z.append((np.log(scores) - low) / (quartile - low))
        heights.append((high - low) / (quartile - low))
    apart = 1.0 if clean else (heights[0] / heights[1]) ** 2
    ratio = np.clip(apart, 1 / 12, 12) / weight
    u = np.array([ratio, 1.0]) / max(ratio, 1.0)
    p = np.log1p(np.exp(u[:, None] * z))
    joined = ((p**4).sum(axis=0) / 2) ** 0.25
    return np.log1p(np.exp(4) * np.expm1(joined))


@pytest.mark.parametrize("weight", [0.0, 0.75, 4.0])
@pytest.mark.parametrize("novelty", [False, True])
def test_the_joined_score_is_its_definition(weight, novelty):
    rng = np.random.default_rng(0)
    rows, fresh = 7 * rng.normal(size=(300, 3)), 9 * rng.normal(size=(50, 3))
    scorer, sums = fitted(rows, weight, novelty)
    errors = np.abs(rows).sum(axis=1)
    if not weight:
        assert list(sums) == ["reconstruction"]
        np.testing.assert_allclose(sums["reconstruction"], errors)
        return
    kind = LocalNeighbours if novelty else SetNeighbours
    near = kind().fit(rows, np.random.default_rng(3))
    parts = [errors, near.distances(rows).sum(axis=1)]

    def score(rows):
        found = [np.abs(rows).sum(axis=1), near.distances(rows).sum(axis=1)]
        return joined(found, parts, weight, clean=novelty)

    np.testing.assert_allclose(sum(sums.values()), score(rows))
    np.testing.assert_allclose(sum(scorer.sums(fresh).values()), score(fresh))
    np.testing.assert_allclose(scorer.contributions(fresh).sum(axis=1), score(fresh))


@pytest.mark.parametrize("novelty", [False, True])
def test_the_size_of_errors_does_not_change_a_joined_score(novelty):
    rows = np.random.default_rng(0).normal(size=(200, 3))
    small, large = (
        sum(fitted(rows, 1.0, novelty, factor)[1].values()) for factor in (1.0, 1e3)
    )
    np.testing.assert_allclose(small, large)


def test_errors_of_networks_are_in_units_of_what_is_usual():
    rng = np.random.default_rng(0)
    # levels and columns of different difficulty
    size = np.array([[1.0, 20.0, 0.0], [8.0, 300.0, 0.0]])
    errors = size * rng.exponential(size=(501, 2, 3))
    found = ErrorUnits().fit(errors).apply(errors)
    usual = errors.mean(axis=0) + 0.05
    relative = errors / usual
    median = np.median(relative.sum(axis=2), axis=0)
    np.testing.assert_allclose(found, (relative / median[:, None]).mean(axis=1))
    assert found[:, 0].mean() == pytest.approx(found[:, 1].mean(), rel=0.1)
    assert not found[:, 2].any()


class Copies:
    """Networks that rebuild zeros and note what they were trained on."""

    def fit(self, rows):
        self.rows_ = rows

    def errors(self, rows):
        return np.abs(rows)[:, None, :]

    def expected(self, rows):
        return np.zeros_like(rows)


TABLE = np.random.default_rng(0).normal(size=(99, 3)) * [1, 5, 1e3] + [0, 7, 1e4]


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", None])
@pytest.mark.parametrize("novelty", [False, True])
def test_the_units_in_which_networks_see_columns(scaling, novelty):
    networks = Copies()
    errors = NetworkErrors(networks, ColumnUnits(scaling, novelty=novelty), None)
    errors.fit_errors(TABLE, np.zeros(3, bool))
    spread = np.ptp(networks.rows_, axis=0) if novelty else networks.rows_.std(axis=0)
    if scaling == "standard":
        np.testing.assert_allclose(spread, 1.0)
        np.testing.assert_allclose(errors.expected(TABLE)[0], TABLE.mean(axis=0))
    elif scaling is None:
        # proportions stay; the middle column is the unit
        assert spread[1] == pytest.approx(1.0)
        assert spread[2] / spread[0] > 500
        np.testing.assert_allclose(errors.expected(TABLE)[0], np.median(TABLE, axis=0))
    else:
        np.testing.assert_allclose(networks.rows_, TABLE / (6.0 if novelty else 1.0))
    near = errors.neighbour_units(TABLE)
    proportion = np.ptp(near[:, 2]) / np.ptp(near[:, 0])
    assert (proportion < 2) == (scaling == "standard")


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", None])
@pytest.mark.parametrize("novelty", [False, True])
def test_units_of_columns_without_spread(scaling, novelty):
    flat = np.full((5, 2), 3.0)
    units = ColumnUnits(scaling, novelty=novelty).fit(flat, np.ones(2, bool))
    for rows in (flat, flat + 1e-4, flat * 1e30):
        assert np.isfinite(units.networks(rows)).all()
        assert np.isfinite(units.neighbours(rows)).all()
    np.testing.assert_allclose(units.scaled(units.networks(flat)), flat)
    mixed = np.c_[flat, np.arange(5.0) * 1e-200]
    units = ColumnUnits(scaling, novelty=novelty).fit(mixed, mixed.std(axis=0) == 0)
    assert np.isfinite(units.networks(mixed)).all()
