"""Distances to training rows, column by column."""

from __future__ import annotations

import numpy as np
import pytest

from sklearn_repr.detection.neighbours import LocalNeighbours, SetNeighbours


def test_set_neighbours_are_their_definition():
    rng = np.random.default_rng(0)
    rows, fresh = 5 * rng.normal(size=(80, 3)), 5 * rng.normal(size=(600, 3))
    fresh[:80] = rows
    near = SetNeighbours(n_sets=7, set_size=9).fit(rows, np.random.default_rng(1))

    def soft(x):
        return 3 * np.sign(x) * np.log1p(np.abs(x) / 3)

    # the first member of every set, then the second
    members = near.rows_.reshape(9, 7, 3)
    expected = np.zeros(fresh.shape)
    for a_set in members.swapaxes(0, 1):
        assert len(np.unique(a_set, axis=0)) == 9
        for i, row in enumerate(soft(fresh)):
            apart = np.linalg.norm(a_set - row, axis=1)
            others = a_set[apart > 1e-3 * (1 + np.linalg.norm(row))]
            nearest = others[np.linalg.norm(others - row, axis=1).argmin()]
            expected[i] += np.square(nearest - row) / np.linalg.norm(nearest - row) / 7
    np.testing.assert_allclose(near.distances(fresh), expected)
    np.testing.assert_allclose(near.sums(fresh), expected.sum(axis=1))
    assert len(SetNeighbours().fit(rows, rng).rows_) == 64 * 10


@pytest.mark.parametrize("d", [3, 17])
def test_local_neighbours_are_their_definition(d):
    rng = np.random.default_rng(0)
    rows, fresh = rng.normal(size=(80, d)), rng.normal(size=(300, d))
    fresh[:80] = rows
    near = LocalNeighbours(5).fit(rows, rng)
    for i, row in enumerate(fresh):
        apart = np.linalg.norm(rows - row, axis=1)
        order = np.argsort(apart)
        order = order[1:6] if i < 80 else order[:5]
        weight = 1 / apart[order] ** 2
        mean = weight @ rows[order] / weight.sum()
        squares = np.square(row - mean)
        first = squares / squares.sum()
        each = np.square(row - rows[order[:3]]) / apart[order[:3], None]
        second = each.sum(axis=0) / each.sum()
        got = near.distances(row[None])[0]
        distance = np.sqrt(np.sqrt(squares.sum()) * apart[order[:3]].mean())
        np.testing.assert_allclose(got, distance * (first + second) / 2, atol=1e-12)


@pytest.mark.parametrize("kind", [SetNeighbours, LocalNeighbours])
@pytest.mark.parametrize("d", [1, 5, 30])
def test_neighbours_of_a_row_are_its_own_also_among_ties(kind, d):
    rows = np.random.default_rng(0).integers(0, 3, size=(900, d)).astype(float)
    near = kind().fit(rows, np.random.default_rng(0))
    together = near.distances(rows)
    sums = near.sums(rows)
    for i in (0, 1, 255, 256, 700, 899):
        np.testing.assert_array_equal(near.distances(rows[i : i + 1])[0], together[i])
        np.testing.assert_array_equal(near.sums(rows[i : i + 1])[0], sums[i])
    np.testing.assert_array_equal(near.distances(rows[::-1]), together[::-1])
    np.testing.assert_array_equal(near.sums(rows[::-1]), sums[::-1])


@pytest.mark.parametrize("kind", [SetNeighbours, LocalNeighbours])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_neighbours_of_few_and_of_equal_rows(kind, n):
    for rows in (np.zeros((n, 2)), np.arange(2.0 * n).reshape(n, 2)):
        near = kind().fit(rows, np.random.default_rng(0))
        for fresh in (rows, rows + 1e3, rows * 1e15):
            assert np.isfinite(near.distances(fresh)).all()


def test_a_row_that_is_there_twice_is_near_itself():
    twice = np.repeat(np.arange(4.0)[:, None], 2, axis=0)
    near = LocalNeighbours().fit(twice, np.random.default_rng(0))
    assert not near.distances(twice).any()
