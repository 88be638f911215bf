"""What all corruptions have in common, run over the registry; see the oracles too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sklearn_repr.corruptions import (
    Composed,
    Copies,
    GaussianNoise,
    MaskingNoise,
    TwoViews,
    corruption,
    make_corruption,
)

N, D = 4000, 10
IMAGE, SEQUENCE = (2, 6, 9), (3, 20)
# the shapes that each corruption is tested on, by what it needs
SHAPES = {
    None: [None],
    "image": [IMAGE],
    "sequence": [SEQUENCE],
    "either": [IMAGE, SEQUENCE],
}
CASES = [
    (entry.name, shape)
    for entry in corruption
    for shape in SHAPES[entry.metadata.get("needs")]
]
SHARES = corruption.names(share=True)
TABLE = corruption.names(needs=None)

every_case = pytest.mark.parametrize(("name", "shape"), CASES)
shaped_case = pytest.mark.parametrize(("name", "shape"), [c for c in CASES if c[1]])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_of(shape, n=500, dtype=torch.float64):
    """Rows of a shape, or of columns that have their own mean and spread."""
    if shape is not None:
        return torch.rand(n, int(np.prod(shape)), generator=generator(9), dtype=dtype)
    rows = torch.randn(N, D, generator=generator(), dtype=dtype)
    return rows * torch.arange(1, D + 1) + 100 * torch.arange(D)


def corrupt(name, level, values, shape=None, seed=0):
    made = make_corruption(name, level, input_shape=shape)
    return made.fit(values)(values, generator(seed))


def test_all_are_registered():
    assert set(TABLE) >= {"gaussian", "mixup", "multiplicative", "masking", "swap"}
    assert len(corruption.names()) >= 21
    for entry in corruption:
        assert set(entry.metadata) <= {"default_level", "share", "needs"}


# -- generators, levels and rows -----------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_case
def test_same_generator_same_corruption_and_clean_rows_stay_clean(name, shape, dtype):
    values = rows_of(shape, dtype=dtype)
    clean = values.clone()
    first = corrupt(name, "auto", values, shape)
    assert torch.equal(first.values, corrupt(name, "auto", values, shape).values)
    other = corrupt(name, "auto", values, shape, seed=1)
    assert not torch.equal(first.values, other.values)
    assert torch.equal(values, clean)
    assert first.values.shape == values.shape
    assert first.values.dtype == dtype
    assert first.values.isfinite().all()
    if first.mask is not None:
        assert first.mask.shape == values.shape
        assert torch.equal(first.values[~first.mask], values[~first.mask])
        if shape is not None:
            assert (first.values[first.mask] == 0).all()


@pytest.mark.parametrize("level", [0.0, (0.0, 0.0)])
@every_case
def test_level_zero_changes_nothing(name, shape, level):
    values = rows_of(shape)
    same = corrupt(name, level, values, shape).values
    if shape is None:
        assert torch.equal(same, values)
    torch.testing.assert_close(same, values)


@pytest.mark.parametrize("name", TABLE)
def test_rows_of_a_table_draw_their_own_level_from_a_range(name):
    values = rows_of(None)

    def spread(level):
        """How much the strength differs from row to row, relative to its mean."""
        corrupted = corrupt(name, level, values)
        strength = (corrupted.values - values).abs() / values.std(dim=0)
        if corrupted.mask is not None:
            strength = corrupted.mask.double()
        strength = strength.mean(dim=1)
        return strength.std() / strength.mean()

    assert spread((0.1, 0.7)) > spread(0.4) + 0.1


@shaped_case
def test_every_row_draws_its_own_level_from_a_range(name, shape):
    values = rows_of(shape)[:1].repeat(200, 1)
    top = 1.0 if name in SHARES else 2.0
    copies = corrupt(name, (0.2 * top, top), values, shape).values
    distinct = {"horizontal_flip": 2, "vertical_flip": 2}.get(name, 20)
    assert len(torch.unique(copies, dim=0)) >= distinct


@pytest.mark.parametrize("level", [0.5, 1.0])
@pytest.mark.parametrize("smallest", [(1, 1, 1), (2, 1, 3), (1, 1), (2, 2)])
@shaped_case
def test_the_smallest_images_and_sequences(name, shape, smallest, level):
    if len(smallest) == len(shape):
        values = rows_of(smallest, 7)
        assert corrupt(name, level, values, smallest).values.isfinite().all()


# -- what is refused -----------------------------------------------------------------


@every_case
def test_levels_above_one_are_refused_where_they_are_shares(name, shape):
    def from_class():
        made = corruption[name].make
        return made(1.5) if shape is None else made(1.5, shape)

    if name in SHARES:
        with pytest.raises(
            ValueError, match=rf"corruption_level=1\.5 is not a share.*views='{name}'"
        ):
            make_corruption(name, 1.5, "views", shape)
        with pytest.raises(ValueError, match=r"level=1\.5 is not a share: with [A-Z]"):
            from_class()
    else:
        assert make_corruption(name, 1.5, input_shape=shape).level == 1.5
        assert from_class().level == 1.5


def test_which_levels_are_shares():
    assert {*SHARES} >= {"masking", "salt_and_pepper", "swap", "scarf", "subset", "mixup"}
    assert not {*SHARES} & {"gaussian", "multiplicative", "blur", "rotation", "jitter"}

    class Own(MaskingNoise):
        """A subclass has the metadata of the class it inherits from."""

    with pytest.raises(ValueError, match=r"level=1\.5 is not a share: with Own"):
        Own(1.5)


@pytest.mark.parametrize(
    "level", [(0.5, 0.1), (-0.1, 0.2), (0.1,), "strong", (None, 1), (0, np.inf), -1]
)
def test_levels_and_ranges_are_checked(level):
    with pytest.raises(ValueError, match="corruption_level must be a number"):
        make_corruption("gaussian", level)
    with pytest.raises(ValueError, match=r"^level must be a number"):
        GaussianNoise(level)


@shaped_case
def test_a_row_of_another_shape_is_named(name, shape):
    with pytest.raises(ValueError, match=f"views='{name}' needs input_shape="):
        make_corruption(name, 0.1, "views")
    wrong = (4,) if name == "blur" else (IMAGE if len(shape) == 2 else SEQUENCE)
    with pytest.raises(ValueError, match=r"needs input_shape=\(channels, .* got"):
        make_corruption(name, 0.1, "views", wrong)


# -- several copies, several corruptions, callables ----------------------------------


@every_case
def test_two_views_are_drawn_independently(name, shape):
    values = rows_of(shape)
    level = 0.5 if shape is None else "auto"
    views = TwoViews(make_corruption(name, level, input_shape=shape)).fit(values)
    corrupted = views(values, generator())
    first, second = corrupted.values.split(len(values))
    assert first.shape == second.shape == values.shape
    assert not torch.equal(first, second)
    if corrupted.mask is not None:
        assert corrupted.mask.shape == corrupted.values.shape
    if corrupted.mask is not None and shape is None:
        both = (corrupted.mask[:N] & corrupted.mask[N:]).double().mean()
        assert float(both) == pytest.approx(0.25, abs=0.02)


def test_copies_are_independent():
    copies = Copies(make_corruption("masking", 0.5), 3)(rows_of(None), generator())
    first, second, third = copies.mask.split(N)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    assert copies.values.shape == (3 * N, D)


def test_masks_of_several_are_joined_where_all_are_known():
    values = rows_of(IMAGE) + 1
    both = Composed([MaskingNoise(0.3), MaskingNoise(0.3)])(values, generator())
    assert torch.equal(both.mask, both.values == 0)
    noisy = Composed([MaskingNoise(0.3), GaussianNoise(0.1)]).fit(values)
    assert noisy(values, generator()).mask is None


def test_a_callable_is_a_corruption():
    values = rows_of(None)
    corrupted = make_corruption(lambda x: x.mul_(2), 0.1)(values, generator())
    assert torch.equal(corrupted.values, 2 * values)
    wrong = make_corruption(lambda x: x[:, :1], 0.1)
    with pytest.raises(ValueError, match=rf"\({N}, {D}\).*got \({N}, 1\)"):
        wrong(values, generator())
    # doubles, as NumPy's constants make them, would not fit the weights
    doubles = make_corruption(lambda x: x * torch.ones(D).double(), 0.1)
    singles = doubles(values.float(), generator()).values
    assert singles.dtype == torch.float32
