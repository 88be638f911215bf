"""Views by name, in lists and in estimators, and embeddings that are mixed."""

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
from sklearn_repr.corruptions import Composed, GaussianNoise, corruption, make_views
from sklearn_repr.modules.mixing import LatentMixup

IMAGE = (2, 6, 9)


def rows_of(shape, n=500):
    generator = torch.Generator().manual_seed(9)
    return torch.rand(n, int(np.prod(shape)), generator=generator, dtype=torch.float64)


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


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ([], r"views=\[\] holds no view"),
        (["crop", "sharpen"], "no corruption 'sharpen'; there are 'blur',"),
        (["crop", 3], "views must hold names, pairs .* got 3"),
        ([("crop", 2)], r"corruption_level=2 .*views='crop' it must be between"),
        (["jitter"], r"Jitter needs input_shape=\(channels, length\); got \(2, 6, 9\)"),
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
            r"Crop needs input_shape=\(channels, height, width\); got \(1, 64\)",
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
def test_a_level_holds_for_names_without_one_and_auto_is_the_default(digits):
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
