"""The variational step by hand, against automatic differentiation."""

import numpy as np
import pytest
from conftest import fit_by_step

from sklearn_repr import VariationalAutoencoder


def curves(monkeypatch, by_hand, **options):
    """Train some epochs; return codes and loss terms, and whether steps were by hand."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 6))
    X += 0.1 * rng.normal(size=X.shape)
    model = VariationalAutoencoder(2, max_iter=5, random_state=0, **options)
    taken = fit_by_step(monkeypatch, "bound_step", by_hand, model, X)
    return model.transform(X), model.loss_terms_, taken


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"linear_skip": False, "init": None},
        {"beta": 4.0, "kl_warm_up": 2},
        {"decoder_variance": 0.3},
        {"layer_norm": True},
        {"hidden_layer_sizes": ()},
        {"alpha": 0.01, "activation": "relu", "optimizer": "sgd"},
    ],
    ids=str,
)
def test_hand_and_automatic_gradients_train_to_the_same(options, dtype, monkeypatch):
    options = {"dtype": dtype, "early_stopping": False, **options}
    codes, terms, by_hand = curves(monkeypatch, True, **options)
    expected, expected_terms, automatic = curves(monkeypatch, False, **options)
    assert by_hand
    assert not automatic
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(codes, expected, rtol=tolerance, atol=tolerance)
    assert terms.keys() == expected_terms.keys()
    for name, curve in terms.items():
        np.testing.assert_allclose(curve, expected_terms[name], rtol=tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {"free_bits": 0.1},
        {"objective": "beta_tcvae"},
        {"dropout": 0.1},
        {"decoder": "bernoulli", "scaling": None},
    ],
    ids=str,
)
def test_other_bounds_are_left_to_automatic_differentiation(options, monkeypatch):
    X = np.random.default_rng(0).uniform(size=(60, 5))
    model = VariationalAutoencoder(2, max_iter=2, random_state=0, **options)
    assert not fit_by_step(monkeypatch, "bound_step", True, model, X)


def test_gradient_of_a_cut_off_variance_is_zero(monkeypatch):
    options = {"learning_rate_init": 5.0, "early_stopping": False, "dtype": "float64"}
    options |= {"linear_skip": False, "init": None}
    codes = [curves(monkeypatch, by_hand, **options)[0] for by_hand in (True, False)]
    np.testing.assert_allclose(*codes, rtol=1e-6, atol=1e-6)
