"""The codec: comparable columns in, original units out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler

from sklearn_repr.data import NumericCodec

SCALINGS = ["standard", "robust", "quantile", None]


@pytest.mark.parametrize("scaling", SCALINGS)
def test_decode_inverts_encode(X, scaling):
    codec = NumericCodec(scaling, "float64").fit(X)
    np.testing.assert_allclose(codec.decode(codec.encode(X).values), X, rtol=1e-9)


@pytest.mark.parametrize(
    ("scaling", "scaler"),
    [
        ("standard", StandardScaler()),
        ("robust", RobustScaler()),
        (
            "quantile",
            QuantileTransformer(n_quantiles=133, output_distribution="normal"),
        ),
    ],
)
def test_scaling_is_that_of_scikit_learn(X, scaling, scaler):
    encoded = NumericCodec(scaling, "float64").fit(X).scale(X)
    np.testing.assert_allclose(encoded, scaler.fit_transform(X), atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_encoding_is_one_new_contiguous_tensor(X, scaling, dtype):
    codec = NumericCodec(scaling, dtype).fit(X)
    table = np.asfortranarray(X.astype(dtype))
    table.flags.writeable = False
    values = codec.encode(table).values
    assert values.is_contiguous()
    assert values.dtype is getattr(torch, dtype)
    assert values.data_ptr() != table.ctypes.data


def test_the_codec_tells_blocks_and_observed_cells(X):
    codec = NumericCodec().fit(X)
    assert [tuple(block) for block in codec.blocks_] == [("numeric", 0, 5)]
    assert codec.n_encoded_ == 5
    assert codec.encode(X).observed is None


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
@pytest.mark.parametrize(
    "column",
    [
        np.full(50, 7.0),
        np.full(50, 0.0),
        np.full(50, 1e20),
        0.1 + 1e-12 * np.arange(50),
        1e6 + 1e-2 * np.sin(np.arange(50)),
    ],
    ids=["constant", "zero", "huge", "rounding noise", "large with rounding noise"],
)
def test_constant_and_near_constant_columns_have_scale_one(scaling, column):
    X = np.c_[column, np.arange(50.0)]
    codec = NumericCodec(scaling, "float64").fit(X)
    moved = np.array([[column[0] + 1e-4, 3.0]])
    step = codec.scale(moved)[0, 0] - codec.scale(X[:1])[0, 0]
    assert abs(step) <= 1.1e-4
    assert np.abs(codec.scale(X)[:, 0]).max() <= max(1e-4, np.ptp(column))


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_small_units_and_long_offsets_are_no_rounding_noise(scaling):
    t = np.linspace(0, 1, 50)
    X = np.c_[1e-12 * t, 1.7e9 + 1000 * t]  # farads, seconds since 1970
    spread = NumericCodec(scaling, "float64").fit(X).scale(X).std(axis=0)
    assert ((spread > 0.3) & (spread < 3)).all()


def test_a_zero_inflated_column_keeps_a_robust_scale():
    X = np.zeros((100, 1))
    X[:20, 0] = np.linspace(1e4, 1e5, 20)
    assert np.abs(NumericCodec("robust").fit(X).scale(X)).max() < 10


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_row_is_encoded_alone_as_in_company(X, scaling):
    codec = NumericCodec(scaling).fit(X)
    together = codec.scale(X)
    alone = np.vstack([codec.scale(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(together, alone)


def test_sparse_rows_are_encoded_as_dense_ones(X):
    codec = NumericCodec().fit(sparse.csr_array(X))
    np.testing.assert_array_equal(
        codec.scale(sparse.csr_array(X)), NumericCodec().fit(X).scale(X)
    )
