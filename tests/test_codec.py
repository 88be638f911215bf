"""The codec: comparable columns in, original units out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import rankdata
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler

from sklearn_repr._contracts import Block
from sklearn_repr.data import NumericCodec

SCALINGS = ["standard", "robust", "quantile", "value_and_rank", None]


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
    assert codec.blocks_ == (Block("numeric", 0, 5),)
    assert codec.n_encoded_ == 5
    assert codec.encode(X).observed is None


@pytest.mark.parametrize("scaling", SCALINGS[:-1])
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


@pytest.mark.parametrize("scaling", ["standard", "robust", "value_and_rank"])
def test_small_units_and_long_offsets_are_no_rounding_noise(scaling):
    t = np.linspace(0, 1, 50)
    X = np.c_[1e-12 * t, 1.7e9 + 1000 * t]  # farads, seconds since 1970
    spread = NumericCodec(scaling, "float64").fit(X).scale(X).std(axis=0)
    assert ((spread > 0.3) & (spread < 3)).all()


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
@pytest.mark.parametrize("value", [1.2345678e20, 1.7e18 + 256, -1 / 3])
@pytest.mark.parametrize("n", [2, 3, 7, 1000])
def test_constant_columns_are_encoded_as_zero(scaling, value, n):
    rows = np.full((n, 1), value)
    assert not NumericCodec(scaling).fit(rows).scale(rows).any()


@pytest.mark.parametrize("scaling", ["standard", "robust", "value_and_rank"])
def test_tiny_units_are_scaled_as_any_other(X, scaling):
    expected = NumericCodec(scaling, "float64").fit(X).scale(X)
    tiny = 1e-20 * X
    found = NumericCodec(scaling, "float64").fit(tiny).scale(tiny)
    np.testing.assert_allclose(found, expected, atol=1e-9)


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


def standard(column):
    return (column - column.mean()) / column.std()


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["ties", "some ties", "no ties"])
def test_value_and_rank_is_the_mean_of_the_two(decimals):
    rng = np.random.default_rng(0)
    X = np.exp(rng.normal(size=(400, 3))).round(decimals)
    encoded = NumericCodec("value_and_rank", "float64").fit(X).scale(X)
    for column, mean in zip(X.T, encoded.T, strict=True):
        by_hand = (standard(column) + standard(rankdata(column))) / 2
        np.testing.assert_allclose(mean, by_hand, atol=1e-12)


def test_ranks_are_interpolated_and_end_with_the_training_range():
    X = np.array([[0.0], [1.0], [4.0], [5.0]])
    codec = NumericCodec("value_and_rank", "float64").fit(X)
    rank = 2 * codec.scale([[2.5], [-1e3], [1e3]]) - (
        np.array([[2.5], [-1e3], [1e3]]) - X.mean()
    ) / X.std(axis=0)
    ends = standard(np.arange(4.0))
    np.testing.assert_allclose(rank.ravel(), [0, ends[0], ends[-1]], atol=1e-9)
    new = np.array([[-7.0], [0.3], [4.9], [70.0]])
    np.testing.assert_allclose(codec.decode(codec.scale(new)), new, rtol=1e-9)


def test_ranks_of_many_values_are_kept_in_bounded_space():
    column = np.random.default_rng(0).normal(size=(20_000, 1))
    codec = NumericCodec("value_and_rank", "float64").fit(column)
    assert len(codec.curve_.knots_[0][0]) == 1000
    by_hand = (standard(column[:, 0]) + standard(rankdata(column))) / 2
    np.testing.assert_allclose(codec.scale(column)[:, 0], by_hand, atol=5e-3)


def test_missing_cells_have_no_rank():
    X = np.array([[1.0, np.nan], [2.0, 5.0], [np.nan, 6.0], [3.0, 7.0]])
    encoded = NumericCodec("value_and_rank", "float64").fit(X).scale(X)
    np.testing.assert_array_equal(np.isnan(encoded), np.isnan(X))
    column = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(encoded[[0, 1, 3], 0], standard(column), atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e4, -1e7])
@pytest.mark.parametrize("writeable", [True, False])
def test_single_precision_loses_nothing_to_the_centre(offset, writeable):
    rng = np.random.default_rng(0)
    rows = (offset + rng.normal(size=(500, 3)) * [1.0, 7.0, 30.0]).astype(np.float32)
    codec = NumericCodec("standard").fit(rows)
    expected = (rows.astype(np.float64) - codec.center_) / codec.scale_
    before = rows.copy()
    rows.flags.writeable = writeable
    np.testing.assert_allclose(codec.scale(rows), expected, rtol=4e-7, atol=4e-7)
    np.testing.assert_array_equal(rows, before)
