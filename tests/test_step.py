"""Gradient steps: recorded, plain and chunked ones end in the same bits."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from conftest import TRANSFORMERS, each, fast
from sklearn.base import clone
from skorch.callbacks import Callback, Checkpoint, GradientNormClipping, LRScheduler
from torch import nn

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    ContrastivePredictiveCoder,
    DenoisingAutoencoder,
    JointEmbeddingPredictor,
    MaskedAutoencoder,
    PairedEmbedder,
    VariationalAutoencoder,
)
from sklearn_repr.engine import step as step_module
from sklearn_repr.engine.optimizer import bare_update
from sklearn_repr.engine.recordings import RECORDINGS
from sklearn_repr.engine.step import RecordedStep
from sklearn_repr.objectives import Reconstruction, cell_loss

ROWS = 61


class Listener(Callback):
    """Hears of batches, so that gradients are computed by torch itself."""

    def __init__(self):
        self.norms = []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        norms = [p.grad.norm() for _, p in named_parameters if p.grad is not None]
        self.norms.append(float(torch.stack(norms).norm()))


@pytest.fixture(autouse=True)
def _record_at_once(monkeypatch):
    monkeypatch.setattr(step_module, "STEPS_TO_REPAY", 0)


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 3)) @ rng.normal(size=(3, 8)) + 1.0


SMALL = {"n_components": 2, "max_iter": 4, "batch_size": 16, "random_state": 0}
IMAGE = {"input_shape": (1, 2, 4)}
CONTRAST = {"hidden_layer_sizes": (8, 4), "max_steps": None}


def contrast(**settings):
    return ContrastiveEmbedder(**{**CONTRAST, **settings})


FITS = [
    *[
        AutoencoderTransformer(loss=loss)
        for loss in cell_loss.names()
        if loss != "log_cosh"
    ],
    AutoencoderTransformer(loss="log_cosh", loss_scale="auto"),
    AutoencoderTransformer(activation="relu", linear_skip=False, init=None, alpha=1e-3),
    AutoencoderTransformer(hidden_layer_sizes=(), init=None, optimizer="adamw"),
    AutoencoderTransformer(optimizer="sgd", learning_rate_init=1e-4, dropout=0.1),
    AutoencoderTransformer(layer_norm=True, activation="gelu", dtype="float64"),
    AutoencoderTransformer(tied_weights=True, activation="tanh"),
    AutoencoderTransformer(optimizer=torch.optim.RMSprop),
    *[
        AutoencoderTransformer(penalty=penalty, penalty_weight=0.1)
        for penalty in (
            *("l1", "activity_l1", "kl_sparsity", "topk", "contractive", "orthogonal"),
            *("decorrelation", ["l1", "contractive", "decorrelation"]),
        )
    ],
    AutoencoderTransformer(penalty="contractive", hidden_layer_sizes=()),
    AutoencoderTransformer(architecture="conv", **IMAGE),
    AutoencoderTransformer(architecture="conv", input_shape=(2, 4), dropout=0.1),
    DenoisingAutoencoder(corruption="swap", n_corruptions=2),
    DenoisingAutoencoder(corruption="masking", learning_rate="one_cycle"),
    VariationalAutoencoder(kl_warm_up=2),
    VariationalAutoencoder(objective="beta_tcvae", beta=3.0),
    VariationalAutoencoder(free_bits=0.1, architecture="conv", **IMAGE),
    VariationalAutoencoder(decoder_variance=0.1),
    MaskedAutoencoder(),
    MaskedAutoencoder(linear_skip=False, loss="huber"),
    MaskedAutoencoder(architecture="transformer", hidden_layer_sizes=(16,)),
    *[
        contrast(objective=name)
        for name in (
            *("nt_xent", "triplet", "vicreg", "barlow_twins", "byol", "simsiam"),
            "align_uniform",
        )
    ],
    contrast(objective="supcon", pairs="row"),
    contrast(learn_temperature=True, gradient_clip=0.1),
    contrast(pairs="row", latent_mixup=0.5, readout="last"),
    contrast(architecture="conv", pairs="row", **IMAGE),
    ContrastivePredictiveCoder(input_shape=(2, 4), hidden_layer_sizes=(4, 4)),
    JointEmbeddingPredictor(patch_size=2, hidden_layer_sizes=(16,), dropout=0.1),
    PairedEmbedder(hidden_layer_sizes=(8,)),
]


def fitted(estimator, X, callbacks=None):
    bounded = (X - X.min(axis=0)) / np.ptp(X, axis=0)
    unit = getattr(estimator, "loss", None) == "binary_cross_entropy"
    estimator.set_params(**SMALL, callbacks=callbacks)
    if unit:
        estimator.set_params(scaling=None)
    return estimator.fit(bounded if unit else X, np.arange(len(X)) % 3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn_repr.CollapseWarning")
@pytest.mark.parametrize("estimator", FITS, ids=lambda e: repr(e).replace(" ", "")[:70])
def test_recorded_steps_end_in_the_bits_of_plain_ones(estimator, X):
    recorded = fitted(estimator, X)
    assert recorded.net_.way_ == "recorded"
    curve, codes = recorded.loss_curve_, recorded.transform(X)
    plain = fitted(estimator, X, [Listener()])
    assert plain.net_.way_ == "plain: a callback listens to batches"
    assert plain.loss_curve_ == curve
    np.testing.assert_array_equal(plain.transform(X), codes)


def test_gradients_are_those_of_torch_for_batches_of_every_size(X):
    model = fitted(AutoencoderTransformer(), X)
    net, sizes = model.net_, []
    net.steps_ = 0, 10**6
    step = step_module.choose_step(net)
    for n in (1, 5, 16, 5, 16, 5, 16, 1, 1):
        x = torch.randn(n, 8)
        batch = step_module.Batch(x)
        losses = step(x, batch)
        _, loss, terms = net.losses(x, batch)
        grads = torch.autograd.grad(loss, list(net.module_.parameters()))
        assert losses == {"loss": loss, **terms}
        for parameter, grad in zip(net.module_.parameters(), grads, strict=True):
            assert torch.equal(parameter.grad, grad)
        sizes.append(sum(p is not None and p.proven for p in step.programs.values()))
    assert sizes == [0, 0, 0, 1, 2, 2, 2, 3, 3]


def test_a_recording_that_gives_other_bits_is_dropped(X, monkeypatch):
    expected = fitted(AutoencoderTransformer(), X).transform(X)
    from sklearn_repr.utils import program

    RECORDINGS.clear()
    wrong = (torch.zeros(()), torch.zeros(()))
    monkeypatch.setattr(program, "_made", lambda *_: lambda *given: wrong)
    model = fitted(AutoencoderTransformer(), X)
    assert model.net_.way_ == "plain: the recording gives other bits"
    np.testing.assert_array_equal(model.transform(X), expected)


class ReadsNumbers(Reconstruction):
    recordable = True

    def terms(self, outputs, target):
        terms = super().terms(outputs, target)
        if (
            float(terms["reconstruction"].detach().sum()) > 1e9
        ):  # a value read from a tensor
            terms["reconstruction"] = terms["reconstruction"] * 0
        return terms


class WithObjective(AutoencoderTransformer):
    objective_class = Reconstruction

    def _build_objective(self, *args):
        return self.objective_class()


class OwnObjective(Reconstruction):
    """One of a user, of which nothing is known."""


class OwnRecordable(Reconstruction):
    recordable = True


OwnObjective.__module__ = OwnRecordable.__module__ = "theirs"


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (ReadsNumbers, "plain: _local_scalar_dense depends on the numbers of a batch"),
        (OwnObjective, "plain: a part is not known to be recordable"),
    ],
)
def test_what_cannot_be_recorded_is_computed_by_torch(kind, way, X, monkeypatch):
    monkeypatch.setattr(WithObjective, "objective_class", kind)
    model = fitted(WithObjective(), X)
    assert model.net_.way_ == way
    expected = fitted(AutoencoderTransformer(), X)
    assert model.loss_curve_ == expected.loss_curve_


class OwnModule(nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.encoder = nn.Linear(n_features, n_components)
        self.decoder = nn.Linear(n_components, n_features)
        self.unused = nn.Linear(1, 1)

    def encode(self, x):
        return self.encoder(x)

    def decode(self, z):
        return self.decoder(z)


def test_a_users_module_is_recorded_if_it_says_that_it_may_be(X, monkeypatch):
    plain = fitted(AutoencoderTransformer(architecture=OwnModule), X)
    assert plain.net_.way_ == "plain: a part is not known to be recordable"
    monkeypatch.setattr(OwnModule, "recordable", True, raising=False)
    recorded = fitted(AutoencoderTransformer(architecture=OwnModule), X)
    assert recorded.net_.way_ == "recorded"
    assert recorded.loss_curve_ == plain.loss_curve_


def test_hooks_are_called_in_every_step(X):
    calls = []

    class Hooks(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if not calls:
                net.module_.decoder.register_forward_hook(lambda *_: calls.append(1))

        def on_train_end(self, net, **kwargs):
            net.module_.decoder._forward_hooks.clear()

    model = fitted(AutoencoderTransformer(), X, [Hooks()])
    assert model.net_.way_ == "plain: a part has hooks"
    assert len(calls) > 3 * len(model.loss_curve_)
    assert model.loss_curve_ == fitted(AutoencoderTransformer(), X).loss_curve_


def test_few_steps_are_not_recorded(X, monkeypatch):
    monkeypatch.undo()
    model = AutoencoderTransformer(2, max_iter=2, batch_size=16).fit(X)
    assert model.net_.way_ == "plain: too few steps to repay a recording"


def test_a_change_between_epochs_is_noticed(X):
    class Freezer(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                net.module_.encoder.requires_grad_(False)
                net.optimizer_.zero_grad()

    class Reference(Freezer):
        on_grad_computed = Listener.on_grad_computed

        def __init__(self):
            self.norms = []

    found, expected = (
        fitted(AutoencoderTransformer(), X, [callback])
        for callback in (Freezer(), Reference())
    )
    assert found.loss_curve_ == expected.loss_curve_


class Cooler(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.criterion_.objectives[0].temperature *= 0.9


class LessDropout(Callback):
    def on_epoch_end(self, net, **kwargs):
        for part in net.module_.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.9 * part.p


@pytest.mark.parametrize(
    ("estimator", "callback"),
    [
        (ContrastiveEmbedder(hidden_layer_sizes=(16,)), Cooler()),
        (AutoencoderTransformer(dropout=0.5), LessDropout()),
    ],
)
def test_constants_that_a_callback_changes_are_noticed(
    estimator, callback, X, monkeypatch
):
    found = fitted(clone(estimator), X, [callback])
    monkeypatch.setattr(step_module, "STEPS_TO_REPAY", 10**9)
    expected = fitted(clone(estimator), X, [callback])
    assert found.loss_curve_ == expected.loss_curve_
    assert found.net_.way_ == "recorded"
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))


def test_callbacks_see_an_ordinary_net_and_change_no_bit(X, tmp_path, recwarn):
    silent = fitted(AutoencoderTransformer(alpha=1e-3), X)

    class Looks(Callback):
        def on_epoch_end(self, net, **kwargs):
            optimizer = net.optimizer_
            found = {p for group in optimizer.param_groups for p in group["params"]}
            assert found == set(net.module_.parameters())
            steps = [state["step"] for state in optimizer.state.values()]
            assert len({s.data_ptr() for s in steps}) == len(found)
            assert len(set(map(float, steps))) == 1
            pickle.loads(pickle.dumps(net.module_))  # noqa: S301

    for callback in (Looks(), GradientNormClipping(1e9)):
        loud = fitted(AutoencoderTransformer(alpha=1e-3), X, [callback])
        assert loud.loss_curve_ == silent.loss_curve_
    callbacks = [
        LRScheduler("ExponentialLR", gamma=0.5),
        Checkpoint(dirname=tmp_path, load_best=True),
    ]
    model = fitted(AutoencoderTransformer(), X, callbacks)
    assert not [w for w in recwarn if "lr_scheduler" in str(w.message)]
    state = torch.load(tmp_path / "optimizer.pt")
    torch.optim.Adam(model.net_.module_.parameters()).load_state_dict(state)


@each(TRANSFORMERS)
def test_nothing_of_a_recording_outlives_the_fit(estimator, X):
    net = fast(estimator).set_params(n_components=2).fit(X).net_
    assert net.step_ is None
    assert not [m for m in net.module_.modules() if "forward" in vars(m)]


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, fused=True, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, fused=True, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, fused=True, amsgrad=True),
        torch.optim.Adam,
        lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, nesterov=True, fused=True),
        lambda p: torch.optim.SGD(p, lr=1e-3, fused=True),
        torch.optim.SGD,
    ],
    ids=["adam", "adamw", "amsgrad", "plain adam", "momentum", "fused sgd", "sgd"],
)
def test_bare_updates_are_the_optimisers_own(make):
    def trained(bare):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
        optimizer, x = make(module.parameters()), torch.ones(4, 3)

        def epoch(update):
            for _ in range(4):
                optimizer.zero_grad()
                module(x).square().sum().backward()
                update()

        for turn in range(2):  # and go on from where it was
            for group in optimizer.param_groups:
                group["lr"] = 0.1 / (1 + turn)
            if bare:
                with bare_update(optimizer) as update:
                    epoch(update)
            else:
                epoch(optimizer.step)
        return [*module.parameters()], optimizer.state_dict()

    (ours, state), (theirs, reference) = trained(True), trained(False)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    torch.testing.assert_close(state, reference, rtol=0, atol=0)


def test_recordings_keep_no_batch(X):
    import gc

    net = fitted(AutoencoderTransformer(), X).net_
    net.steps_ = 0, 10**6
    step = step_module.choose_step(net)
    assert isinstance(step, RecordedStep)
    for _ in range(3):
        x = torch.randn(1234, 8)
        step(x, step_module.Batch(x))
    del x
    step.outputs = None
    gc.collect()
    alive = [t for t in gc.get_objects() if issubclass(type(t), torch.Tensor)]
    large = [t for t in alive if t.shape[:1] == (1234,) and t.is_contiguous()]
    # a constant, the gradient of the rows' losses, is all that has as many rows
    assert {t.shape for t in large} <= {(1234,), (1234, 1)}
