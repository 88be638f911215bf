"""The masked step by hand, against automatic differentiation."""

import numpy as np
import pytest
import torch
from conftest import fit_by_step

from sklearn_repr import MaskedAutoencoder
from sklearn_repr.modules import masked


def curves(monkeypatch, by_hand, missing=False, **options):
    """Train some epochs; return codes and losses, and whether steps were by hand."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 7))
    X += 0.1 * rng.normal(size=X.shape)
    if missing:
        X[rng.uniform(size=X.shape) < 0.2] = np.nan
    options = {"n_components": 3, "random_state": 0, "max_iter": 5, **options}
    model = MaskedAutoencoder(**options)
    taken = fit_by_step(monkeypatch, "hidden_step", by_hand, model, X)
    return model.transform(X), model.loss_curve_, taken


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"missing": True},
        {"linear_skip": False, "init": None, "mask_ratio": 0.3},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": (8,), "patch_size": 2, "layer_norm": True},
        {"alpha": 0.01, "activation": "relu", "optimizer": "sgd", "mask_ratio": 0.1},
    ],
    ids=str,
)
def test_hand_and_automatic_gradients_train_to_the_same(options, dtype, monkeypatch):
    options = {"dtype": dtype, "early_stopping": False, **options}
    codes, curve, by_hand = curves(monkeypatch, True, **options)
    expected, expected_curve, automatic = curves(monkeypatch, False, **options)
    assert by_hand
    assert not automatic
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(codes, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(curve, expected_curve, rtol=tolerance)


def test_a_code_wider_than_the_linear_path_has_the_same_gradients(monkeypatch):
    monkeypatch.setattr(masked, "WIDEST", 2)
    options = {"early_stopping": False, "dtype": "float64"}
    (codes, curve, by_hand), (expected, expected_curve, _) = (
        curves(monkeypatch, wanted, **options) for wanted in (True, False)
    )
    assert by_hand
    np.testing.assert_allclose(codes, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(curve, expected_curve, rtol=1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "huber"},
        {"dropout": 0.1},
        {"architecture": "transformer", "hidden_layer_sizes": (16,)},
        {"loss": torch.square},
    ],
    ids=["huber", "dropout", "transformer", "callable"],
)
def test_other_losses_and_layers_are_left_to_automatic_differentiation(
    options, monkeypatch
):
    assert not curves(monkeypatch, True, **options)[2]
