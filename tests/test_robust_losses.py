"""Robust losses: formulas, influence functions, scales, and what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from sklearn_repr import AutoencoderTransformer
from sklearn_repr.objectives import cell_loss
from sklearn_repr.objectives.losses import auto_scale, residual_losses

# of every loss: ρ(r; c), and its influence function ψ = ∂ρ/∂r
FORMULAS = {
    "squared_error": (lambda r, c: r**2, lambda r, c: 2 * r),
    "absolute_error": (lambda r, c: abs(r), lambda r, c: math.copysign(1, r)),
    "huber": (
        lambda r, c: r**2 / 2 if abs(r) <= c else c * (abs(r) - c / 2),
        lambda r, c: max(-c, min(c, r)),
    ),
    "pseudo_huber": (
        lambda r, c: c**2 * (math.sqrt(1 + (r / c) ** 2) - 1),
        lambda r, c: r / math.sqrt(1 + (r / c) ** 2),
    ),
    "cauchy": (
        lambda r, c: c**2 / 2 * math.log(1 + (r / c) ** 2),
        lambda r, c: r / (1 + (r / c) ** 2),
    ),
    "geman_mcclure": (
        lambda r, c: r**2 / 2 / (1 + (r / c) ** 2),
        lambda r, c: r / (1 + (r / c) ** 2) ** 2,
    ),
    "fair": (
        lambda r, c: c**2 * (abs(r) / c - math.log(1 + abs(r) / c)),
        lambda r, c: r / (1 + abs(r) / c),
    ),
    "correntropy": (
        lambda r, c: 1 - math.exp(-(r**2) / c),
        lambda r, c: 2 * r / c * math.exp(-(r**2) / c),
    ),
    "log_cosh": (
        lambda r, c: c**2 * math.log(math.cosh(r / c)),
        lambda r, c: c * math.tanh(r / c),
    ),
}
# the influence of a gross error vanishes, or at least stays bounded
REDESCENDING = {"cauchy", "geman_mcclure", "correntropy"}
UNBOUNDED = {"squared_error"}
SCALED = [entry.name for entry in cell_loss if "tuning" in entry.metadata]


@pytest.mark.parametrize("loss", SCALED)
def test_the_tuning_constant_has_the_efficiency_that_is_said(loss):
    x = torch.linspace(-12, 12, 100_001, dtype=torch.float64, requires_grad=True)
    density = torch.exp(-x.detach().square() / 2) * (
        24 / 100_000 / math.sqrt(2 * math.pi)
    )
    values = cell_loss[loss].make(x, cell_loss[loss].metadata["tuning"])
    (influence,) = torch.autograd.grad(values.sum(), x)
    # the expected slope of ψ is the expectation of x ψ(x), by parts
    slope = float((x.detach() * influence * density).sum())
    variance = float((influence.square() * density).sum())
    said = cell_loss[loss].metadata.get("efficiency", 0.95)
    assert slope**2 / variance == pytest.approx(said, abs=6e-4)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("loss", residual_losses())
def test_formula_and_influence_function(loss, scale):
    r = torch.linspace(-6, 6, 49, dtype=torch.float64)[[*range(24), *range(25, 49)]]
    r.requires_grad_()
    values = cell_loss[loss].make(r, scale)
    (slope,) = torch.autograd.grad(values.sum(), r)
    formula, influence = FORMULAS[loss]
    points = r.tolist()
    np.testing.assert_allclose(
        values.detach(), [formula(x, scale) for x in points], rtol=1e-10
    )
    np.testing.assert_allclose(
        slope, [influence(x, scale) for x in points], rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("loss", residual_losses())
def test_zero_is_the_minimum_and_gross_errors_are_bounded(loss):
    function = cell_loss[loss].make
    r = torch.tensor([0.0, 1e-4, -1e-4, 1e4, 1e18], requires_grad=True)
    values = function(r, 1.0)
    (slope,) = torch.autograd.grad(values.sum(), r)
    assert values[0] == 0
    assert slope[0] == 0
    assert (values[1:] > 0).all()
    assert torch.isfinite(values).all()
    if loss in REDESCENDING:
        assert slope[3].abs() < 1e-3
    elif loss not in UNBOUNDED:
        assert slope[3:].abs().max() <= 1.0 + 1e-6
    else:
        assert slope[3] > 1e3


@pytest.mark.parametrize("loss", SCALED)
def test_the_automatic_scale_follows_the_spread(loss):
    normal = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    power = 2 if loss == "correntropy" else 1
    tuning = cell_loss[loss].metadata["tuning"]
    assert auto_scale(loss, 3 * normal) == pytest.approx(tuning * 3**power, rel=0.03)
    gross = normal.clone()
    gross[:30_000] += 1e6
    assert auto_scale(loss, gross) < 4 * auto_scale(loss, normal)
    assert auto_scale(loss, torch.zeros(5)) > 0
    assert auto_scale("squared_error", normal) == 1.0


@pytest.mark.parametrize("loss", residual_losses())
@pytest.mark.parametrize("loss_scale", [0.5, "auto"])
def test_every_loss_trains(loss, loss_scale, X):
    fitted = AutoencoderTransformer(
        2, loss=loss, loss_scale=loss_scale, init=None, max_iter=30, random_state=0
    ).fit(X)
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    scale = fitted.net_.criterion_.scale
    assert scale == 0.5 if loss_scale == 0.5 else scale > 0
    for name, parameter in fitted.net_.module_.named_parameters():
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("loss", residual_losses())
def test_single_precision_neither_cancels_nor_overflows(loss):
    function = cell_loss[loss].make
    for scale in (1e-5, 1.0, 1e5):
        for r in (1e-6, 1e-3, 0.1, 1.0, 1e3, 1e6):
            single = float(function(torch.tensor(r), scale))
            double = float(function(torch.tensor(r, dtype=torch.float64), scale))
            assert single == pytest.approx(double, rel=1e-4, abs=1e-37)
    far = function(torch.tensor([1e15, -1e15]), 1e-5)
    assert torch.isfinite(far).all()


def test_the_automatic_scale_leaves_out_columns_without_spread():
    rows, _ = planted_plane(0)
    padded = np.hstack([rows, np.zeros((len(rows), 40))])
    scales = []
    for table in (rows, padded):
        model = AutoencoderTransformer(
            2,
            hidden_layer_sizes=(),
            scaling=None,
            loss="geman_mcclure",
            loss_scale="auto",
            max_iter=1,
            random_state=0,
        ).fit(table)
        scales.append(model.net_.criterion_.scale)
    assert scales[1] == pytest.approx(scales[0], rel=1e-3)


def planted_plane(seed):
    """400 rows near a plane in 20 columns; 30% of them have 30% gross cells."""
    rng = np.random.default_rng(seed)
    plane = np.linalg.qr(rng.normal(size=(20, 2)))[0]
    rows = 3 * rng.normal(size=(400, 2)) @ plane.T + 0.1 * rng.normal(size=(400, 20))
    gross = (rng.random((400, 20)) < 0.3) & (rng.random((400, 1)) < 0.3)
    rows[gross] += 10 * rng.normal(size=gross.sum())
    return rows, plane


@pytest.mark.parametrize("seed", [0, 1])
def test_a_plane_among_gross_errors_is_recovered(seed):
    rows, plane = planted_plane(seed)

    def angle(loss, **settings):
        fitted = AutoencoderTransformer(
            2,
            hidden_layer_sizes=(),
            scaling=None,
            loss=loss,
            learning_rate_init=0.01,
            max_iter=300,
            random_state=0,
            **settings,
        ).fit(rows)
        weight = fitted.net_.module_.decoder[0].weight.detach().numpy()
        return np.degrees(subspace_angles(weight, plane).max())

    assert angle("squared_error") > 30
    for scale in (0.5, "auto"):
        assert angle("geman_mcclure", loss_scale=scale) < 6
        assert angle("correntropy", loss_scale=scale) < 6
    assert angle("cauchy", loss_scale=0.5) < 10


def test_binary_cross_entropy(X):
    rng = np.random.default_rng(0)
    pixels = (rng.random((200, 12)) < 0.5 + 0.4 * np.sin(np.arange(12))).astype(float)
    fitted = AutoencoderTransformer(
        3, loss="binary_cross_entropy", scaling=None, max_iter=30, random_state=0
    ).fit(pixels)
    rebuilt = fitted.reconstruct(pixels)
    assert ((rebuilt >= 0) & (rebuilt <= 1)).all()
    rebuilt = rebuilt.clip(1e-6, 1 - 1e-6)
    entropy = -(pixels * np.log(rebuilt) + (1 - pixels) * np.log(1 - rebuilt))
    np.testing.assert_allclose(
        fitted.reconstruction_error(pixels), entropy.sum(axis=1), rtol=1e-3
    )
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    with pytest.raises(ValueError, match=r"needs values in \[0, 1\]"):
        fitted.reconstruction_error(2 * pixels)
    with pytest.raises(ValueError, match=r"column number 0 goes from.*scaling=None"):
        fitted.set_params(scaling="standard").fit(pixels)
    with pytest.raises(ValueError, match=r"needs values in \[0, 1\]"):
        fitted.set_params(scaling=None).fit(X)
