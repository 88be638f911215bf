"""Large sparse tables are never made dense as a whole."""

import numpy as np
import pytest
import torch
from conftest import ESTIMATORS, each, fast
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from sklearn_repr import (
    AutoencoderImputer,
    AutoencoderTransformer,
    ContrastivePredictiveCoder,
    JointEmbeddingPredictor,
    MaskedAutoencoder,
    ReconstructionOutlierDetector,
)
from sklearn_repr.data import NumericCodec, blocks, scattered
from sklearn_repr.data.batches import hold_out
from sklearn_repr.data.blocks import encode_table
from sklearn_repr.data.scattered import ScatteredCells
from sklearn_repr.detection import sparse_tables
from sklearn_repr.detection.neighbours import SetNeighbours
from sklearn_repr.detection.sparse_tables import SparseSetNeighbours
from sklearn_repr.engine import ensembles
from sklearn_repr.modules import factors, linear, principal_subspace
from sklearn_repr.utils.validation import parts_of

N, D = 1600, 900
# cells that may be dense at a time, of more than five times as many in the table
MOST = 2**18 + 2**14


def table(n=N, d=D, density=0.02, seed=0):
    rng = np.random.default_rng(seed)
    X = sparse.random_array((n, d), density=density, format="csr", random_state=rng)
    X.data += 1.0
    return X


@pytest.fixture
def bounded(monkeypatch):
    """Small bounds, and sparse arrays that refuse to become dense beyond them."""
    monkeypatch.setattr(blocks, "POOL", 2**16)
    monkeypatch.setattr(scattered, "CELLS_AT_A_TIME", 2**15)
    monkeypatch.setattr(scattered, "CELLS_OF_A_SAMPLE", 2**16)
    monkeypatch.setattr(scattered, "DISTANCES_AT_A_TIME", 2**15)
    monkeypatch.setattr("sklearn_repr.data.batches.CELLS_OF_A_SAMPLE", 2**16)
    monkeypatch.setattr("sklearn_repr.data.codec.CELLS_AT_A_TIME", 2**15)
    monkeypatch.setattr("sklearn_repr.utils.scores.CELLS_AT_A_TIME", 2**15)
    monkeypatch.setattr(parts_of, "__defaults__", (2**15,))
    monkeypatch.setattr("sklearn_repr.estimators._reconstructor.CELLS_AT_ONCE", 2**15)
    monkeypatch.setattr(sparse_tables, "LARGE", 2**16)
    monkeypatch.setattr("sklearn_repr.detection.cells.LARGE", 2**16)
    monkeypatch.setattr(ensembles, "CELLS_PER_STEP", 2**17)
    monkeypatch.setattr(sparse_tables, "CELLS_AT_A_TIME", 2**15)
    seen = []

    def watched(kind):
        plain = kind.toarray

        def toarray(self, *args, **kwargs):
            cells = int(np.prod(self.shape))
            seen.append(cells)
            assert cells <= MOST, f"{self.shape} was made dense"
            return plain(self, *args, **kwargs)

        return toarray

    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.csc_array, sparse.coo_array):
        monkeypatch.setattr(kind, "toarray", watched(kind))

    read, scale = ScatteredCells.read, NumericCodec.scale

    def bounded_read(self, index, out):
        assert out.size <= MOST, f"{out.shape} encoded cells at once"
        return read(self, index, out)

    def bounded_scale(self, X, out=None):
        scaled = scale(self, X, out)
        assert scaled.size <= MOST, f"{scaled.shape} scaled cells at once"
        return scaled

    def no_copy(self, encoded):
        raise AssertionError(f"an encoded copy of {encoded.shape} is kept")

    monkeypatch.setattr(ScatteredCells, "read", bounded_read)
    monkeypatch.setattr(NumericCodec, "scale", bounded_scale)
    monkeypatch.setattr(blocks._Kept, "__init__", no_copy)
    return seen


SPARSE = [e for e in ESTIMATORS if get_tags(e).input_tags.sparse]


@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
@each(SPARSE)
def test_no_step_makes_a_large_sparse_table_dense(estimator, holes, bounded):
    X = table()
    if holes:
        X.data[::9] = np.nan
    model = fast(estimator)
    if "max_iter" in model.get_params():
        model.set_params(max_iter=2, batch_size=64)
    model.fit(X)
    names = ("transform", "reconstruction_error", "score_samples")
    for name in [name for name in names if hasattr(model, name)][:2]:
        found = getattr(model, name)(X)
        assert len(found) == N
        assert np.isfinite(found).all()
    if hasattr(model, "score") and type(estimator).__name__ != "SelfPaired":
        assert np.isfinite(model.score(X))
    if (
        holes
        and has_fit_parameter(estimator, "sample_weight")
        and hasattr(model, "score")
    ):
        model.fit(X, sample_weight=np.linspace(0.5, 1.5, N))
        assert np.isfinite(model.score(X, sample_weight=np.linspace(0.5, 1.5, N)))
    assert max(bounded) > 0


def test_the_bound_would_notice_a_dense_copy(bounded):
    with pytest.raises(AssertionError, match="was made dense"):
        table().toarray()


@pytest.mark.parametrize(
    "estimator",
    [
        JointEmbeddingPredictor(),
        ContrastivePredictiveCoder(),
        MaskedAutoencoder(architecture="transformer"),
    ],
    ids=["jepa", "cpc", "transformer"],
)
def test_what_compares_all_cells_refuses_sparse_tables(estimator):
    assert not get_tags(estimator).input_tags.sparse
    with pytest.raises(TypeError, match=r"Sparse data.*toarray"):
        estimator.fit(table(40, 16))


def test_a_large_sparse_table_needs_the_default_detector(bounded):
    detector = ReconstructionOutlierDetector(AutoencoderTransformer(2))
    with pytest.raises(ValueError, match=r"1600 x 900 cells .* `estimator`"):
        detector.fit(table())


@pytest.mark.parametrize(
    "scaling", [None, "standard", "robust", "quantile", "value_and_rank"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_encoded_cells_have_the_bits_of_dense_rows(scaling, dtype):
    X = table(200, 30, 0.3).astype(dtype)
    X.data[::11] = np.nan
    doubled = sparse.coo_array(X)
    doubled = sparse.coo_array(
        (np.r_[doubled.data, 1.0], (np.r_[doubled.row, 3], np.r_[doubled.col, 4])),
        shape=X.shape,
    )
    # with an entry that is stored twice
    X = sparse.csr_array((doubled.data, doubled.coords), shape=X.shape)
    codec = NumericCodec(scaling, "float32").fit(X)
    rows = np.empty(X.shape, np.float32)
    ScatteredCells(codec, X).read([slice(0, 120), np.arange(120, 200)], rows)
    np.testing.assert_array_equal(rows, codec.scale(X.toarray()))
    np.testing.assert_array_equal(rows, NumericCodec(scaling).fit(X.toarray()).scale(X))


def lazily(X, monkeypatch):
    monkeypatch.setattr(blocks, "POOL", 2**16)
    rows = encode_table(NumericCodec().fit(X), X)
    dense = NumericCodec().fit(X).scale(X).astype(np.float64)
    return rows.whole(), dense


def test_axes_and_factors_of_products_are_those_of_dense_rows(monkeypatch):
    rng = np.random.default_rng(0)
    X = table(800, 600, 0.05)
    # a few strong directions
    X = sparse.csr_array(
        X + sparse.csr_array(np.outer(rng.random(800) < 0.2, X[0:1].toarray()))
    )
    rows, dense = lazily(X, monkeypatch)
    products = rows.values.products()
    covariance = np.cov(dense.T, bias=True)
    vectors = rng.normal(size=(600, 3))
    np.testing.assert_allclose(products.times(vectors), covariance @ vectors, atol=1e-10)
    np.testing.assert_allclose(products.variance, covariance.diagonal(), atol=1e-10)
    variances = np.linalg.eigvalsh(covariance)[::-1]
    subspace = principal_subspace(rows.values, 3)
    np.testing.assert_allclose(subspace.variances[0], variances[0], rtol=1e-6)
    assert subspace.total == pytest.approx(variances.sum())
    assert len(subspace.axes) == 3

    exact = factors.fit_factors(torch.from_numpy(dense), 1)
    found = factors.fit_factors_to_products(products, 1)
    torch.testing.assert_close(
        found.weight.abs(), exact.weight.abs(), atol=1e-3, rtol=1e-2
    )
    torch.testing.assert_close(found.noise, exact.noise, atol=1e-3, rtol=1e-2)
    monkeypatch.setattr(linear, "MOST_AXES", 5)
    # a share that these axes do not reach takes all of them
    assert principal_subspace(rows.values).count_for_share(0.9) == 5


def test_weighted_rows_are_drawn_and_weigh_in_batches(monkeypatch):
    X, weights = table(700, 600, 0.05), np.arange(700) % 3.0
    monkeypatch.setattr(blocks, "POOL", 2**16)
    codec = NumericCodec(fill=True).fit(X, weights=weights)
    train, held_out = hold_out(encode_table(codec, X, weights), 0.25, seed=0)
    for rows in (train, held_out):
        (whole,) = rows.pools(None)
        batches = list(whole.split([len(whole)]))
        assert float(batches[0].weights.mean()) == pytest.approx(1.0)
        numbers = torch.from_numpy(whole.rows)
        ratio = batches[0].weights.double() / torch.from_numpy(weights)[numbers]
        assert float(ratio.nan_to_num().max()) == pytest.approx(
            float(ratio[ratio > 0].min())
        )
    # a row of weight 2 is twice in what is multiplied, one of weight 0 is not there
    products = encode_table(codec, X, weights).values.products()
    repeated = codec.scale(X)[np.repeat(np.arange(700), weights.astype(int))]
    covariance = np.cov(repeated.T.astype(float), bias=True)
    vectors = np.random.default_rng(0).normal(size=(600, 3))
    found = products.times(vectors)
    assert np.abs(found - covariance @ vectors).max() < 0.03 * np.abs(found).max()
    assert encode_table(codec, X, weights).some(50).weights is None


def test_missing_cells_of_sparse_rows_are_the_mean_and_not_observed(monkeypatch):
    X = table(300, 80, 0.1)
    X.data[::7] = np.nan
    codec = NumericCodec(fill=True).fit(X)
    monkeypatch.setattr(blocks, "POOL", 2**12)
    batch = encode_table(codec, X).whole().read()
    expected = codec.encode(X)
    np.testing.assert_array_equal(batch.values, expected.values)
    np.testing.assert_array_equal(batch.observed, expected.observed)
    products = encode_table(codec, X).values.products()
    dense = expected.values.double().numpy()
    np.testing.assert_allclose(products.mean, dense.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(products.variance, dense.var(axis=0), atol=1e-12)


def test_neighbours_by_sparse_products_are_those_of_distances(monkeypatch):
    rows, dense = lazily(table(150, 600, 0.05), monkeypatch)

    among = np.arange(0, 150, 2)
    found = rows.values.nearest(torch.from_numpy(among), 4).numpy()
    apart = cdist(dense, dense[among])
    apart[among, np.arange(len(among))] = np.inf
    near = np.sort(apart, axis=1)[:, :4]
    np.testing.assert_allclose(np.take_along_axis(apart, found, axis=1), near, rtol=1e-5)


def test_sets_of_sparse_rows_are_as_far_as_those_of_dense_ones():
    X = table(300, 80, 0.1)
    rows = X.toarray() - 0.5
    plain = SetNeighbours().fit(rows, np.random.default_rng(0))
    near = SparseSetNeighbours(np.full(80, -0.5)).fit(rows, np.random.default_rng(0))
    expected = plain.distances(rows)
    np.testing.assert_allclose(near.sums(rows), expected.sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(near.distances(rows).sum(axis=1), expected.sum(axis=1))
    # a row's bits do not depend on what comes with it
    np.testing.assert_array_equal(near.sums(rows)[7:9], near.sums(rows[7:9]))


def test_the_detector_of_a_large_table_finds_what_stands_out(bounded):
    X = sparse.lil_array(table())
    X[5, ::3] = 8.0
    X = sparse.csr_array(X)
    for novelty in (False, True):
        detector = ReconstructionOutlierDetector(
            novelty=novelty, n_steps=20, random_state=0
        ).fit(X)
        assert detector.training_scores_.argmin() == 5
        scores = detector.score_samples(X[:40])
        np.testing.assert_array_equal(scores, detector.training_scores_[:40])
        cells = detector.explain(X[:6])
        np.testing.assert_allclose(cells.sum(axis=1), -scores[:6], rtol=1e-6)


@pytest.mark.parametrize("novelty", [False, True])
def test_the_detector_takes_large_tables_with_missing_cells(novelty, bounded):
    X = sparse.lil_array(table())
    X[5, ::3] = 8.0
    X = sparse.csr_array(X)
    X.data[X.indptr[:-1:2]] = np.nan  # a cell in every other row
    detector = ReconstructionOutlierDetector(
        novelty=novelty, n_steps=20, random_state=0
    ).fit(X)
    assert detector.training_scores_.argmin() == 5
    holed = np.isnan(X[:40].sum(axis=1))
    assert 0 < holed.sum() < 40
    scores = detector.score_samples(X[:40])
    np.testing.assert_array_equal(scores, detector.training_scores_[:40])
    for rows in (holed, ~holed):
        np.testing.assert_array_equal(detector.score_samples(X[:40][rows]), scores[rows])
    cells = detector.explain(X[:40])
    assert (cells[np.isnan(X[:40].toarray())] == 0).all()
    np.testing.assert_allclose(cells.sum(axis=1), -scores, rtol=1e-6)


def test_the_imputer_is_fitted_to_a_large_sparse_table(bounded):
    X = table()
    X.data[::9] = np.nan
    model = MaskedAutoencoder(2, max_iter=1, batch_size=64, random_state=0)
    imputer = AutoencoderImputer(model, add_indicator=True).fit(X)
    holed = np.flatnonzero(np.isnan(X.sum(axis=0)))
    np.testing.assert_array_equal(imputer.indicator_features_, holed)
    assert imputer.transform(X[:20]).shape == (20, D + len(holed))


@pytest.mark.parametrize("weights", [None, np.arange(120) % 4.0], ids=["none", "some"])
def test_score_of_a_large_sparse_table_is_that_of_the_dense_one(weights, monkeypatch):
    X = table(120, 30, 0.2)
    X.data[::9] = np.nan
    model = fast(MaskedAutoencoder(2)).fit(X)
    expected = model.score(X, sample_weight=weights)
    monkeypatch.setattr("sklearn_repr.estimators._reconstructor.CELLS_AT_ONCE", 100)
    monkeypatch.setattr("sklearn_repr.utils.scores.CELLS_AT_A_TIME", 1000)
    assert model.score(X, sample_weight=weights) == pytest.approx(expected, rel=1e-10)
