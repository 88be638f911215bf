"""Tables that are read in blocks, from memory or from a mapped file."""

import tracemalloc

import numpy as np
import pytest
import torch
from scipy import sparse

from sklearn_repr import AutoencoderTransformer, MaskedAutoencoder
from sklearn_repr.data import NumericCodec, blocks
from sklearn_repr.data.batches import BatchIterator, hold_out
from sklearn_repr.data.blocks import RowBlocks, encode_table
from sklearn_repr.modules import principal_subspace
from sklearn_repr.utils.mapped import forget, is_mapped
from sklearn_repr.utils.validation import parts_of

N, D = 5003, 8


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 64 rows, pools of some 2000."""
    monkeypatch.setattr(blocks, "BLOCK", 2**11)
    monkeypatch.setattr(blocks, "POOL", 2**16)
    monkeypatch.setattr(blocks, "FEWEST_ROWS", 64)


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3)) @ rng.normal(size=(3, D)) + 0.1 * rng.normal(size=(N, D))
    return (7 + X).astype("float32")


@pytest.fixture
def mapped(X, tmp_path):
    X.tofile(tmp_path / "table")
    return np.memmap(tmp_path / "table", np.float32, "r", shape=X.shape)


def encoded(X, **options):
    return encode_table(NumericCodec(**options).fit(X), X)


def test_small_tables_are_batches(X):
    assert not isinstance(encoded(X), RowBlocks)


@pytest.mark.usefixtures("small_blocks")
def test_every_row_comes_once_an_epoch_and_in_another_order_each(X):
    rows = encoded(X)
    whole = NumericCodec().fit(X).encode(X).values
    assert torch.equal(torch.cat(list(rows.values)), whole)
    assert torch.equal(rows.whole().values, whole)
    generator = torch.Generator().manual_seed(0)
    batches = BatchIterator(rows, 256, generator)
    epochs = [torch.cat([batch.values for batch in batches]) for _ in range(2)]
    assert not torch.equal(*epochs)
    for epoch in epochs:
        assert not torch.equal(epoch, whole)
        assert torch.equal(epoch[:, 0].sort().values, whole[:, 0].sort().values)
    assert len(batches) == sum(1 for _ in batches)
    # rows that were far apart meet in a batch
    place = {tuple(row.tolist()): i for i, row in enumerate(whole)}
    first = [place[tuple(row.tolist())] for row in next(iter(batches)).values]
    assert max(first) - min(first) > N // 2


@pytest.mark.usefixtures("small_blocks")
def test_held_out_blocks_are_not_trained_on(X):
    train, valid = hold_out(encoded(X), 0.2, seed=0)
    assert len(train) + len(valid) == N
    assert abs(len(valid) / N - 0.2) < 0.02
    seen = {tuple(row.tolist()) for row in train.whole().values}
    assert seen.isdisjoint(tuple(row.tolist()) for row in valid.whole().values)
    assert len(train.some(100)) <= 100
    assert len({tuple(row.tolist()) for row in train.some(100).values} - seen) == 0


@pytest.mark.usefixtures("small_blocks")
def test_labels_and_missing_cells_stay_with_their_rows(X):
    X[::7, 2] = np.nan
    rows = encoded(X, scaling=None)
    rows.labels = torch.arange(N)
    for pool in rows.pools(torch.Generator().manual_seed(0)):
        expected = torch.from_numpy(X)[pool.labels]
        assert torch.equal(pool.values.nan_to_num(), expected.nan_to_num())
        assert torch.equal(pool.observed, ~expected.isnan())
    some = rows.some(10)
    assert torch.equal(some.labels, torch.arange(0, N, -(-N // 10)))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("estimator", [AutoencoderTransformer, MaskedAutoencoder])
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_file_memory_and_sparse_matrix_fit_to_the_same_bits(
    estimator, scaling, X, mapped, monkeypatch
):
    def fitted(table):
        model = estimator(3, scaling=scaling, max_iter=2, random_state=0)
        return model.fit(table).transform(X[:50])

    expected = fitted(X)
    assert is_mapped(mapped)
    np.testing.assert_array_equal(fitted(mapped), expected)
    np.testing.assert_array_equal(fitted(sparse.csr_matrix(X)), expected)
    monkeypatch.setattr(blocks, "KEPT", 0)
    np.testing.assert_array_equal(fitted(X), expected)


@pytest.mark.usefixtures("small_blocks")
def test_linear_autoencoder_of_a_file_is_pca_of_all_rows(mapped):
    from sklearn.decomposition import PCA

    model = AutoencoderTransformer(
        3, hidden_layer_sizes=(), scaling=None, max_iter=2, random_state=0
    ).fit(mapped)
    codes, expected = model.transform(mapped), PCA(3).fit_transform(np.array(mapped))
    signs = np.sign((codes * expected).sum(axis=0))
    np.testing.assert_allclose(codes * signs, expected, atol=1e-3)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_scaling_in_parts_is_scaling_at_once(scaling, X, monkeypatch):
    X[:, 3] = 5.0
    X[::5, 4] = np.nan
    once = NumericCodec(scaling).fit(X)
    monkeypatch.setattr("sklearn_repr.data.codec.CELLS_AT_A_TIME", 1000)
    parts = NumericCodec(scaling).fit(X)
    np.testing.assert_allclose(parts.center_, once.center_, rtol=1e-12)
    np.testing.assert_allclose(parts.scale_, once.scale_, rtol=1e-12)
    np.testing.assert_array_equal(parts.constant_, once.constant_)


@pytest.mark.parametrize("scaling", ["robust", "quantile"])
def test_quantiles_of_a_sample_are_near_those_of_all(scaling, X, mapped, monkeypatch):
    once = NumericCodec(scaling).fit(X)
    monkeypatch.setattr("sklearn_repr.data.codec.CELLS_FOR_QUANTILES", 2500 * D)
    monkeypatch.setattr("sklearn_repr.data.codec.FEWEST_ROWS", 100)
    sampled = NumericCodec(scaling).fit(mapped)
    assert (sampled.scale(X) != once.scale(X)).any()
    assert np.quantile(np.abs(sampled.scale(X) - once.scale(X)), 0.99) < 0.2


def test_axes_of_parts_are_axes_of_the_whole(X):
    class Parts(list):
        shape = X.shape
        device = torch.device("cpu")

    values = torch.from_numpy(X)
    once = principal_subspace(values)
    parts = principal_subspace(Parts(values.split(700)))
    for one, other in zip(once, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_parts_make_up_the_table_and_views_of_a_file_are_known(X, mapped):
    parts = list(parts_of(mapped, cells=1000))
    np.testing.assert_array_equal(np.concatenate(parts), X)
    assert max(map(len, parts)) == 1000 // D
    for view in (mapped, np.asarray(mapped)[5:9], mapped[::-2], mapped[:, 2:4]):
        assert is_mapped(view)
        forget(view)
    assert not is_mapped(X)
    forget(X)
    np.testing.assert_array_equal(mapped, X)


def test_pages_that_were_written_to_are_kept(X, mapped):
    own = np.memmap(mapped.filename, np.float32, "c", shape=X.shape)
    own[:] = -1
    forget(own)
    assert (own == -1).all()


@pytest.mark.parametrize("method", ["transform", "reconstruction_error"])
def test_scoring_allocates_for_results_only(method, X):
    model = AutoencoderTransformer(3, max_iter=1, random_state=0).fit(X)
    big = np.tile(X, (40, 1))
    getattr(model, method)(big[:5000])
    tracemalloc.start()
    result = getattr(model, method)(big)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < result.nbytes + 2**20
