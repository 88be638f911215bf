"""Metrics of disentanglement: slow references, planted factors, rotations."""

from __future__ import annotations

from itertools import product
from math import log

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.linalg import hadamard
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mutual_info_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeRegressor

from sklearn_repr.inspection import dci, factor_vae_score, mig, modularity, sap

METRICS = [mig, modularity, sap, dci, factor_vae_score]
# four factors of four levels, all combinations
GRID = np.array(list(product(range(4), repeat=4)), dtype=float)


def cut(column, n_bins):
    """Number of the bin of every value, by NumPy's own edges."""
    edges = np.histogram_bin_edges(column, n_bins)
    return np.clip(np.digitize(column, edges[:-1]) - 1, 0, n_bins - 1)


def information(Z, factors, n_bins=20):
    return np.array(
        [[mutual_info_score(cut(z, n_bins), v) for v in factors.T] for z in Z.T]
    )


def slow_mig(Z, factors):
    gaps = []
    for k, column in enumerate(information(Z, factors).T):
        best, second = sorted(column, reverse=True)[:2]
        shares = np.unique(factors[:, k], return_counts=True)[1] / len(factors)
        gaps.append((best - second) / -sum(p * log(p) for p in shares))
    return np.mean(gaps)


def slow_modularity(Z, factors):
    scores = []
    for row in information(Z, factors):
        best = int(np.argmax(row))
        others = [value**2 for k, value in enumerate(row) if k != best]
        scores.append(1 - sum(others) / (len(others) * row[best] ** 2))
    return np.mean(scores)


def slow_sap(Z, factors):
    gaps = []
    for v in factors.T:
        fits = [LinearRegression().fit(z[:, None], v).score(z[:, None], v) for z in Z.T]
        best, second = sorted(fits, reverse=True)[:2]
        gaps.append(best - second)
    return np.mean(gaps)


def importances(forest):
    """Decrease of impurity by unit, node by node."""
    total = []
    for tree in (member.tree_ for member in forest.estimators_):
        gained = np.zeros(forest.n_features_in_)
        for node in range(tree.node_count):
            left, right = tree.children_left[node], tree.children_right[node]
            if left >= 0:
                parts = [
                    tree.weighted_n_node_samples[i] * tree.impurity[i]
                    for i in (node, left, right)
                ]
                gained[tree.feature[node]] += parts[0] - parts[1] - parts[2]
        total.append(gained / gained.sum())
    return np.mean(total, axis=0)


def slow_dci(Z, factors):
    seed = np.random.RandomState(0).randint(2**31 - 1)
    fitted, held_out = train_test_split(
        np.arange(len(Z)), test_size=0.25, random_state=seed
    )
    shares, skills = [], []
    for v in factors.T:
        forest = RandomForestRegressor(10, max_features=None, random_state=seed)
        forest.fit(Z[fitted], v[fitted])
        shares.append(importances(forest))
        skills.append(max(0, r2_score(v[held_out], forest.predict(Z[held_out]))))
    R = np.array(shares).T
    units, names = range(R.shape[0]), range(R.shape[1])

    def certainty(values):
        p = [v / sum(values) for v in values]
        return 1 + sum(q * log(q) for q in p if q > 0) / log(len(p))

    weights = [sum(R[j]) / sum(sum(r) for r in R) for j in units]
    one = sum(w * certainty(R[j]) for j, w in zip(units, weights, strict=True))
    other = np.mean([certainty(R[:, k]) for k in names])
    return one, other, np.mean(skills)


def slow_factor_vae(Z, factors):
    rng = np.random.RandomState(0)
    tables = []
    for _ in range(2):
        votes = np.zeros((Z.shape[1], factors.shape[1]))
        for _ in range(800):
            k = rng.randint(factors.shape[1])
            level = factors[rng.randint(len(Z)), k]
            alike = [i for i in range(len(Z)) if factors[i, k] == level]
            rows = [alike[i] for i in rng.randint(len(alike), size=64)]
            shares = [np.var(Z[rows, j]) / np.var(Z[:, j]) for j in range(Z.shape[1])]
            votes[shares.index(min(shares)), k] += 1
        tables.append(votes)
    right = [tables[1][j, int(np.argmax(tables[0][j]))] for j in range(Z.shape[1])]
    return sum(right) / 800


SLOW = [slow_mig, slow_modularity, slow_sap, slow_dci, slow_factor_vae]


@pytest.mark.parametrize(
    ("metric", "slow"), list(zip(METRICS, SLOW, strict=True)), ids=lambda f: f.__name__
)
def test_they_are_slow_references(metric, slow):
    rng = np.random.default_rng(0)
    factors = np.column_stack([rng.integers(0, n, 150) for n in (2, 3, 5)]).astype(float)
    # four units of mixed factors, one of them nearly noise
    Z = factors @ rng.normal(size=(3, 4)) * [1, 1, 1, 0.1] + rng.normal(size=(150, 4))
    assert metric(Z, factors) == pytest.approx(slow(Z, factors), abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_on_planted_factors_they_are_one(metric):
    scores = metric((GRID * [1, -2, 30, 0.1] + 5)[:, [2, 0, 1, 3]], GRID)
    assert np.ravel(scores) == pytest.approx(1.0, abs=1e-12)


def test_on_a_rotation_that_mixes_all_factors_alike_they_are_near_zero():
    Z = (GRID - GRID.mean(axis=0)) @ hadamard(4) / 2
    assert mig(Z, GRID) == pytest.approx(0.0, abs=1e-12)
    assert sap(Z, GRID) == pytest.approx(0.0, abs=1e-12)
    assert modularity(Z, GRID) == pytest.approx(0.0, abs=1e-12)
    scores = dci(Z, GRID)
    assert max(scores[:2]) < 0.2
    assert factor_vae_score(Z, GRID) < 0.45


@pytest.mark.parametrize("metric", METRICS)
def test_labels_and_frames_are_factors_too(metric):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=300), "new": rng.random(300) < 0.5})
    frame["kind"] = np.array(["round", "square"])[rng.integers(0, 2, 300)]
    Z = frame.assign(kind=frame["kind"] == "round").to_numpy(float)
    said = metric(Z, frame)
    assert metric(Z, pl.from_pandas(frame)) == said
    assert 0.9 < np.min(said) <= np.max(said) <= 1


@pytest.mark.parametrize("metric", [sap, factor_vae_score])
def test_factors_keep_their_kinds_in_any_container(metric, monkeypatch):
    kinds, sizes = np.array(["round", "square", 3], object)[[0, 1, 2, 1] * 50], range(200)
    frame = pd.DataFrame({"kind": kinds, "size": sizes})
    Z = np.random.default_rng(0).normal(size=(200, 2))
    rows = list(zip(kinds, sizes, strict=True))
    assert metric(Z, rows) == metric(Z, frame)
    # polars alone does for a frame of polars
    words = frame.astype({"kind": str})
    monkeypatch.setattr(pl.DataFrame, "to_pandas", pytest.fail)
    assert metric(Z, pl.DataFrame(words.to_dict("list"))) == metric(Z, words)


@pytest.mark.parametrize("metric", METRICS)
def test_what_cannot_be_compared_is_said(metric):
    with pytest.raises(ValueError, match="Factor 0 of factors contains infinity"):
        metric(GRID, np.where(GRID == 2, np.inf, GRID))
    with pytest.raises(ValueError, match="same rows; got 256 and 3"):
        metric(GRID, GRID[:3])
    with pytest.raises(ValueError, match="Factor 1 of factors does not vary"):
        metric(GRID, GRID * [1, 0, 1, 1])
    with pytest.raises(ValueError, match="Factor 0 of factors has missing cells"):
        metric(GRID, np.where(GRID == 2, np.nan, GRID))
    if metric not in (mig, sap):
        with pytest.raises(ValueError, match="At least 2 factors are needed; got 1"):
            metric(GRID, GRID[:, :1])


def test_units_that_say_nothing():
    constant = np.column_stack([GRID, np.ones(len(GRID))])
    assert mig(constant, GRID) == pytest.approx(1.0)
    assert sap(constant, GRID) == pytest.approx(1.0)
    assert factor_vae_score(constant, GRID) == 1.0
    assert modularity(constant, GRID) == pytest.approx(0.8)
    assert mig(GRID[:, :1], GRID) == sap(GRID[:, :1], GRID) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="No unit of Z varies"):
        factor_vae_score(np.full((256, 2), 0.1), GRID)
    assert dci(np.ones((256, 2)), GRID) == (0.0, 0.0, 0.0)


def test_the_mean_of_a_constant_unit_is_rounded_and_counts_for_nothing():
    rng = np.random.default_rng(0)
    kinds = rng.random((300, 2)) < 0.5
    Z = kinds + rng.normal(size=(300, 2))
    constant = np.column_stack([Z, np.full(300, 0.1)])
    assert sap(constant, kinds) == pytest.approx(sap(Z, kinds))
    assert factor_vae_score(constant, kinds) == factor_vae_score(Z, kinds)


def test_importances_of_any_sum_are_shares():
    class Counts(DecisionTreeRegressor):
        @property
        def feature_importances_(self):
            return 1000 * super().feature_importances_

    factors = np.random.default_rng(0).integers(0, 4, (200, 2))
    Z = factors @ [[1, 1], [0, 1]]
    trees = DecisionTreeRegressor(random_state=0), Counts(random_state=0)
    plain, counted = (dci(Z, factors, estimators=(tree, None)) for tree in trees)
    assert counted == pytest.approx(plain)


def test_no_skill_is_credited_where_held_out_labels_are_all_the_frequent_one():
    seed = np.random.RandomState(0).randint(2**31 - 1)
    fitted, _ = train_test_split(np.arange(40), test_size=0.25, random_state=seed)
    rare = np.isin(np.arange(40), fitted[:14])
    Z = np.random.default_rng(0).normal(size=(40, 2))
    assert dci(Z, np.column_stack([rare, rare])).informativeness == 0
