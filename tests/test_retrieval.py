"""Search by example: metrics of ranked rows, indices and binary codes."""

from __future__ import annotations

import pickle
import sys
import warnings
from itertools import pairwise, permutations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score, ndcg_score
from sklearn.metrics.pairwise import pairwise_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer

from sklearn_repr import AutoencoderTransformer, BinaryEmbedder, EmbeddingIndex
from sklearn_repr.inspection import (
    mean_average_precision,
    ndcg_at_k,
    recall_at_k,
    retrieval_accuracy,
)
from sklearn_repr.utils import hamming


def one_order(relevant, k):
    """Recall, average precision and gain of relevant rows in one order."""
    places = [p for p, found in enumerate(relevant, start=1) if found]
    precisions = [sum(relevant[:p]) / p for p in places]
    gain = sum(1 / np.log2(p + 1) for p in places if p <= k)
    best = sum(1 / np.log2(p + 2) for p in range(min(k, len(places))))
    return any(relevant[:k]), sum(precisions) / len(places), gain / best


def brute_force(distances, relevant, k):
    """Return the mean over queries, and over all orders of rows that are as far."""
    means = []
    for far, hits in zip(distances, relevant, strict=True):
        if not any(hits):
            continue
        orders = [
            one_order([hits[i] for i in order], k)
            for order in permutations(range(len(far)))
            if all(far[a] <= far[b] for a, b in pairwise(order))
        ]
        means.append(np.mean(orders, axis=0))
    return np.mean(means, axis=0)


def of_ours(*args, k, **settings):
    return [
        recall_at_k(*args, k=k, **settings),
        mean_average_precision(*args, **settings),
        ndcg_at_k(*args, k=k, **settings),
    ]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_they_are_brute_force_over_all_orders_of_ties(metric, k):
    rng = np.random.default_rng(k)
    # whole numbers: many rows are as far as others
    Z, gallery = (rng.integers(-1, 2, (n, 2)).astype(float) for n in (6, 6))
    y, y_gallery = rng.integers(0, 3, 6), rng.integers(0, 3, 6)
    far = np.round(pairwise_distances(Z, gallery, metric=metric), 9)
    expected = brute_force(far, y[:, None] == y_gallery, k)
    assert of_ours(
        Z, y, gallery=gallery, y_gallery=y_gallery, metric=metric, k=k
    ) == pytest.approx(expected, abs=1e-12)
    pairs = brute_force(far, np.eye(6, dtype=bool), k)
    assert of_ours(Z, gallery=gallery, metric=metric, k=k) == pytest.approx(pairs)
    others = ~np.eye(6, dtype=bool)
    among = np.round(pairwise_distances(Z, metric=metric), 9)[others].reshape(6, 5)
    same = (y[:, None] == y)[others].reshape(6, 5)
    expected = brute_force(among, same, k)
    assert of_ours(Z, y.astype(str), metric=metric, k=k) == pytest.approx(expected)


def test_they_are_scikit_learns_on_rows_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    Z, gallery = 1e7 + rng.normal(size=(40, 3)), 1e7 + rng.normal(size=(70, 3))
    y, y_gallery = rng.integers(0, 4, 40), rng.integers(0, 4, 70)
    near = -cdist(Z, gallery)
    relevant = y[:, None] == y_gallery
    given = {"gallery": gallery, "y_gallery": y_gallery}
    monkeypatch.setattr("sklearn_repr.inspection.retrieval.CELLS_AT_A_TIME", 200)
    precisions = [
        average_precision_score(r, s) for r, s in zip(relevant, near, strict=True)
    ]
    assert mean_average_precision(Z, y, **given) == pytest.approx(np.mean(precisions))
    assert ndcg_at_k(Z, y, k=7, **given) == pytest.approx(
        ndcg_score(relevant, near - near.min(), k=7)
    )
    first = y_gallery[near.argmax(axis=1)] == y
    assert recall_at_k(Z, y, **given) == pytest.approx(first.mean())


def test_at_one_and_by_the_cosine_it_is_one_way_of_retrieval_accuracy():
    Z1, Z2 = np.random.default_rng(0).normal(size=(2, 30, 2))
    ways = [recall_at_k(a, gallery=b, metric="cosine") for a, b in ((Z1, Z2), (Z2, Z1))]
    assert retrieval_accuracy(Z1, Z2) == pytest.approx(np.mean(ways))


def test_rows_of_no_relevant_ones_do_not_count():
    assert mean_average_precision([[0.0], [1.0], [5.0]], [1, 1, 2]) == 1.0


def test_rows_far_off_do_not_make_ties_of_near_ones():
    rows = np.random.default_rng(0).normal(size=(20, 3))
    y = np.arange(20) // 2
    both = np.vstack([rows, [[1e8, 0, 0], [1e8, 1e8, 0]]]), [*y, 90, 91]
    # the rows far off have no like: they do not count, nor are they near
    for score in (recall_at_k, mean_average_precision):
        assert score(*both) == pytest.approx(score(rows, y), rel=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"y": [0, 0, np.nan]}, "y has missing labels"),
        ({"y": pd.Series(["a", "a", None], dtype="string")}, "y has missing labels"),
        (
            {"gallery": np.ones((1, 2)), "y_gallery": ["0"]},
            "no label of y is one of y_gallery",
        ),
        ({"y": None}, "Give y for rows of Z"),
        ({"y": [0, 1, 2]}, "No query has a relevant row"),
        ({"k": 3}, "k=3 is more than the 2 rows"),
        ({"k": 0}, "k == 0"),
        ({"metric": "l1"}, "metric must be 'euclidean' or 'cosine'; got 'l1'"),
        ({"y": [0, 0]}, "inconsistent numbers of samples"),
        ({"gallery": np.ones((4, 2)), "y": None}, "4 and 3 rows. Give y and y_gallery"),
        ({"gallery": np.ones((3, 3)), "y": None}, "Z has 2 columns and gallery 3"),
        ({"gallery": np.ones((3, 2))}, "gallery, y and y_gallery"),
        ({"y_gallery": [0, 0, 0]}, "gallery, y and y_gallery"),
    ],
)
def test_what_cannot_be_ranked_is_said(settings, message):
    given = {"y": [0, 0, 1], **settings}
    with pytest.raises(ValueError, match=message):
        recall_at_k(np.arange(6.0).reshape(3, 2), **given)


def test_one_row_alone_has_none_to_find():
    for score in (recall_at_k, mean_average_precision, ndcg_at_k):
        with pytest.raises(ValueError, match="One row of Z has no other to find"):
            score([[1.0, 2.0]], [0])


SEARCHES = [
    *(("euclidean", "exact"), ("cosine", "exact"), ("hamming", "exact")),
    *(("euclidean", "hnsw"), ("cosine", "hnsw")),
]


@pytest.mark.parametrize(("metric", "index"), SEARCHES)
def test_an_index_finds_what_comparing_with_all_rows_does(metric, index):
    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(300, 70)) + 3, rng.normal(size=(20, 70)) + 3
    if metric == "hamming":
        rows, queries = (rows > 3).astype(int), (queries > 3).astype(int)
    far = pairwise_distances(queries.astype(float), rows, metric=metric)
    far = far * 70 if metric == "hamming" else far
    fitted = EmbeddingIndex(metric=metric, index=index).fit(rows)
    distances, found = fitted.kneighbors(queries, 5)
    expected = np.argsort(np.round(far, 9), axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found, expected)
    nearest = np.take_along_axis(far, found, axis=1)
    np.testing.assert_allclose(distances, nearest, atol=1e-12)
    alone = fitted.kneighbors(queries[3:4], 5)
    np.testing.assert_array_equal(alone[0], distances[3:4])
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    np.testing.assert_array_equal(again.kneighbors(queries)[0], distances)
    # rows that search each other do not find themselves
    among = pairwise_distances(rows.astype(float), metric=metric)
    np.fill_diagonal(among, np.inf)
    first = fitted.kneighbors(n_neighbors=1, return_distance=False)[:, 0]
    np.testing.assert_allclose(among[np.arange(300), first], among.min(axis=1))


@pytest.mark.parametrize(("metric", "index"), SEARCHES)
def test_rows_that_are_the_same_are_found_and_not_oneself(metric, index):
    rows = np.ones((400, 3))
    distances, found = EmbeddingIndex(metric=metric, index=index).fit(rows).kneighbors()
    np.testing.assert_allclose(distances, 0, atol=1e-12)
    assert all(i not in some and len(set(some)) == 5 for i, some in enumerate(found))


@pytest.mark.parametrize("index", ["exact", "hnsw"])
@pytest.mark.parametrize(("scale", "shift"), [(1, 1e8), (1e-30, 0), (1e30, 0)])
def test_rows_far_from_the_origin_are_told_apart(index, scale, shift):
    rows = scale * np.random.default_rng(0).normal(size=(60, 40)) + shift
    found = EmbeddingIndex(index=index).fit(rows).kneighbors(rows, 2)[1]
    expected = np.argsort(cdist(rows, rows), axis=1)[:, :2]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", ["exact", "hnsw"])
def test_rows_of_one_direction_are_at_no_distance_by_the_cosine(index, dtype):
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(dtype)
    rows[-1] = 0
    fitted = EmbeddingIndex(metric="cosine", index=index).fit(rows)
    distances = fitted.kneighbors(3 * rows, 1)[0][:, 0]
    assert 0 <= distances[:-1].min() <= distances[:-1].max() < 1e-12
    # zeros have no direction
    assert distances[-1] == 1
    assert fitted.kneighbors(-rows[:1], 60)[0].max() == pytest.approx(2)


def test_what_the_graph_does_not_lead_to_is_found_exactly():
    rows = np.random.default_rng(0).normal(size=(50, 3))
    fitted = EmbeddingIndex(index="hnsw").fit(rows)
    expected = fitted.kneighbors(rows, 4)[1]
    search, lost = fitted._search, np.full((50, 4), -1)
    lost[10:] = expected[10:]
    fitted._search = SimpleNamespace(hnsw=search.hnsw, search=lambda q, k: (None, lost))
    np.testing.assert_array_equal(fitted.kneighbors(rows, 4)[1], expected)


def test_without_faiss_the_extra_is_named_before_anything_is_fitted(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    index = EmbeddingIndex(FunctionTransformer(pytest.fail), index="hnsw")
    with pytest.raises(ImportError, match=r"'hnsw' needs faiss.*sklearn_repr\[index\]"):
        index.fit(np.eye(3))


def test_packed_codes_are_counted_as_before_numpy_2(monkeypatch):
    rng = np.random.default_rng(0)
    bits = rng.random((2, 40, 131)) < 0.5
    expected = (bits[0] != bits[1]).sum(axis=1)
    packed = hamming.pack_bits(bits[0]), hamming.pack_bits(bits[1])
    np.testing.assert_array_equal(hamming.hamming_distances(*packed), expected)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    np.testing.assert_array_equal(hamming.hamming_distances(*packed), expected)


def test_a_fitted_estimator_is_used_as_it_is_and_another_is_cloned():
    X = load_digits().data
    fitted, fresh = PCA(4).fit(X[:100]), PCA(4)
    index = EmbeddingIndex(fitted).fit(X[100:200])
    assert index.estimator_ is fitted
    np.testing.assert_array_equal(index.embedding_, fitted.transform(X[100:200]))
    own = EmbeddingIndex(fresh).fit(X[100:200])
    assert not hasattr(fresh, "components_")
    assert own.estimator_.n_features_in_ == own.n_features_in_ == 64


def test_a_pipeline_that_ends_in_what_needs_no_fit_is_fitted():
    X = load_digits().data[:60]
    coder = make_pipeline(PCA(4), Normalizer())
    index = EmbeddingIndex(coder).fit(X)
    assert not hasattr(coder[0], "components_")
    expected = coder.fit_transform(X)
    np.testing.assert_allclose(index.embedding_, expected)
    assert EmbeddingIndex(coder).fit(X).estimator_ is coder


def test_a_frame_of_numbers_and_categories_is_searched():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=60), "kind": ["a", "b", "c"] * 20})
    model = AutoencoderTransformer(3, max_iter=3, random_state=0)
    index = EmbeddingIndex(model).fit(frame)
    assert list(index.feature_names_in_) == ["size", "kind"]
    example = frame.iloc[[7]].set_axis(["one"])
    distances, found = index.kneighbors(example, 3)
    assert found[0, 0] == 7
    assert distances[0, 0] == 0


def test_binary_codes_keep_who_is_near():
    X, y = (part[:600] for part in load_digits(return_X_y=True))
    bits = BinaryEmbedder(32, random_state=0).fit(X).transform(X)
    assert set(np.unique(bits)) == {0, 1}
    signs = PCA(32, random_state=0).fit_transform(X) > 0
    ours, theirs = (mean_average_precision(b, y) for b in (bits, signs))
    assert ours > theirs + 0.1
    # bits are used evenly, as those of the last components would be used for noise
    assert 0.2 < bits.mean(axis=0).min() < bits.mean(axis=0).max() < 0.8


def test_axes_are_orthonormal_and_lose_less_in_every_round():
    X = load_digits().data
    losses = []
    for rounds in (1, 3, 10):
        fitted = BinaryEmbedder(8, max_iter=rounds, random_state=0).fit(X)
        W = fitted.components_
        np.testing.assert_allclose(W @ W.T, np.eye(8), atol=1e-12)
        z = (X - fitted.mean_) @ W.T
        losses.append(np.square(np.where(z > 0, 1, -1) - z).sum())
    assert losses[0] > losses[1] > losses[2]
    again = BinaryEmbedder(8, max_iter=10, random_state=0).fit(X)
    np.testing.assert_array_equal(again.components_, fitted.components_)


def test_rows_that_are_all_the_same_have_one_code():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not BinaryEmbedder(random_state=0).fit_transform(np.ones((5, 3))).any()


def test_what_an_index_cannot_do_is_said():
    rows = np.arange(8.0).reshape(4, 2)
    with pytest.raises(ValueError, match=r"zeros and ones, but column 0 .* holds 2"):
        EmbeddingIndex(metric="hamming").fit(rows)
    with pytest.raises(ValueError, match="index='hnsw' has no metric='hamming'"):
        EmbeddingIndex(metric="hamming", index="hnsw").fit(rows)
    fitted = EmbeddingIndex().fit(rows)
    with pytest.raises(ValueError, match="n_neighbors=4 is more than the 3 rows"):
        fitted.kneighbors(n_neighbors=4)
    with pytest.raises(ValueError, match="Input embedding contains NaN"):
        EmbeddingIndex(FunctionTransformer(lambda x: x * np.nan)).fit(rows)
    with pytest.raises(ValueError, match="zeros and ones"):
        fitted.set_params(metric="hamming").fit(rows)
    assert fitted.kneighbors(rows, 1)[1].ravel().tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="n_components=3 must be between"):
        BinaryEmbedder(3).fit(rows)
    # what failed leaves what was fitted as it was
    code = BinaryEmbedder(2, random_state=0).fit(rows)
    with pytest.raises(ValueError, match="n_components=2 must be between"):
        code.fit(rows[:, :1])
    assert code.n_features_in_ == 2
