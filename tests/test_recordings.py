"""Recordings that later fits use: the same bits, no tensors, never another net's."""

from __future__ import annotations

import gc
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_step import FITS, Listener, OwnRecordable, WithObjective, contrast, fitted
from torch import nn
from torch.overrides import TorchFunctionMode

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastivePredictiveCoder,
    DenoisingAutoencoder,
    VariationalAutoencoder,
)
from sklearn_repr.engine import step as step_module
from sklearn_repr.engine.recordings import (
    RECORDINGS,
    Recordings,
    described,
    settings_of_torch,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn_repr.CollapseWarning"),
]


@pytest.fixture(autouse=True)
def _record_at_once(monkeypatch):
    monkeypatch.setattr(step_module, "STEPS_TO_REPAY", 0)
    RECORDINGS.clear()
    yield
    RECORDINGS.clear()


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(61, 3)) @ rng.normal(size=(3, 8)) + 1.0


@pytest.fixture
def counted(monkeypatch):
    """Count steps that are recorded, and recordings of earlier fits that are taken."""
    counts = {"recorded": 0, "taken": 0}
    record, known = step_module.RecordedStep._record, step_module.RecordedStep._known

    def counting_record(self, *args):
        counts["recorded"] += 1
        return record(self, *args)

    def counting_known(self, key):
        found = known(self, key)
        counts["taken"] += found is not None
        return found

    monkeypatch.setattr(step_module.RecordedStep, "_record", counting_record)
    monkeypatch.setattr(step_module.RecordedStep, "_known", counting_known)
    return counts


def result(estimator, X, callbacks=None):
    """Return all numbers that a fit leaves, and how it came by them."""
    model = fitted(estimator, X, callbacks)
    losses = [
        {k: v for k, v in row.items() if k.endswith("loss") or "_term_" in k}
        for row in model.net_.history
    ]
    weights = [*model.net_.module_.state_dict().values()]
    weights += model.net_.criterion_.state_dict().values()
    return losses, [w.numpy().tobytes() for w in weights], model.net_.way_


def is_recorded_anew(estimator):
    """Tell programs that hold a tensor made from a number, and references to weights."""
    penalties = np.atleast_1d(getattr(estimator, "penalty", None))
    return (
        isinstance(estimator, ContrastivePredictiveCoder)
        or "kl_sparsity" in penalties
        or getattr(estimator, "objective", None) == "beta_tcvae"
    )


@pytest.mark.parametrize("estimator", FITS, ids=lambda e: repr(e).replace(" ", "")[:70])
def test_fits_end_in_the_same_bits_whatever_was_recorded_before(estimator, X, counted):
    cold = result(estimator, X)
    recorded = counted["recorded"]
    warm = result(estimator, X)
    anew, taken = counted["recorded"] - recorded, counted["taken"]
    RECORDINGS.clear()
    cleared = result(estimator, X)
    losses, weights, _ = result(estimator, X, [Listener()])
    assert cold == warm == cleared == (losses, weights, "recorded")
    assert (anew, taken) == (
        (recorded, 0) if is_recorded_anew(estimator) else (0, recorded)
    )


CHANGES = [
    (AutoencoderTransformer(dropout=0.1), {"dropout": 0.2}),
    (AutoencoderTransformer(loss="huber"), {"loss_scale": 9.0}),
    (AutoencoderTransformer(loss="huber"), {"loss": "cauchy"}),
    (AutoencoderTransformer(loss="log_cosh", loss_scale="auto"), {"random_state": 1}),
    (AutoencoderTransformer(penalty="l1"), {"penalty_weight": 0.3}),
    (AutoencoderTransformer(penalty="kl_sparsity"), {"penalty": "activity_l1"}),
    (AutoencoderTransformer(activation="relu"), {"activation": "tanh"}),
    (AutoencoderTransformer(), {"layer_norm": True}),
    (AutoencoderTransformer(), {"tied_weights": True}),
    (AutoencoderTransformer(), {"dtype": "float64"}),
    (VariationalAutoencoder(), {"beta": 2.0}),
    (VariationalAutoencoder(free_bits=0.1), {"free_bits": 5.0}),
    (contrast(pairs="row"), {"temperature": 0.3}),
    (contrast(pairs="row", objective="triplet"), {"objective": "supcon"}),
    (contrast(pairs="row"), {"reconstruction_weight": 0.3}),
]


@pytest.mark.parametrize(
    ("estimator", "change"), CHANGES, ids=lambda part: repr(part).replace(" ", "")[:50]
)
def test_another_constant_asks_for_another_recording(estimator, change, X, counted):
    def changed():
        settings = {k: v for k, v in change.items() if k != "random_state"}
        rows = X[::-1].copy() if "random_state" in change else X
        return result(estimator.set_params(**settings), rows)

    before = result(estimator, X)
    after = changed()
    assert counted["taken"] == 0
    RECORDINGS.clear()
    assert changed() == after != before


@pytest.mark.parametrize(
    ("estimator", "change"),
    [
        (AutoencoderTransformer(dropout=0.1), {"dropout": 0.3}),
        (AutoencoderTransformer(loss="huber"), {"loss_scale": 0.1}),
        (AutoencoderTransformer(activation="relu"), {"activation": "tanh"}),
        (contrast(pairs="row"), {"temperature": 0.3}),
    ],
    ids=lambda part: repr(part).replace(" ", "")[:50],
)
def test_a_recording_of_another_net_is_found_out(
    estimator, change, X, counted, monkeypatch
):
    expected = [result(estimator, X), result(estimator.set_params(**change), X)]
    RECORDINGS.clear()
    monkeypatch.setattr(step_module, "described", lambda *_: "anything")
    for name in change:
        default = type(estimator)().get_params()[name]
        estimator.set_params(**{name: default if name != "dropout" else 0.1})
    if "activation" in change:
        estimator.set_params(activation="relu")
    counted["taken"] = 0
    assert result(estimator, X)[2] == "recorded"
    assert result(estimator.set_params(**change), X) == expected[1]
    assert counted["taken"] > 0


@pytest.mark.parametrize(
    ("estimator", "change"),
    [
        (DenoisingAutoencoder(), {"corruption_level": 0.5, "alpha": 0.1}),
        (AutoencoderTransformer(), {"learning_rate_init": 1e-4, "optimizer": "sgd"}),
        (VariationalAutoencoder(decoder_variance=0.1), {"decoder_variance": 0.2}),
    ],
    ids=lambda part: repr(part).replace(" ", "")[:50],
)
def test_what_only_moves_numbers_shares_recordings(estimator, change, X, counted):
    result(estimator, X)
    recorded = counted["recorded"]
    shared = result(estimator.set_params(**change), X[::-1].copy())
    assert counted["recorded"] == counted["taken"] == recorded
    RECORDINGS.clear()
    assert result(estimator, X[::-1].copy()) == shared


def tensors_within(thing):
    """Return all tensors that are reached from a thing, not through code and classes."""
    found, seen, left = [], set(), [thing]
    while left:
        at = left.pop()
        if id(at) in seen or isinstance(at, type | types.ModuleType):
            continue
        seen.add(id(at))
        if isinstance(at, torch.Tensor | np.ndarray):
            found.append(at)
        if not isinstance(at, types.FunctionType | types.BuiltinFunctionType):
            left += gc.get_referents(at)
    return found


def test_recordings_hold_no_tensor_and_have_a_bound(X, monkeypatch):
    assert tensors_within({"a": [torch.ones(1)]})
    for estimator in FITS:
        fitted(estimator, X)
    assert len(RECORDINGS) == RECORDINGS.most
    assert not tensors_within(RECORDINGS)
    few = Recordings(2)
    monkeypatch.setattr(step_module, "RECORDINGS", few)
    for width in (3, 4, 5, 6):
        fitted(AutoencoderTransformer(hidden_layer_sizes=(width,)), X)
        assert len(few) <= 2


def test_the_one_not_asked_for_longest_is_dropped():
    known = Recordings(2)
    for name in ("a", "b"):
        known.put(name, name)
    known.get("a")
    known.put("c", "c")
    assert [known.get(name) for name in ("a", "b", "c")] == ["a", None, "c"]
    known.drop("a")
    assert known.get("a") is None


def test_threads_share_recordings(X, monkeypatch):
    monkeypatch.setattr(step_module, "RECORDINGS", Recordings(3))
    widths = [(4,), (5,), (4,), (6,)] * 3

    def fit(width):
        return result(AutoencoderTransformer(hidden_layer_sizes=width), X)

    expected = {width: fit(width) for width in set(widths)}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fit, widths))
    assert found == [expected[width] for width in widths]


def test_a_users_classes_are_recorded_in_every_fit(X, counted, monkeypatch):
    monkeypatch.setattr(WithObjective, "objective_class", OwnRecordable)
    for _ in range(2):
        assert result(WithObjective(), X)[2] == "recorded"
    assert counted["taken"] == len(RECORDINGS) == 0


def test_nothing_is_shared_where_torch_is_overridden(X, counted):
    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    usual, before = result(AutoencoderTransformer(), X), settings_of_torch()
    with Mode():
        assert result(AutoencoderTransformer(), X) == usual
    assert counted["taken"] == 0
    torch.use_deterministic_algorithms(True)
    try:
        assert settings_of_torch() != before
    finally:
        torch.use_deterministic_algorithms(False)


class Holder(nn.Module):
    def __init__(self, **held):
        super().__init__()
        vars(self).update(held)


Holder.__module__ = "sklearn_repr.anything"


def test_descriptions_tell_constants_apart():
    def of(thing):
        return described(Holder(thing=thing), [])

    numbers = [0, 0.0, -0.0, 1, 1.0, True, None, "1", float("nan"), 1j]
    things = [*numbers, [], [1], (1,), {1}, {"a": 1}, {"a": 2}, {"b": 1}]
    things += [[[1], [1, 1]], [[1, 1], [1]], torch.float32, nn.ReLU, nn.Tanh]
    assert len({of(thing) for thing in things}) == len(things)
    assert [of(thing) for thing in things] == [of(thing) for thing in things]


def test_descriptions_tell_structures_apart():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    tied = nn.Sequential(one, one)
    free = nn.Sequential(one, other)
    state = [*one.parameters(), *other.parameters()]
    assert described(tied, state) != described(free, state)
    before = described(one, state)
    one.requires_grad_(False)
    assert described(one, state) != before
    one.requires_grad_(True).eval()
    assert described(one, state) != before
    assert described(one.train(), state) == before


@pytest.mark.parametrize(
    "thing",
    [
        torch.ones(1),
        np.ones(1),
        [torch.ones(1)],
        lambda x: x,
        {1: (lambda y: lambda x: x + y)(1)},
        nn.Linear(1, 1),
        nn.Linear(1, 1).reset_parameters,
        iter([1]),
        type("Own", (), {}),
        type("Own", (), {})(),
        type("Own", (nn.Module,), {})(),
        type("Own", (dict,), {})(),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_what_cannot_be_described_is_not_kept(thing):
    with pytest.raises(TypeError):
        described(Holder(thing=thing), [])
