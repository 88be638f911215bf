"""ContrastiveEmbedder: every objective learns, labels, collapse, chunks."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PLAIN
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from sklearn_repr import ContrastiveEmbedder
from sklearn_repr._contracts import Batch
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.engine.quality import EmbeddingQuality
from sklearn_repr.engine.step import choose_step
from sklearn_repr.exceptions import CollapseWarning, NonFiniteLossError
from sklearn_repr.inspection import alignment, effective_rank, uniformity
from sklearn_repr.modules import ContrastiveNetwork, SelfPredictiveNetwork, make_mlp
from sklearn_repr.objectives import BarlowTwins, NTXent, VICReg
from sklearn_repr.objectives import objective as objectives
from sklearn_repr.utils.labels import encode_labels
from sklearn_repr.utils.randomness import Seeds

each_objective = pytest.mark.parametrize("objective", objectives.names())
PREDICTING = ("byol", "simsiam")
# the default recipe with narrow layers
FEW_UNITS = {"hidden_layer_sizes": (16, 16), "projection_dim": 8}


@pytest.fixture(scope="module")
def classes():
    """800 rows in 24 noisy columns; what columns have in common is one of 5 classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 800)
    X = 0.8 * rng.normal(size=(5, 24))[y] + rng.normal(size=(800, 24))
    return X[:400], y[:400], X[400:], y[400:]


def small(objective="nt_xent", **settings):
    given = {**PLAIN, "max_iter": 3, "batch_size": 32, "random_state": 0, **settings}
    return ContrastiveEmbedder(4, objective=objective, projection_dim=8, **given)


def probe(estimator, X, y, X_test, y_test):
    classifier = KNeighborsClassifier().fit(estimator.transform(X), y)
    return classifier.score(estimator.transform(X_test), y_test)


@each_objective
def test_every_objective_learns(objective, classes):
    X, y, *_ = classes
    estimator = ContrastiveEmbedder(
        8,
        objective=objective,
        corruption_level=0.6,
        max_iter=30,
        random_state=0,
        **{**PLAIN, "views": "masking", "batch_size": 64},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is not to learn
        untrained = clone(estimator).set_params(max_iter=1, learning_rate_init=1e-12)
        before = probe(untrained.fit(X, y), *classes)
    estimator.fit(X, y)
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0] - 0.02
    assert probe(estimator, *classes) > before + 0.1
    ranks = estimator.embedding_curves_["effective_rank"]
    assert len(ranks) == estimator.n_iter_
    assert ranks[-1] > 3


def test_supervised_contrast_on_random_labels_is_at_chance(classes):
    X, y, X_test, y_test = classes
    rng = np.random.default_rng(1)
    accuracies = {}
    for name, labels in {"true": y, "shuffled": rng.permutation(y)}.items():
        settings = {**PLAIN, "early_stopping": False, "max_iter": 40, "random_state": 0}
        model = ContrastiveEmbedder(8, objective="supcon", **settings)
        model.fit(X, labels)
        # the probe learns the same labels, and is judged by rows that nobody has seen
        accuracies[name] = probe(model, X, labels, X_test, y_test)
    assert accuracies["true"] > 0.9
    assert abs(accuracies["shuffled"] - 0.2) < 0.08


# -- labels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [
        np.array(["a", "b"])[np.arange(40) % 2],
        pd.Series(np.arange(40) % 2 == 0),
        [None if i % 3 == 0 else "ab"[i % 2] for i in range(40)],
        np.where(np.arange(40) % 3 == 0, np.nan, np.arange(40.0) % 2),
        np.where(np.arange(40) % 3 == 0, -1, np.arange(40) % 2),
        pd.Categorical(["x", "y"] * 20),
    ],
    ids=["text", "bool", "none", "nan", "minus one", "categorical"],
)
def test_labels_of_any_type(y, X):
    small("supcon").fit(X[:40], y)
    labels = encode_labels(y, 40, "it")
    assert labels.dtype == torch.int64
    assert set(labels.tolist()) - {-1} == {0, 1}
    assert labels[1] != labels[2]
    assert labels[1] == labels[5]


def test_numbering_of_labels_does_not_matter(X):
    y = np.arange(len(X)) % 3
    Z = small("supcon").fit(X, y).transform(X)
    renamed = np.array(["x", "y", "z"])[y]
    np.testing.assert_array_equal(small("supcon").fit(X, renamed).transform(X), Z)


def test_objectives_without_labels_ignore_them(X):
    y = np.arange(len(X)) % 3
    for objective in set(objectives.names()) - {"supcon"}:
        Z = small(objective).fit(X).transform(X)
        np.testing.assert_array_equal(small(objective).fit(X, y).transform(X), Z)


@pytest.mark.parametrize("settings", [{"objective": "supcon"}, {"pairs": "label"}])
def test_bad_labels_are_refused_and_change_nothing(settings, X):
    y = np.arange(len(X)) % 3
    fitted = small(**settings).fit(X, y)
    before = fitted.transform(X)
    for bad, message in (
        (None, "requires y to be passed, but the target y is None"),
        (y[:-1], "inconsistent numbers of samples"),
        (np.full(len(X), -1), "holds none"),
        (np.full(len(X), np.nan), "holds none"),
        (np.linspace(0, 1, len(X)), "continuous"),
        (np.c_[y, y], "1d array"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.fit(X, bad)
    np.testing.assert_array_equal(fitted.transform(X), before)
    assert fitted.score(X, y) == fitted.score(X, y)
    with pytest.raises(ValueError, match="requires y"):
        fitted.score(X)


def test_unlabelled_rows_help_and_do_no_harm(classes):
    X, y, X_test, y_test = classes
    few = np.where(np.arange(len(y)) % 8 == 0, y, -1)
    settings = {**PLAIN, "max_iter": 30, "random_state": 0}
    model = ContrastiveEmbedder(8, objective="supcon", **settings)
    model.fit(X, few)
    known = few >= 0
    assert probe(model, X[known], y[known], X_test, y_test) > 0.9


# -- shapes ------------------------------------------------------------------------------


@each_objective
@pytest.mark.parametrize("recipe", [False, True], ids=["plain", "default"])
@pytest.mark.parametrize(
    ("n", "d", "batch_size"),
    [(2, 3, 2), (3, 1, 32), (31, 4, 2), (33, 4, 32), (65, 2, 32)],
)
def test_any_size(objective, n, d, batch_size, recipe):
    rng = np.random.default_rng(n)
    X = np.c_[rng.normal(size=(n, d)), np.ones(n)]
    X[-1] = X[0]
    y = np.r_[1, np.zeros(n - 1)]  # a class with a single member
    settings = {"batch_size": batch_size, "views": "swap"}
    estimator = small(objective, **settings)
    if recipe:
        estimator = ContrastiveEmbedder(
            4, objective=objective, max_iter=2, random_state=0, **FEW_UNITS, **settings
        )
    estimator.fit(X, y)
    assert np.isfinite(estimator.transform(X)).all()
    assert np.isfinite(estimator.loss_curve_).all()
    assert np.isfinite(estimator.score(X, y))
    assert all(np.isfinite(curve).all() for curve in estimator.embedding_curves_.values())


@each_objective
@pytest.mark.parametrize("pairs", ["row", "neighbors", "auto"])
def test_the_same_seed_gives_the_same_bits(objective, pairs, X):
    if objective == "supcon" and pairs == "neighbors":
        return
    y = np.arange(len(X)) % 3
    estimator = small(objective, pairs=pairs, normalize=True)
    if pairs == "auto":  # the default recipe, in chunks
        settings = {"max_iter": 2, "chunk_size": 50, "random_state": 0, **FEW_UNITS}
        estimator = ContrastiveEmbedder(4, objective=objective, **settings)
    state = torch.get_rng_state()
    Z = estimator.fit(X, y).transform(X)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(clone(estimator).fit(X, y).transform(X), Z)
    np.testing.assert_array_equal(estimator.fit(X, y).transform(X[7:8]), Z[7:8])
    restored = pickle.loads(pickle.dumps(estimator))  # noqa: S301
    np.testing.assert_array_equal(restored.transform(X[5:]), Z[5:])
    assert restored.score(X, y) == estimator.score(X, y)


def test_normalize_scales_to_unit_length(X):
    plain, unit = (small(normalize=flag).fit(X) for flag in (False, True))
    Z = plain.transform(X)
    expected = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    np.testing.assert_allclose(unit.transform(X), expected, rtol=1e-5)
    assert unit.transform(X.astype("float32")).dtype == np.float32


def test_no_training_rows_are_kept():
    X = np.random.default_rng(0).normal(size=(5000, 40))
    for pairs in ("row", "neighbors", "time"):
        fitted = small(pairs=pairs, max_iter=1, hidden_layer_sizes=(4,)).fit(X)
        fitted.score(X[:50])
        assert len(pickle.dumps(fitted)) < 0.2 * X.size * 4


# -- parameters --------------------------------------------------------------------------


def test_an_objective_with_constants_of_its_own(X):
    objective = BarlowTwins({"redundancy": 0.1})
    fitted = small(objective).fit(X)
    assert fitted.objective is objective
    assert fitted.net_.criterion_.weights == {"redundancy": 0.1}
    named = small("barlow_twins").fit(X)
    assert (fitted.transform(X) != named.transform(X)).any()
    same = small(BarlowTwins()).fit(X)
    np.testing.assert_array_equal(same.transform(X), named.transform(X))


def test_the_temperature_is_learned_and_the_best_is_kept(X):
    fitted = small(learn_temperature=True, max_iter=30, learning_rate_init=0.01).fit(X)
    learned = fitted.net_.criterion_.log_temperature.exp().item()
    assert abs(learned - 0.5) > 0.01
    keys = fitted.validation_curve_
    assert fitted.best_loss_ <= min(keys) + 1e-9
    more = copy.deepcopy(fitted).set_params(warm_start=True, max_iter=1)
    more.set_params(learning_rate_init=1e-12).fit(X)
    assert more.net_.criterion_.log_temperature.exp().item() == pytest.approx(learned)


def test_warm_starts_go_on_where_the_network_fits(X):
    y = np.arange(len(X)) % 3
    fitted = small(warm_start=True).fit(X)
    fitted.set_params(objective="supcon").fit(X, y)
    assert len(fitted.loss_curve_) == 6
    assert len(fitted.embedding_curves_["spread"]) == 6
    with pytest.raises(ValueError, match="objective was"):
        fitted.set_params(objective="byol").fit(X)
    with pytest.raises(ValueError, match="predictor was"):
        small("byol", warm_start=True).fit(X).set_params(predictor=False).fit(X)


def test_heads_are_those_of_the_papers(X):
    def module(objective, **settings):
        return small(objective, **settings).fit(X, np.arange(len(X)) % 2).net_.module_

    for objective in objectives.names():
        network = module(objective)
        norms = any(isinstance(part, nn.BatchNorm1d) for part in network.head)
        assert norms == (objective in ("vicreg", "barlow_twins", *PREDICTING))
        assert isinstance(network, SelfPredictiveNetwork) == (objective in PREDICTING)
    byol, simsiam = module("byol"), module("simsiam")
    assert byol.predictor[-1].in_features == 8
    assert simsiam.predictor[-1].in_features == 2
    assert simsiam.target is None
    moved = [byol.encoder[0].weight, byol.target.module[0].weight]
    assert (moved[0] != moved[1]).any()
    frozen = module("byol", target_momentum=1.0, warm_start=False)
    start = module("byol", target_momentum=1.0, learning_rate_init=1e-12)
    assert torch.equal(frozen.target.module[0].weight, start.target.module[0].weight)
    copied = module("byol", target_momentum=0.0)
    n_steps = copied.target.n_steps
    assert n_steps == copied.target.n_updates == 3 * 4


def test_the_target_comes_to_rest_with_the_last_step(X):
    # 120 rows, 60 of them held out: 2 steps an epoch, so that 40 steps are 20 epochs
    settings = {"max_steps": 40, "max_iter": 99, "early_stopping": True}
    fitted = small("byol", validation_fraction=0.5, **settings).fit(X[:120])
    target = fitted.net_.module_.target
    assert target.n_steps == target.n_updates == 40
    assert target.current_momentum() == 1


# -- collapse ----------------------------------------------------------------------------


def self_predictive(X, objective, predictor):
    return ContrastiveEmbedder(
        16,
        objective=objective,
        predictor=predictor,
        target_momentum=0.5,
        projection_dim=32,
        max_iter=60,
        random_state=0,
        **{**PLAIN, "hidden_layer_sizes": (64,), "batch_size": 64},
    ).fit(X)


@pytest.mark.parametrize("objective", PREDICTING)
def test_without_a_predictor_it_collapses_and_says_so(objective):
    X = load_digits().data[:400]
    with pytest.warns(CollapseWarning, match="projections of all rows point nearly"):
        collapsed = self_predictive(X, objective, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        healthy = self_predictive(X, objective, True)
    spread = healthy.embedding_curves_["projection_spread"][-1]
    assert spread > 0.8
    assert collapsed.embedding_curves_["projection_spread"][-1] < 0.1
    # the loss is no judge: it is lowest where nothing is left to predict
    assert collapsed.loss_curve_[-1] < healthy.loss_curve_[-1]
    assert healthy.n_iter_ == collapsed.n_iter_ == 60


def test_collapse_of_the_embedding_is_noticed():
    quality = EmbeddingQuality()
    good = {"spread": 0.9, "projection_spread": 0.9, "effective_rank": 10.0}
    quality.start_ = quality.most_ = good
    quality.supervised_ = False
    for change, message in (
        ({"spread": 0.01}, "embeddings of all rows point nearly the same way"),
        ({"effective_rank": 1.2}, "vary along 1.2 directions only"),
    ):
        quality.last_ = quality.end_ = {**good, **change}
        with pytest.warns(CollapseWarning, match=message):
            quality.warn_if_collapsed()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # earlier weights are kept, which had only begun to spread
        quality.last_, quality.end_ = good, {**good, "projection_spread": 0.05}
        quality.warn_if_collapsed()
        # few classes need few directions
        quality.supervised_ = True
        quality.last_ = quality.end_ = {**good, "effective_rank": 1.2}
        quality.warn_if_collapsed()
        # rows that are all the same were never apart
        quality.supervised_ = False
        quality.start_ = quality.most_ = quality.last_ = quality.end_ = dict.fromkeys(
            good, 0.0
        )
        quality.warn_if_collapsed()


def test_measures_are_those_of_inspection(X):
    fitted = small(early_stopping=False, max_iter=2, dtype="float64").fit(X)
    Z = fitted.transform(X)
    curves = fitted.embedding_curves_
    assert set(curves) == {
        *("alignment", "uniformity", "effective_rank", "spread", "projection_spread")
    }
    assert curves["uniformity"][-1] == pytest.approx(uniformity(Z))
    assert curves["effective_rank"][-1] == pytest.approx(effective_rank(Z), rel=1e-5)
    unit = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    deviation = np.sqrt(np.square(unit - unit.mean(axis=0)).sum(axis=1).mean())
    assert curves["spread"][-1] == pytest.approx(deviation)
    assert 0 < curves["alignment"][-1] < 4
    history = fitted.net_.history
    assert history[:, "embedding_spread"] == curves["spread"]
    assert alignment(Z, Z) == 0


def test_measures_change_nothing(X, monkeypatch):
    watched = small().fit(X)
    monkeypatch.setattr(ContrastiveEmbedder, "_watches_embedding", False)
    alone = small().fit(X)
    assert alone.embedding_curves_ == {}
    assert alone.loss_curve_ == watched.loss_curve_
    np.testing.assert_array_equal(alone.transform(X), watched.transform(X))


# -- chunks ------------------------------------------------------------------------------


def network(objective, dropout=0.0):
    torch.manual_seed(0)
    encoder = make_mlp([6, 16, 4], dropout=dropout)
    head = make_mlp([4, 8, 8], batch_norm=objective.batch_norm_heads)
    if not objective.needs_prediction:
        return ContrastiveNetwork(encoder, head).double()
    predictor = make_mlp([8, 8, 8], batch_norm=True)
    return SelfPredictiveNetwork(encoder, head, predictor, momentum=0.9).double()


def gradients(objective, chunk_size, dropout=0.0):
    """Return loss, terms and gradients of one batch of 21 rows in two views."""
    net = RepresentationNet(
        network(objective, dropout),
        objective,
        seeds=Seeds(0),
        lr=0.1,
        verbose=0,
        chunk_size=chunk_size,
    ).initialize()
    net.replays_draws = bool(dropout)
    torch.manual_seed(1)
    inputs = torch.randn(42, 6, dtype=torch.float64)
    batch = Batch(inputs[:21], labels=torch.arange(21) % 4)
    torch.manual_seed(2)
    net.listening_ = True
    step = choose_step(net)
    losses = step(inputs, batch)
    assert step.outputs.projection.shape == (42, 8)
    draws = torch.rand(1)
    learned = [*net.module_.parameters(), *net.criterion_.parameters()]
    return losses, [p.grad for p in learned], draws


@pytest.mark.parametrize("chunk_size", [1, 5, 21, 100])
@each_objective
def test_chunks_have_the_gradient_of_the_whole_batch(objective, chunk_size):
    whole, expected, _ = gradients(objectives.make(objective, "objective"), None)
    chunked, got, _ = gradients(objectives.make(objective, "objective"), chunk_size)
    assert whole.keys() == chunked.keys()
    for key in whole:
        torch.testing.assert_close(chunked[key], whole[key], rtol=1e-10, atol=1e-10)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_chunks_of_an_objective_that_learns_and_of_dropout():
    objective = NTXent(0.5, learn_temperature=True).double()
    _, expected, _ = gradients(copy.deepcopy(objective), None)
    _, got, _ = gradients(objective, 5)
    torch.testing.assert_close(got[-1], expected[-1], rtol=1e-10, atol=1e-10)
    # in one chunk, dropout draws what it draws without chunks, and only once
    _, expected, draws = gradients(VICReg(), None, dropout=0.5)
    _, got, later = gradients(VICReg(), 42, dropout=0.5)
    assert torch.equal(draws, later)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


class Widest(nn.Module):
    """An encoder that remembers the most rows it has seen at once with a graph."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.layer = nn.Linear(n_features, n_components)
        self.most = 0

    def forward(self, x):
        if torch.is_grad_enabled():
            self.most = max(self.most, len(x))
        return self.layer(x)


def test_a_frozen_encoder_and_one_that_normalises_go_in_chunks(X):
    def frozen(n_features, n_components):
        return nn.Linear(n_features, n_components).requires_grad_(False)

    def normalising(n_features, n_components):
        return nn.Sequential(
            nn.Linear(n_features, n_components), nn.BatchNorm1d(n_components)
        )

    whole = small(architecture=frozen, dtype="float64").fit(X)
    chunked = small(architecture=frozen, dtype="float64", chunk_size=10).fit(X)
    np.testing.assert_allclose(chunked.loss_curve_, whole.loss_curve_, rtol=1e-8)
    # 64 views in chunks of 63 would leave one row alone, which has no variance
    small(architecture=normalising, chunk_size=63).fit(X)


def test_values_that_overflow_are_named(X):
    settings = {"scaling": None, "layer_norm": True, "reconstruction_weight": 1.0}
    with pytest.raises(NonFiniteLossError, match="is number 2, with"):
        small(**settings).fit(1e30 * X)


@pytest.mark.parametrize(
    "recipe", [{}, {"reconstruction_weight": 1, "readout": "layers"}]
)
@pytest.mark.parametrize("objective", ["nt_xent", "byol", "vicreg"])
def test_fits_in_chunks_are_those_of_whole_batches(objective, recipe, X):
    settings = {"max_iter": 4, "batch_size": 64, "dtype": "float64", **recipe}
    whole = small(objective, **settings).fit(X)
    chunked = small(objective, chunk_size=10, **settings).fit(X)
    np.testing.assert_allclose(chunked.loss_curve_, whole.loss_curve_, rtol=1e-8)
    np.testing.assert_allclose(
        chunked.validation_curve_, whole.validation_curve_, rtol=1e-8
    )
    np.testing.assert_allclose(chunked.transform(X), whole.transform(X), atol=1e-6)
    if recipe:
        return
    own = small(objective, architecture=Widest, chunk_size=10, **settings).fit(X)
    assert own.net_.module_.encoder.most == 10
