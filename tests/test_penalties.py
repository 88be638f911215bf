"""Penalties Ω: formulas, and what each does to a code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_repr import AutoencoderTransformer, DenoisingAutoencoder
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.modules import principal_subspace
from sklearn_repr.modules.code import TopK
from sklearn_repr.modules.factory import ArchitectureOptions, make_autoencoder
from sklearn_repr.objectives import (
    ActivityL1,
    Composite,
    Contraction,
    Decorrelation,
    KLSparsity,
    OrthogonalDecoder,
    Reconstruction,
    WeightL1,
)
from sklearn_repr.objectives import penalty as penalties
from sklearn_repr.objectives.contraction import jacobian_norm_estimate


def autoencoder(hidden=(6,), k=3, **settings):
    torch.manual_seed(0)
    module = make_autoencoder(
        "mlp", 5, k, ArchitectureOptions(hidden, "tanh"), dtype=torch.float64, **settings
    )
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module


def slow_jacobian_norm(module, x):
    rows = [torch.func.jacrev(lambda r: module.encode(r[None])[0])(row) for row in x]
    return torch.stack([jacobian.square().sum() for jacobian in rows])


@pytest.mark.parametrize(
    "module",
    [
        autoencoder(()),
        autoencoder((), code=nn.Sigmoid()),
        autoencoder((), k=20, code=nn.Sigmoid()),
        autoencoder((6,)),
        autoencoder((7, 6), linear_skip=False),
        autoencoder((6,), code=nn.Sigmoid()),
    ],
    ids=["linear", "one layer", "one wide layer", "skip", "deep", "deep with rates"],
)
def test_the_contractive_penalty_is_the_jacobians_norm(module):
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    penalty = Contraction().terms(module(x), Batch(x))["contractive"]
    torch.testing.assert_close(penalty, slow_jacobian_norm(module, x), rtol=1e-6, atol=0)


def test_hutchinsons_estimate_is_unbiased_and_has_gradients():
    module = autoencoder((6,), k=20)
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    draws = torch.stack(
        [jacobian_norm_estimate(module.encode(x), x, 2).detach() for _ in range(1500)]
    )
    exact = slow_jacobian_norm(module, x)
    error = draws.std(dim=0) / len(draws) ** 0.5
    assert ((draws.mean(dim=0) - exact).abs() < 3 * error).all()
    penalty = Contraction(n_probes=3).terms(module(x), Batch(x))["contractive"]
    penalty.sum().backward()
    assert all(p.grad.abs().max() > 0 for p in module.encoder.parameters() if p.ndim > 1)


def slow_kl_sparsity(module, z, target=0.1):
    rate = z.mean(axis=0)
    kl = target * np.log(target / rate) + (1 - target) * np.log((1 - target) / (1 - rate))
    return kl.sum()


def slow_decorrelation(module, z):
    return np.square(np.corrcoef(z.T)[np.triu_indices(z.shape[1], 1)]).sum()


def slow_weight_l1(module, z):
    return sum(float(p.detach().abs().sum()) for p in module.parameters() if p.ndim > 1)


def slow_orthogonal(module, z):
    found = 0.0
    for layer in (module.decoder.linear, module.decoder.network[0]):
        columns = layer.weight.detach().numpy().T
        for k in range(z.shape[1]):
            for m in range(k):
                a, b = columns[k], columns[m]
                found += (a @ b / np.linalg.norm(a) / np.linalg.norm(b)) ** 2
    return found


# of every penalty: one, and its formula from an autoencoder and its code, (n, k)
FORMULAS = {
    "activity_l1": (ActivityL1(), lambda module, z: np.abs(z).sum(axis=1)),
    "kl_sparsity": (KLSparsity(0.1), slow_kl_sparsity),
    "decorrelation": (Decorrelation(), slow_decorrelation),
    "l1": (WeightL1(), slow_weight_l1),
    "orthogonal": (OrthogonalDecoder(), slow_orthogonal),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_penalties_follow_their_formulas(name):
    penalty, formula = FORMULAS[name]
    module = autoencoder((6,), code=nn.Sigmoid())
    x = torch.randn(8, 5, dtype=torch.float64)
    outputs = module(x)
    found = penalty.terms(outputs, Batch(x))[name].detach()
    expected = formula(module, outputs.embedding.detach().numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_sparsity_penalty_is_torchs_divergence_of_bernoulli_variables():
    z = torch.rand(8, 3, dtype=torch.float64)
    bernoulli = torch.distributions.Bernoulli
    target = bernoulli(torch.tensor(0.1, dtype=torch.float64))
    divergence = torch.distributions.kl_divergence(target, bernoulli(z.mean(dim=0)))
    ours = KLSparsity(0.1).terms(Outputs(z), Batch(z))["kl_sparsity"]
    torch.testing.assert_close(ours, divergence.sum())


@pytest.mark.parametrize("penalty", [Decorrelation(), KLSparsity()])
def test_dead_and_saturated_units_have_finite_penalties(penalty):
    z = torch.tensor([[0.0, 1.0], [0.0, 1.0]], requires_grad=True)
    (value,) = penalty.terms(Outputs(z), Batch(torch.zeros(2, 1))).values()
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(z.grad).all()


def test_penalties_refuse_modules_that_tell_too_little():
    outputs, batch = Outputs(torch.zeros(2, 2)), Batch(torch.zeros(2, 2))
    for penalty in (WeightL1(), OrthogonalDecoder(), Contraction()):
        with pytest.raises(ValueError, match="needs a"):
            penalty.terms(outputs, batch)


def test_terms_stand_side_by_side_and_reach_every_parameter():
    module = autoencoder((6,))
    x = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    parts = [Reconstruction(), ActivityL1(), Contraction(), Decorrelation(), WeightL1()]
    terms = Composite(parts).terms(module(x), Batch(x))
    assert list(terms) == [
        *("reconstruction", "activity_l1", "contractive", "decorrelation", "l1")
    ]
    for name, term in terms.items():
        module.zero_grad()
        term.mean().backward(retain_graph=True)
        touched = module if name in ("reconstruction", "l1") else module.encoder
        for parameter in touched.parameters():
            if parameter.ndim > 1:
                assert parameter.grad.abs().max() > 0, name


def test_topk_keeps_k_units():
    z = torch.randn(50, 7)
    kept = TopK(3)(z)
    assert ((kept != 0).sum(dim=1) == 3).all()
    assert (kept[kept != 0] == z[kept != 0]).all()
    smallest_kept = kept.abs().where(kept != 0, torch.inf).amin(dim=1)
    assert (z.abs().where(kept == 0, 0.0).amax(dim=1) <= smallest_kept).all()


@pytest.mark.parametrize("hidden", [(), (6,)])
@pytest.mark.parametrize("activation", ["silu", "tanh", "logistic"])
def test_tied_weights_are_the_encoders_transposed(hidden, activation):
    options = ArchitectureOptions(hidden, activation)
    rows = torch.randn(100, 5, dtype=torch.float64) @ torch.randn(5, 5).double()
    subspace = principal_subspace(rows)
    free = make_autoencoder("mlp", 5, 2, options, subspace=subspace)
    tied = make_autoencoder(
        "mlp", 5, 2, options, tied_weights=True, subspace=subspace, dtype=torch.float64
    )
    matrices = [p for p in tied.parameters() if p.ndim > 1]
    assert len(matrices) == sum(p.ndim > 1 for p in free.parameters()) / 2
    start = tied(rows).reconstruction
    centred = rows - subspace.mean
    axes = subspace.axes[:2]
    torch.testing.assert_close(start, centred @ axes.T @ axes + subspace.mean)


def fitted(X, cls=AutoencoderTransformer, **settings):
    defaults = {"n_components": 4, "max_iter": 60, "random_state": 0, "init": None}
    return cls(**{**defaults, **settings}).fit(X)


def test_each_penalty_does_what_it_is_for(linear_data):
    X = linear_data[0]
    plain = fitted(X)

    def term(name, weight, measure):
        penalised = fitted(X, penalty=name, penalty_weight=weight)
        assert f"train_{name}" in penalised.loss_terms_
        return measure(penalised), measure(plain)

    def l1(model):
        return sum(
            float(p.detach().abs().sum())
            for p in model.net_.module_.parameters()
            if p.ndim > 1
        )

    def activity(model):
        return np.abs(model.transform(X)).sum(axis=1).mean()

    def jacobian(model):
        rows = model._codec.encode(X[:20]).values
        return float(slow_jacobian_norm(model.net_.module_, rows).mean().detach())

    for name, weight, measure in [
        ("l1", 0.01, l1),
        ("activity_l1", 1.0, activity),
    ]:
        small, large = term(name, weight, measure)
        assert small < 0.8 * large, name
    # after the code was turned, which must not stretch it
    firm = fitted(X, penalty="contractive", penalty_weight=3.0)
    assert jacobian(firm) < 0.7 * jacobian(plain)
    last = firm.loss_terms_["train_contractive"][-1]
    assert jacobian(firm) == pytest.approx(last, rel=0.3)
    for name in ("orthogonal", "decorrelation"):
        heavy = fitted(X, penalty=name, penalty_weight=10.0).loss_terms_
        light = fitted(X, penalty=name, penalty_weight=0.0).loss_terms_
        assert heavy[f"train_{name}"][-1] < 0.7 * light[f"train_{name}"][-1] + 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"tied_weights": True},
        {"hidden_layer_sizes": (), "tied_weights": True},
        {"hidden_layer_sizes": (4,)},
        {"architecture": "conv", "input_shape": (3, 4), "n_components": 3},
    ],
    ids=str,
)
def test_the_orthogonal_penalty_finds_the_decoders_first_maps(linear_data, settings):
    def curve(weight):
        model = fitted(
            linear_data[0], penalty="orthogonal", penalty_weight=weight, **settings
        )
        return model.loss_terms_["train_orthogonal"]

    assert curve(0.0)[-1] > 0
    assert curve(20.0)[-1] < 0.7 * curve(0.0)[-1]


def pair(n_features, n_components):
    return nn.Sequential(nn.Linear(n_features, n_components), nn.Tanh()), nn.Sequential(
        nn.Linear(n_components, n_features)
    )


class Squash(nn.Linear):
    """Looks linear, and is not."""

    def forward(self, x):
        return super().forward(x).tanh()


def test_penalties_on_a_users_architecture(X):
    def squashed(n_features, n_components):
        return nn.Sequential(Squash(n_features, n_components)), nn.Linear(
            n_components, n_features
        )

    model = fitted(X, penalty="contractive", architecture=squashed, max_iter=1)
    rows = model._codec.encode(X).values.requires_grad_()
    module = model.net_.module_
    penalty = Contraction().terms(module(rows), Batch(rows))["contractive"]
    torch.testing.assert_close(penalty, slow_jacobian_norm(module, rows))
    fitted(X, penalty=["orthogonal", "l1"], architecture=pair, max_iter=1)
    for settings in (
        {"penalty": "topk"},
        {"penalty": "kl_sparsity"},
        {"loss": "binary_cross_entropy", "scaling": None},
    ):
        with pytest.raises(ValueError, match="need architecture='mlp' or 'conv'"):
            fitted(X * 0 + 0.5, architecture=pair, **settings)


def test_sparse_codes(linear_data):
    X = linear_data[0]
    topk = fitted(X, n_components=10, penalty="topk", sparsity_target=0.3)
    assert ((topk.transform(X) != 0).sum(axis=1) == 3).all()
    rates = fitted(
        X, n_components=10, penalty="kl_sparsity", penalty_weight=5.0, sparsity_target=0.1
    ).transform(X)
    assert ((rates > 0) & (rates < 1)).all()
    assert rates.mean() == pytest.approx(0.1, abs=0.05)


def test_penalties_compose_with_losses_and_corruptions(X):
    model = fitted(
        X,
        DenoisingAutoencoder,
        loss="huber",
        corruption="masking",
        penalty=["contractive", "decorrelation", "l1"],
        penalty_weight=[0.1, 0.2, 0.001],
        max_iter=5,
    )
    assert model.net_.criterion_.weights == {
        "contractive": 0.1,
        "decorrelation": 0.2,
        "l1": 0.001,
    }
    terms = {
        name: model.loss_terms_[f"train_{name}"][0]
        for name in penalties.names()
        if f"train_{name}" in model.loss_terms_
    }
    total = model.loss_terms_["train_reconstruction"][0] + sum(
        model.net_.criterion_.weights[name] * value for name, value in terms.items()
    )
    assert model.loss_curve_[0] == pytest.approx(total, rel=1e-5)


def test_bad_penalties_are_named(X):
    for settings, message in [
        ({"penalty": ["l1", "l3"]}, "no penalty 'l3'.*mean 'l1'"),
        ({"penalty": ["l1", "l1"]}, "may stand twice"),
        ({"penalty": ["l1"], "penalty_weight": [1.0, 2.0]}, "one for each penalty"),
        ({"penalty": "l1", "penalty_weight": [-1.0]}, "must not be negative"),
        ({"penalty": [["l1"]]}, r"no penalty \['l1'\]"),
        ({"penalty": "l1", "penalty_weight": ["x"]}, "must hold numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            AutoencoderTransformer(2, **settings).fit(X)


def test_overcomplete_codes_are_warned_of_unless_something_holds_them(X, recwarn):
    quick = {"max_iter": 1, "random_state": 0}
    with pytest.warns(UserWarning, match=r"n_components=6, 5 columns.*copying"):
        AutoencoderTransformer(6, **quick).fit(X)
    recwarn.clear()
    AutoencoderTransformer(6, penalty="topk", **quick).fit(X)
    AutoencoderTransformer(6, alpha=0.1, **quick).fit(X)
    AutoencoderTransformer(4, **quick).fit(X)
    DenoisingAutoencoder(6, **quick).fit(X)
    assert not [w for w in recwarn if "copying" in str(w.message)]
