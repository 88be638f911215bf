"""Objectives against slow references written from their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_repr import objectives
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives import NTXent, Reconstruction, cell_loss, nt_xent
from sklearn_repr.objectives.losses import residual_losses


@pytest.mark.parametrize("loss", residual_losses())
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_the_loss_of_a_row_is_the_sum_over_its_cells(loss, scale):
    x, rebuilt = torch.randn(2, 6, 4, dtype=torch.float64)
    outputs = Outputs(x, reconstruction=rebuilt)
    terms = Reconstruction(loss, scale=scale).terms(outputs, Batch(x))
    function = cell_loss[loss].make
    slow = [
        sum(float(function(rebuilt[i, j] - x[i, j], scale)) for j in range(4))
        for i in range(6)
    ]
    assert list(terms) == ["reconstruction"]
    np.testing.assert_allclose(terms["reconstruction"], slow, rtol=1e-12)


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_huber_agrees_with_torch(scale):
    r = torch.linspace(-3, 3, 41, dtype=torch.float64)
    expected = nn.functional.huber_loss(
        r, torch.zeros_like(r), delta=scale, reduction="none"
    )
    np.testing.assert_allclose(cell_loss["huber"].make(r, scale), expected)


def test_unobserved_cells_count_neither_in_the_loss_nor_in_its_gradient():
    x = torch.randn(5, 3)
    rebuilt = torch.randn(5, 3, requires_grad=True)
    observed = torch.rand(5, 3) < 0.5
    terms = Reconstruction().terms(
        Outputs(x, reconstruction=rebuilt), Batch(x, observed=observed)
    )
    # as much as if all of a row's cells had been observed
    share = observed.sum(dim=1).clamp(min=1) / 3
    expected = ((rebuilt - x).square() * observed).sum(dim=1) / share
    torch.testing.assert_close(terms["reconstruction"], expected)
    terms["reconstruction"].sum().backward()
    assert (rebuilt.grad[~observed] == 0).all()
    assert (rebuilt.grad[observed] != 0).all()


def test_several_corrupted_copies_of_a_row_are_averaged():
    x, rebuilt = torch.randn(4, 3), torch.randn(8, 3)
    many = Reconstruction().terms(Outputs(rebuilt, rebuilt), Batch(x))["reconstruction"]
    parts = [
        Reconstruction().terms(Outputs(part, part), Batch(x))["reconstruction"]
        for part in rebuilt.split(4)
    ]
    torch.testing.assert_close(many, (parts[0] + parts[1]) / 2)


def test_a_callable_is_a_loss_and_its_shape_is_checked():
    x, rebuilt = torch.zeros(2, 3), torch.ones(2, 3)
    outputs = Outputs(x, reconstruction=rebuilt)
    terms = Reconstruction(lambda r: 2 * r.abs()).terms(outputs, Batch(x))
    assert terms["reconstruction"].tolist() == [6.0, 6.0]
    with pytest.raises(ValueError, match="one value per cell"):
        Reconstruction(lambda r: r.sum(dim=1)).terms(outputs, Batch(x))


def slow_nt_xent(first, second, temperature):
    """Equation 1 of arXiv:2002.05709, in three loops."""
    views = [*first, *second]
    n = len(views)
    losses = []
    for i in range(n):
        partner = (i + n // 2) % n
        total = 0.0
        for k in range(n):
            similarity = sum(a * b for a, b in zip(views[i], views[k], strict=True))
            similarity /= np.linalg.norm(views[i]) * np.linalg.norm(views[k])
            if k != i:
                total += math.exp(similarity / temperature)
            if k == partner:
                positive = math.exp(similarity / temperature)
        losses.append(-math.log(positive / total))
    return [(losses[i] + losses[i + n // 2]) / 2 for i in range(n // 2)]


@pytest.mark.parametrize("temperature", [0.07, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_nt_xent_equals_the_paper(temperature, n):
    first, second = torch.randn(2, n, 5)
    slow = slow_nt_xent(first.double().numpy(), second.double().numpy(), temperature)
    fast = nt_xent(first, second, temperature)
    np.testing.assert_allclose(fast, slow, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.07, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 2, 16, 100])
def test_identical_embeddings_give_log_2n_minus_1(temperature, n):
    same = torch.randn(1, 8).expand(n, 8)
    loss = nt_xent(same, same, temperature)
    np.testing.assert_allclose(loss, math.log(2 * n - 1), atol=1e-6)


def test_nt_xent_is_symmetric_and_blind_to_length():
    first, second = torch.randn(2, 6, 4)
    loss = nt_xent(first, second, 0.5)
    torch.testing.assert_close(loss, nt_xent(second, first, 0.5))
    torch.testing.assert_close(loss, nt_xent(3 * first, second / 7, 0.5))


def test_nt_xent_stays_finite():
    first = torch.randn(4, 3, requires_grad=True)
    loss = nt_xent(first, first.detach().clone(), 1e-4)
    assert torch.isfinite(loss).all()
    zero = torch.zeros(4, 3, requires_grad=True)
    nt_xent(zero, zero, 0.1).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_gradients_of_every_term_reach_every_input():
    x = torch.rand(6, 4)
    for objective, field in [
        *((Reconstruction(loss), "reconstruction") for loss in cell_loss.names()),
        (NTXent(), "projection"),
    ]:
        rows = 12 if field == "projection" else 6
        value = torch.rand(rows, 4, requires_grad=True)
        terms = objective(Outputs(x, **{field: value}), Batch(x))
        for term in terms.values():
            assert term.shape == (6,)
            (gradient,) = torch.autograd.grad(term.sum(), value)
            assert (gradient.abs().sum(dim=1) > 0).all()


def test_objectives_refuse_outputs_they_cannot_judge():
    x = torch.randn(3, 2)
    with pytest.raises(ValueError, match="reconstructs its input"):
        Reconstruction().terms(Outputs(x), Batch(x))
    with pytest.raises(ValueError, match="two views"):
        NTXent().terms(Outputs(x, projection=x), Batch(x))


NAN = float("nan")


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        (objectives.NTXent, {"temperature": 0.0}),
        (objectives.NTXent, {"temperature": NAN}),
        (objectives.NTXent, {"temperature": -0.1, "learn_temperature": True}),
        (objectives.NTXent, {"temperature": "0.5"}),
        (objectives.SupCon, {"temperature": 0}),
        (objectives.SupCon, {"temperature": float("inf")}),
        (objectives.Triplet, {"margin": -1.0}),
        (objectives.Triplet, {"margin": NAN}),
        (objectives.AlignUniform, {"t": 0.0}),
        (objectives.AlignUniform, {"power": -2}),
        (objectives.PredictiveInfoNCE, {"n_steps": 0}),
        (objectives.KLSparsity, {"target": 0.0}),
        (objectives.KLSparsity, {"target": 1.0}),
        (objectives.Contraction, {"n_probes": 1.5}),
        (objectives.Reconstruction, {"scale": 0.0}),
        (objectives.ELBO, {"beta": -1}),
        (objectives.ELBO, {"warm_up": -1}),
        (objectives.ELBO, {"free_bits": NAN}),
        (objectives.TotalCorrelation, {"beta": NAN}),
        (objectives.JointEmbedding, {"variance_weight": -1.0}),
        (objectives.VICReg, {"weights": {"covariance": -1.0}}),
        (objectives.BarlowTwins, {"weights": {"redundancy": NAN}}),
        (objectives.BYOL, {"weights": {"byol": True}}),
        (objectives.SimSiam, {"weights": {"simsiam": None}}),
        (objectives.Composite, {"objectives": [], "weights": {"x": -1}}),
    ],
    ids=str,
)
def test_constants_that_cannot_be_are_named(objective, settings):
    name = "weights" if "weights" in settings else next(iter(settings))
    # a weight of a term, which has a parameter of its own here
    name = {
        "weights": r"weights\['\w+'\]",
        "variance_weight": r"weights\['variance'\]",
    }.get(name, name)
    with pytest.raises(ValueError, match=rf"{objective.__name__} got {name}.*Set {name}"):
        objective(**settings)
