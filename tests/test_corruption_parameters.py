"""Corruptions and pairs as parameters of estimators: cloned, set and searched over."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sklearn_repr import ContrastiveEmbedder, DenoisingAutoencoder
from sklearn_repr.corruptions import (
    Composed,
    Copies,
    GaussianNoise,
    LabelPairs,
    MarginalSwap,
    MaskedAndWhole,
    MaskedBlocks,
    MaskedCells,
    MaskingNoise,
    NeighborPairs,
    TimePairs,
    TwoViews,
    UserCorruption,
    corruption,
    make_pairs,
    pairs,
)

SHAPES = {None: [], "image": [[1, 4, 4]], "sequence": [[2, 8]], "either": [[2, 8]]}


def double(values):
    return 2 * values


NAMED = [
    entry.make((0.1, 0.4), *SHAPES[entry.metadata.get("needs")]) for entry in corruption
]
OTHERS = [
    UserCorruption(double),
    Composed([GaussianNoise(0.1), MaskingNoise(0.2)]),
    Copies(GaussianNoise(0.1), 3),
    TwoViews(GaussianNoise(0.1)),
    MaskedCells(0.3, np.arange(16)),
    MaskedBlocks([0.3, 0.5], np.arange(16), [4, 4]),
    MaskedAndWhole(0.3, np.arange(16), (4, 4)),
    MaskedAndWhole(0.3, np.arange(16)),
]
PAIRS = [LabelPairs(), NeighborPairs(3), TimePairs(n_neighbors=2)]


@pytest.mark.parametrize(
    "made", [*NAMED, *OTHERS, *PAIRS], ids=lambda made: type(made).__name__
)
def test_clones_have_the_same_parameters(made):
    params = made.get_params(deep=False)
    copied = clone(made)
    assert type(copied) is type(made)
    assert repr(copied.get_params().keys()) == repr(made.get_params().keys())
    for name, value in copied.get_params(deep=False).items():
        if hasattr(value, "get_params") or isinstance(made, Composed):
            assert value is not params[name]
        else:
            np.testing.assert_array_equal(value, params[name])
    # and every parameter is kept as it was given
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in params.items()}
    for name, value in given.items():
        assert getattr(type(made)(**given), name) is value


@pytest.mark.parametrize("made", [*NAMED, *OTHERS[:7]], ids=lambda m: type(m).__name__)
def test_clones_corrupt_as_the_originals_do(made):
    rows = torch.randn(20, 16, generator=torch.Generator().manual_seed(0))
    first, second = (
        one.fit(rows)(rows, torch.Generator().manual_seed(1))
        for one in (made, clone(made))
    )
    torch.testing.assert_close(
        first.values, second.values, equal_nan=True, rtol=0, atol=0
    )


@pytest.mark.parametrize("made", NAMED, ids=lambda made: type(made).__name__)
def test_levels_are_set_and_checked(made):
    made = clone(made)
    assert made.set_params(level=0.25).level == 0.25
    for level in (-0.1, (0.4, 0.1), "strong", float("nan")):
        with pytest.raises(ValueError, match="level must be a number >= 0 or a range"):
            made.set_params(level=level)
    with pytest.raises(ValueError, match="has no parameter 'strength'"):
        made.set_params(strength=1)


@pytest.mark.parametrize("kind", [MaskedCells, MaskedBlocks, MaskedAndWhole])
def test_shares_of_masked_cells_are_checked(kind):
    grid = {} if kind is MaskedCells else {"grid": (4,)}
    with pytest.raises(ValueError, match=r"level=1\.5 is not a share"):
        kind(1.5, np.arange(4), **grid)


def test_parameters_of_parts_are_reached():
    views = Copies(GaussianNoise(0.1), 3)
    assert views.get_params()["corruption__level"] == 0.1
    assert views.set_params(corruption__level=0.4).corruption.level == 0.4
    both = MaskedAndWhole(0.3, np.arange(16)).set_params(level=0.75)
    mask = both(torch.zeros(9, 16), torch.Generator().manual_seed(0)).mask
    assert (mask.sum(dim=1) == 12).all()


# -- in estimators -------------------------------------------------------------------


def curve(estimator, X):
    return estimator.fit(X).loss_curve_


def test_an_estimator_reaches_the_level_of_its_corruption(X):
    given = DenoisingAutoencoder(2, corruption=GaussianNoise(0.3), max_iter=3)
    given.set_params(random_state=0)
    named = clone(given).set_params(corruption="gaussian")
    assert curve(given, X) == curve(named, X)
    given.set_params(corruption__level=0.1)
    assert given.corruption.level == 0.1
    assert curve(given, X) == curve(named.set_params(corruption_level=0.1), X)
    assert clone(given).corruption.level == 0.1
    assert clone(given).corruption is not given.corruption


def test_levels_are_searched_over(X):
    model = DenoisingAutoencoder(
        2, corruption=MarginalSwap(0.3), max_iter=3, random_state=0
    )
    grid = {"corruption__level": [0.0, 0.5]}
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) == 2
    assert (
        search.best_estimator_.corruption.level
        == search.best_params_["corruption__level"]
    )
    assert model.corruption.level == 0.3


@pytest.mark.parametrize(
    "model",
    [
        DenoisingAutoencoder(2, corruption=GaussianNoise(0.3)),
        DenoisingAutoencoder(2, corruption=MarginalSwap(0.3), n_corruptions=2),
        ContrastiveEmbedder(2, views=[MarginalSwap(0.3), GaussianNoise(0.1)]),
        ContrastiveEmbedder(2, views=Composed([MarginalSwap(0.3), MaskingNoise(0.1)])),
    ],
    ids=["noise", "copies", "list", "composed"],
)
def test_fitting_does_not_change_the_given_instance(model, X):
    given = model.get_params(deep=False).get("views", getattr(model, "corruption", None))
    parts = getattr(given, "corruptions", given)
    parts = parts if isinstance(parts, list) else [parts]
    before = [dict(vars(part)) for part in parts]
    model.set_params(max_iter=1).fit(X)
    assert [vars(part) for part in parts] == before


# -- pairs by name -------------------------------------------------------------------


def test_pairs_are_made_by_name_from_what_they_take():
    assert pairs.names() == ["label", "neighbors", "time"]
    assert make_pairs("neighbors", n_neighbors=4).n_neighbors == 4
    assert make_pairs("time", n_neighbors=4).n_neighbors == 4
    assert isinstance(make_pairs("label"), LabelPairs)
    with pytest.raises(
        ValueError, match="n_neighbors=4 has no effect with pairs='label'"
    ):
        make_pairs("label", n_neighbors=4)
    with pytest.raises(ValueError, match=r"no pairs 'times'.*Did you mean 'time'"):
        make_pairs("times", n_neighbors=4)


@pytest.mark.parametrize(
    ("name", "parameter"), [("time", "n_neighbors"), ("neighbors", "n_neighbors")]
)
def test_an_estimators_neighbours_reach_its_pairs(name, parameter, X):
    model = ContrastiveEmbedder(2, pairs=name, n_neighbors=7, max_iter=1).fit(X)
    assert getattr(model._pairs, parameter) == 7
