"""VAE: divergences, bounds, probabilistic PCA, sampling, collapse, disentanglement."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from sklearn_repr import (
    AutoencoderTransformer,
    CollapseWarning,
    DenoisingAutoencoder,
    VariationalAutoencoder,
)
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives import ELBO, TotalCorrelation
from sklearn_repr.objectives.elbo import (
    gaussian_kl,
    log_likelihood,
    log_normal,
    total_correlation_parts,
)
from sklearn_repr.utils.draws import matched_draws, row_shifts, shifted_normal


@pytest.fixture(scope="module")
def rows():
    """600 normal rows: four strong directions in eight columns, and noise."""
    rng = np.random.default_rng(0)
    strong = rng.normal(size=(600, 4)) * [4, 3, 2, 1.5]
    return strong @ rng.normal(size=(4, 8)) + 0.7 * rng.normal(size=(600, 8)) + 2


def linear_vae(k=3, **settings):
    defaults = {"hidden_layer_sizes": (), "scaling": None, "random_state": 0}
    return VariationalAutoencoder(k, **{**defaults, "dtype": "float64", **settings})


def test_the_divergence_is_torchs():
    mean, log_variance = torch.randn(2, 5, 3, dtype=torch.float64)
    normal = torch.distributions.Normal
    theirs = torch.distributions.kl_divergence(
        normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0)
    )
    torch.testing.assert_close(gaussian_kl(mean, log_variance), theirs)
    x = torch.randn(5, 3, dtype=torch.float64)
    theirs = normal(mean, (0.5 * log_variance).exp()).log_prob(x)
    torch.testing.assert_close(log_normal(x, mean, log_variance), theirs)
    bits = (x > 0).double()
    theirs = torch.distributions.Bernoulli(logits=mean).log_prob(bits).sum(dim=1)
    ours = log_likelihood(mean, bits, torch.zeros(()), bernoulli=True)
    torch.testing.assert_close(ours, theirs)


def test_the_three_parts_sum_to_the_divergence():
    mean, log_variance, noise = torch.randn(3, 40, 4, dtype=torch.float64)
    z = mean + (0.5 * log_variance).exp() * noise
    parts = total_correlation_parts(z, mean, log_variance, 1000)
    sampled = log_normal(z, mean, log_variance) - log_normal(z, 0.0, 0.0)
    torch.testing.assert_close(sum(parts), sampled.sum(dim=1), atol=1e-5, rtol=0)
    # a slow reference for the first row, from equation S5
    joint = product = 0.0
    products = [0.0] * 4
    for j in range(40):
        logs = [
            float(log_normal(z[0, k], mean[j, k], log_variance[j, k])) for k in range(4)
        ]
        joint += math.exp(sum(logs))
        products = [p + math.exp(log) for p, log in zip(products, logs, strict=True)]
    joint = math.log(joint / (40 * 1000))
    product = sum(math.log(p / (40 * 1000)) for p in products)
    assert float(parts[1][0]) == pytest.approx(joint - product, rel=1e-6)


def test_free_bits_and_warm_up():
    mean = torch.tensor([[0.1, 2.0], [-0.1, 2.0]])
    log_variance = torch.zeros(2, 2)
    outputs = Outputs(
        mean, mean, mean=mean, log_variance=log_variance, log_noise=torch.zeros(())
    )
    free = ELBO(free_bits=0.5).terms(outputs, Batch(mean))["kl"]
    assert float(free) == pytest.approx(0.5 + 2.0)
    objective = ELBO(4.0, warm_up=3)
    seen = []
    for epoch in (1, 2, 3, 4, 5):
        objective.start_epoch(epoch, 10)
        objective.train()
        seen.append(objective.weights["kl"])
        objective.eval()
        assert objective.weights["kl"] == 4.0
    assert seen == [1.0, 2.0, 3.0, 4.0, 4.0]
    tc = TotalCorrelation(6.0)
    tc.start_epoch(1, 10)
    assert tc.weights == {
        "mutual_information": 1.0,
        "total_correlation": 6.0,
        "dimension_kl": 1.0,
    }


@pytest.mark.parametrize("k", [1, 3, 6])
def test_a_linear_vae_is_probabilistic_pca(rows, k):
    vae = linear_vae(k).fit(rows)
    likelihood = PCA(k).fit(rows).score(rows)
    assert vae.score_samples(rows).mean() == pytest.approx(likelihood, abs=1e-3 * 8)
    assert vae.score_samples(rows, 200).mean() == pytest.approx(likelihood, abs=1e-3 * 8)


def test_it_gets_there_from_a_random_start(rows):
    vae = linear_vae(
        3,
        init=None,
        learning_rate_init=0.01,
        max_iter=600,
        n_iter_no_change=600,
        batch_size=100,
    ).fit(rows)
    likelihood = PCA(3).fit(rows).score(rows)
    assert vae.score_samples(rows).mean() == pytest.approx(likelihood, abs=0.05 * 8)
    assert vae.loss_curve_[-1] < 0.7 * vae.loss_curve_[0]


def test_the_bound_grows_with_k_up_to_the_likelihood(rows):
    vae = linear_vae(2, max_iter=3, learning_rate_init=0.05, early_stopping=False)
    vae.fit(rows)  # away from the optimum: the bound is loose
    module = vae.net_.module_
    W = module.decoder[0].weight.detach().numpy()
    mean = module.decoder[0].bias.detach().numpy()
    covariance = W @ W.T + math.exp(module.log_noise.item()) * np.eye(8)
    exact = multivariate_normal(mean, covariance).logpdf(rows).mean()
    bounds = [vae.score_samples(rows).mean()]
    bounds += [vae.score_samples(rows, K).mean() for K in (2, 40, 4000)]
    assert (np.diff(bounds) > 0).all()
    assert bounds[-1] <= exact + 0.02
    assert exact - bounds[-1] < 0.5 * (exact - bounds[0])


def test_a_density_does_not_depend_on_holes_in_other_rows():
    rows = np.random.default_rng(0).normal(size=(60, 20))
    rows *= np.geomspace(0.1, 300, 20)
    holed = rows.copy()
    holed[5, 3] = np.nan
    vae = VariationalAutoencoder(2, max_iter=3, random_state=0).fit(holed)
    scores, others = vae.score_samples(holed), np.arange(60) != 5
    np.testing.assert_array_equal(scores[others], vae.score_samples(rows)[others])
    for table in (np.asfortranarray(holed), sparse.csr_array(holed)):
        np.testing.assert_array_equal(vae.score_samples(table), scores)


def test_densities_are_in_the_units_of_the_table(rows):
    units = np.array([1, 10, 0.1, 5, 1, 1, 100, 3])
    plain = linear_vae(3, scaling="standard").fit(rows).score_samples(rows)
    scaled = (
        linear_vae(3, scaling="standard").fit(rows * units).score_samples(rows * units)
    )
    np.testing.assert_allclose(scaled, plain - np.log(units).sum(), rtol=1e-6)
    standard = StandardScaler().fit(rows)
    inside = linear_vae(3).fit(standard.transform(rows))
    expected = (
        inside.score_samples(standard.transform(rows)) - np.log(standard.scale_).sum()
    )
    np.testing.assert_allclose(plain, expected, rtol=1e-6)


def test_samples_look_like_the_data(rows):
    vae = linear_vae(4).fit(rows)
    drawn = vae.sample(20_000, random_state=0)
    np.testing.assert_allclose(drawn.mean(axis=0), rows.mean(axis=0), atol=0.2)
    spread = np.sqrt(np.diag(np.cov(rows.T)))
    error = np.abs(np.cov(drawn.T) - np.cov(rows.T)) / np.outer(spread, spread)
    assert error.max() < 0.1
    quiet = vae.sample(1000, noise=False, random_state=0)
    assert np.linalg.matrix_rank(quiet - quiet.mean(axis=0), tol=1e-6) == 4
    np.testing.assert_array_equal(
        vae.sample(3, random_state=1), vae.sample(3, random_state=1)
    )
    assert not np.array_equal(vae.sample(3), vae.sample(3))
    assert list(vae.set_output(transform="pandas").sample(2).columns) == [
        f"x{i}" for i in range(8)
    ]
    with pytest.raises(ValueError, match="n_samples == 0, must be >= 1"):
        vae.sample(0)


def test_posterior_moments(rows):
    vae = linear_vae(3).fit(rows)
    mean, std = vae.transform(rows, return_std=True)
    np.testing.assert_array_equal(mean, vae.transform(rows))
    pca = PCA(3).fit(rows)
    noise, values = math.exp(vae.net_.module_.log_noise.item()), pca.explained_variance_
    np.testing.assert_allclose(std[0] ** 2, noise / values * 600 / 599, rtol=0.02)
    np.testing.assert_array_equal(vae.transform(rows[5:6], return_std=True)[1][0], std[5])


def test_a_network_beats_the_linear_model_on_a_curve(X):
    linear = VariationalAutoencoder(1, hidden_layer_sizes=(), random_state=0).fit(X)
    deep = VariationalAutoencoder(
        1, learning_rate_init=0.003, n_iter_no_change=40, random_state=0
    ).fit(X)
    assert deep.score_samples(X).mean() > linear.score_samples(X).mean() + 0.1


def test_fixed_variance_and_bernoulli_columns():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 1))
    bits = (
        rng.random((300, 10)) < 1 / (1 + np.exp(-3 * z * np.linspace(-1, 1, 10)))
    ) * 1.0
    vae = VariationalAutoencoder(
        1, likelihood="bernoulli", scaling=None, max_iter=100, random_state=0
    ).fit(bits)
    assert vae.loss_curve_[-1] < 0.95 * vae.loss_curve_[0]
    rebuilt = vae.reconstruct(bits)
    assert ((rebuilt >= 0) & (rebuilt <= 1)).all()
    assert set(np.unique(vae.sample(50, random_state=0))) == {0.0, 1.0}
    assert abs(np.corrcoef(vae.transform(bits)[:, 0], z[:, 0])[0, 1]) > 0.7
    assert (vae.score_samples(bits) <= 0).all()
    with pytest.raises(ValueError, match="likelihood='bernoulli' needs values in"):
        VariationalAutoencoder(1, likelihood="bernoulli").fit(bits)
    fixed = VariationalAutoencoder(1, decoder_variance=0.25, max_iter=2).fit(bits)
    assert float(fixed.net_.module_.log_noise) == pytest.approx(math.log(0.25))


def test_collapse_is_noticed(rows):
    noise = np.random.default_rng(0).normal(size=(300, 5))
    vae = VariationalAutoencoder(2, beta=50.0, init=None, max_iter=60, random_state=0)
    with pytest.warns(CollapseWarning, match="collapsed to the prior"):
        vae.fit(noise)
    assert vae.kl_per_component_.max() < 0.01
    assert linear_vae(2).fit(rows).kl_per_component_.min() > 0.5


def test_beta_makes_components_say_less(rows):
    def total(beta):
        vae = VariationalAutoencoder(4, beta=beta, max_iter=40, init=None, random_state=0)
        return vae.fit(rows).kl_per_component_.sum()

    assert total(8.0) < 0.8 * total(1.0)


def test_beta_tcvae_trains_and_records_its_parts(rows):
    vae = VariationalAutoencoder(
        3, objective="beta_tcvae", beta=4.0, kl_warm_up=3, max_iter=15, random_state=0
    ).fit(rows)
    for part in ("mutual_information", "total_correlation", "dimension_kl"):
        assert len(vae.loss_terms_[f"train_{part}"]) == vae.n_iter_
    assert np.isfinite(vae.score_samples(rows)).all()


def test_beta_tcvae_is_trained_with_early_stopping():
    rows = StandardScaler().fit_transform(load_wine().data)
    vae = VariationalAutoencoder(
        4, objective="beta_tcvae", beta=4.0, init=None, max_iter=100, random_state=0
    ).fit(rows)
    assert vae.best_loss_ == min(vae.validation_curve_)
    assert vae.n_iter_ > 15
    assert vae.score(rows) > 0.4


@pytest.mark.parametrize("early_stopping", [True, False])
def test_patience_waits_for_the_warm_up(X, early_stopping):
    vae = VariationalAutoencoder(
        2,
        kl_warm_up=30,
        init=None,
        early_stopping=early_stopping,
        max_iter=60,
        n_iter_no_change=3,
        tol=0.5,
        random_state=0,
    ).fit(X)
    assert vae.n_iter_ > 30


def test_moments_in_frames_and_changed_settings(X):
    vae = VariationalAutoencoder(2, max_iter=2, random_state=0, warm_start=True).fit(X)
    mean, std = vae.set_output(transform="pandas").transform(X, return_std=True)
    assert list(mean.columns) == list(vae.get_feature_names_out())
    assert std.shape == mean.shape
    density = vae.score_samples(X)
    vae.set_params(scaling="quantile")  # reaches the next fit, not this one
    np.testing.assert_array_equal(vae.score_samples(X), density)
    vae.set_params(scaling="standard")
    with pytest.raises(ValueError, match="decoder_variance was 'learned'"):
        vae.set_params(decoder_variance=0.5).fit(X)
    with pytest.raises(ValueError, match="free_bits needs objective='elbo'"):
        VariationalAutoencoder(2, objective="beta_tcvae", free_bits=1.0).fit(X)
    for wrong in (0, 2.7, "a"):
        with pytest.raises((ValueError, TypeError), match="n_samples"):
            vae.score_samples(X, n_samples=wrong)
        with pytest.raises((ValueError, TypeError), match="n_samples"):
            vae.sample(wrong)


def test_impossible_rows_of_bernoulli_columns_are_refused():
    bits = (np.random.default_rng(0).random((80, 5)) < 0.5) * 1.0
    vae = VariationalAutoencoder(
        1, likelihood="bernoulli", scaling=None, max_iter=2, random_state=0
    ).fit(bits)
    for method in (vae.score_samples, vae.reconstruction_error):
        with pytest.raises(ValueError, match=r"needs values in \[0, 1\]"):
            method(3 * bits)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_defaults_are_silent_on_ordinary_tables(load, recwarn):
    rows = load().data
    for cls in (AutoencoderTransformer, DenoisingAutoencoder, VariationalAutoencoder):
        for seed in range(2):
            cls(random_state=seed, max_iter=30).fit(rows)
    assert not [str(w.message) for w in recwarn]


def test_convolutional():
    images = np.random.default_rng(0).random((100, 49))
    vae = VariationalAutoencoder(
        2, architecture="conv", input_shape=(1, 7, 7), max_iter=3, random_state=0
    ).fit(images)
    assert vae.sample(2).shape == (2, 49)
    assert np.isfinite(vae.score_samples(images, 5)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_have_draws_of_their_own(dtype):
    rows = torch.randn(20_000, 5, dtype=dtype)
    shifts = row_shifts(rows, 3)
    assert float(shifts.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(shifts.std()) == pytest.approx(12**-0.5, abs=0.01)
    correlation = np.corrcoef(shifts.T) - np.eye(3)
    assert np.abs(correlation).max() < 0.03
    nearly = rows.clone()
    nearly[:, 0] = torch.nextafter(nearly[:, 0], torch.tensor(torch.inf, dtype=dtype))
    assert abs(np.corrcoef(shifts[:, 0], row_shifts(nearly, 3)[:, 0])[0, 1]) < 0.03
    assert torch.equal(row_shifts(rows[7:9], 3), shifts[7:9])
    zeros = torch.zeros(1, 5, dtype=dtype)
    assert torch.equal(row_shifts(zeros, 3), row_shifts(-zeros, 3))
    draws = shifted_normal(torch.tensor([0.3, 0.0, 0.9]), shifts)
    assert float(draws.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(draws.std()) == pytest.approx(1.0, abs=0.02)


def test_matched_draws_have_the_moments_of_normals():
    for width in (1, 3, 20):
        draws = matched_draws(16, width)
        np.testing.assert_allclose(draws.mean(dim=0), 0.0, atol=1e-12)
        covariance = draws.T @ draws / len(draws)
        np.testing.assert_allclose(covariance, np.eye(width), atol=1e-9)
