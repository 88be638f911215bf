"""Gradients by hand and the flat optimiser: the same numbers as the plain path."""

from __future__ import annotations

import copy
import gc
import io
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, Checkpoint, GradientNormClipping, LRScheduler
from torch import nn

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    DenoisingAutoencoder,
    VariationalAutoencoder,
)
from sklearn_repr._contracts import Batch
from sklearn_repr.engine import net as net_module
from sklearn_repr.engine.fast import (
    OF_PROJECTIONS,
    FastPath,
    HandStep,
    fast_path,
)
from sklearn_repr.engine.flat import (
    can_be_flat,
    flat_step,
    flat_zero_grad,
    flattened,
)
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.modules import (
    ACTIVATIONS,
    Autoencoder,
    ContrastiveNetwork,
    SkipConnected,
    make_mlp,
)
from sklearn_repr.modules.fused import fuse, fused_forward
from sklearn_repr.modules.tied import tied_mlp
from sklearn_repr.objectives import LOSSES, Composite, NTXent, Reconstruction, VICReg
from sklearn_repr.utils.randomness import Seeds

SHAPES = [(5, 2), (7, 13, 3), (32, 64, 32, 8), (100, 300, 11)]


def perceptron(shape, activation="silu", skip=False, dtype=torch.float64, norm=False):
    torch.manual_seed(0)
    network = make_mlp(shape, activation=activation, layer_norm=norm)
    if skip:
        network = SkipConnected(nn.Linear(shape[0], shape[-1]), network)
        for parameter in network.network[-1].parameters():
            nn.init.normal_(parameter)
    return network.to(dtype)


def gradients(module, x, forward=None):
    module.zero_grad()
    x = x.clone().requires_grad_()
    y = (forward or module)(x)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in module.parameters())]


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_perceptrons_have_the_gradients_of_autograd(activation, shape, skip, norm):
    module = perceptron(shape, activation, skip, norm=norm)
    for n in (1, 33):
        x = torch.randn(n, shape[0], dtype=torch.float64)
        plain = gradients(module, x)
        with fused_forward([module]):
            assert "forward" in vars(module)
            fused = gradients(module, x)
        assert "forward" not in vars(module)
        for a, b in zip(plain, fused, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    if not norm or shape[0] < 10:
        assert torch.autograd.gradcheck(fuse(module), x[:2].requires_grad_())


def net_of(module, objective):
    net = RepresentationNet(module, objective, seeds=Seeds(0), lr=0.1, verbose=0)
    return net.initialize()


def assert_by_hand(net, inputs, batch):
    """Compare loss and gradients to autograd's, to the last bit: the same operations."""
    module = net.module_
    module.zero_grad()
    loss, terms = net.reduce_terms(net.criterion_(module(inputs), batch))
    loss.backward()
    expected = [p.grad for p in module.parameters()]
    module.zero_grad()
    with fast_path(net) as fast:
        assert isinstance(fast.gradients, HandStep)
        losses = fast.gradients(inputs, batch)
    assert losses == {"loss": loss, **terms}
    for parameter, grad in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=0, atol=0)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_step_by_hand_has_the_gradients_of_autograd(activation, skip, dtype, norm):
    module = Autoencoder(
        perceptron((9, 16, 4), activation, skip, dtype, norm),
        perceptron((4, 16, 9), activation, skip, dtype),
    )
    x, inputs = torch.randn(2, 21, 9, dtype=dtype)
    net = net_of(module, Reconstruction())
    assert_by_hand(net, inputs, Batch(x))
    assert_by_hand(net, inputs, Batch(x, observed=x > 0))
    assert_by_hand(net, inputs.repeat(2, 1), Batch(x))


@pytest.mark.parametrize("loss", LOSSES)
def test_autograd_of_the_loss_alone_is_enough(loss):
    module = Autoencoder(
        perceptron((9, 16, 4), skip=True),
        perceptron((4, 16, 9), skip=True),
        link=nn.Sigmoid() if loss == "binary_cross_entropy" else None,
    )
    x, inputs = torch.rand(2, 21, 9, dtype=torch.float64)
    objective = Reconstruction(loss, weights={"reconstruction": 3.0})
    assert_by_hand(net_of(module, objective), inputs, Batch(x))
    heads = ContrastiveNetwork(perceptron((9, 16, 4)), perceptron((4, 5, 5)))
    rows = Batch(x, labels=torch.arange(21) % 3)
    for objective in OF_PROJECTIONS:
        assert_by_hand(net_of(heads, objective()), torch.cat([x, inputs]), rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("objective", [NTXent, VICReg])
@pytest.mark.parametrize("weights", [{}, {"nt_xent": 0.3, "reconstruction": 1 / 9}])
def test_two_heads_by_hand_have_the_gradients_of_autograd(objective, weights, dtype):
    encoder = perceptron((9, 70, 16, 12), "relu", dtype=dtype, norm=True)
    head = perceptron((12, 24, 24), "relu", dtype=dtype)
    decoder = nn.Linear(12, 9).to(dtype)
    both = Composite([objective(), Reconstruction()], weights)
    for n in (2, 3, 32, 129):
        x, inputs = torch.randn(2, n, 9, dtype=dtype)
        views = torch.cat([x, inputs])
        net = net_of(ContrastiveNetwork(encoder, head, decoder), both)
        assert_by_hand(net, views, Batch(x))
        assert_by_hand(net, views, Batch(x, observed=x > -1))
        net = net_of(ContrastiveNetwork(encoder, head), objective(weights=weights))
        assert_by_hand(net, views, Batch(x))


def test_nothing_of_a_large_batch_outlives_its_step():
    x = torch.randn(150, 3)
    net = net_of(ContrastiveNetwork(nn.Linear(3, 4), nn.Linear(4, 5)), NTXent())
    with fast_path(net) as fast:
        fast.gradients(torch.cat([x, x]), Batch(x))
    del fast
    gc.collect()
    tensors = (t for t in gc.get_objects() if issubclass(type(t), torch.Tensor))
    assert all(t.shape != (300, 300) for t in tensors)


def test_projections_of_length_zero_have_the_gradient_of_autograd():
    encoder, head = nn.Linear(3, 4).double(), nn.Linear(4, 5).double()
    for tiny in (0.0, 1e-14):
        with torch.no_grad():
            head.weight.mul_(tiny)
            head.bias.mul_(tiny)
        x = torch.randn(12, 3, dtype=torch.float64)
        net = net_of(ContrastiveNetwork(encoder, head), NTXent())
        assert_by_hand(net, x, Batch(x[:6]))


def test_steps_by_hand_need_weights_of_one_owner_and_nobody_who_listens():
    encoder, decoder = perceptron((4, 8, 4)), perceptron((4, 8, 4))
    learning = Reconstruction(loss=nn.PReLU(dtype=torch.float64))
    watched = Autoencoder(encoder, decoder)
    watched.register_forward_hook(lambda *_: None)
    for module, objective in (
        (Autoencoder(encoder, encoder), Reconstruction()),
        (Autoencoder(encoder, decoder), learning),
        (Autoencoder(encoder, decoder, code=nn.Sigmoid()), Reconstruction()),
        (watched, Reconstruction()),
    ):
        with fast_path(net_of(module, objective)) as fast:
            assert fast.gradients is None


def test_perceptrons_that_stand_twice_in_the_graph_add_up():
    module = perceptron((4, 8, 4), "tanh", skip=True)
    x = torch.randn(6, 4, dtype=torch.float64)
    plain = gradients(module, x, lambda x: module(module(x)))
    with fused_forward([module]):
        fused = gradients(module, x, lambda x: module(module(x)))
    for a, b in zip(plain, fused, strict=True):
        torch.testing.assert_close(a, b)


class OwnLinear(nn.Linear):
    """A user's layer."""


def hooked(register):
    module = perceptron((4, 8, 2))
    register(module)
    return module


UNKNOWN = {
    "dropout": lambda: make_mlp([4, 8, 2], dropout=0.1),
    "layer norm first": lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2)),
    "layer norm last": lambda: nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.LayerNorm(2)),
    "layer norm twice": lambda: nn.Sequential(nn.Linear(4, 2), *2 * [nn.LayerNorm(2)]),
    "bare layer norm": lambda: nn.Sequential(
        nn.Linear(4, 2), nn.LayerNorm(2, elementwise_affine=False)
    ),
    "batch norm": lambda: make_mlp([4, 8, 2], batch_norm=True),
    "tied": lambda: tied_mlp(make_mlp([4, 8, 2])),
    "convolution": lambda: nn.Sequential(nn.Conv1d(1, 2, 3)),
    "subclass": lambda: nn.Sequential(OwnLinear(4, 2)),
    "no bias": lambda: nn.Sequential(nn.Linear(4, 2, bias=False)),
    "activation first": lambda: nn.Sequential(nn.ReLU(), nn.Linear(4, 2)),
    "two activations": lambda: nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Tanh()),
    "other activation": lambda: nn.Sequential(nn.Linear(4, 2), nn.Hardtanh()),
    "nothing": nn.Sequential,
    "frozen": lambda: hooked(lambda m: m[0].bias.requires_grad_(False)),
    "forward hook": lambda: hooked(lambda m: m[1].register_forward_hook(print)),
    "pre-hook": lambda: hooked(lambda m: m.register_forward_pre_hook(print)),
    "backward hook": lambda: hooked(lambda m: m[0].register_full_backward_hook(print)),
    "weight's hook": lambda: hooked(lambda m: m[0].weight.register_hook(print)),
    "own forward": lambda: hooked(lambda m: setattr(m[0], "forward", m[1].forward)),
    "normed weight": lambda: hooked(
        lambda m: nn.utils.parametrizations.weight_norm(m[0], dim=0)
    ),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_is_not_known_is_not_fused(make):
    module = make()
    assert fuse(module) is None
    with fused_forward([module]):
        assert not isinstance(vars(module).get("forward"), type(fuse(nn.Linear(1, 1))))


def test_global_hooks_and_mixed_precision_are_not_fused():
    module = perceptron((4, 8, 2))
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert fuse(module) is None
    handle.remove()
    with torch.autocast("cpu", torch.bfloat16):
        assert fuse(module) is None
    assert fuse(module) is not None


@pytest.fixture
def plainly(monkeypatch):
    """Return a context in which nothing takes the fast path."""

    def plain_path(net, **_):
        path = FastPath(None, net.optimizer_.step, net.optimizer_.zero_grad)
        return nullcontext(path)

    def fit(estimator, X):
        with monkeypatch.context() as patch:
            patch.setattr(net_module, "fast_path", plain_path)
            return estimator.fit(X)

    return fit


FITS = [
    AutoencoderTransformer(),
    AutoencoderTransformer(activation="relu", linear_skip=False, init=None, alpha=1e-3),
    AutoencoderTransformer(hidden_layer_sizes=(), optimizer="adamw", alpha=1e-3),
    AutoencoderTransformer(optimizer="sgd", learning_rate_init=1e-4, dropout=0.1),
    AutoencoderTransformer(optimizer=torch.optim.Adam, layer_norm=True),
    AutoencoderTransformer(optimizer=torch.optim.RMSprop),
    AutoencoderTransformer(loss="huber", tied_weights=True),
    AutoencoderTransformer(penalty=["l1", "activity_l1", "contractive", "orthogonal"]),
    AutoencoderTransformer(penalty=["kl_sparsity", "decorrelation"]),
    DenoisingAutoencoder(corruption="swap", early_stopping=False),
    ContrastiveEmbedder(),
    ContrastiveEmbedder(hidden_layer_sizes=(8, 4), pairs="row", temperature=0.1),
    ContrastiveEmbedder(reconstruction_weight=0.0),
    ContrastiveEmbedder(objective="triplet", pairs="neighbors"),
    ContrastiveEmbedder(objective="vicreg"),
    ContrastiveEmbedder(objective="byol", target_momentum=0.5),
    ContrastiveEmbedder(learn_temperature=True),
    VariationalAutoencoder(),
]


@pytest.mark.parametrize("estimator", FITS, ids=lambda e: repr(e)[:60])
def test_fits_are_those_of_the_plain_path(estimator, X, plainly):
    estimator.set_params(n_components=2, max_iter=4, random_state=0, dtype="float64")
    fast = estimator.fit(X)
    curve, codes = fast.loss_curve_, fast.transform(X)
    plain = plainly(estimator, X)
    np.testing.assert_allclose(curve, plain.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(codes, plain.transform(X), rtol=1e-6, atol=1e-9)


def path_of(X, **settings):
    """Fit, and return what the fast path then looks like, and which parts it fuses."""
    settings = {"n_components": 2, "max_iter": 1, "random_state": 0, **settings}
    net = AutoencoderTransformer(**settings).fit(X).net_
    with fast_path(net) as fast:
        parts = [m for m in net.module_.modules() if "forward" in vars(m)]
        return fast, parts, net.optimizer_.param_groups[0]["params"]


def test_the_default_is_trained_by_hand_and_flat(X):
    for settings in (
        {},
        {"activation": "relu", "linear_skip": False, "alpha": 0.1},
        {"layer_norm": True},
        {"loss": "huber"},
        {"loss": lambda residual: residual.abs()},
    ):
        fast, parts, parameters = path_of(X, **settings)
        assert isinstance(fast.gradients, HandStep)
        assert len(parts) == 2
        assert len(parameters) == 1


@pytest.mark.parametrize(
    ("settings", "n_fused"),
    [
        ({"penalty": "activity_l1"}, 2),
        ({"penalty": "topk"}, 2),
        ({"tied_weights": True}, 1),
        ({"dropout": 0.1}, 0),
        ({"penalty": "contractive"}, 0),
        ({"architecture": "conv", "input_shape": (1, 5)}, 0),
    ],
)
def test_other_objectives_and_layers_keep_autograd(settings, n_fused, X):
    fast, parts, parameters = path_of(X, **settings)
    assert fast.gradients is None
    assert len(parts) == n_fused
    assert len(parameters) == 1


class OwnModule(nn.Module):
    """A user's architecture, with a weight that is never used."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_features, n_components))
        self.decoder = nn.Sequential(nn.Linear(n_components, n_features))
        self.unused = nn.Linear(1, 1)

    def encode(self, x):
        return self.encoder(x)

    def decode(self, z):
        return self.decoder(z)


def test_users_modules_take_the_plain_path(X):
    fast, parts, parameters = path_of(X, architecture=OwnModule)
    assert (fast.gradients, parts, len(parameters)) == (None, [], 6)

    def pair(n_features, n_components):
        return nn.Linear(n_features, n_components), OwnLinear(n_components, n_features)

    fast, parts, parameters = path_of(X, architecture=pair)
    assert (fast.gradients, len(parts), len(parameters)) == (None, 1, 4)


def trained(optimizer, steps=5, flat=False, bare=True):
    module = perceptron((3, 5, 2), dtype=torch.float32)
    optimizer = optimizer(module.parameters())
    x = torch.ones(4, 3)
    with flattened(optimizer) if flat else nullcontext():
        if not bare:
            optimizer.register_step_post_hook(lambda *_: None)
        step = flat_step(optimizer) if flat else optimizer.step
        zero_grad = flat_zero_grad(optimizer) if flat else optimizer.zero_grad
        for _ in range(steps):
            zero_grad()
            module(x).square().sum().backward()
            step()
    return module, optimizer


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, fused=True, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, fused=True, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, fused=True, amsgrad=True),
    "plain adam": torch.optim.Adam,
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, nesterov=True),
    "bare sgd": lambda p: torch.optim.SGD(p, lr=1e-3),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_flat_optimizers_take_the_same_steps_and_leave_no_trace(make):
    plain, ordinary = trained(make)
    flat, optimizer = trained(make, flat=True)
    watched, _ = trained(make, flat=True, bare=False)
    for a, b, c in zip(
        plain.parameters(), flat.parameters(), watched.parameters(), strict=True
    ):
        torch.testing.assert_close(a, b)
        assert torch.equal(b, c)
        assert b.untyped_storage().nbytes() == 4 * b.numel()
        assert b.grad.untyped_storage().nbytes() == 4 * b.numel()
    left, right = ordinary.state_dict(), optimizer.state_dict()
    assert left["param_groups"] == right["param_groups"]
    torch.testing.assert_close(left["state"], right["state"])
    ordinary.load_state_dict(copy.deepcopy(right))
    # and go on from where they are
    with flattened(optimizer):
        flat_step(optimizer)()
        flat_step(optimizer)()
    ordinary.step()
    ordinary.step()
    torch.testing.assert_close(
        ordinary.state_dict()["state"], optimizer.state_dict()["state"]
    )


def test_what_cannot_be_flat():
    module = perceptron((3, 5, 2))
    adam = torch.optim.Adam(module.parameters())
    assert can_be_flat(adam)
    module[0].bias.requires_grad_(False)
    assert not can_be_flat(adam)
    assert not can_be_flat(torch.optim.RMSprop(module[2].parameters()))
    parameters = [module[0].weight, nn.Parameter(torch.ones(2))]
    assert not can_be_flat(torch.optim.Adam(parameters))
    parameters[1] = nn.Parameter(torch.ones(2, dtype=torch.float64))
    adam = torch.optim.Adam(parameters)
    parameters[0].grad = torch.ones_like(parameters[0])
    adam.step()
    assert not can_be_flat(adam), "one of them has taken a step, the other has not"


class Listener(Callback):
    """Looks at the module between epochs and, if asked, at gradients."""

    def on_epoch_begin(self, net, **kwargs):
        self.look(net)

    def on_epoch_end(self, net, **kwargs):
        self.look(net)

    def look(self, net):
        assert not [m for m in net.module_.modules() if "forward" in vars(m)]
        parameters = list(net.module_.parameters())
        assert all(p.untyped_storage().nbytes() == 4 * p.numel() for p in parameters)
        groups = net.optimizer_.param_groups
        assert {p for group in groups for p in group["params"]} == set(parameters)
        pickle.loads(pickle.dumps(net.module_))  # noqa: S301


class GradientListener(Listener):
    """Keeps the size of every gradient."""

    def __init__(self):
        self.sizes = []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.sizes += [float(p.grad.norm()) for _, p in named_parameters]


def test_callbacks_see_an_ordinary_net_and_change_no_bit(X):
    def fit(*callbacks):
        fitted = AutoencoderTransformer(
            2, max_iter=6, alpha=1e-3, random_state=0, callbacks=list(callbacks)
        ).fit(X)
        return fitted, fitted.transform(X)

    silent, codes = fit()
    for callback in (Listener(), GradientListener(), GradientNormClipping(1e9)):
        loud, same = fit(callback)
        assert loud.loss_curve_ == silent.loss_curve_
        np.testing.assert_array_equal(same, codes)
    heard = [c for _, c in fit(GradientListener())[0].net_.callbacks_][-1]
    assert len(heard.sizes) % 16 == 0
    assert min(heard.sizes[16:]) > 0


def test_schedules_and_checkpoints_find_an_ordinary_optimizer(X, tmp_path, recwarn):
    callbacks = [
        LRScheduler("ExponentialLR", gamma=0.5),
        Checkpoint(dirname=tmp_path, load_best=True),
    ]
    fitted = AutoencoderTransformer(2, max_iter=4, callbacks=callbacks, random_state=0)
    optimizer = fitted.fit(X).net_.optimizer_
    assert len(optimizer.state) == len(optimizer.param_groups[0]["params"]) == 16
    assert not [w for w in recwarn if "lr_scheduler" in str(w.message)]
    state = torch.load(tmp_path / "optimizer.pt")
    torch.optim.Adam(fitted.net_.module_.parameters()).load_state_dict(state)


@pytest.mark.parametrize(
    "cls", [AutoencoderTransformer, ContrastiveEmbedder, VariationalAutoencoder]
)
def test_the_trained_module_is_ordinary(cls, X):
    net = cls(2, max_iter=2, random_state=0).fit(X).net_
    module = net.module_
    assert not [m for m in module.modules() if "forward" in vars(m)]
    buffer = io.BytesIO()
    pickle.dump(module.state_dict(), buffer)
    numbers = sum(p.numel() for p in module.parameters())
    assert buffer.tell() < 4 * numbers + 1000 * len(module.state_dict())
    assert len(net.optimizer_.state) == sum(p.requires_grad for p in module.parameters())
    calls = []
    for part in module.encoder.modules():
        part.register_forward_hook(lambda *_: calls.append(1))
    module.encode(torch.zeros(1, 5))
    assert calls


def test_an_error_in_training_leaves_the_module_ordinary(X):
    net = AutoencoderTransformer(2, max_iter=1, random_state=0).fit(X).net_

    def fail(*_):
        raise RuntimeError("no corruption")

    fail.fit, fail.uses_global_generator = (lambda rows: None), False
    with pytest.raises(RuntimeError, match="no corruption"):
        net.partial_fit(Batch(torch.zeros(80, 5)), corruption=fail)
    assert net.fast_ is None
    assert not [m for m in net.module_.modules() if "forward" in vars(m)]
    assert len(net.optimizer_.param_groups[0]["params"]) == 16


def test_improvements_are_marked_without_looking_back(X):
    estimator = AutoencoderTransformer(2, max_iter=12, learning_rate_init=0.05, tol=0)
    history = estimator.set_params(random_state=0).fit(X).net_.history
    for key in ("train_loss", "valid_loss"):
        curve = history[:, key]
        lowest = np.minimum.accumulate([np.inf, *curve])[:-1]
        assert history[:, f"{key}_best"] == list(np.less(curve, lowest))
    assert not all(history[:, "valid_loss_best"])
