"""Classifiers and regressors on representations."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris, make_moons
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    StackingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, StandardScaler
from torch.nn import functional

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    DenoisingAutoencoder,
    PairedEmbedder,
    RepresentationClassifier,
    RepresentationRegressor,
    load,
    save,
)
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.engine.linear_heads import fit_logistic, fit_ridge
from sklearn_repr.estimators._forest import Forest
from sklearn_repr.estimators._guesses import confident, propagated
from sklearn_repr.estimators._learned import Learned, spread_share
from sklearn_repr.objectives.predicted_targets import PredictedClasses, PredictedNumbers
from sklearn_repr.utils.labels import read_numbers

BOTH = [RepresentationClassifier, RepresentationRegressor]
both = pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.__name__)


def encoder(**settings):
    given = {"hidden_layer_sizes": 8, "max_iter": 3, "random_state": 0, **settings}
    return AutoencoderTransformer(2, **given)


def iris(labelled=30, seed=0):
    """Rows of which few have a label, and all labels."""
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(X))
    X, y = X[order], y[order]
    few = y.copy()
    few[labelled:] = -1
    return X, few, y


def targets_of(kind, y):
    """Labels for a classifier, numbers for a regressor."""
    if kind is RepresentationClassifier:
        return y
    return np.where(y == -1, np.nan, y.astype(float))


def state(estimator):
    """All numbers of a fitted estimator."""
    weights = estimator.net_.module_.state_dict()
    return {name: tensor.clone() for name, tensor in weights.items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


# -- labels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: y,
        lambda y: np.where(y == -1, np.nan, y.astype(float)),
        lambda y: np.array(["a", "b", "c", None], dtype=object)[y].tolist(),
        lambda y: np.array(["a", "b", "c", -1], dtype=object)[y],
        lambda y: pd.Series(y).map({0: "a", 1: "b", 2: "c"}).astype("category"),
        lambda y: pd.Series(y).map({0: "a", 1: "b", 2: "c"}).astype("string"),
        lambda y: np.where(y == -1, None, y),
    ],
    ids=["minus one", "nan", "none", "objects", "categories", "strings", "numbers"],
)
def test_rows_without_label_are_told_from_others(labels):
    X, few, y = iris()
    model = RepresentationClassifier(encoder(), random_state=0).fit(X, labels(few))
    assert len(model.classes_) == 3
    everywhere = np.asarray(labels(y))
    assert model.score(X, everywhere) > 0.7
    assert set(model.predict(X)) <= set(everywhere.tolist())
    # rows without label are left out of the score
    known = few != -1
    assert model.score(X, labels(few)) == model.score(X[known], everywhere[known])


def test_classes_have_the_type_of_labels():
    X, few, y = iris()
    for labels in (y, y == 1, y.astype(float)):
        partly = np.where(few == -1, None, labels)
        model = RepresentationClassifier(encoder(), random_state=0).fit(X, partly)
        assert model.predict(X).dtype == labels.dtype
        assert accuracy_score(labels, model.predict(X)) == model.score(X, labels)


def test_minus_one_and_one_alone_are_two_classes():
    X, _, y = iris()
    signs = np.where(y == 0, -1, 1)
    model = RepresentationClassifier(encoder(), random_state=0).fit(X, signs)
    assert model.classes_.tolist() == [-1, 1]
    assert model.score(X, signs) > 0.9


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(150, -1), "y holds no label"),
        (np.where(np.arange(150) < 9, 3, -1), r"one class only: \[3\]"),
        (["a"] * 75 + ["-1"] * 75, "made text of a -1"),
        (np.linspace(0, 1, 150), "continuous"),
        (np.array([1, "a", None] * 50, dtype=object), "y mixes labels of types int, str"),
        (np.arange(149) % 3, "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
    ],
)
def test_labels_that_nothing_can_be_learned_from(y, message):
    X = load_iris().data
    fitted = RepresentationClassifier(encoder(), random_state=0).fit(
        X, np.arange(150) % 3
    )
    before = dict(vars(fitted))
    with pytest.raises(ValueError, match=message):
        fitted.fit(X, y)
    assert vars(fitted) == before


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(150, np.nan), "y holds no number"),
        (np.c_[np.ones(150), np.full(150, np.nan)], "column 1 of y holds no number"),
        (np.full(150, np.inf), "infinity"),
        (None, "requires y to be passed"),
    ],
)
def test_numbers_that_nothing_can_be_learned_from(y, message):
    with pytest.raises(ValueError, match=message):
        RepresentationRegressor(encoder()).fit(load_iris().data, y)


def test_score_refuses_what_it_cannot_compare():
    X, few, y = iris()
    model = RepresentationClassifier(encoder(), random_state=0).fit(X, few)
    with pytest.raises(ValueError, match=r"did not see: \[7\]"):
        model.score(X, np.where(y == 0, 7, y))
    with pytest.raises(ValueError, match="no label to compare"):
        model.score(X, np.full(150, -1))
    with pytest.raises(ValueError, match=r"did not see: \['a'\]"):
        model.score(X, np.array([0, "a", None] * 50, dtype=object))
    for short in ((y[:9],), (y, np.ones(9))):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            model.score(X, *short)
    model = RepresentationRegressor(encoder(), random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.score(X, y, np.ones(9))
    with pytest.raises(ValueError, match="no known target"):
        model.score(X, np.full(150, np.nan))


# -- heads -------------------------------------------------------------------------------


def test_the_linear_head_of_classes_is_a_logistic_regression():
    X, _, y = iris()
    codes = StandardScaler().fit_transform(X)
    parts = [codes, np.eye(3)[y], np.linspace(0.5, 2, 150)]
    fitted = fit_logistic(*map(torch.from_numpy, parts), 0.5)
    expected = LogisticRegression(C=2, tol=1e-8, max_iter=1000)
    expected.fit(codes, y, sample_weight=parts[2])
    found = fitted(torch.from_numpy(codes)).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected.predict_proba(codes), atol=1e-4)


def test_the_linear_head_of_numbers_is_the_ridge_regression_that_leaves_least_error():
    rng = np.random.default_rng(0)
    codes, weights = rng.normal(size=(12, 3)), rng.uniform(0.5, 2, 12)
    targets = codes @ rng.normal(size=(3, 2)) + rng.normal(size=(12, 2)) * [0.1, 5.0]
    penalties = [0.01, 1.0, 100.0]
    parts = map(torch.from_numpy, (codes, targets, weights))
    fitted = fit_ridge(*parts, penalties)
    errors = np.zeros((3, 2))
    for i, penalty in enumerate(penalties):
        for row in range(12):
            rest = np.arange(12) != row
            model = Ridge(penalty).fit(codes[rest], targets[rest], weights[rest])
            apart = targets[row] - model.predict(codes[[row]])[0]
            errors[i] += weights[row] * apart**2
    chosen = fitted.penalties
    assert list(chosen) == [penalties[i] for i in errors.argmin(axis=0)]
    for j in range(2):
        expected = Ridge(chosen[j]).fit(codes, targets[:, j], weights)
        np.testing.assert_allclose(fitted.weight[j], expected.coef_)
        np.testing.assert_allclose(fitted.bias[j], expected.intercept_)


@pytest.mark.parametrize("n_rows", [2, 9])
def test_a_ridge_regression_without_penalty_is_the_shortest_of_least_squares(n_rows):
    rng = np.random.default_rng(0)
    codes = np.c_[rng.normal(size=(n_rows, 3)), np.zeros(n_rows)]
    targets = rng.normal(size=(n_rows, 1))
    parts = map(torch.from_numpy, (codes, targets, np.ones(n_rows)))
    fitted = fit_ridge(*parts, [0.0])
    apart = codes - codes.mean(axis=0), targets - targets.mean(axis=0)
    expected = np.linalg.lstsq(*apart, rcond=1e-12)[0]
    np.testing.assert_allclose(fitted.weight.T, expected, atol=1e-12)


@pytest.mark.parametrize("n_copies", [1, 3])
def test_errors_of_predictions(n_copies):
    generator = torch.Generator().manual_seed(0)
    said = torch.randn(n_copies * 4, 3, generator=generator, dtype=torch.float64)
    numbers = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    classes = numbers.softmax(dim=1)
    classes[2], numbers[2], numbers[3, 1] = torch.nan, torch.nan, torch.nan
    outputs = Outputs(said, prediction=said)
    copies = said.view(n_copies, 4, 3)

    found = PredictedClasses(consistency=True).terms(
        outputs, Batch(numbers, labels=classes)
    )
    for row in (0, 1, 3):
        each = [functional.cross_entropy(c[row], classes[row]) for c in copies]
        torch.testing.assert_close(found["cross_entropy"][row], torch.stack(each).mean())
    assert found["cross_entropy"][2] == 0
    spread = copies.softmax(dim=2).numpy().var(axis=0).sum(axis=1)
    np.testing.assert_allclose(found["consistency"], spread, atol=1e-12)

    outputs.weights = {"head": torch.eye(3, 2, dtype=torch.float64)}
    objective = PredictedNumbers(consistency=True, penalties=[1.0, 10.0, 100.0])
    found = objective.double().terms(outputs, Batch(numbers, labels=numbers))
    assert found["ridge"] == 11
    apart = (copies.numpy() - numbers.numpy()) ** 2
    expected = np.nansum(apart, axis=2).mean(axis=0)
    np.testing.assert_allclose(found["squared_error"], expected)
    np.testing.assert_allclose(
        found["consistency"], copies.numpy().var(axis=0).sum(axis=1), atol=1e-12
    )


def test_class_weights_and_smoothing_are_what_they_say():
    X, _, y = iris()
    model = RepresentationClassifier(FrozenEstimator(encoder().fit(X)))
    by_hand = clone(model).fit(X, y, sample_weight=np.array([2, 1, 1])[y])
    by_class = clone(model).set_params(class_weight={0: 2}).fit(X, y)
    plain = clone(model).fit(X, y)
    # the standardised codes differ: rows of weight 2 are two rows
    assert (
        by_class.predict_proba(X)[y != 0, 0].mean()
        > plain.predict_proba(X)[y != 0, 0].mean()
    )
    assert (
        by_hand.predict_proba(X)[y != 0, 0].mean()
        > plain.predict_proba(X)[y != 0, 0].mean()
    )
    certain = clone(model).set_params(label_smoothing=0.3).fit(X, y).predict_proba(X)
    assert certain.max() < plain.predict_proba(X).max()
    assert certain.max() < 0.9


@pytest.mark.filterwarnings("ignore:Training for 1 epoch")
@both
def test_weights_of_rows_weigh_the_loss_of_labelled_ones(kind):
    X, few, _ = iris(60)
    weights = np.random.default_rng(0).uniform(0.1, 3, 150)
    known = few != -1
    fitted = FrozenEstimator(encoder().fit(X))
    z = StandardScaler().fit(fitted.transform(X)).transform(fitted.transform(X[known]))
    w = weights[known] / weights.mean()
    y = targets_of(kind, few)
    # nothing moves in training, which shows the loss that it starts with
    settings = {"alpha": 1.0, "semi_supervised": None, "learning_rate_init": 1e-9}
    settings |= {"max_iter": 1, "batch_size": 60, "random_state": 0}
    probe, tuned = (
        kind(fitted, mode=mode, **settings).fit(X, y, weights)
        for mode in ("probe", "fine_tune")
    )
    if kind is RepresentationClassifier:
        expected = LogisticRegression(tol=1e-8, max_iter=1000).fit(z, few[known], w)
        p = expected.predict_proba(z)
        np.testing.assert_allclose(probe.predict_proba(X[known]), p, atol=1e-4)
        loss = -w @ np.log(p[np.arange(60), few[known]])
    else:
        t = StandardScaler().fit_transform(few[known, None])[:, 0]
        expected = Ridge(1).fit(z, t, w)
        said = expected.predict(z) * few[known].std() + few[known].mean()
        np.testing.assert_allclose(probe.predict(X[known]), said, rtol=1e-6)
        loss = w @ (t - expected.predict(z)) ** 2 + (expected.coef_**2).sum()
    assert tuned.loss_curve_ == pytest.approx([loss / w.sum()], rel=1e-4)


@pytest.mark.parametrize(("mode", "rate"), [("fine_tune", 0.001), ("end_to_end", 0.01)])
def test_the_encoder_has_a_learning_rate_of_its_own(mode, rate):
    X, few, _ = iris()
    settings = {"mode": mode, "learning_rate_init": 0.01, "max_iter": 2}
    auto, same_rate, other = (
        RepresentationRegressor(
            encoder(), encoder_learning_rate=given, random_state=0, **settings
        ).fit(X, few)
        for given in ("auto", rate, 2 * rate)
    )
    np.testing.assert_array_equal(auto.transform(X), same_rate.transform(X))
    assert not np.array_equal(auto.transform(X), other.transform(X))


@both
def test_held_out_labels_end_training(kind):
    X, few, _ = iris(60)
    settings = {"mode": "end_to_end", "early_stopping": True, "random_state": 0}
    settings |= {"learning_rate": "constant", "validation_fraction": 0.25}
    model = kind(encoder(), n_iter_no_change=2, **settings).fit(X, targets_of(kind, few))
    assert model.n_iter_ == len(model.loss_curve_) == len(model.validation_curve_)


@pytest.mark.parametrize("layers", [(), (3,)])
@both
def test_nothing_is_learned_from_held_out_labels(kind, layers, monkeypatch):
    X, few, _ = iris(60)
    learned, aside = [], []

    def train(self, head, rows, held_out, *rest, **kinds):
        learned.append(rows.codes)
        aside.append(held_out.codes)
        return head

    def fit_linear(self, codes, *rest):
        assert len(codes) == 45
        return fit(self, codes, *rest)

    fit = kind._fit_linear
    monkeypatch.setattr(kind, "_fit_linear", fit_linear)
    monkeypatch.setattr(kind, "_train", train)
    model = kind(encoder(), mode="fine_tune", early_stopping=True, random_state=0)
    model.set_params(head_layer_sizes=layers, validation_fraction=0.25)
    model.fit(X, targets_of(kind, few))
    assert len(learned) == 1 + bool(layers)
    for rows in learned:
        assert len(rows) == 45
        assert not (rows[:, None] == aside[0]).all(axis=2).any()


def test_held_out_rows_are_like_the_others():
    keys = np.repeat([0, 1, 2], [10, 20, 40])
    for seed in range(3):
        chosen = keys[spread_share(keys, 0.2, seed)]
        assert np.bincount(chosen).tolist() == [2, 4, 8]
    assert not spread_share(np.arange(4), 0.2, 0).any()


def test_held_out_rows_are_not_learned_from_and_leave_some_of_every_class():
    keys = np.array([0, 0, 1, 1, 2, 2, 2, 2, 0])
    targets = np.eye(3)[keys]
    targets[-1] = np.nan
    rows = Learned(np.arange(9)[:, None], np.zeros((9, 1)), targets, np.ones(9))
    for seed in range(3):
        rest, aside = rows.held_out(keys, 0.9, seed, each_kept=True)
        numbers = [part.X.ravel().tolist() for part in (rest, aside)]
        assert sorted([*numbers[0], *numbers[1]]) == list(range(9))
        assert 8 in numbers[0]
        assert set(keys[[i for i in numbers[0] if i < 8]]) == {0, 1, 2}
    two = rows.take(np.array([0, 2]))
    assert two.held_out(keys[[0, 2]], 0.9, 0, each_kept=True)[1] is None


def test_numbers_that_are_known_of_different_rows():
    X, _, y = iris()
    numbers = np.c_[X @ [1, 2, 3, 4], X[:, 0] * 1000 - 5, y]
    numbers[:50, 1] = np.nan
    numbers[100:] = np.nan
    model = RepresentationRegressor(FrozenEstimator(encoder().fit(X))).fit(X, numbers)
    assert model.predict(X).shape == (150, 3)
    for j in range(3):
        alone = clone(model).fit(X, numbers[:, j])
        assert alone.predict(X).shape == (150,)
        np.testing.assert_allclose(alone.predict(X), model.predict(X)[:, j], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["Int64", "Float64"])
def test_targets_of_nullable_frames(dtype):
    y = pd.DataFrame({"a": [1, None, 3], "b": [1, 2, 3]}).astype(dtype)
    found = read_numbers(y, "this")
    np.testing.assert_array_equal(found, [[1, 1], [np.nan, 2], [3, 3]])
    np.testing.assert_array_equal(read_numbers(y["a"], "this"), [1, np.nan, 3])


# -- unlabelled rows ---------------------------------------------------------------------


def moons():
    """Two half circles of which two rows each are labelled."""
    X, y = make_moons(200, noise=0.05, random_state=0)
    few = np.full(200, -1)
    for label in (0, 1):
        few[np.flatnonzero(y == label)[:2]] = label
    return X, few, y


def test_labels_are_passed_on_over_a_graph_of_rows():
    X, few, y = moons()
    targets = np.where((few == -1)[:, None], np.nan, np.eye(2)[few])
    found = propagated(X, targets, np.ones(200))
    assert (found.argmax(axis=1) == y).mean() > 0.9
    # the same by a system of equations
    near = NearestNeighbors(n_neighbors=10).fit(X)
    apart, which = near.kneighbors()
    weights = np.zeros((200, 200))
    for i in range(200):
        for distance, j in zip(apart[i], which[i], strict=True):
            weights[i, j] = np.exp(-(distance**2) / (apart[i, -1] * apart[j, -1]))
    weights = (weights + weights.T) / 2
    root = np.diag(weights.sum(axis=1) ** -0.5)
    system = np.eye(200) - 0.9 * root @ weights @ root
    expected = root @ np.linalg.solve(system, np.nan_to_num(targets))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_only_what_is_sure_becomes_a_pseudo_label():
    targets = np.array([[1.0, 0.0], [0.0, 1.0], *[[np.nan, np.nan]] * 3])
    said = np.array([[0.9, 0.1], [0.1, 0.9], [0.99, 0.01], [0.03, 0.97], [0.6, 0.4]])
    seen = []

    def fit(known, guesses):
        seen.append(known.tolist())
        return said

    found = confident(fit, targets)
    assert np.isnan(found[4]).all()
    np.testing.assert_array_equal(found[:4], np.eye(2)[[0, 1, 0, 1]])
    assert seen == [[True, True, False, False, False], [True] * 4 + [False]]


@pytest.mark.parametrize(
    ("recipe", "mode"),
    [
        ("distillation", "probe"),
        ("propagation", "probe"),
        ("pseudo_labels", "probe"),
        ("propagation", "fine_tune"),
        ("consistency", "fine_tune"),
    ],
)
def test_unlabelled_rows_are_of_use(recipe, mode):
    X, few, y = iris(20)
    y = np.array(list("abc"))[y]
    few = np.where(few == -1, None, y)
    fitted = FrozenEstimator(encoder().fit(X))
    settings = {"mode": mode, "semi_supervised": recipe, "random_state": 0}
    model = RepresentationClassifier(fitted, alpha=0.01, max_iter=60, **settings)
    model.fit(X, few)
    assert model.semi_supervised_ == recipe
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (model.classes_[p.argmax(axis=1)] == model.predict(X)).all()
    assert model.score(X, y) > 0.85
    alone = clone(model).set_params(semi_supervised=None).fit(X, few)
    assert not np.array_equal(alone.predict_proba(X), p)
    np.testing.assert_array_equal(clone(model).fit(X, few).predict_proba(X), p)
    rows = [model.predict_proba(row[None]) for row in X[:9]]
    np.testing.assert_array_equal(np.concatenate(rows), p[:9])
    # where all rows are labelled there is nothing to do
    assert clone(model).fit(X, y).semi_supervised_ is None


@pytest.mark.parametrize("kind", [ExtraTreesClassifier, ExtraTreesRegressor])
def test_trees_as_arrays_say_the_same(kind):
    rng = np.random.default_rng(0)
    X, rows = rng.normal(size=(60, 3)), rng.normal(size=(500, 3))
    y = rng.integers(3, size=60)
    if kind is ExtraTreesClassifier:
        trees = kind(5, random_state=0).fit(X, y)
        expected = trees.predict_proba(rows)
    else:
        trees = kind(5, min_samples_leaf=3, random_state=0).fit(X, np.eye(3)[y])
        expected = trees.predict(rows)
    np.testing.assert_array_equal(Forest(trees).of(rows), expected)
    stump = kind(2, random_state=0).fit(X, np.ones(60))
    assert (Forest(stump).of(rows) == 1).all()


def test_what_few_labels_are_learned_from_is_not_kept():
    X = np.random.default_rng(0).normal(size=(4000, 4))
    few = np.where(np.arange(4000) < 20, np.arange(4000) % 2, -1)
    model = RepresentationClassifier(encoder(max_iter=1), random_state=0)
    sizes = [len(pickle.dumps(model.fit(X[:n], few[:n]))) for n in (2000, 4000)]
    assert model.semi_supervised_ == "distillation"
    assert sizes[1] < 1.05 * sizes[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"semi_supervised": "distillation", "mode": "fine_tune"}, "mode='probe'"),
        ({"semi_supervised": "distillation", "encoder": PCA(2)}, "of this package"),
        ({"semi_supervised": "distillation", "head_layer_sizes": 4}, "linear head"),
        ({"semi_supervised": "consistency", "mode": "probe"}, "encoder that is trained"),
    ],
)
def test_parameters_that_contradict_each_other(settings, message):
    X, few, _ = iris()
    settings = {"encoder": encoder(), "mode": "probe", **settings}
    with pytest.raises(ValueError, match=message):
        RepresentationClassifier(**settings).fit(X, few)


def test_many_labels_tune_the_encoder():
    X = np.random.default_rng(0).normal(size=(520, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    for kind in BOTH:
        model = kind(encoder(max_iter=1), max_iter=2, random_state=0)
        assert model.fit(X, y).mode_ == "fine_tune"
        assert model.fit(X[:400], y[:400]).mode_ == "probe"
    many = np.arange(520) % 20
    model = RepresentationClassifier(encoder(max_iter=1), random_state=0)
    assert model.fit(X, many).mode_ == "probe"


# -- the encoder -------------------------------------------------------------------------


@both
def test_the_encoder_learns_from_all_rows(kind):
    X, few, _ = iris()
    model = kind(encoder(), mode="probe").fit(X, targets_of(kind, few))
    np.testing.assert_array_equal(model.transform(X), encoder().fit(X).transform(X))
    assert model.n_components_ == 2
    with pytest.raises(NotFittedError):
        model.encoder.transform(X)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("mode", ["probe", "fine_tune"])
@both
def test_a_fitted_encoder_stays_as_it_is(kind, mode, frozen):
    X, few, _ = iris()
    fitted = encoder().fit(X[:100])
    attributes, before = copy.copy(vars(fitted)), state(fitted)
    given = FrozenEstimator(fitted) if frozen else fitted
    model = kind(given, mode=mode, max_iter=3, random_state=0)
    model.fit(X, targets_of(kind, few))
    assert vars(fitted) == attributes
    assert same(before, state(fitted))
    assert np.array_equal(model.transform(X), fitted.transform(X)) == (mode == "probe")
    # a clone keeps the fit of what is frozen, and fits the rest anew
    again = clone(model).fit(X, targets_of(kind, few))
    assert np.array_equal(again.transform(X), model.transform(X)) == frozen


@both
def test_gradient_reaches_the_encoder_in_fine_tuning_alone(kind):
    X, few, _ = iris()
    fitted = encoder().fit(X)
    y = targets_of(kind, few)

    def tuned(**settings):
        model = kind(FrozenEstimator(fitted), random_state=0, max_iter=3, **settings)
        return state(model.fit(X, y).encoder_)

    moved = tuned(mode="fine_tune")
    on_the_way = [
        name for name in moved if name.startswith("encoder.") and moved[name].ndim
    ]
    assert on_the_way
    assert not any(torch.equal(state(fitted)[name], moved[name]) for name in on_the_way)
    assert same(state(fitted), tuned(mode="probe"))
    assert same(state(fitted), tuned(mode="probe", head_layer_sizes=4))
    assert same(state(fitted), tuned(mode="fine_tune", encoder_learning_rate=0.0))


def test_fine_tuning_starts_at_the_probe_and_learns():
    X, _, y = iris()
    fitted = FrozenEstimator(encoder().fit(X))
    probe = RepresentationClassifier(fitted, mode="probe").fit(X, y)
    settings = {"encoder_learning_rate": 0.003, "random_state": 0}
    tuned = RepresentationClassifier(fitted, mode="fine_tune", **settings).fit(X, y)
    p = probe.predict_proba(X)[np.arange(150), y]
    assert tuned.loss_curve_[0] == pytest.approx(-np.log(p).mean(), rel=0.2)
    assert tuned.loss_curve_[-1] < 0.7 * tuned.loss_curve_[0]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_an_encoder_finds_its_columns_in_another_table(frame):
    X, few, _ = iris()
    names = list("abcd")
    fitted = FrozenEstimator(encoder().fit(pd.DataFrame(X, columns=names)))
    wide = {"new": np.arange(150), **{name: X[:, "abcd".index(name)] for name in "dbca"}}
    for mode in ("probe", "fine_tune"):
        model = RepresentationClassifier(fitted, mode=mode, max_iter=2, random_state=0)
        found = model.fit(frame(wide), few).predict_proba(frame(wide))
        plain = clone(model).fit(pd.DataFrame(X, columns=names), few)
        expected = plain.predict_proba(pd.DataFrame(X, columns=names))
        # rows that are there twice stand in another order
        np.testing.assert_allclose(found, expected, rtol=1e-3)
        assert model.n_features_in_ == 5
    del wide["b"]
    with pytest.raises(ValueError, match=r"columns that X lacks: \['b'\]"):
        model.fit(frame(wide), few)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": PCA(2), "mode": "fine_tune"}, "Set mode='probe'"),
        ({"encoder": "fitted", "mode": "end_to_end"}, "from a random start"),
        ({"encoder": PairedEmbedder(2)}, "learns from two tables"),
        ({"encoder": FrozenEstimator(encoder())}, "not fitted yet"),
        ({"encoder": OneHotEncoder()}, "returns a sparse matrix"),
        ({"encoder": StandardScaler(), "holes": True}, "returns NaN or infinity"),
        ({"encoder": ContrastiveEmbedder(2), "mode": "tune"}, "'mode' parameter"),
    ],
)
def test_encoders_that_do_not_fit(settings, message):
    X, few, _ = iris()
    if settings["encoder"] == "fitted":
        settings["encoder"] = encoder().fit(X)
    if settings.pop("holes", False):
        X[0, 0] = np.nan
    with pytest.raises((ValueError, NotFittedError), match=message):
        RepresentationClassifier(**settings).fit(X, few)


@pytest.mark.parametrize(
    "given",
    [
        PCA(2),
        make_pipeline(StandardScaler(), PCA(3)),
        make_pipeline(StandardScaler(), PCA(3), Normalizer()),
        LinearDiscriminantAnalysis(n_components=2),
        ContrastiveEmbedder(4, objective="supcon", hidden_layer_sizes=8, max_iter=2),
    ],
    ids=["PCA", "pipeline", "ends in what needs no fit", "needs y", "needs y, of ours"],
)
def test_any_transformer_can_be_probed(given):
    X, few, y = iris()
    model = RepresentationClassifier(given, random_state=0).fit(X, few)
    assert model.score(X, y) > 0.8
    assert model.get_feature_names_out()[0] == "representationclassifier0"


def test_an_encoder_that_needs_labels_gets_the_weights_of_labelled_rows():
    X, few, y = iris()
    weights = np.random.default_rng(0).random(150)

    class Weighted(LinearDiscriminantAnalysis):
        def fit(self, X, y, sample_weight):
            assert len(X) == len(y) == 30
            np.testing.assert_allclose(sample_weight, (weights / weights.mean())[:30])
            return super().fit(X, y)

    assert RepresentationClassifier(Weighted()).fit(X, few, weights).score(X, y) > 0.8


@pytest.mark.parametrize("recipe", [None, "distillation"])
def test_a_classifier_on_a_frozen_encoder_is_saved(recipe, tmp_path):
    X, few, y = iris()
    frame = pd.DataFrame(X, columns=list("abcd")).assign(e=np.array(list("xyz"))[y])
    given = FrozenEstimator(encoder().fit(frame))
    settings = {"semi_supervised": recipe, "random_state": 0}
    model = RepresentationClassifier(given, **settings).fit(frame, few)
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    expected = model.predict_proba(frame)
    np.testing.assert_array_equal(again.predict_proba(frame), expected)
    np.testing.assert_array_equal(again.fit(frame, few).predict_proba(frame), expected)


# -- tables, tools, reproducibility ------------------------------------------------------


@both
def test_frames_with_categories_and_holes(kind):
    X, few, y = iris(100)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(e=np.array(list("xyz"))[y])
    frame = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.1)
    for table in (frame, pl.from_pandas(frame)):
        for mode in ("probe", "fine_tune"):
            model = kind(encoder(), mode=mode, max_iter=5, random_state=0)
            assert model.fit(table, targets_of(kind, few)).score(table, y) > 0.6
    assert model.feature_names_in_.tolist() == list("abcde")


@both
def test_sparse_tables(kind):
    X, few, _ = iris(100)
    model = kind(encoder(), mode="fine_tune", max_iter=3, random_state=0)
    found = model.fit(sparse.csr_array(X), targets_of(kind, few)).predict(X)
    dense = clone(model).fit(X, targets_of(kind, few)).predict(X)
    np.testing.assert_allclose(found, dense, rtol=1e-4)


@pytest.mark.parametrize("mode", ["probe", "fine_tune", "end_to_end"])
@both
def test_same_seed_same_bits(kind, mode):
    X, few, _ = iris()
    y = targets_of(kind, few)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = kind(encoder(), mode=mode, max_iter=3, random_state=0).fit(X, y)
    method = "predict_proba" if kind is RepresentationClassifier else "predict"
    found = getattr(model, method)(X)
    assert torch.equal(before, torch.get_rng_state())
    for again in (clone(model).fit(X, y), pickle.loads(pickle.dumps(model))):  # noqa: S301
        np.testing.assert_array_equal(getattr(again, method)(X), found)
    alone = np.concatenate([getattr(model, method)(row[None]) for row in X[:9]])
    np.testing.assert_array_equal(alone, found[:9])


def test_threads_agree():
    X, _, y = iris()
    model = RepresentationClassifier(
        encoder(), mode="fine_tune", max_iter=2, random_state=0
    )
    settings = {"cv": 2, "method": "decision_function"}
    alone = cross_val_predict(model, X, y, **settings)
    with parallel_config("threading", n_jobs=2):
        np.testing.assert_array_equal(cross_val_predict(model, X, y, **settings), alone)


def search(model, X, y):
    grid = {"encoder__n_components": [1, 2], "mode": ["probe", "fine_tune"]}
    return GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, y).best_score_


def calibrated(model, X, y):
    return CalibratedClassifierCV(model, cv=2).fit(X, y).score(X, y)


def stacked(model, X, y):
    stack = StackingClassifier([("a", model), ("b", LogisticRegression())], cv=2)
    return stack.fit(X, y).score(X, y)


def permuted(model, X, y):
    found = permutation_importance(model.fit(X, y), X, y, n_repeats=2, random_state=0)
    return 1.0 if found.importances_mean.argmax() in (2, 3) else 0.0


@pytest.mark.parametrize("tool", [search, calibrated, stacked, permuted])
def test_tools_of_scikit_learn(tool):
    X, _, y = iris()
    y = np.array(["setosa", "versicolor", "virginica"])[y]
    model = RepresentationClassifier(encoder(), max_iter=3, random_state=0)
    assert tool(model, X, y) > 0.8


def test_convolutions_are_tuned():
    X, y = load_digits(return_X_y=True)
    few = np.where(np.arange(len(y)) < 100, y, -1)[:500]
    given = DenoisingAutoencoder(
        8,
        architecture="conv",
        input_shape=(1, 8, 8),
        hidden_layer_sizes=(8,),
        max_iter=3,
        random_state=0,
    )
    fitted = FrozenEstimator(given.fit(X[:500]))
    scores = {}
    for mode in ("probe", "fine_tune"):
        settings = {"mode": mode, "encoder_learning_rate": 0.003, "max_iter": 30}
        model = RepresentationClassifier(fitted, random_state=0, **settings)
        scores[mode] = model.fit(X[:500], few).score(X[500:], y[500:])
    assert scores["fine_tune"] > scores["probe"] + 0.03
