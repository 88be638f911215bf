"""A linear autoencoder is PCA, and a code is rotated as PCA's is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from sklearn_repr import AutoencoderTransformer, DenoisingAutoencoder


@pytest.fixture
def rows():
    """300 rows with a clear spectrum and a mean away from zero."""
    rng = np.random.default_rng(0)
    mixed = (rng.normal(size=(300, 8)) * 1.5 ** -np.arange(8)) @ rng.normal(size=(8, 8))
    return mixed + 3


def weights(model):
    return model.net_.module_.decoder[0].weight.detach().double().numpy()


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize(
    ("dtype", "angle", "error"), [("float64", 1e-3, 1e-6), ("float32", 0.0175, 1e-4)]
)
def test_it_is_pca(rows, k, dtype, angle, error):
    model = AutoencoderTransformer(
        k,
        hidden_layer_sizes=(),
        activation="identity",
        scaling=None,
        dtype=dtype,
        random_state=0,
    ).fit(rows)
    pca = PCA(k).fit(rows)
    assert subspace_angles(weights(model), pca.components_.T).max() < angle
    discarded = np.square(rows - pca.inverse_transform(pca.transform(rows))).sum(axis=1)
    loss = model.reconstruction_error(rows).mean()
    assert loss == pytest.approx(discarded.mean(), rel=error)


def test_it_is_pca_on_large_tables_with_a_flat_spectrum():
    rows = np.random.default_rng(0).normal(size=(800, 510))
    rows *= np.arange(1, 511) ** -0.25
    model = AutoencoderTransformer(
        3,
        hidden_layer_sizes=(),
        scaling=None,
        dtype="float64",
        max_iter=3,
        random_state=0,
    ).fit(rows)
    pca = PCA(3, svd_solver="full").fit(rows)
    assert subspace_angles(weights(model), pca.components_.T).max() < 1e-3


def test_all_rows_decide_how_the_code_is_rotated():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(10_000, 4)) * [1, 2, 0.1, 0.1]
    last = rng.normal(size=(10_000, 4)) * [8, 2, 0.1, 0.1]
    rows = np.vstack([first, last])
    model = AutoencoderTransformer(
        2, hidden_layer_sizes=(), scaling=None, max_iter=1, random_state=0
    ).fit(rows)
    expected = PCA(2).fit(rows).explained_variance_ratio_
    np.testing.assert_allclose(model.explained_variance_ratio_, expected, rtol=0.05)


def test_it_reaches_pca_from_a_random_start(rows):
    model = AutoencoderTransformer(
        2,
        hidden_layer_sizes=(),
        init=None,
        scaling=None,
        dtype="float64",
        learning_rate_init=0.05,
        max_iter=1000,
        batch_size=300,
        n_iter_no_change=1000,
        random_state=0,
    ).fit(rows)
    pca = PCA(2).fit(rows)
    assert subspace_angles(weights(model), pca.components_.T).max() < 0.01
    assert model.loss_curve_[-1] < 0.9 * model.loss_curve_[0]


@pytest.mark.parametrize("scaling", [None, "standard"])
def test_its_components_are_pcas(rows, scaling):
    scaled = StandardScaler().fit_transform(rows) if scaling else rows
    model = AutoencoderTransformer(
        3, hidden_layer_sizes=(), scaling=scaling, dtype="float64", random_state=0
    ).fit(rows)
    pca = PCA(3).fit(scaled)
    ours, theirs = model.transform(rows), pca.transform(scaled)
    cosine = (ours * theirs).sum(axis=0)
    cosine /= np.linalg.norm(ours, axis=0) * np.linalg.norm(theirs, axis=0)
    assert (np.abs(cosine) > 0.999).all()
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-6)
    np.testing.assert_allclose(
        model.explained_variance_ratio_, pca.explained_variance_ratio_, rtol=1e-6
    )


@pytest.mark.parametrize("tied_weights", [False, True])
@pytest.mark.parametrize("cls", [AutoencoderTransformer, DenoisingAutoencoder])
def test_any_code_is_ordered_decorrelated_and_sign_fixed(X, cls, tied_weights):
    def code(seed):
        model = cls(
            3, tied_weights=tied_weights, early_stopping=False, max_iter=20
        ).set_params(random_state=seed)
        Z = model.fit(X).transform(X)
        return Z, model

    Z, model = code(0)
    covariance = np.cov(Z.T)
    off = covariance - np.diag(np.diag(covariance))
    assert np.abs(off).max() < 1e-3 * np.diag(covariance).max()
    shares = model.explained_variance_ratio_
    assert (np.diff(shares) <= 1e-12).all()
    assert 0 < shares.sum() <= 1
    other, _ = code(1)
    first = np.corrcoef(Z[:, 0], other[:, 0])[0, 1]
    assert first > 0.9  # comparable between runs, sign included


@pytest.mark.parametrize("k", [1, 3, 5, 8])
def test_rotating_the_code_changes_nothing_that_is_rebuilt(X, k, monkeypatch):
    settings = {"max_iter": 5, "penalty": "decorrelation", "random_state": 0}
    rotated = AutoencoderTransformer(k, **settings).fit(X)
    monkeypatch.setattr(AutoencoderTransformer, "_after_training", lambda *_: None)
    plain = AutoencoderTransformer(k, **settings).fit(X)
    np.testing.assert_allclose(
        rotated.reconstruct(X) / X.std(axis=0),
        plain.reconstruct(X) / X.std(axis=0),
        atol=1e-3,
    )
    assert not np.allclose(rotated.transform(X), plain.transform(X), atol=1e-2)


@pytest.mark.parametrize("penalty", ["l1", "activity_l1", "topk", "kl_sparsity"])
def test_sparse_codes_are_not_rotated(X, penalty):
    model = AutoencoderTransformer(3, penalty=penalty, max_iter=2).fit(X)
    assert not hasattr(model, "explained_variance_ratio_")


def test_the_learned_linear_denoiser_is_the_closed_form():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 4)) @ rng.normal(size=(4, 4))
    rows -= rows.mean(axis=0)
    model = DenoisingAutoencoder(
        4,
        hidden_layer_sizes=(),
        scaling=None,
        corruption_level=0.7,
        learning_rate_init=0.003,
        batch_size=500,
        max_iter=300,
        n_iter_no_change=50,
        random_state=0,
    ).fit(rows)
    C = np.cov(rows.T, bias=True)
    noise = np.diag((0.7 * rows.std(axis=0)) ** 2)
    closed = C @ np.linalg.inv(C + noise)
    module = model.net_.module_
    learned = (module.decoder[0].weight @ module.encoder[0].weight).detach().numpy()
    assert np.abs(learned - closed).max() < 0.05
    assert torch.isfinite(module.decoder[0].weight).all()
