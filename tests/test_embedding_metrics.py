"""Metrics of embeddings: slow references, known values, PCA as an example."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA

from sklearn_repr.inspection import (
    alignment,
    effective_rank,
    knn_probe_score,
    linear_probe_score,
    uniformity,
)


@pytest.mark.parametrize("n", [2, 30, 1500])
def test_alignment_and_uniformity_are_their_formulas(n):
    rng = np.random.default_rng(0)
    Z1, Z2 = rng.normal(size=(2, n, 4)) * 3
    U1, U2 = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (Z1, Z2))
    assert alignment(Z1, Z2) == pytest.approx(np.square(U1 - U2).sum(1).mean())
    lengths = np.linalg.norm(U1 - U2, axis=1)
    assert alignment(Z1, Z2, power=1.0) == pytest.approx(lengths.mean())
    for t in (0.5, 2.0):
        apart = np.square(U1[:, None] - U1[None]).sum(2)
        pairs = np.exp(-t * apart[np.triu_indices(n, 1)])
        assert uniformity(Z1, t=t) == pytest.approx(np.log(pairs.mean()))
    assert alignment(Z1, Z2) == pytest.approx(alignment(10 * Z1, Z2 / 7))
    assert alignment(Z1, Z1) == 0.0


def test_collapsed_embeddings_have_the_known_values():
    same = np.ones((50, 8))
    assert alignment(same, same) == 0.0
    assert uniformity(same) == pytest.approx(0.0)
    assert effective_rank(same) == 0.0
    assert uniformity(np.zeros((3, 2))) <= 0.0
    line = np.outer(np.arange(50.0), np.ones(8))
    assert effective_rank(line) == pytest.approx(1.0)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_effective_rank_counts_directions(k):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(8, 8)))[0][:k]
    codes = np.linalg.qr(rng.normal(size=(100, k)) - 0)[0]
    codes = np.linalg.qr(codes - codes.mean(0))[0]
    assert effective_rank(1e3 * codes @ basis + 5) == pytest.approx(k)
    spectrum = np.array([4.0, 2.0, 1.0])
    share = spectrum / 7
    wide = np.linalg.qr(rng.normal(size=(60, 3)) - 0)[0]
    wide = np.linalg.qr(wide - wide.mean(0))[0] * spectrum
    expected = np.exp(-(share * np.log(share)).sum())
    assert effective_rank(wide) == pytest.approx(expected)


def test_probes_tell_good_embeddings_from_bad():
    X, y = (part[:700] for part in load_digits(return_X_y=True))
    good, bad = PCA(16).fit_transform(X), PCA(1).fit_transform(X)
    noise = np.random.default_rng(0).normal(size=good.shape)
    for probe in (linear_probe_score, knn_probe_score):
        assert probe(good, y) > 0.9 > probe(bad, y) > 0.2
        assert probe(noise, y) < 0.2
        assert probe(good, y) == probe(good, y)
        assert probe(good, y.astype(str)) == probe(good, y)
    assert linear_probe_score(good * [1e6] + 3, y) == pytest.approx(
        linear_probe_score(good, y)
    )


def test_what_cannot_be_judged_is_said():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=r"shapes \(150, 4\) and \(150, 3\)"):
        alignment(X, X[:, :3])
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        uniformity(X[:1])
    with pytest.raises(ValueError, match="fewer than cv=5 folds"):
        linear_probe_score(X[:53], y[:53])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        knn_probe_score(X, y[:-1])
    with pytest.raises(ValueError, match="n_neighbors == 0"):
        knn_probe_score(X, y, n_neighbors=0)
    with pytest.raises(ValueError, match="contains NaN"):
        effective_rank([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="n_neighbors=11 is more than the 6 rows"):
        knn_probe_score(X[44:56], y[44:56], n_neighbors=11, cv=2)
    for probe in (linear_probe_score, knn_probe_score):
        with pytest.raises(ValueError, match="y holds one class"):
            probe(X[:50], y[:50])
