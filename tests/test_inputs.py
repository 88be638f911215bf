"""Any container, dtype and size; clear errors that change nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import (
    ESTIMATORS,
    RECONSTRUCTORS,
    TRANSFORMERS,
    each,
    fast,
    public_methods,
)
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    DenoisingAutoencoder,
)
from sklearn_repr.corruptions import MarginalSwap

NAMES = list("abcde")


@each(ESTIMATORS)
@pytest.mark.parametrize(
    "container",
    [
        lambda X: X.tolist(),
        np.asfortranarray,
        lambda X: pd.DataFrame(X, columns=NAMES),
        lambda X: pl.DataFrame(X, schema=NAMES),
        sparse.csr_array,
        sparse.csr_matrix,
        sparse.coo_array,
    ],
    ids=["list", "fortran", "pandas", "polars", "csr_array", "csr_matrix", "coo_array"],
)
def test_containers_give_the_same_result(estimator, container, X):
    X = np.round(X, 3)
    if sparse.issparse(container(X)) and not get_tags(estimator).input_tags.sparse:
        with pytest.raises(TypeError, match="Sparse data was passed for X"):
            fast(estimator).fit(container(X))
        return
    expected = fast(estimator).fit(X)
    got = fast(estimator).fit(container(X))
    for name in public_methods(estimator):
        result = getattr(got, name)(container(X))
        np.testing.assert_array_equal(getattr(expected, name)(X), result, err_msg=name)
    if hasattr(estimator, "score"):
        assert expected.score(X) == got.score(container(X))


@each(ESTIMATORS)
@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint16", "int64", "bool"]
)
def test_real_dtypes(estimator, dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2 if dtype == "bool" else 100, size=(60, 4)).astype(dtype)
    fitted = fast(estimator).fit(X)
    for name in public_methods(estimator):
        result = getattr(fitted, name)(X)
        assert np.isfinite(result).all()
        if name in ("transform", "reconstruct"):
            assert result.dtype == ("float32" if dtype == "float32" else "float64")


@each(ESTIMATORS)
@pytest.mark.parametrize("n", [1, 2, 3, 31, 33])
@pytest.mark.parametrize("d", [1, 4])
def test_any_size(estimator, n, d):
    X = np.random.default_rng(n).normal(size=(n, d))
    settings = {"batch_size": 32, "n_components": 2}
    estimator = fast(estimator)
    names = estimator.get_params()
    estimator.set_params(**{k: v for k, v in settings.items() if k in names})
    if n < getattr(estimator, "_min_rows", 1):
        with pytest.raises(ValueError, match="1 sample"):
            estimator.fit(X)
        return
    fitted = estimator.fit(X)
    for name in public_methods(fitted):
        result = getattr(fitted, name)(X)
        assert len(result) == n
        assert np.isfinite(result).all()
    if hasattr(fitted, "score"):
        assert np.isfinite(fitted.score(X))


@each(ESTIMATORS)
@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", None])
def test_constant_columns_never_explode(estimator, scaling, X):
    X = np.c_[X / X.std(axis=0), np.full(len(X), 7.0), np.zeros(len(X))]
    fitted = fast(estimator).set_params(scaling=scaling).fit(X)
    moved = X.copy()
    moved[:, -2:] += 1e-4
    for name in public_methods(fitted):
        before, after = getattr(fitted, name)(X), getattr(fitted, name)(moved)
        np.testing.assert_allclose(before, after, rtol=0.02, atol=0.02, err_msg=name)


@each(TRANSFORMERS)
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output(estimator, container, X):
    frame = pd.DataFrame(X, columns=NAMES, index=np.arange(len(X)) + 5)
    fitted = fast(estimator).set_output(transform=container).fit(frame)
    out = fitted.transform(frame)
    assert list(out.columns) == list(fitted.get_feature_names_out())
    if container == "pandas":
        assert (out.index == frame.index).all()
    if hasattr(fitted, "inverse_transform"):
        for back in (fitted.inverse_transform(out), fitted.reconstruct(frame)):
            assert list(back.columns) == NAMES
            assert type(back) is type(out)
            np.testing.assert_allclose(back.to_numpy(), fitted.reconstruct(frame))
        if container == "pandas":
            assert (fitted.reconstruct(frame).index == frame.index).all()


@each(RECONSTRUCTORS)
@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", None])
def test_inverse_transform_speaks_original_units(estimator, scaling, X):
    if scaling is None:
        X = X / X.std(axis=0)
    estimator = fast(estimator).set_params(scaling=scaling, n_components=5)
    rebuilt = estimator.fit(X).reconstruct(X)
    share = 1 - np.square(rebuilt - X).mean(axis=0) / X.var(axis=0)
    assert (share > 0.9).all()


@each(ESTIMATORS)
def test_bad_tables_are_refused_and_the_fit_survives(estimator, X):
    frame = pd.DataFrame(X, columns=NAMES)
    fitted = fast(estimator).fit(frame)
    method = public_methods(fitted)[0]
    before = getattr(fitted, method)(frame)

    def broken(value):
        bad = frame.copy()
        bad.loc[3, "c"] = value
        return bad

    worded = frame.astype(object)
    worded.loc[0, "a"] = "red"
    cases = {
        r"contains infinity: column 'c' \(row 3\)": broken(np.inf),
        r"too large.*float32.*1e\+39 in column 'c' \(row 3\)": broken(1e39),
        r"'a' (holds numbers and text|held numbers|cannot be read as num)": worded,
        r"minimum of \d is required": frame.iloc[:0],
    }
    for message, bad in cases.items():
        for call in (fitted.fit, getattr(fitted, method)):
            with pytest.raises(ValueError, match=message):
                call(bad)
    with pytest.raises(ValueError, match="feature names should match"):
        getattr(fitted, method)(frame[NAMES[::-1]])
    with pytest.raises(ValueError, match=r"feature names|features"):
        getattr(fitted, method)(frame[NAMES[:3]])
    with pytest.raises(ValueError, match="has 3 features"):
        getattr(fitted, method)(X[:, :3])
    with pytest.raises(ValueError, match="Complex data not supported"):
        fitted.fit(X.astype(complex))
    assert list(fitted.feature_names_in_) == NAMES
    np.testing.assert_array_equal(getattr(fitted, method)(frame), before)


@each(TRANSFORMERS)
@pytest.mark.parametrize("scaling", ["standard", "quantile", None])
def test_infinity_in_single_precision_rows_for_a_double_network(
    estimator, scaling, X, recwarn
):
    rows = (X / X.std(axis=0)).astype(np.float32)
    fitted = fast(estimator).set_params(dtype="float64", scaling=scaling).fit(rows)
    rows[3, 2] = np.inf
    for call in (fitted.fit, fitted.transform):
        with pytest.raises(ValueError, match=r"infinity: column number 2 \(row 3\)"):
            call(rows)
    assert not [w for w in recwarn if w.category is RuntimeWarning]


@each(RECONSTRUCTORS)
def test_a_changed_parameter_does_not_reach_the_fitted_network(estimator, X):
    fitted = fast(estimator).set_params(n_components=2).fit(X)
    before = fitted.inverse_transform(fitted.transform(X))
    fitted.set_params(dtype="float64", n_components=3, scaling=None)
    np.testing.assert_array_equal(before, fitted.inverse_transform(fitted.transform(X)))


@each(RECONSTRUCTORS)
def test_lists_come_back_as_frames_if_frames_are_asked_for(estimator, X):
    fitted = fast(estimator).set_output(transform="pandas").fit(X)
    assert list(fitted.reconstruct(X.tolist()).columns) == ["x0", "x1", "x2", "x3", "x4"]
    assert np.isfinite(fitted.score(X.tolist()))


@each(TRANSFORMERS)
def test_far_out_rows_have_finite_embeddings(estimator, X):
    estimator = fast(estimator)
    if "layer_norm" in estimator.get_params():  # where it is not the rule anyway
        estimator.set_params(layer_norm=True)
    fitted = estimator.fit(X)
    assert np.isfinite(fitted.transform(X * 1e25)).all()


def test_wide_tables_can_be_fitted():
    X = np.random.default_rng(0).normal(size=(60, 3000))
    fitted = AutoencoderTransformer(5, max_iter=1, hidden_layer_sizes=(8,)).fit(X)
    assert fitted.transform(X).shape == (60, 5)


def test_a_corruption_given_as_an_object_stays_as_it_was(X):
    swap = MarginalSwap(0.3)
    DenoisingAutoencoder(2, corruption=swap, max_iter=1).fit(X)
    assert swap.get_params() == {"level": 0.3}
    assert not [name for name in vars(swap) if name.endswith("_")]


def test_contrastive_scores_compare_rows_with_each_other(X):
    fitted = fast(ContrastiveEmbedder()).set_params(batch_size=16).fit(X)
    with pytest.raises(ValueError, match="at least 2 rows"):
        fitted.score(X[:1])
    before = fitted.score(X)
    assert fitted.set_params(corruption_level=0.9, batch_size=4).score(X) == before


@pytest.mark.parametrize("views", ["subset", ["scarf"], [("subset", 0.3)]])
def test_views_that_are_the_same_are_warned_of_whatever_their_name(views, X):
    model = fast(ContrastiveEmbedder()).set_params(views=views, pairs="row")
    with pytest.warns(UserWarning, match=r"less than one cell.*at least 0\.34"):
        model.fit(X[:, :3])


def test_views_that_are_the_same_are_warned_of(X):
    with pytest.warns(UserWarning, match=r"less than one cell.*at least 0\.34"):
        fast(ContrastiveEmbedder(views="scarf", pairs="row")).fit(X[:, :3])


@each(ESTIMATORS)
def test_messages_name_columns_of_arrays_and_sparse_tables_by_position(estimator, X):
    takes_sparse = get_tags(estimator).input_tags.sparse
    for container in (np.asarray, sparse.csr_array)[: 1 + takes_sparse]:
        bad = X.copy()
        bad[4, 2] = -np.inf
        with pytest.raises(ValueError, match=r"infinity: column number 2 \(row 4\)"):
            fast(estimator).fit(container(bad))


@each(TRANSFORMERS)
def test_values_beyond_float32_after_scaling_are_refused(estimator, X):
    frame = pd.DataFrame(X, columns=NAMES)
    fitted = fast(estimator).fit(frame)
    frame.loc[3, "d"] = 3e38  # the column's spread is about a tenth
    with pytest.raises(ValueError, match=r"after scaling: 3e\+38 in column 'd'"):
        fitted.transform(frame)


@each(TRANSFORMERS)
def test_values_beyond_float32_are_welcome_in_double_precision(estimator, X):
    big = X.copy()
    big[:, 0] *= 1e60
    fitted = fast(estimator).set_params(dtype="float64").fit(big)
    assert np.isfinite(fitted.transform(big)).all()


@each(ESTIMATORS)
def test_use_before_fit(estimator, X):
    for name in public_methods(estimator):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(fast(estimator), name)(X)


@each(ESTIMATORS)
def test_unknown_values_of_parameters(estimator, X):
    fitted = fast(estimator).fit(X)
    method = public_methods(fitted)[0]
    before = getattr(fitted, method)(X)
    for name in set(fitted.get_params()) - {"random_state"}:
        old = fitted.get_params()[name]
        fitted.set_params(**{name: object()})
        with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of"):
            fitted.fit(X)
        fitted.set_params(**{name: old})
    np.testing.assert_array_equal(getattr(fitted, method)(X), before)
    with pytest.raises(ValueError, match="Invalid parameter 'n_component'"):
        fitted.set_params(n_component=3)


@pytest.mark.parametrize("sizes", [(8, 0), (8, -1), (8.5,), ["a"], (True,)])
def test_hidden_layer_sizes_are_checked(sizes, X):
    with pytest.raises(ValueError, match="hidden_layer_sizes must"):
        DenoisingAutoencoder(2, hidden_layer_sizes=sizes).fit(X)


@pytest.mark.parametrize("sizes", [8, (8,), [8, 4], np.array([8, 4])])
def test_hidden_layer_sizes_come_in_many_shapes(sizes, X):
    DenoisingAutoencoder(2, hidden_layer_sizes=sizes, max_iter=1).fit(X)


@each(RECONSTRUCTORS)
def test_codes_of_the_wrong_width_are_refused(estimator, X):
    fitted = fast(estimator).set_params(n_components=2).fit(X)
    with pytest.raises(ValueError, match=r"3 columns.*fitted with 2 components"):
        fitted.inverse_transform(np.zeros((4, 3)))


def test_a_level_above_one_names_its_parameter(X):
    with pytest.raises(ValueError, match=r"corruption_level=2 .*views='scarf'"):
        ContrastiveEmbedder(views="scarf", corruption_level=2).fit(X)
