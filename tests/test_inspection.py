"""reconstruction_r2: one number for PCA and ours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import RECONSTRUCTORS, each, fast
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler

from sklearn_repr import AutoencoderTransformer
from sklearn_repr.inspection import reconstruction_r2
from sklearn_repr.utils import scores


def test_for_pca_of_standardised_columns_it_is_the_explained_variance(X):
    pipeline = make_pipeline(StandardScaler(), PCA(2)).fit(X)
    share = pipeline[-1].explained_variance_ratio_.sum()
    assert reconstruction_r2(pipeline, X) == pytest.approx(share)


def test_it_is_scikit_learns_r2_and_units_do_not_matter(X):
    pca = PCA(2).fit(X)
    rebuilt = pca.inverse_transform(pca.transform(X))
    expected = r2_score(X, rebuilt)
    assert reconstruction_r2(pca, X) == pytest.approx(expected)
    constant = np.c_[X, np.full(len(X), 7.0)]
    assert reconstruction_r2(PCA(2).fit(constant), constant) == pytest.approx(expected)
    other = X * [1e6, 1e-6, 1, 1, 1] + [0, 1, 1e3, 0, 0]
    pipeline = make_pipeline(StandardScaler(), PCA(2))
    assert reconstruction_r2(pipeline.fit(other), other) == pytest.approx(
        reconstruction_r2(pipeline.fit(X), X)
    )


def test_a_column_that_is_rebuilt_worse_than_by_its_mean_counts_as_nothing():
    X = np.column_stack([np.arange(4.0), [0, 0, 0, 1e-3]])
    off = round_trip(lambda x: x + np.array([0.0, 1.0]))
    assert reconstruction_r2(off, X) == 0.5


def test_rows_are_added_up_in_parts(X, monkeypatch):
    pipeline = make_pipeline(StandardScaler(), PCA(2)).fit(X)
    weights = np.random.default_rng(0).uniform(0, 2, len(X))
    whole = reconstruction_r2(pipeline, X, sample_weight=weights)
    fitted = AutoencoderTransformer(2, max_iter=2, random_state=0).fit(X)
    score = fitted.score(X, sample_weight=weights)
    monkeypatch.setattr(scores, "CELLS_AT_A_TIME", 64)
    in_parts = reconstruction_r2(pipeline, X, sample_weight=weights)
    assert in_parts == pytest.approx(whole)
    assert fitted.score(X, sample_weight=weights) == pytest.approx(score)


@pytest.mark.parametrize("scoring", [None, reconstruction_r2])
def test_a_search_does_not_prefer_to_leave_large_columns_as_they_are(scoring):
    X = load_breast_cancer().data[::2]
    grid = {"scaling": ["standard", "robust", None]}
    model = AutoencoderTransformer(5, max_iter=20, random_state=0)
    search = GridSearchCV(model, grid, scoring=scoring, cv=2).fit(X)
    assert search.best_params_["scaling"] == "standard"
    assert search.cv_results_["mean_test_score"][2] < 0.7


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


def test_categories_are_sent_to_the_score_of_the_estimator():
    frame = pd.DataFrame({"x": range(20), "word": ["u", "v"] * 10})
    fitted = AutoencoderTransformer(1, max_iter=2).fit(frame)
    with pytest.raises(ValueError, match=r"compares tables of numbers.* score method"):
        reconstruction_r2(fitted, frame)
    assert 0 <= fitted.score(frame) <= 1
