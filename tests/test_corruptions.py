"""Every corruption has its defining property."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sklearn_repr.corruptions import (
    Copies,
    MarginalSwap,
    Rotation,
    SwapNoise,
    Translation,
    TwoViews,
    corruption,
    make_corruption,
)

N, D = 4000, 10
# those of any row
NAMES = [entry.name for entry in corruption if not entry.takes("input_shape")]


@pytest.fixture
def values():
    """Rows whose columns have their own mean and spread; no two cells are equal."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(N, D, generator=generator, dtype=torch.float64)
    return rows * torch.arange(1, D + 1) + 100 * torch.arange(D)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def corrupt(name, level, values, seed=0):
    return make_corruption(name, level).fit(values)(values, generator(seed))


@pytest.mark.parametrize("name", NAMES)
def test_same_generator_same_corruption_and_clean_rows_stay_clean(name, values):
    clean = values.clone()
    first, second = corrupt(name, 0.4, values), corrupt(name, 0.4, values)
    assert torch.equal(first.values, second.values)
    assert not torch.equal(first.values, corrupt(name, 0.4, values, seed=1).values)
    assert torch.equal(values, clean)
    assert first.values.shape == values.shape
    assert first.values.dtype == values.dtype


@pytest.mark.parametrize("name", NAMES)
def test_level_zero_changes_nothing(name, values):
    assert torch.equal(corrupt(name, 0.0, values).values, values)


@pytest.mark.parametrize("name", ["masking", "salt_and_pepper", "swap", "scarf"])
@pytest.mark.parametrize("level", [0.1, 0.5, 1.0])
def test_rates_and_untouched_cells(name, level, values):
    corrupted = corrupt(name, level, values)
    changed = corrupted.values != values
    assert not (changed & ~corrupted.mask).any()
    # 5 standard errors of a binomial share
    error = 5 * (level * (1 - level) / values.numel()) ** 0.5
    assert float(corrupted.mask.double().mean()) == pytest.approx(level, abs=error + 1e-9)
    # a replaced cell may draw the value that it had: an extreme, or its own row
    assert float(changed.double().mean()) == pytest.approx(level, abs=error + 1e-3)


def test_gaussian_noise_is_in_proportion_to_the_spread(values):
    noise = corrupt("gaussian", 0.5, values).values - values
    ratio = noise.std(dim=0) / values.std(dim=0)
    np.testing.assert_allclose(ratio, 0.5, rtol=0.06)
    assert (noise.mean(dim=0) / values.std(dim=0)).abs().max() < 0.04
    constant = torch.full((5, 1), 3.0)
    assert torch.equal(corrupt("gaussian", 0.5, constant).values, constant)


def test_multiplicative_noise_scales_cells(values):
    factor = corrupt("multiplicative", 0.5, values).values / values
    assert float(factor.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(factor.std()) == pytest.approx(0.5, rel=0.03)
    assert torch.equal(
        corrupt("multiplicative", 1.0, torch.zeros(3, 2)).values.sum(), torch.tensor(0.0)
    )


def test_masked_cells_are_zero(values):
    corrupted = corrupt("masking", 0.5, values)
    assert (corrupted.values[corrupted.mask] == 0).all()


def test_salt_and_pepper_are_the_extremes_in_equal_parts(values):
    corrupted = corrupt("salt_and_pepper", 0.5, values)
    low, high = values.min(dim=0).values, values.max(dim=0).values
    is_low, is_high = corrupted.values == low, corrupted.values == high
    assert (is_low | is_high)[corrupted.mask].all()
    assert float(is_low.sum() / is_high.sum()) == pytest.approx(1.0, rel=0.06)


def test_swapped_cells_come_from_the_same_column_of_another_row(values):
    swapped = corrupt("swap", 1.0, values).values
    assert (swapped != values).all()
    for column in range(D):
        assert np.isin(swapped[:, column], values[:, column]).all()
    np.testing.assert_allclose(
        swapped.mean(0), values.mean(0), atol=6 * float(values.std(0).max()) / N**0.5
    )


def test_a_single_row_has_nobody_to_swap_with():
    row = torch.ones(1, 3)
    corrupted = SwapNoise(1.0)(row, generator())
    assert torch.equal(corrupted.values, row)
    assert not corrupted.mask.any()


@pytest.mark.parametrize("level", [0.0, 0.05, 0.3, 0.37, 0.6, 0.999, 1.0])
def test_a_subset_leaves_out_exactly_its_share_but_never_all(level, values):
    corrupted = corrupt("subset", level, values)
    expected = min(int(np.floor(round(level * D, 9))), D - 1)
    assert (corrupted.mask.sum(dim=1) == expected).all()
    assert (corrupted.values[corrupted.mask] == 0).all()
    assert torch.equal(corrupted.values[~corrupted.mask], values[~corrupted.mask])
    if expected > 0:
        share = corrupted.mask.double().mean(dim=0)
        np.testing.assert_allclose(share, expected / D, atol=0.05)


@pytest.mark.parametrize("level", [0.2, (0.1, 0.4)])
def test_mixup_lies_between_a_row_and_another(level):
    rows = torch.eye(6, dtype=torch.float64)
    mixed = make_corruption("mixup", level)(rows, generator()).values
    assert ((mixed > 0).sum(dim=1) == 2).all()
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(6, dtype=torch.float64))
    low, high = level if isinstance(level, tuple) else (level, level)
    share = 1 - mixed.diag()
    assert ((share >= low - 1e-9) & (share <= high + 1e-9)).all()
    alone = make_corruption("mixup", 0.5)(rows[:1], generator()).values
    assert torch.equal(alone, rows[:1])


@pytest.mark.parametrize("level", [0.0, 0.05, 0.3, 0.37, 0.6, 1.0])
def test_scarf_replaces_exactly_the_floor_of_its_share_in_every_row(level, values):
    corrupted = corrupt("scarf", level, values)
    expected = int(np.floor(round(level * D, 9)))
    assert (corrupted.mask.sum(dim=1) == expected).all()


def test_scarf_draws_every_cell_from_its_own_column(values):
    # columns that go together: whole rows drawn at once would go together too
    pool = values[:, :1].repeat(1, D) * torch.arange(1, D + 1)
    rows = torch.zeros(3000, D, dtype=torch.float64)
    drawn = MarginalSwap(1.0).fit(pool)(rows, generator()).values
    for column in range(D):
        assert np.isin(drawn[:, column], pool[:, column]).all()
    correlation = np.corrcoef((drawn - drawn.mean(0)).T)
    assert np.abs(correlation - np.eye(D)).max() < 0.1
    np.testing.assert_allclose(drawn.std(0), pool.std(0), rtol=0.08)


@pytest.mark.parametrize("name", NAMES)
def test_two_views_are_two_independent_corruptions(name, values):
    views = TwoViews(make_corruption(name, 0.5)).fit(values)(values, generator())
    first, second = views.values.split(N)
    assert first.shape == second.shape == values.shape
    assert not torch.equal(first, second)
    if views.mask is not None:
        assert views.mask.shape == views.values.shape
        both = (views.mask[:N] & views.mask[N:]).double().mean()
        assert float(both) == pytest.approx(0.25, abs=0.02)


def test_a_callable_is_a_corruption(values):
    corrupted = make_corruption(lambda x: x.mul_(2), 0.1)(values, generator())
    assert torch.equal(corrupted.values, 2 * values)
    wrong = make_corruption(lambda x: x[:, :1], 0.1)
    with pytest.raises(ValueError, match=rf"\({N}, {D}\).*got \({N}, 1\)"):
        wrong(values, generator())
    # doubles, as NumPy's constants make them, would not fit the weights
    doubles = make_corruption(lambda x: x * torch.ones(D).double(), 0.1)
    singles = doubles(values.float(), generator()).values
    assert singles.dtype == torch.float32


@pytest.mark.parametrize(
    "name", ["masking", "salt_and_pepper", "swap", "scarf", "subset", "mixup"]
)
def test_a_share_above_one_is_refused(name):
    with pytest.raises(ValueError, match=r"corruption_level=1\.5 is not a share"):
        make_corruption(name, 1.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_range_is_drawn_from_for_every_row(name, values):
    corrupted = corrupt(name, (0.1, 0.7), values)
    if corrupted.mask is not None:
        strength = corrupted.mask.double().mean(dim=1)
    else:
        change = (corrupted.values - values).abs()
        size = values.abs() if name == "multiplicative" else values.std(dim=0)
        if name == "mixup":  # the difference of two rows
            size = size * 2**0.5
        strength = (change / size).mean(dim=1) / 0.8  # mean of abs of a normal
    assert float(strength.mean()) == pytest.approx(
        0.4 - 0.05 * (name in ("scarf", "subset")), abs=0.03
    )
    fixed = corrupt(name, 0.4, values)
    if fixed.mask is not None:
        assert strength.std() > fixed.mask.double().mean(dim=1).std() + 0.02
    assert torch.equal(corrupt(name, (0.0, 0.0), values).values, values)


@pytest.mark.parametrize(
    "level", [(0.5, 0.1), (-0.1, 0.2), (0.1,), "strong", (None, 1), (0, np.inf)]
)
def test_ranges_are_checked(level):
    with pytest.raises(ValueError, match="corruption_level must be a number"):
        make_corruption("gaussian", level)


def test_copies_are_independent(values):
    copies = Copies(make_corruption("masking", 0.5), 3)(values, generator())
    first, second, third = copies.mask.split(N)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    assert copies.values.shape == (3 * N, D)


def test_rotations_turn_images():
    image = torch.zeros(1, 5, 5)
    image[0, 2, 3] = 1.0  # to the right of the centre
    rotation = Rotation(0.0, (1, 5, 5))
    rotation._uniform = lambda values, generator: torch.full((len(values),), 90.0)
    turned = rotation(image.view(1, 25), generator()).values.view(5, 5)
    assert int(turned.argmax()) in (1 * 5 + 2, 3 * 5 + 2)  # above or below it
    assert float(turned.sum()) == pytest.approx(1.0, abs=1e-5)
    wide = torch.rand(50, 2 * 6 * 10)
    turned = Rotation(30.0, (2, 6, 10))(wide, generator()).values
    assert turned.shape == wide.shape
    assert not torch.equal(turned, wide)
    torch.testing.assert_close(Rotation(0.0, (2, 6, 10))(wide, generator()).values, wide)


@pytest.mark.parametrize("level", [20.0, (10.0, 20.0)])
def test_how_far_images_move_is_drawn_from_the_level(level):
    draws = Rotation(level, (1, 2, 2))._uniform(torch.zeros(5000, 4), generator())
    assert float(draws.abs().max()) <= 20.0
    assert float(draws.mean()) == pytest.approx(0.0, abs=1.0)
    expected = 10.0 if level == 20.0 else 7.5
    assert float(draws.abs().mean()) == pytest.approx(expected, abs=0.4)


def test_translations_shift_images():
    image = torch.zeros(1, 4, 4)
    image[0, 1, 1] = 1.0
    translation = Translation(0.0, (1, 4, 4))
    translation._uniform = lambda values, generator: torch.full((len(values),), 0.25)
    shifted = translation(image.view(1, 16), generator()).values.view(4, 4)
    assert int(shifted.argmax()) == 0  # one pixel up and one to the left
    assert float(shifted.sum()) == pytest.approx(1.0, abs=1e-5)
