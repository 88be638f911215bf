"""What can be asked for by name: its oracle, its constants, its parameters."""

from __future__ import annotations

import numpy as np
import pytest
import test_corruption_oracles
import test_joint_objectives
import test_pairs
import test_penalties
import test_robust_losses
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags

from sklearn_repr import AutoencoderTransformer, ContrastiveEmbedder, DenoisingAutoencoder
from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions import (
    Composed,
    Corruption,
    GaussianNoise,
    SwapNoise,
    TwoViews,
    corruption,
    make_corruption,
    pairs,
)
from sklearn_repr.objectives import (
    Composite,
    KLSparsity,
    NTXent,
    Objective,
    Reconstruction,
    TotalCorrelation,
    VICReg,
    cell_loss,
    make_objective,
    objective,
    penalty,
)

# For every name, the test that holds what it computes against a slow reference written
# from its formula, or against its defining property. A name without one fails below.
losses = test_robust_losses.test_formula_and_influence_function
penalties = test_penalties.test_penalties_follow_their_formulas
ORACLES = {
    objective: {
        **dict.fromkeys(
            test_joint_objectives.PROJECTING,
            test_joint_objectives.test_objectives_of_projections_equal_their_papers,
        ),
        **dict.fromkeys(
            test_joint_objectives.PREDICTING,
            test_joint_objectives.test_objectives_of_predictions_equal_their_papers,
        ),
    },
    cell_loss: {
        **dict.fromkeys(test_robust_losses.FORMULAS, losses),
        "binary_cross_entropy": lambda: test_binary_cross_entropy_is_torchs,
    },
    penalty: {
        **dict.fromkeys(test_penalties.FORMULAS, penalties),
        "contractive": test_penalties.test_the_contractive_penalty_is_the_jacobians_norm,
        "topk": test_penalties.test_topk_keeps_k_units,
    },
    pairs: dict.fromkeys(
        ("label", "neighbors", "time"),
        test_pairs.test_positives_are_drawn_from_the_documented_rows,
    ),
    corruption: test_corruption_oracles.ORACLES,
}


@pytest.mark.parametrize("registry", ORACLES, ids=lambda registry: registry.kind)
def test_every_name_has_an_oracle(registry):
    assert set(registry.names()) == set(ORACLES[registry])
    assert all(ORACLES[registry].values())


def test_binary_cross_entropy_is_torchs():
    p, x = torch.rand(2, 50, dtype=torch.float64)
    expected = -(x * p.log() + (1 - x) * (1 - p).log())
    found = cell_loss["binary_cross_entropy"].make(p, x)
    torch.testing.assert_close(found, expected)


def test_constants_reach_an_objective_by_its_signature(X):
    assert make_objective("nt_xent", temperature=0.1).temperature == 0.1
    assert make_objective("nt_xent", temperature=None).temperature == 0.5
    embedder = ContrastiveEmbedder(2, objective="supcon", temperature=0.1, max_iter=1)
    embedder.fit(X, np.arange(len(X)) % 2)
    assert embedder.net_.criterion_.objectives[0].temperature == 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"objective": "vicreg", "temperature": 0.1},
            "temperature=0.1 has no effect with objective='vicreg'.*nt_xent.*supcon",
        ),
        (
            {"objective": "supcon", "learn_temperature": True},
            "learn_temperature=True has no effect with objective='supcon'",
        ),
        (
            {"objective": NTXent(0.5), "temperature": 0.1},
            "temperature=0.1 has no effect with an objective that was built.*NTXent",
        ),
    ],
)
def test_a_constant_that_nobody_takes_is_an_error(settings, message, X):
    with pytest.raises(ValueError, match=message):
        ContrastiveEmbedder(2, **settings).fit(X, np.arange(len(X)) % 2)


def test_a_name_near_another_is_suggested():
    with pytest.raises(ValueError, match=r"no corruption 'gausian'.*mean 'gaussian'"):
        make_corruption("gausian", 0.3)


class Alignment(Objective):
    """A new objective: nothing but this class is written for it."""

    def __init__(self, temperature=0.5, weights=None):
        super().__init__(weights)
        self.temperature = temperature

    def terms(self, outputs, target):
        first, second = outputs.projection.tensor_split(2)
        return {"distance": (first - second).square().sum(dim=1) / self.temperature}


@pytest.fixture
def register(monkeypatch):
    """Register under a name while a test lasts, as a user's own file does for good."""

    def add(registry, name, made, **metadata):
        monkeypatch.setattr(registry, "_entries", {**registry._entries})
        return registry(name, **metadata)(made)

    return add


def test_a_new_objective_is_one_class_and_is_recorded(X, register):
    register(objective, "yours", Alignment)
    embedder = ContrastiveEmbedder(
        2, objective="yours", temperature=0.1, max_iter=30, random_state=0
    ).fit(X)
    assert embedder.net_.criterion_.objectives[0].temperature == 0.1
    assert embedder.net_.way_ == "recorded"


class Energy(Objective):
    def terms(self, outputs, target):
        return {"energy": outputs.embedding.square().sum(dim=1)}


class Halved(Corruption):
    def __call__(self, values, generator):
        return Corrupted(values * self.level)


def test_what_is_registered_outside_the_package_is_known_and_recorded(X, register):
    register(cell_loss, "fourth", lambda residual, scale: residual**4)
    register(penalty, "energy", Energy)
    register(corruption, "halved", Halved, default_level=0.5)
    for settings in ({"loss": "fourth"}, {"penalty": "energy", "penalty_weight": 0.1}):
        estimator = AutoencoderTransformer(2, max_iter=30, **settings).fit(X)
        assert estimator.net_.way_ == "recorded"
    DenoisingAutoencoder(2, corruption="halved", max_iter=1).fit(X)
    ContrastiveEmbedder(2, views="halved", max_iter=1).fit(X)


def test_a_new_objective_says_itself_that_it_needs_labels(X, register, monkeypatch):
    monkeypatch.setattr(Alignment, "needs_labels", True)
    register(objective, "yours", Alignment)
    embedder = ContrastiveEmbedder(2, objective="yours", max_iter=1)
    assert get_tags(embedder).target_tags.required
    with pytest.raises(ValueError, match="objective='yours'"):
        embedder.fit(X)


@pytest.mark.parametrize(
    "made",
    [
        NTXent(0.3, learn_temperature=True),
        VICReg({"covariance": 2.0}),
        KLSparsity(0.1),
        TotalCorrelation(2.0, warm_up=3),
        Composite(
            [Reconstruction("huber", scale=2.0), KLSparsity()], {"kl_sparsity": 0.1}
        ),
        GaussianNoise((0.1, 0.2)),
        TwoViews(Composed([SwapNoise(0.1), GaussianNoise(0.3)])),
        pairs["neighbors"].make(3),
    ],
    ids=lambda made: type(made).__name__,
)
def test_objects_are_cloned_by_their_parameters(made):
    twin = clone(made)
    assert type(twin) is type(made)
    assert twin is not made
    assert twin.get_params().keys() == made.get_params().keys()
    for name, value in made.get_params().items():
        assert type(twin.get_params()[name]) is type(value)
        if isinstance(value, int | float | str | tuple | dict):
            assert twin.get_params()[name] == value


def test_objects_are_shown_with_their_parameters():
    shown = repr(ContrastiveEmbedder(objective=NTXent(0.3), views=SwapNoise(0.1)))
    assert "objective=NTXent(temperature=0.3, learn_temperature=False" in shown
    assert "views=SwapNoise(level=0.1)" in shown


def test_parameters_of_objects_are_set_in_their_place():
    views = TwoViews(Composed([SwapNoise(0.1)]))
    noise = GaussianNoise(0.3).set_params(level=0.5)
    assert noise.level == noise.get_params()["level"] == 0.5
    assert views.get_params()["corruption"] is views.corruption
    with pytest.raises(ValueError, match=r"no parameter 'rate'; it has 'level'"):
        noise.set_params(rate=1)
    with pytest.raises(ValueError, match="no parameter 'rate'"):
        views.set_params(corruption__corruptions=[], rate=1)
    assert views.corruption.corruptions
    with pytest.raises(ValueError, match="NTXent got temperature=-1"):
        NTXent(0.5).set_params(temperature=-1)


SEARCHES = [
    (ContrastiveEmbedder(2, objective=NTXent(0.5)), "objective__temperature"),
    (DenoisingAutoencoder(2, corruption=GaussianNoise(0.3)), "corruption__level"),
]


@pytest.mark.parametrize(("estimator", "name"), SEARCHES, ids=lambda part: str(part)[:20])
def test_parameters_of_objects_can_be_searched(estimator, name, X):
    estimator.set_params(max_iter=2, random_state=0)
    given = estimator.get_params()[name]
    search = GridSearchCV(estimator, {name: [0.1, 0.2]}, cv=2).fit(X)
    assert search.best_params_[name] in (0.1, 0.2)
    assert search.best_estimator_.get_params()[name] == search.best_params_[name]
    # neither the search nor a fit changes what was given
    assert estimator.get_params()[name] == given
    changed = clone(estimator).set_params(**{name: 0.1}).fit(X)
    assert not np.array_equal(changed.transform(X), estimator.fit(X).transform(X))


def test_a_fit_leaves_a_given_corruption_as_it_was(X):
    noise = GaussianNoise(0.3)
    DenoisingAutoencoder(2, corruption=noise, max_iter=1).fit(X)
    assert not hasattr(noise, "spread_")


def test_losses_by_name_reach_the_estimator(X):
    with pytest.raises(ValueError, match="'loss' parameter"):
        AutoencoderTransformer(2, loss="hubert").fit(X)
