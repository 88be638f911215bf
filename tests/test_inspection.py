"""reconstruction_r2: one number for PCA and ours."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import RECONSTRUCTORS, each, fast
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler

from sklearn_repr.inspection import reconstruction_r2


def test_for_pca_it_is_the_explained_variance(X):
    pca = PCA(2).fit(X)
    share = pca.explained_variance_ratio_.sum()
    assert reconstruction_r2(pca, X) == pytest.approx(share)


def test_it_is_scikit_learns_variance_weighted_r2(X):
    pipeline = make_pipeline(StandardScaler(), PCA(2)).fit(X)
    rebuilt = pipeline.inverse_transform(pipeline.transform(X))
    expected = r2_score(X, rebuilt, multioutput="variance_weighted")
    assert reconstruction_r2(pipeline, X) == pytest.approx(expected)


@each(RECONSTRUCTORS)
def test_the_score_of_ours_is_the_same_number(estimator, X):
    fitted = fast(estimator).fit(X)
    assert fitted.score(X) == reconstruction_r2(fitted, X)
    assert fitted.score(sparse.csr_array(X)) == fitted.score(X)
    framed = fitted.set_output(transform="pandas")
    assert framed.score(X) == fitted.score(X)


def round_trip(inverse):
    """Return a fitted transformer whose way back is not exact."""
    given = {"inverse_func": inverse, "check_inverse": False}
    return FunctionTransformer(lambda x: x, **given).fit([[0.0]])


def test_rows_without_variance():
    X = np.ones((3, 2))
    halve, exact = round_trip(lambda x: x / 2), round_trip(lambda x: x)
    assert reconstruction_r2(halve, X) == 0.0
    assert reconstruction_r2(exact, X) == 1.0


def test_tables_of_constants_that_no_float_hits_exactly():
    X = np.full((10, 3), 0.1)
    constant = round_trip(lambda x: x + 1e-17)
    assert reconstruction_r2(constant, X) == 1.0
    off = round_trip(lambda x: x + 1e-3)
    assert reconstruction_r2(off, X) == 0.0


def test_sparse_round_trips(X):
    rows = sparse.csr_array(np.abs(X))
    assert reconstruction_r2(MaxAbsScaler().fit(rows), rows) == pytest.approx(1.0)


def test_what_cannot_invert_is_named(X):
    with pytest.raises(TypeError, match="inverse_transform; KMeans has none"):
        reconstruction_r2(KMeans(2, n_init=1).fit(X), X)
