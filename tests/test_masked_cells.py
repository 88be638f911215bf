"""Masked cells and blocks of patches: how many, which, and of what shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sklearn_repr.corruptions import MaskedAndWhole, MaskedBlocks, MaskedCells
from sklearn_repr.corruptions import masked_cells as settings
from sklearn_repr.utils.patches import patch_grid, patch_numbers
from sklearn_repr.utils.randomness import make_generator

GRIDS = [(7, 7), (4, 4), (5, 9), (2, 2), (1, 2), (16,), (3,), (2,)]


def masks(grid, level=0.4, n=400, seed=0):
    count = int(np.prod(grid))
    blocks = MaskedBlocks(level, np.arange(count), grid)
    return blocks(torch.zeros(n, count), make_generator(seed)).mask.view(n, *grid)


def without_margin(monkeypatch, blocks):
    monkeypatch.setattr(settings, "N_BLOCKS", blocks)
    monkeypatch.setattr(settings, "CONTEXT_SHARES", (1.0, 1.0))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("level", [0.0, 0.2, 0.54, 0.99, (0.0, 0.9)], ids=str)
def test_something_is_masked_and_something_visible(grid, level):
    flat = masks(grid, level).flatten(1)
    assert flat.any(dim=1).all()
    assert (~flat).any(dim=1).all()


def test_the_only_patch_is_masked():
    assert masks((1, 1)).all()
    assert masks((1,)).all()


@pytest.mark.parametrize("grid", [(7, 7), (9, 6), (8, 8)], ids=str)
@pytest.mark.parametrize("level", [0.15, 0.2, 0.4])
def test_a_block_is_a_rectangle_of_the_papers_shape(grid, level, monkeypatch):
    without_margin(monkeypatch, blocks=1)
    found = set()
    for mask in masks(grid, level, n=150):
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        height, width = (int(side.max() - side.min()) + 1 for side in (rows, columns))
        # filled, of a share and an aspect that rounding to whole patches allows
        assert int(mask.sum()) == height * width
        area = level * mask.numel()
        low, high = settings.ASPECT_RATIOS
        assert (area * low) ** 0.5 - 0.5 <= height <= (area * high) ** 0.5 + 0.5
        assert (area / high) ** 0.5 - 0.5 <= width <= (area / low) ** 0.5 + 0.5
        found.add((int(rows.min()), int(columns.min()), height, width))
    # and it may be anywhere
    tops, lefts, heights, widths = zip(*found, strict=True)
    assert min(tops) == min(lefts) == 0
    assert max(np.add(tops, heights)) == grid[0]
    assert max(np.add(lefts, widths)) == grid[1]


def test_windows_of_a_sequence_are_contiguous(monkeypatch):
    monkeypatch.setattr(settings, "N_BLOCKS", 1)
    for mask in masks((20,), 0.3, n=100):
        where = mask.nonzero()[:, 0]
        assert len(where) == 6
        assert int(where[-1] - where[0]) == 5


def test_neighbours_are_masked_together():
    # the neighbour of a masked patch is masked more often than other patches are
    mask = masks((7, 7), 0.3).float()
    both = (mask[:, :, 1:] * mask[:, :, :-1]).mean()
    assert both / mask.mean() > mask.mean() + 0.25
    cells = MaskedCells(0.3, np.arange(49))(torch.zeros(400, 49), make_generator(0))
    single = cells.mask.view(-1, 7, 7).float()
    both = (single[:, :, 1:] * single[:, :, :-1]).mean()
    assert both / single.mean() < single.mean() + 0.05


@pytest.mark.parametrize("grid", [(7, 7), (10, 10), (14, 14), (16,), (30,)], ids=str)
@pytest.mark.parametrize("level", [0.2, 0.4, 0.54, 0.6, (0.2, 0.6)], ids=str)
def test_the_share_is_about_what_was_asked(grid, level):
    assert float(masks(grid, level, n=2000).float().mean()) == pytest.approx(
        np.mean(level), abs=0.07
    )


@pytest.mark.parametrize("grid", [(7, 7), (5, 9), (14, 14), (16,), (100,)], ids=str)
@pytest.mark.parametrize(("level", "share"), [(0.7, 0.65), (0.8, 0.72), (0.9, 0.8)])
def test_large_shares_are_not_reached_because_blocks_overlap(grid, level, share):
    mean = float(masks(grid, level, n=2000).float().mean())
    assert mean == pytest.approx(share, abs=0.03)
    assert mean < level


@pytest.mark.parametrize("level", [0.0, 0.14, 0.16, 0.34, 0.36, 0.5, 0.64, 0.66, 1.0])
def test_the_number_of_masked_cells_is_rounded(level):
    mask = MaskedCells(level, np.arange(10))(torch.zeros(50, 10), make_generator(0)).mask
    expected = min(max(int(level * 10 + 0.5), 1), 9)
    assert (mask.sum(dim=1) == expected).all()


def test_nothing_is_visible_outside_of_the_context(monkeypatch):
    monkeypatch.setattr(settings, "CONTEXT_SHARES", (0.5, 0.5))
    for mask in masks((8, 8), 0.05, n=100):
        rows, columns = (~mask).any(dim=1).nonzero(), (~mask).any(dim=0).nonzero()
        # √½ of 8 is 6
        assert int(rows.max() - rows.min()) <= 5
        assert int(columns.max() - columns.min()) <= 5


def test_every_row_has_a_draw_of_its_own_from_the_seed():
    first, again, other = (masks((7, 7), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.flatten(1).unique(dim=0)) > 350


def test_rows_with_masked_blocks_are_joined_with_the_whole_rows():
    shape = (2, 9, 8)
    patches, grid = patch_numbers(144, shape, 2), patch_grid(shape, 2)
    assert grid == (5, 4)
    rows = torch.randn(30, 144)
    values, mask = MaskedAndWhole(0.5, patches, grid)(rows, make_generator(0))
    masked, clean = values.chunk(2, dim=1)
    assert torch.equal(clean, rows)
    assert torch.equal(masked.isnan(), mask)
    chosen = MaskedBlocks(0.5, patches, grid).choose(rows, make_generator(0))
    for row, by_patch in zip(mask, chosen, strict=True):
        for column in range(144):
            assert row[column] == by_patch[patches[column]]
