"""Views of images and sequences: what they share, and the property that defines each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_repr import ContrastiveEmbedder, DenoisingAutoencoder
from sklearn_repr.corruptions import (
    Blur,
    Composed,
    GaussianNoise,
    MaskingNoise,
    TwoViews,
    corruption,
    make_corruption,
    make_views,
    pixels,
)
from sklearn_repr.modules.mixing import LatentMixup

IMAGE, SEQUENCE = (2, 6, 9), (3, 20)
SHAPED = [
    (entry.name, shape)
    for entry in corruption
    for shape in (IMAGE, SEQUENCE)
    if entry.takes("input_shape") and len(shape) in entry.make.shapes
]
each_view = pytest.mark.parametrize(("name", "shape"), SHAPED)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_of(shape, n=500, dtype=torch.float64):
    return torch.rand(n, int(np.prod(shape)), generator=generator(9), dtype=dtype)


def view(name, level, shape, values, seed=0):
    made = make_corruption(name, level, input_shape=shape).fit(values)
    return made(values, generator(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_view
def test_same_generator_same_view_and_clean_rows_stay_clean(name, shape, dtype):
    values = rows_of(shape, dtype=dtype)
    clean = values.clone()
    first = view(name, "auto", shape, values)
    assert torch.equal(first.values, view(name, "auto", shape, values).values)
    other = view(name, "auto", shape, values, seed=1)
    assert not torch.equal(first.values, other.values)
    assert torch.equal(values, clean)
    assert first.values.shape == values.shape
    assert first.values.dtype == dtype
    assert first.values.isfinite().all()
    if first.mask is not None:
        assert torch.equal(first.values[~first.mask], values[~first.mask])
        assert (first.values[first.mask] == 0).all()


@pytest.mark.parametrize("level", [0.0, (0.0, 0.0)])
@each_view
def test_level_zero_changes_nothing(name, shape, level):
    values = rows_of(shape)
    torch.testing.assert_close(view(name, level, shape, values).values, values)


@each_view
def test_every_row_draws_for_itself_from_a_range(name, shape):
    values = rows_of(shape)[:1].repeat(200, 1)
    top = 1.0 if corruption[name].metadata.get("share") else 2.0
    copies = view(name, (0.2 * top, top), shape, values).values
    distinct = {"horizontal_flip": 2, "vertical_flip": 2}.get(name, 20)
    assert len(torch.unique(copies, dim=0)) >= distinct


@each_view
def test_two_views_are_drawn_independently(name, shape):
    values = rows_of(shape)
    views = TwoViews(make_corruption(name, "auto", input_shape=shape)).fit(values)
    first, second = views(values, generator()).values.split(len(values))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("level", [0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 3), (1, 1), (2, 2)])
@pytest.mark.parametrize("name", sorted({name for name, _ in SHAPED}))
def test_the_smallest_images_and_sequences(name, shape, level):
    if len(shape) in corruption[name].make.shapes:
        values = rows_of(shape, 7)
        assert view(name, level, shape, values).values.isfinite().all()


@each_view
def test_levels_above_one_are_refused_where_they_are_shares(name, shape):
    if corruption[name].metadata.get("share"):
        with pytest.raises(ValueError, match=r"corruption_level=1\.5 is not a share"):
            make_corruption(name, 1.5, input_shape=shape)
    else:
        assert make_corruption(name, 1.5, input_shape=shape).level == 1.5


@each_view
def test_a_row_of_another_shape_is_named(name, shape):
    with pytest.raises(ValueError, match=f"views='{name}' needs input_shape="):
        make_corruption(name, 0.1, "views")
    wrong = (4,) if name == "blur" else (IMAGE if len(shape) == 2 else SEQUENCE)
    with pytest.raises(ValueError, match=r"need input_shape=\(channels, .* got"):
        make_corruption(name, 0.1, "views", wrong)


def test_every_name_has_a_default_level():
    for entry in corruption:
        level = entry.metadata["default_level"]
        assert 0 < level <= 1 or not entry.metadata.get("share")


# -- images ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "axis"), [("horizontal_flip", 3), ("vertical_flip", 2)])
def test_flips_mirror_and_twice_is_identity(name, axis):
    values = rows_of(IMAGE)
    once = view(name, 1.0, IMAGE, values).values
    mirrored = values.view(-1, *IMAGE).flip(axis).reshape(values.shape)
    assert torch.equal(once, mirrored)
    assert torch.equal(view(name, 1.0, IMAGE, once).values, values)
    half = (view(name, 0.3, IMAGE, values).values == values).all(dim=1)
    assert float(half.double().mean()) == pytest.approx(0.7, abs=0.07)


def test_crops_show_a_part_of_the_image_in_its_order():
    # a plane that rises to the right and, ten times as fast, downwards
    height, width = 12, 10
    right, down = torch.arange(width).double(), 10 * torch.arange(height).double()
    plane = (down[:, None] + right).view(1, -1).repeat(300, 1)
    crops = view("crop", 0.75, (1, height, width), plane).values
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


def test_blur_keeps_the_mean_and_stays_between_the_extremes():
    for shape in (IMAGE, SEQUENCE):
        values = rows_of(shape)
        shaped = values.view(-1, *shape).flatten(2)
        for level in ((0.3, 0.3), (2.0, 2.0), (50.0, 50.0)):
            blurred = view("blur", level, shape, values).values
            blurred = blurred.view(-1, *shape).flatten(2)
            torch.testing.assert_close(blurred.mean(dim=2), shaped.mean(dim=2))
            assert (blurred.amax(2) <= shaped.amax(2) + 1e-9).all()
            assert (blurred.amin(2) >= shaped.amin(2) - 1e-9).all()
            assert (blurred.var(dim=2) <= shaped.var(dim=2)).all()
    # far more than the image is wide: nothing but the mean is left, but for draws near 0
    assert float(blurred.std(dim=2).median()) < 1e-3


def test_blur_of_a_point_has_the_variance_of_its_level():
    length = 101
    point = torch.zeros(1, length, dtype=torch.float64)
    point[0, 50] = 1.0
    blur = Blur(3.0, (1, length))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "draw_between", lambda low, high, generator: high)
        spread = blur(point, generator()).values[0]
    place = torch.arange(length).double() - 50
    assert float((spread * place.square()).sum()) == pytest.approx(9.0, rel=1e-6)


def test_brightness_adds_a_constant_within_its_level():
    values = rows_of(IMAGE)
    shift = view("brightness", 0.5, IMAGE, values).values - values
    assert float(shift.std(dim=1).max()) < 1e-12
    largest = 0.5 * float(values.std(correction=0))
    assert 0.95 * largest < float(shift.abs().max()) <= largest
    assert float(shift.mean()) == pytest.approx(0.0, abs=0.1 * largest)


def test_contrast_stretches_about_the_mean_of_each_channel():
    values = rows_of(IMAGE)
    stretched = view("contrast", 0.5, IMAGE, values).values.view(-1, 2, 54)
    images = values.view(-1, 2, 54)
    torch.testing.assert_close(stretched.mean(dim=2), images.mean(dim=2))
    gain = stretched.std(dim=2) / images.std(dim=2)
    torch.testing.assert_close(gain[:, 0], gain[:, 1])
    assert 0.5 <= float(gain.min()) < 0.52
    assert 1.48 < float(gain.max()) <= 1.5


def test_cutout_is_one_rectangle_in_all_channels():
    values = rows_of((2, 20, 30), 300)
    mask = view("cutout", 0.4, (2, 20, 30), values).mask.view(-1, 2, 20, 30)
    assert torch.equal(mask[:, 0], mask[:, 1])
    rows, columns = mask[:, 0].any(dim=2), mask[:, 0].any(dim=1)
    assert torch.equal(mask[:, 0], rows[:, :, None] & columns[:, None, :])
    assert int(rows.sum(dim=1).max()) == 8
    assert int(columns.sum(dim=1).max()) == 12
    assert (rows.double().diff(dim=1).abs().sum(dim=1) <= 2).all()
    # its centre is anywhere, so that a corner is hit a quarter as often as the middle
    assert float(mask[:, 0, 10, 15].double().mean()) == pytest.approx(0.16, abs=0.07)
    assert mask.any(dim=(1, 2, 3)).all()


# -- sequences -------------------------------------------------------------------------


def test_jitter_goes_by_the_spread_of_the_channel():
    channel = torch.tensor([1.0, 10.0, 0.0], dtype=torch.float64).repeat_interleave(20)
    values = rows_of(SEQUENCE, 3000) * channel
    noise = (view("jitter", 0.5, SEQUENCE, values).values - values).view(-1, 3, 20)
    spread = values.view(-1, 3, 20).std(dim=(0, 2))
    np.testing.assert_allclose(noise.std(dim=(0, 2)), 0.5 * spread, rtol=0.02)
    assert (noise[:, 2] == 0).all()


def test_scaling_is_one_factor_a_channel():
    values = rows_of(SEQUENCE, 3000) + 1
    factor = (view("scaling", 0.2, SEQUENCE, values).values / values).view(-1, 3, 20)
    assert float(factor.std(dim=2).max()) < 1e-12
    assert float(factor.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(factor[..., 0].std()) == pytest.approx(0.2, rel=0.05)
    assert abs(float(torch.corrcoef(factor[..., 0].T)[0, 1])) < 0.1


def test_time_crops_keep_the_order_and_cover_their_share():
    length = 50
    ramp = torch.arange(length).double().repeat(400, 1)
    values = torch.cat([ramp, -ramp], dim=1)
    crops = view("time_crop", 0.6, (2, length), values).values.view(-1, 2, length)
    torch.testing.assert_close(crops[:, 0], -crops[:, 1])  # channels stay aligned
    steps = crops[:, 0].diff(dim=1)
    assert (steps > 0).all()
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps))
    share = steps[:, 0]
    assert 0.4 - 1e-9 <= float(share.min()) < 0.42
    assert 0.98 < float(share.max()) <= 1 + 1e-9
    assert crops[:, 0].min() >= 0
    assert crops[:, 0].max() <= length - 1


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_masked_windows_are_one_stretch_in_all_channels(level):
    mask = view("window_masking", level, SEQUENCE, rows_of(SEQUENCE)).mask
    mask = mask.view(-1, *SEQUENCE)
    assert (mask == mask[:, :1]).all()
    assert (mask[:, 0].sum(dim=1) == round(level * 20)).all()
    assert (mask[:, 0].double().diff(dim=1).abs().sum(dim=1) <= 2).all()
    if level == 0.3:  # every place that the window fits in is as likely
        first = mask[:, 0].double().argmax(dim=1)
        assert set(first.tolist()) == set(range(15))


# -- lists -----------------------------------------------------------------------------


def test_a_list_is_applied_in_its_order():
    values = rows_of(IMAGE)
    double, shift = (lambda x: 2 * x), (lambda x: x + 1)
    assert torch.equal(make_views([double, shift])(values, None).values, 2 * values + 1)
    assert torch.equal(make_views([shift, double])(values, None).values, 2 * values + 2)


def test_entries_bring_levels_of_their_own():
    noise = GaussianNoise(0.7)
    views = make_views(
        ["crop", ("rotation", 5), noise, ("masking", (0.1, 0.2))],
        0.25,
        input_shape=IMAGE,
    )
    assert isinstance(views, Composed)
    levels = [part.level for part in views.corruptions]
    assert levels == [0.25, 5, 0.7, (0.1, 0.2)]
    assert views.corruptions[2] is not noise
    assert make_views(["swap"]).level == corruption["swap"].metadata["default_level"]


def test_masks_of_a_list_are_joined_where_all_are_known():
    values = rows_of(IMAGE) + 1
    both = Composed([MaskingNoise(0.3), MaskingNoise(0.3)])(values, generator())
    assert torch.equal(both.mask, both.values == 0)
    assert (
        Composed([MaskingNoise(0.3), GaussianNoise(0.1).fit(values)])(
            values, generator()
        ).mask
        is None
    )


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([], r"views=\[\] holds no view"),
        (["crop", "sharpen"], "no corruption 'sharpen'; there are 'blur',"),
        (["crop", 3], "views must hold names, pairs .* got 3"),
        ([("crop", 2)], r"corruption_level=2 .*views='crop' it must be between"),
        (["jitter"], r"Views of sequences need .*Jitter got \(2, 6, 9\)"),
    ],
)
def test_bad_lists_are_named(views, message):
    with pytest.raises(ValueError, match=message):
        make_views(views, input_shape=IMAGE)


# -- in estimators ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:200] / 16


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize(
    ("views", "shape"),
    [
        (["crop", ("rotation", 10), "blur", "contrast", "cutout"], (1, 8, 8)),
        (["jitter", "scaling", "time_crop", "window_masking"], (2, 32)),
        (("crop", lambda x: x + 0.1 * torch.randn_like(x)), (1, 8, 8)),
        ("subset", None),
        ("mixup", None),
    ],
)
def test_contrastive_learning_from_views(views, shape, architecture, digits):
    if architecture == "conv" and shape is None:
        shape = (1, 8, 8)
    settings = {"max_iter": 6, "scaling": None, "random_state": 0, "batch_size": 50}
    model = ContrastiveEmbedder(
        8, architecture=architecture, input_shape=shape, views=views, **settings
    ).fit(digits)
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.score(digits) == model.score(digits)
    again = ContrastiveEmbedder(
        8, architecture=architecture, input_shape=shape, views=views, **settings
    ).fit(digits)
    np.testing.assert_array_equal(model.transform(digits), again.transform(digits))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"views": ["crop"]},
            r"views='crop' needs input_shape=\(channels, height, width",
        ),
        ({"views": "jitter"}, r"views='jitter' needs input_shape=\(channels, length"),
        (
            {"views": ["crop"], "input_shape": (1, 64)},
            r"Views of images need .*Crop got \(1, 64\)",
        ),
        ({"views": "crop", "input_shape": (1, 8, 9)}, "does not fit rows of 64 columns"),
    ],
)
def test_views_that_do_not_fit_are_refused_and_the_fit_survives(
    settings, message, digits
):
    model = ContrastiveEmbedder(4, max_iter=1, random_state=0).fit(digits)
    before = model.transform(digits)
    with pytest.raises(ValueError, match=message):
        model.set_params(**settings).fit(digits)
    np.testing.assert_array_equal(before, model.transform(digits))


@pytest.mark.filterwarnings("ignore:Training for")
def test_a_level_holds_for_names_without_one_and_auto_is_natural(digits):
    def curve(**settings):
        model = ContrastiveEmbedder(4, max_iter=4, random_state=0, **settings)
        return model.fit(digits).loss_curve_

    assert curve(views="swap") == curve(views=[("swap", 0.3)], corruption_level=0.9)
    assert curve(views="swap", corruption_level=0.4) == curve(views=[("swap", 0.4)])
    assert curve(views="swap", corruption_level=(0.1, 0.4)) != curve(views="swap")


def test_denoising_takes_the_views_of_images_and_sequences(digits):
    for name, shape in [("blur", (1, 8, 8)), ("window_masking", (1, 64))]:
        model = DenoisingAutoencoder(
            4, corruption=name, input_shape=shape, max_iter=2, random_state=0
        )
        assert model.fit(digits).n_iter_ == 2


# -- mixup in the latent ---------------------------------------------------------------


def test_mixed_embeddings_lie_between_two_rows():
    torch.manual_seed(0)
    mixed = LatentMixup(0.4)(torch.eye(50, dtype=torch.float64))
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(50, dtype=torch.float64))
    assert ((mixed > 0).sum(dim=1) == 2).all()
    assert 0 <= float(1 - mixed.diag().max()) < 0.05
    assert 0.35 < float(1 - mixed.diag().min()) <= 0.4
    one = torch.ones(1, 3)
    assert torch.equal(LatentMixup(0.4)(one), one)


@pytest.mark.parametrize(
    "settings", [{}, {"objective": "byol"}, {"architecture": "conv"}, {"chunk_size": 30}]
)
def test_latent_mixup_trains_and_leaves_embeddings_and_global_draws_alone(
    settings, digits
):
    def fitted(latent_mixup):
        model = ContrastiveEmbedder(
            8, input_shape=(1, 8, 8), latent_mixup=latent_mixup, max_iter=8
        ).set_params(random_state=0, **settings)
        return model.fit(digits)

    before = torch.get_rng_state()
    mixed, again, plain = fitted(0.3), fitted(0.3), fitted(0.0)
    assert torch.equal(before, torch.get_rng_state())
    assert mixed.loss_curve_ == again.loss_curve_ != plain.loss_curve_
    assert mixed.loss_curve_[-1] < mixed.loss_curve_[0]
    together = mixed.transform(digits)
    np.testing.assert_array_equal(together[3], mixed.transform(digits[3:4])[0])


def test_a_few_labels_go_further_on_the_embedding_of_images():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    embedder = ContrastiveEmbedder(
        64,
        architecture="conv",
        input_shape=(1, 8, 8),
        scaling=None,
        views=["crop", "rotation", "translation"],
        max_iter=80,
        random_state=0,
    ).fit(X[:1000])

    def probe(embed):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(embed(X[:100]), y[:100])
        return model.score(embed(X[1000:]), y[1000:])

    found = probe(embedder.transform)
    assert found > probe(lambda rows: rows) + 0.03
    assert found > probe(PCA(32).fit(X[:1000]).transform) + 0.06
