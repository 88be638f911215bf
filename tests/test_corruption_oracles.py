"""Every corruption beside a slow reference or by the property that defines it.

A corruption of the registry without an oracle fails: add a function under
``@oracle(name)``, which calls ``corrupt`` and asserts.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from sklearn_repr.corruptions import (
    Blur,
    Crop,
    MarginalSwap,
    Rotation,
    Translation,
    corruption,
    images,
    make_corruption,
    pixels,
)

N, D = 4000, 10
IMAGE, SEQUENCE = (2, 6, 9), (3, 20)
ORACLES = {}


def oracle(name):
    """Register a function as an oracle of a corruption; it may have several."""

    def add(check):
        ORACLES.setdefault(name, []).append(check)
        return check

    return add


@pytest.mark.parametrize("name", corruption.names())
def test_every_corruption_has_an_oracle_and_agrees_with_it(name):
    assert name in ORACLES, f"no oracle for the corruption {name!r}"
    for check in ORACLES[name]:
        check()


def test_no_oracle_is_of_a_corruption_that_is_gone():
    assert set(ORACLES) <= set(corruption.names())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def table():
    """Rows whose columns have their own mean and spread; no two cells are equal."""
    rows = torch.randn(N, D, generator=generator(), dtype=torch.float64)
    return rows * torch.arange(1, D + 1) + 100 * torch.arange(D)


def rows_of(shape, n=500):
    return torch.rand(n, math.prod(shape), generator=generator(9), dtype=torch.float64)


def corrupt(name, level, values, shape=None):
    made = make_corruption(name, level, input_shape=shape)
    return made.fit(values)(values, generator())


def mean_strength(name, expected, size):
    """Check the mean over rows that draw their level from 0.1 to 0.7.

    `size` is what the change of a cell is measured in; None counts replaced cells.
    """
    values = table()
    corrupted = corrupt(name, (0.1, 0.7), values)
    strength = corrupted.mask
    if size is not None:
        # 0.8 is the mean size of a normal draw
        strength = (corrupted.values - values).abs() / size(values) / 0.8
    assert float(strength.double().mean()) == pytest.approx(expected, abs=0.03)


# -- noise on tables -----------------------------------------------------------------


@oracle("gaussian")
def gaussian_noise_is_in_proportion_to_the_spread():
    values = table()
    noise = corrupt("gaussian", 0.5, values).values - values
    ratio = noise.std(dim=0) / values.std(dim=0)
    np.testing.assert_allclose(ratio, 0.5, rtol=0.06)
    assert (noise.mean(dim=0) / values.std(dim=0)).abs().max() < 0.04
    mean_strength("gaussian", 0.4, lambda rows: rows.std(dim=0))
    constant = torch.full((5, 1), 3.0)
    assert torch.equal(corrupt("gaussian", 0.5, constant).values, constant)


@oracle("multiplicative")
def multiplicative_noise_scales_cells():
    values = table()
    factor = corrupt("multiplicative", 0.5, values).values / values
    assert float(factor.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(factor.std()) == pytest.approx(0.5, rel=0.03)
    mean_strength("multiplicative", 0.4, torch.abs)
    zeros = corrupt("multiplicative", 1.0, torch.zeros(3, 2)).values
    assert torch.equal(zeros, torch.zeros(3, 2))


def rates(name):
    """Check the share of replaced cells, and that the others stay."""
    values = table()
    for level in (0.1, 0.5, 1.0):
        corrupted = corrupt(name, level, values)
        changed = corrupted.values != values
        assert not (changed & ~corrupted.mask).any()
        # 5 standard errors of a binomial share
        error = 5 * (level * (1 - level) / values.numel()) ** 0.5
        share = float(corrupted.mask.double().mean())
        assert share == pytest.approx(level, abs=error + 1e-9)
        # the extremes, and draws from a column, may be the cell's own value
        share = float(changed.double().mean())
        assert share == pytest.approx(level, abs=error + 1e-3)
    # exact counts are rounded down
    mean_strength(name, 0.35 if name == "scarf" else 0.4, None)


@oracle("masking")
def masked_cells_are_zero():
    rates("masking")
    corrupted = corrupt("masking", 0.5, table())
    assert (corrupted.values[corrupted.mask] == 0).all()


@oracle("salt_and_pepper")
def salt_and_pepper_are_the_extremes_in_equal_parts():
    rates("salt_and_pepper")
    values = table()
    corrupted = corrupt("salt_and_pepper", 0.5, values)
    low, high = values.min(dim=0).values, values.max(dim=0).values
    is_low, is_high = corrupted.values == low, corrupted.values == high
    assert (is_low | is_high)[corrupted.mask].all()
    assert float(is_low.sum() / is_high.sum()) == pytest.approx(1.0, rel=0.06)


@oracle("swap")
def swapped_cells_come_from_the_same_column_of_another_row():
    rates("swap")
    values = table()
    swapped = corrupt("swap", 1.0, values).values
    assert (swapped != values).all()
    for column in range(D):
        assert np.isin(swapped[:, column], values[:, column]).all()
    largest = 6 * float(values.std(0).max()) / N**0.5
    np.testing.assert_allclose(swapped.mean(0), values.mean(0), atol=largest)


@oracle("swap")
def of_three_rows_the_two_others_are_equally_likely():
    rows = torch.arange(3.0)[:, None].repeat(1, 3000)  # each cell holds its row's number
    swapped = corrupt("swap", 1.0, rows).values
    for row in range(3):
        for other in range(3):
            share = float((swapped[row] == other).double().mean())
            assert share == pytest.approx(0.0 if other == row else 0.5, abs=0.05)
    # nor do the cells of one row all come from the same other row
    assert (swapped[0] == 1).any()
    assert (swapped[0] == 2).any()


@oracle("swap")
def a_single_row_has_no_other_to_swap_with():
    row = torch.ones(1, 3)
    corrupted = corrupt("swap", 1.0, row)
    assert torch.equal(corrupted.values, row)
    assert not corrupted.mask.any()


@oracle("scarf")
def scarf_replaces_exactly_the_floor_of_its_share_in_every_row():
    rates("scarf")
    for level in (0.0, 0.05, 0.3, 0.37, 0.6, 1.0):
        mask = corrupt("scarf", level, table()).mask
        assert (mask.sum(dim=1) == int(np.floor(round(level * D, 9)))).all()


@oracle("scarf")
def scarf_draws_every_cell_by_itself_from_its_column():
    # every cell tells its row and its column: row + 10,000 · column
    n_pool = 200
    pool = (torch.arange(n_pool)[:, None] + 10_000 * torch.arange(D)).double()
    rows = torch.full((3000, D), -1.0, dtype=torch.float64)
    drawn = MarginalSwap(1.0).fit(pool)(rows, generator()).values
    source = drawn - 10_000 * torch.arange(D)
    assert ((source >= 0) & (source < n_pool)).all()
    # all rows of the pool are equally likely in every column
    for column in range(D):
        counts = torch.bincount(source[:, column].long(), minlength=n_pool)
        assert counts.min() > 0
        assert counts.max() < 50
    # two cells of a row come from the same row of the pool by chance alone
    same = (source[:, 1:] == source[:, :-1]).double().mean()
    assert float(same) == pytest.approx(1 / n_pool, abs=0.003)
    assert np.abs(np.corrcoef(source.T) - np.eye(D)).max() < 0.1


@oracle("subset")
def a_subset_leaves_out_exactly_its_share_but_never_all():
    values = table()
    mean_strength("subset", 0.35, None)
    for level in (0.0, 0.05, 0.3, 0.37, 0.6, 0.999, 1.0):
        corrupted = corrupt("subset", level, values)
        expected = min(int(np.floor(round(level * D, 9))), D - 1)
        assert (corrupted.mask.sum(dim=1) == expected).all()
        assert (corrupted.values[corrupted.mask] == 0).all()
        assert torch.equal(corrupted.values[~corrupted.mask], values[~corrupted.mask])
        if expected > 0:
            share = corrupted.mask.double().mean(dim=0)
            np.testing.assert_allclose(share, expected / D, atol=0.05)


@oracle("mixup")
def mixup_lies_between_a_row_and_another():
    rows = torch.eye(6, dtype=torch.float64)
    for level in (0.2, (0.1, 0.4)):
        mixed = corrupt("mixup", level, rows).values
        assert ((mixed > 0).sum(dim=1) == 2).all()
        torch.testing.assert_close(mixed.sum(dim=1), torch.ones(6, dtype=torch.float64))
        low, high = level if isinstance(level, tuple) else (level, level)
        share = 1 - mixed.diag()
        assert ((share >= low - 1e-9) & (share <= high + 1e-9)).all()
    # in standard deviations of the difference of two rows
    mean_strength("mixup", 0.4, lambda rows: rows.std(dim=0) * 2**0.5)
    alone = corrupt("mixup", 0.5, rows[:1]).values
    assert torch.equal(alone, rows[:1])


# -- moved images --------------------------------------------------------------------


def sampled(image, place, border):
    """Interpolate an image at the (row, column) that `place` gives for each pixel."""
    channels, height, width = image.shape
    result = np.zeros_like(image)
    for channel in range(channels):
        for i in range(height):
            for j in range(width):
                y, x = place(i, j)
                for row in (math.floor(y), math.floor(y) + 1):
                    for column in (math.floor(x), math.floor(x) + 1):
                        weight = (1 - abs(y - row)) * (1 - abs(x - column))
                        if border:
                            r = min(max(row, 0), height - 1)
                            c = min(max(column, 0), width - 1)
                        elif 0 <= row < height and 0 <= column < width:
                            r, c = row, column
                        else:
                            continue
                        result[channel, i, j] += weight * image[channel, r, c]
    return result


def planted(made, draw, values):
    """Apply a corruption of images with its draws replaced by a number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            images,
            "draw_between",
            lambda low, high, generator: low + (high - low) * draw,
        )
        return made(values, generator()).values[0].numpy().reshape(IMAGE)


@oracle("rotation")
def rotations_are_about_the_centre_and_keep_lengths():
    values = rows_of(IMAGE, 1)
    image = values.numpy().reshape(IMAGE)
    _, height, width = IMAGE
    middle = (height - 1) / 2, (width - 1) / 2
    for draw, angle in ((1.0, 90.0), (0.0, -90.0), (0.75, 45.0)):
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

        def source(i, j, cos=cos, sin=sin):
            y, x = i - middle[0], j - middle[1]
            return sin * x + cos * y + middle[0], cos * x - sin * y + middle[1]

        rotated = planted(Rotation(90.0, IMAGE), draw, values)
        np.testing.assert_allclose(rotated, sampled(image, source, False), atol=1e-9)


@oracle("rotation")
def angles_are_drawn_from_the_level():
    for level, expected in ((20.0, 10.0), ((10.0, 20.0), 7.5)):
        rotation = Rotation(level, (1, 2, 2))
        draws = rotation._uniform(torch.zeros(5000, 4), generator())
        assert float(draws.abs().max()) <= 20.0
        assert float(draws.mean()) == pytest.approx(0.0, abs=1.0)
        assert float(draws.abs().mean()) == pytest.approx(expected, abs=0.4)


@oracle("translation")
def translations_shift_by_a_share_of_each_side():
    values = rows_of(IMAGE, 1)
    image = values.numpy().reshape(IMAGE)
    for draw, share in ((1.0, 0.3), (0.0, -0.3), (0.5, 0.0)):

        def source(i, j, share=share):
            return i + share * IMAGE[1], j + share * IMAGE[2]

        shifted = planted(Translation(0.3, IMAGE), draw, values)
        np.testing.assert_allclose(shifted, sampled(image, source, False), atol=1e-9)


@oracle("translation")
def translations_shift_both_sides_independently():
    image = torch.zeros(1, 4, 4)
    image[0, 1, 1] = 1.0
    translation = Translation(0.0, (1, 4, 4))
    translation._uniform = lambda values, generator: torch.full((len(values),), 0.25)
    shifted = translation(image.view(1, 16), generator()).values.view(4, 4)
    assert int(shifted.argmax()) == 0  # one pixel up and one to the left
    assert float(shifted.sum()) == pytest.approx(1.0, abs=1e-5)
    matrices = Translation(0.5, IMAGE).matrices(rows_of(IMAGE), generator())
    assert abs(float(torch.corrcoef(matrices[:, :, 2].T)[0, 1])) < 0.2


@oracle("crop")
def crops_resize_a_rectangle_that_lies_within():
    values = rows_of(IMAGE, 1)
    image = values.numpy().reshape(IMAGE)
    _, height, width = IMAGE
    for draw in (0.0, 0.25, 1.0):
        area = 0.4 + 0.6 * draw
        stretch = min(1 / area, 4 / 3) ** (2 * draw - 1)
        high, wide = math.sqrt(area * stretch), math.sqrt(area / stretch)
        top = draw * (1 - high) * height
        left = draw * (1 - wide) * width

        def source(i, j, high=high, wide=wide, top=top, left=left):
            return top + (i + 0.5) * high - 0.5, left + (j + 0.5) * wide - 0.5

        cropped = planted(Crop(0.6, IMAGE), draw, values)
        np.testing.assert_allclose(cropped, sampled(image, source, True), atol=1e-9)


@oracle("crop")
def crops_show_a_part_of_the_image_in_its_order():
    # a plane that rises to the right and, ten times as fast, downwards
    height, width = 12, 10
    right, down = torch.arange(width).double(), 10 * torch.arange(height).double()
    plane = (down[:, None] + right).view(1, -1).repeat(300, 1)
    crops = corrupt("crop", 0.75, plane, (1, height, width)).values
    crops = crops.view(-1, height, width)
    assert crops.min() >= 0
    assert crops.max() <= plane.max()
    across, along = crops.diff(dim=2), crops.diff(dim=1)
    assert (across >= -1e-9).all()
    assert (along >= -1e-9).all()
    # inside a crop the steps are the shares of the sides that it covers
    wide, high = across.amax(dim=(1, 2)), along.amax(dim=(1, 2)) / 10
    area, stretch = wide * high, wide / high
    assert float(area.min()) == pytest.approx(0.25, abs=0.02)
    assert float(area.max()) == pytest.approx(1.0, abs=0.02)
    assert float(stretch.max()) <= 4 / 3 + 1e-6
    assert float(stretch.min()) >= 3 / 4 - 1e-6


def flips(name, axis):
    """Check that images are mirrored along an axis, with the probability of the level."""
    values = rows_of(IMAGE)
    once = corrupt(name, 1.0, values, IMAGE).values
    mirrored = values.view(-1, *IMAGE).flip(axis).reshape(values.shape)
    assert torch.equal(once, mirrored)
    assert torch.equal(corrupt(name, 1.0, once, IMAGE).values, values)
    still = (corrupt(name, 0.3, values, IMAGE).values == values).all(dim=1)
    assert float(still.double().mean()) == pytest.approx(0.7, abs=0.07)


@oracle("horizontal_flip")
def horizontal_flips_mirror_columns():
    flips("horizontal_flip", axis=3)


@oracle("vertical_flip")
def vertical_flips_mirror_rows():
    flips("vertical_flip", axis=2)


# -- pixels --------------------------------------------------------------------------


@oracle("blur")
def blur_is_diffusion_between_neighbouring_cells():
    length, sigma = 9, 1.7
    # the second difference with closed borders, and diffusion for a time of σ² / 2
    second = np.diag(np.ones(length - 1), 1) + np.diag(np.ones(length - 1), -1)
    second -= np.diag(second.sum(axis=1))
    kernel = expm(sigma**2 / 2 * second)
    values = rows_of((2, length), 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "draw_between", lambda low, high, generator: high)
        blurred = Blur(sigma, (2, length))(values, generator()).values
    expected = values.numpy().reshape(4, 2, length) @ kernel
    np.testing.assert_allclose(blurred.view(4, 2, length), expected, atol=1e-9)


@oracle("blur")
def blur_keeps_the_mean_and_stays_between_the_extremes():
    for shape in (IMAGE, SEQUENCE):
        values = rows_of(shape)
        shaped = values.view(-1, *shape).flatten(2)
        for level in ((0.3, 0.3), (2.0, 2.0), (50.0, 50.0)):
            blurred = corrupt("blur", level, values, shape).values
            blurred = blurred.view(-1, *shape).flatten(2)
            torch.testing.assert_close(blurred.mean(dim=2), shaped.mean(dim=2))
            assert (blurred.amax(2) <= shaped.amax(2) + 1e-9).all()
            assert (blurred.amin(2) >= shaped.amin(2) - 1e-9).all()
            assert (blurred.var(dim=2) <= shaped.var(dim=2)).all()
    # far more than the image is wide: nothing but the mean is left, but for draws near 0
    assert float(blurred.std(dim=2).median()) < 1e-3


@oracle("blur")
def blur_of_a_point_has_the_variance_of_its_level():
    length = 101
    point = torch.zeros(1, length, dtype=torch.float64)
    point[0, 50] = 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "draw_between", lambda low, high, generator: high)
        spread = Blur(3.0, (1, length))(point, generator()).values[0]
    place = torch.arange(length).double() - 50
    assert float((spread * place.square()).sum()) == pytest.approx(9.0, rel=1e-6)


@oracle("brightness")
def brightness_adds_a_constant_within_its_level():
    values = rows_of(IMAGE)
    shift = corrupt("brightness", 0.5, values, IMAGE).values - values
    assert float(shift.std(dim=1).max()) < 1e-12
    largest = 0.5 * float(values.std(correction=0))
    assert 0.95 * largest < float(shift.abs().max()) <= largest
    assert float(shift.mean()) == pytest.approx(0.0, abs=0.1 * largest)


@oracle("contrast")
def contrast_stretches_about_the_mean_of_each_channel():
    values = rows_of(IMAGE)
    stretched = corrupt("contrast", 0.5, values, IMAGE).values.view(-1, 2, 54)
    shaped = values.view(-1, 2, 54)
    torch.testing.assert_close(stretched.mean(dim=2), shaped.mean(dim=2))
    gain = stretched.std(dim=2) / shaped.std(dim=2)
    torch.testing.assert_close(gain[:, 0], gain[:, 1])
    assert 0.5 <= float(gain.min()) < 0.52
    assert 1.48 < float(gain.max()) <= 1.5


@oracle("cutout")
def cutout_is_one_rectangle_in_all_channels():
    values = rows_of((2, 20, 30), 300)
    mask = corrupt("cutout", 0.4, values, (2, 20, 30)).mask.view(-1, 2, 20, 30)
    assert torch.equal(mask[:, 0], mask[:, 1])
    rows, columns = mask[:, 0].any(dim=2), mask[:, 0].any(dim=1)
    assert torch.equal(mask[:, 0], rows[:, :, None] & columns[:, None, :])
    assert int(rows.sum(dim=1).max()) == 8
    assert int(columns.sum(dim=1).max()) == 12
    assert (rows.double().diff(dim=1).abs().sum(dim=1) <= 2).all()
    # its centre is anywhere, so that a corner is hit a quarter as often as the middle
    assert float(mask[:, 0, 10, 15].double().mean()) == pytest.approx(0.16, abs=0.07)
    assert mask.any(dim=(1, 2, 3)).all()


# -- sequences -----------------------------------------------------------------------


@oracle("jitter")
def jitter_is_in_proportion_to_the_spread_of_the_channel():
    channel = torch.tensor([1.0, 10.0, 0.0], dtype=torch.float64).repeat_interleave(20)
    values = rows_of(SEQUENCE, 3000) * channel
    noise = (corrupt("jitter", 0.5, values, SEQUENCE).values - values).view(-1, 3, 20)
    spread = values.view(-1, 3, 20).std(dim=(0, 2))
    np.testing.assert_allclose(noise.std(dim=(0, 2)), 0.5 * spread, rtol=0.02)
    assert (noise[:, 2] == 0).all()


@oracle("scaling")
def scaling_is_one_factor_a_channel():
    values = rows_of(SEQUENCE, 3000) + 1
    factor = corrupt("scaling", 0.2, values, SEQUENCE).values / values
    factor = factor.view(-1, 3, 20)
    assert float(factor.std(dim=2).max()) < 1e-12
    assert float(factor.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(factor[..., 0].std()) == pytest.approx(0.2, rel=0.05)
    assert abs(float(torch.corrcoef(factor[..., 0].T)[0, 1])) < 0.1


@oracle("time_crop")
def time_crops_keep_the_order_and_cover_their_share():
    length = 50
    ramp = torch.arange(length).double().repeat(400, 1)
    values = torch.cat([ramp, -ramp], dim=1)
    crops = corrupt("time_crop", 0.6, values, (2, length)).values.view(-1, 2, length)
    torch.testing.assert_close(crops[:, 0], -crops[:, 1])  # channels stay aligned
    steps = crops[:, 0].diff(dim=1)
    assert (steps > 0).all()
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))
    share = steps[:, 0]
    assert 0.4 - 1e-9 <= float(share.min()) < 0.42
    assert 0.98 < float(share.max()) <= 1 + 1e-9
    assert crops[:, 0].min() >= 0
    assert crops[:, 0].max() <= length - 1


@oracle("window_masking")
def masked_windows_are_one_stretch_in_all_channels():
    # 0.3 · 20 and 0.32 · 20 = 6.4 are rounded to 6, 0.33 · 20 = 6.6 to 7
    for level, steps in ((0.0, 0), (0.3, 6), (0.32, 6), (0.33, 7), (1.0, 20)):
        mask = corrupt("window_masking", level, rows_of(SEQUENCE), SEQUENCE).mask
        mask = mask.view(-1, *SEQUENCE)
        assert (mask == mask[:, :1]).all()
        assert (mask[:, 0].sum(dim=1) == steps).all()
        assert (mask[:, 0].double().diff(dim=1).abs().sum(dim=1) <= 2).all()
        if level == 0.3:  # every place that the window fits in comes up
            first = mask[:, 0].double().argmax(dim=1)
            assert set(first.tolist()) == set(range(15))
