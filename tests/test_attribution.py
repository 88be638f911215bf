"""What makes a code: contributions that add up, Shapley values, traversals."""

from __future__ import annotations

from itertools import combinations
from math import comb
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_repr import AutoencoderTransformer
from sklearn_repr.inspection import attribution, latent_traversal


def curved(X):
    return np.column_stack([X[:, :3].prod(axis=1) + X[:, 2] ** 2, np.sin(X).sum(axis=1)])


CURVED = SimpleNamespace(transform=curved, predict=lambda X: curved(X)[:, 0])


def shapley(f, row, base):
    """Mean change by a cell over all sets of the other cells, set by set."""
    d, values = len(row), []
    for j in range(d):
        others = [i for i in range(d) if i != j]
        value = 0.0
        for size in range(d):
            for chosen in combinations(others, size):
                without = base.copy()
                without[list(chosen)] = row[list(chosen)]
                with_j = without.copy()
                with_j[j] = row[j]
                change = f(with_j[None])[0] - f(without[None])[0]
                value = value + change / (d * comb(d - 1, size))
        values.append(value)
    return np.array(values)


@pytest.mark.parametrize("random_state", range(4))
def test_with_all_orders_they_are_shapley_values(random_state):
    rng = np.random.default_rng(0)
    rows, base = rng.normal(size=(5, 3)), rng.normal(size=(1, 3))
    found = attribution(
        CURVED, rows, baseline=base, n_permutations=6, random_state=random_state
    )
    for row, said in zip(rows, found.contributions, strict=True):
        np.testing.assert_allclose(said, shapley(curved, row, base[0]), atol=1e-12)
    np.testing.assert_allclose(found.base, curved(base)[0])


def test_orders_are_drawn_and_their_mean_nears_shapley_values():
    rng = np.random.default_rng(0)
    rows, base = rng.normal(size=(3, 5)), np.zeros((1, 5))
    exact = np.array([shapley(curved, row, base[0]) for row in rows])
    draws = [
        attribution(CURVED, rows, baseline=base, n_permutations=n, random_state=seed)
        for n, seed in ((3, 0), (3, 0), (3, 1), (60, 0))
    ]
    few, same, other, many = (draw.contributions for draw in draws)
    np.testing.assert_array_equal(few, same)
    assert np.abs(few - other).max() > 0.01
    assert np.abs(many - exact).max() < np.abs(few - exact).max() / 3


@pytest.mark.parametrize("n_permutations", [1, 2, 5])
def test_they_add_up_in_parts_of_rows_too(n_permutations, monkeypatch):
    monkeypatch.setattr("sklearn_repr.inspection.attributions.ROWS_AT_A_TIME", 20)
    rows = np.random.default_rng(0).normal(size=(30, 5))
    found = attribution(CURVED, rows, n_permutations=n_permutations)
    total = found.base + found.contributions.sum(axis=1)
    np.testing.assert_allclose(total, curved(rows), atol=1e-12)
    second = attribution(CURVED, rows, output=1, n_permutations=n_permutations)
    np.testing.assert_array_equal(second.contributions, found.contributions[:, :, 1])
    alone = attribution(
        CURVED, rows, method="predict", n_permutations=n_permutations
    ).contributions
    np.testing.assert_allclose(alone, found.contributions[:, :, 0], atol=1e-12)


def test_for_linear_functions_they_are_the_terms_of_the_sum():
    X, y = load_iris(return_X_y=True)
    pca, base = PCA(3).fit(X), X.mean(axis=0, keepdims=True)
    terms = (X - base)[:, :, None] * pca.components_.T
    found = attribution(pca, X, baseline=base, n_permutations=1)
    np.testing.assert_allclose(found.contributions, terms, atol=1e-12)
    model = LogisticRegression(max_iter=500).fit(X, y)
    found = attribution(
        model, X, baseline=base, method="decision_function", output=2, n_permutations=1
    )
    np.testing.assert_allclose(found.contributions, (X - base) * model.coef_[2])


def test_the_score_of_a_class_is_explained():
    X, y = load_iris(return_X_y=True)
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    found = attribution(forest, X[::10], method="predict_proba", output=0)
    assert found.base == forest.predict_proba([np.sort(X[::10], axis=0)[7]])[0, 0]
    total = found.base + found.contributions.sum(axis=1)
    np.testing.assert_allclose(total, forest.predict_proba(X[::10])[:, 0])


def mixed(n=40):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=n), "count": rng.integers(0, 9, n)})
    frame["kind"] = pd.Categorical(rng.choice(["a", "b", "c"], n, p=[0.2, 0.7, 0.1]))
    frame["new"] = rng.random(n) < 0.9
    frame.loc[3, "size"] = np.nan
    return frame


def test_frames_of_pyarrow_are_explained_as_those_of_pandas():
    frame = mixed()
    model = AutoencoderTransformer(2, max_iter=3, random_state=0).fit(frame)
    table = pa.Table.from_pandas(frame)
    for row in (None, 0):
        ours, theirs = (
            attribution(model, X, baseline=None if row is None else X[row : row + 1])
            for X in (table, frame)
        )
        np.testing.assert_array_equal(ours.contributions, theirs.contributions)


@pytest.mark.parametrize("container", [pd.DataFrame, pl.from_pandas])
def test_frames_are_explained_in_their_own_columns(container):
    frame = container(mixed())
    model = AutoencoderTransformer(2, max_iter=3, random_state=0).fit(frame)
    typical = mixed().sort_values("size").iloc[[19]]
    typical = typical.assign(count=mixed()["count"].sort_values().iloc[19])
    typical = typical.assign(kind=pd.Categorical(["b"], ["a", "b", "c"]), new=True)
    for baseline in (None, container(typical.reset_index(drop=True))):
        found = attribution(model, frame, baseline=baseline, n_permutations=2)
        assert found.contributions.shape == (40, 4, 2)
        np.testing.assert_allclose(found.base, model.transform(container(typical))[0])
        total = found.base + found.contributions.sum(axis=1)
        np.testing.assert_allclose(total, model.transform(frame), atol=1e-6)
        # a cell that is as the baseline's explains nothing
        usual = mixed()["kind"].to_numpy() == "b"
        assert not found.contributions[usual, 2].any()
        assert found.contributions[~usual, 2].any()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"method": "score"}, TypeError, "attribution needs score; PCA has none"),
        ({"method": "fit"}, ValueError, "fit must return numbers"),
        ({"output": 2}, ValueError, "output=2 is out of range: transform has 2 outputs"),
        ({"X": sparse.csr_array(np.eye(4))}, TypeError, "call toarray"),
        ({"X": np.ones((1, 4))}, ValueError, "give a baseline"),
        ({"X": np.ones(4)}, ValueError, "two dimensions; got shape"),
        ({"baseline": np.ones((2, 4))}, ValueError, "one row of 4 columns in a ndarray"),
        ({"n_permutations": 0}, ValueError, "n_permutations == 0"),
        ({"output": 1.0}, TypeError, "output must be an instance of int, not float"),
        ({"method": "transform", "output": -1}, ValueError, "output == -1"),
    ],
)
def test_what_cannot_be_explained_is_said(given, error, message):
    X = load_iris().data
    pca = PCA(2).fit(X)
    if given.get("method") == "score":
        pca = SimpleNamespace(transform=pca.transform)
        message = message.replace("PCA", "SimpleNamespace")
    elif given.get("method") == "fit":
        pca.fit = lambda X: ["word"] * len(X)
    with pytest.raises(error, match=message):
        attribution(pca, **{"X": X, **given})


@pytest.mark.parametrize("container", [pd.DataFrame, pl.from_pandas])
def test_a_baseline_has_the_columns_of_the_table(container):
    X = load_iris(as_frame=True).data
    model = make_pipeline(FunctionTransformer(np.asarray), PCA(2)).fit(X)
    for other in (X[X.columns[::-1]], X.set_axis(list("abcd"), axis=1)):
        with pytest.raises(ValueError, match="columns of X in their order"):
            attribution(model, container(X), baseline=container(other[:1]))


def test_a_single_output_has_a_number_and_sparse_ones_are_read():
    X, y = load_iris(return_X_y=True)
    model = LogisticRegression().fit(X, y == 0)
    only, first = (
        attribution(model, X, method="decision_function", output=output)
        for output in (None, 0)
    )
    np.testing.assert_array_equal(only.contributions, first.contributions)
    assert only.base == first.base
    sparse_codes = FunctionTransformer(sparse.csr_array).fit(X)
    found = attribution(sparse_codes, X, baseline=X[:1])
    np.testing.assert_allclose(found.base + found.contributions.sum(axis=1), X)


def test_a_traversal_moves_one_unit():
    X = load_iris().data
    pca = PCA(3).fit(X)
    values, tables = latent_traversal(pca, X[:20], 1, values=[-1.0, 0.5])
    codes = pca.transform(X[:20])
    for value, table in zip(values, tables, strict=True):
        expected = codes.copy()
        expected[:, 1] = value
        np.testing.assert_allclose(pca.transform(table), expected, atol=1e-12)
    values, tables = latent_traversal(pca, X, 0, values=5)
    ends = np.quantile(pca.transform(X)[:, 0], [0.05, 0.95])
    np.testing.assert_allclose(values, np.linspace(*ends, 5))
    frame = mixed().dropna().astype({"count": float})
    model = AutoencoderTransformer(2, max_iter=3, random_state=0).fit(frame)
    tables = latent_traversal(model, frame, 0, values=2).tables
    assert all((table.dtypes == frame.dtypes).all() for table in tables)
    with pytest.raises(ValueError, match="axis == 3, must be <= 2"):
        latent_traversal(pca, X, 3)
    with pytest.raises(ValueError, match="finite numbers, in one dimension"):
        latent_traversal(pca, X, 0, values=[[1.0, 2.0]])
    with pytest.raises(ValueError, match="One row has no quantiles: give values"):
        latent_traversal(pca, X[:1], 0)
    with pytest.raises(TypeError, match="needs transform; LogisticRegression has none"):
        latent_traversal(LogisticRegression(), X, 0)
