"""Which rows are positives: drawn as documented, whoever is held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import PLAIN
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from sklearn_repr import ContrastiveEmbedder
from sklearn_repr._contracts import Batch
from sklearn_repr.corruptions import LabelPairs, NeighborPairs, TimePairs
from sklearn_repr.corruptions.positive_pairs import nearest
from sklearn_repr.data.batches import hold_out, number_rows
from sklearn_repr.engine.inputs import Inputs

N = 60


@pytest.fixture
def rows():
    torch.manual_seed(0)
    values = torch.randn(N, 3)
    values[:, 0] = torch.arange(N)  # a row's name
    labels = torch.arange(N) % 5
    labels[::7] = -1
    labels[1] = 9  # alone in its class
    return number_rows(Batch(values, labels=labels))


def allowed(pairs, rows, train):
    """Say by explicit loops which rows may be drawn for each row."""
    values, labels = rows.values.numpy(), rows.labels.tolist()
    trained = set(train.index.tolist())
    found = []
    for i in range(len(rows)):
        others = sorted(trained - {i})
        if isinstance(pairs, LabelPairs):
            mine = [j for j in others if labels[j] == labels[i] >= 0]
        elif isinstance(pairs, TimePairs):
            mine = [j for j in others if abs(i - j) <= pairs.n_neighbors]
        else:
            distance = {j: np.square(values[i] - values[j]).sum() for j in others}
            mine = sorted(others, key=distance.get)[: pairs.n_neighbors]
        found.append(set(mine) or {i})
    return found


PAIRS = [LabelPairs(), TimePairs(1), TimePairs(4), NeighborPairs(1), NeighborPairs(5)]


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("pairs", PAIRS, ids=lambda p: type(p).__name__)
def test_positives_are_drawn_from_the_documented_rows(pairs, share, rows):
    train, _ = hold_out(rows, share, 0)
    pairs.fit(rows, train)
    generator = torch.Generator().manual_seed(0)
    seen = [set() for _ in range(N)]
    for _ in range(200):
        partners = pairs.draw(rows, generator)
        for i, name in enumerate(partners[:, 0].long().tolist()):
            seen[i].add(name)
    # each of them comes up, and nothing else does
    assert seen == allowed(pairs, rows, train)


@pytest.mark.parametrize("pairs", PAIRS, ids=lambda p: type(p).__name__)
def test_draws_are_uniform_and_seeded(pairs, rows):
    pairs.fit(rows, rows)
    some = rows.take(torch.full((2000,), 30))
    one = pairs.draw(some, torch.Generator().manual_seed(3))
    again = pairs.draw(some, torch.Generator().manual_seed(3))
    assert torch.equal(one, again)
    _, counts = one[:, 0].unique(return_counts=True)
    expected = 2000 / len(counts)
    assert (counts - expected).abs().max() < 5 * expected**0.5 + 1


def test_nearest_neighbours_are_scikit_learns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(700, 6)) + 5
    expected = NearestNeighbors(n_neighbors=4).fit(X).kneighbors(return_distance=False)
    got = nearest(torch.from_numpy(X), torch.arange(700), 4)
    np.testing.assert_array_equal(got, expected)
    # duplicates are each other's neighbours, and never their own
    same = nearest(torch.ones(5, 2), torch.arange(5), 4)
    assert all(i not in row for i, row in enumerate(same.tolist()))


def test_two_rows_or_no_labels_leave_nothing_to_draw():
    rows = number_rows(Batch(torch.tensor([[1.0], [2.0]]), labels=torch.tensor([-1, -1])))
    generator = torch.Generator()
    for pairs, expected in (
        (LabelPairs(), [1.0, 2.0]),
        (TimePairs(3), [2.0, 1.0]),
        (NeighborPairs(3), [2.0, 1.0]),
    ):
        assert pairs.fit(rows, rows).draw(rows, generator)[:, 0].tolist() == expected
    one = rows.take(slice(0, 1))
    assert NeighborPairs(3).fit(one, one).draw(one, generator).tolist() == [[1.0]]
    with pytest.raises(ValueError, match="needs labels"):
        LabelPairs().fit(Batch(rows.values), rows)


def test_a_batch_carries_its_partners(rows):
    inputs = Inputs(None, TimePairs(1).fit(rows, rows))
    clean = rows.take(slice(10, 20))
    values, batch = inputs.of(clean, torch.Generator())
    assert clean.partners is None
    assert torch.equal(values[:10], batch.values)
    assert torch.equal(values[10:], batch.partners)
    assert ((batch.partners - batch.values)[:, 0].abs() == 1).all()


@pytest.mark.parametrize("pairs", ["row", "label", "time", "neighbors"])
def test_every_kind_of_pair_can_be_trained(pairs, X):
    y = np.arange(len(X)) % 3
    estimator = ContrastiveEmbedder(2, pairs=pairs, max_iter=3, random_state=0)
    Z = estimator.fit(X, y).transform(X)
    np.testing.assert_array_equal(estimator.fit(X, y).transform(X), Z)
    assert estimator.score(X, y) == estimator.score(X, y)
    shifted = estimator.set_params(random_state=1).fit(X, y).transform(X)
    assert (shifted != Z).any()


def test_labels_and_neighbours_are_the_pairs_of_supervised_contrast_only_so_far(X):
    y = np.arange(len(X)) % 3
    for pairs in ("time", "neighbors"):
        with pytest.raises(ValueError, match="choose pairs='row' or 'label'"):
            ContrastiveEmbedder(2, objective="supcon", pairs=pairs).fit(X, y)
    ContrastiveEmbedder(2, objective="supcon", pairs="label", max_iter=1).fit(X, y)


def test_pairs_decide_what_is_learned():
    """Half of the columns tell the class, the others, far louder, the time."""
    rng = np.random.default_rng(0)
    n = 600
    y = rng.integers(0, 3, n)
    time = np.cumsum(rng.normal(size=(n, 6)), axis=0)
    X = np.c_[0.9 * rng.normal(size=(3, 6))[y] + rng.normal(size=(n, 6)) / 2, time]

    def agreement(pairs):
        settings = {**PLAIN, "pairs": pairs, "views": "masking", "max_iter": 60}
        model = ContrastiveEmbedder(4, corruption_level=0.1, random_state=0, **settings)
        Z = model.fit(X, y).transform(X)
        classes = KNeighborsClassifier().fit(Z[::2], y[::2]).score(Z[1::2], y[1::2])
        steps = np.linalg.norm(np.diff(Z, axis=0), axis=1).mean()
        spread = np.linalg.norm(Z - rng.permutation(Z), axis=1).mean()
        return classes, steps / spread

    by_label, by_time = agreement("label"), agreement("time")
    assert by_label[0] > by_time[0] + 0.15
    assert by_time[1] < 0.5 * by_label[1]


def test_neighbours_in_a_large_table_are_looked_for_among_some_of_it(monkeypatch):
    monkeypatch.setattr("sklearn_repr.corruptions.positive_pairs.MAX_CANDIDATE_ROWS", 10)
    table = number_rows(Batch(torch.arange(25.0).unsqueeze(1)))
    drawn = NeighborPairs(1).fit(table, table).draw(table, torch.Generator()).flatten()
    assert set((drawn % 3).tolist()) == {0.0}  # every third row
    others = (drawn - table.values[:, 0]).abs()
    assert ((others >= 1) & (others <= 3)).all()
