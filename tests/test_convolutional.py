"""Convolutional networks: exact shapes, every loss and penalty, and better pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    DenoisingAutoencoder,
    ReconstructionOutlierDetector,
)
from sklearn_repr.inspection import reconstruction_r2
from sklearn_repr.modules.convolutional import ConvOptions, conv_decoder, conv_encoder


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [2, 3, 5])
def test_every_size_comes_back(stride, kernel_size):
    for size in range(5, 34):
        for shape in [(1, size), (2, size, 38 - size)]:
            options = ConvOptions(shape, (3, 4), kernel_size, stride)
            with torch.device("meta"):  # shapes without numbers
                rows = torch.empty(2, int(np.prod(shape)))
                code = conv_encoder(options, 3)(rows)
                assert code.shape == (2, 3)
                assert conv_decoder(options, 3)(code).shape == rows.shape


def test_a_convolution_sees_neighbours_only():
    options = ConvOptions((1, 16), (2,), 3, 1)
    first = conv_encoder(options, 2)[:2]
    row = torch.zeros(1, 16)
    row[0, 5] = 1.0
    touched = (first(row) != first(torch.zeros(1, 16))).any(dim=1)[0]
    assert touched.nonzero().flatten().tolist() == [4, 5, 6]


@pytest.fixture(scope="module")
def images():
    """600 digits of 8 by 8 pixels, in [0, 1]."""
    return load_digits().data[:600] / 16


CONV = {"architecture": "conv", "input_shape": (1, 8, 8), "scaling": None}


@pytest.mark.parametrize(
    "estimator",
    [
        AutoencoderTransformer(4, **CONV),
        AutoencoderTransformer(4, loss="binary_cross_entropy", **CONV),
        AutoencoderTransformer(4, loss="cauchy", penalty="contractive", **CONV),
        AutoencoderTransformer(
            20, penalty=["topk", "l1"], dropout=0.1, layer_norm=True, stride=3, **CONV
        ),
        DenoisingAutoencoder(4, corruption="rotation", corruption_level=(5, 20), **CONV),
        DenoisingAutoencoder(
            4, corruption="masking", n_corruptions=3, hidden_layer_sizes=(4,), **CONV
        ),
        ContrastiveEmbedder(4, **CONV),
        AutoencoderTransformer(
            4, architecture="conv", input_shape=(2, 32), kernel_size=5, scaling=None
        ),
    ],
    ids=repr,
)
def test_it_composes_and_learns(estimator, images):
    short = clone(estimator).set_params(max_iter=8, random_state=0)
    fitted = clone(short).fit(images[:160])
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    Z = fitted.transform(images)
    assert Z.shape == (600, estimator.n_components)
    np.testing.assert_array_equal(fitted.transform(images[5:6])[0], Z[5])
    if hasattr(fitted, "inverse_transform"):
        np.testing.assert_array_equal(
            fitted.reconstruct(images[7:9]), fitted.reconstruct(images)[7:9]
        )
    np.testing.assert_array_equal(Z, short.fit(images[:160]).transform(images))


def test_it_rebuilds_better_than_pca(images):
    train, test = images[:450], images[450:]
    settings = {"n_components": 4, "scaling": None, "random_state": 0, "max_iter": 60}
    conv = AutoencoderTransformer(
        architecture="conv",
        input_shape=(1, 8, 8),
        hidden_layer_sizes=(32, 64),
        learning_rate_init=0.002,
        **settings,
    ).fit(train)
    pca = reconstruction_r2(PCA(4).fit(train), test)
    assert conv.score(test) > pca + 0.05


def test_outliers_among_images(images):
    noise = np.random.default_rng(0).permuted(images[500:], axis=1)
    detector = ReconstructionOutlierDetector(
        AutoencoderTransformer(8, max_iter=20, **CONV), scaling=None, random_state=0
    ).fit(images[:500])
    inliers, outliers = map(detector.anomaly_score, (images[500:], noise))
    assert np.median(outliers) > np.quantile(inliers, 0.95)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_shape": None}, "input_shape must say what a row is"),
        ({"input_shape": (1, 8, 9)}, r"\(1, 8, 9\) does not fit rows of 64 columns"),
        ({"input_shape": (1, 8.0, 8)}, "does not fit rows of 64 columns"),
        ({"input_shape": (64,)}, "does not fit rows of 64 columns"),
        ({"hidden_layer_sizes": ()}, "without a convolution"),
        ({"tied_weights": True}, "tied_weights=True needs"),
    ],
)
def test_what_does_not_fit_is_named(images, settings, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(4, **{**CONV, **settings}).fit(images)


def test_moving_corruptions_need_images(images):
    for name, level in (("rotation", 10), ("translation", 0.1)):
        with pytest.raises(ValueError, match=f"corruption='{name}' needs input_shape"):
            DenoisingAutoencoder(4, corruption=name, corruption_level=level).fit(images)
    with pytest.raises(ValueError, match="does not fit rows of 64 columns"):
        DenoisingAutoencoder(4, corruption="rotation", input_shape=(1, 4, 4)).fit(images)
    with pytest.raises(
        ValueError, match=r"needs input_shape=\(channels, height, width\)"
    ):
        DenoisingAutoencoder(4, corruption="rotation", input_shape=(1, 64)).fit(images)
