"""Rows that LatentDiffusion draws look like the table that it saw, whatever that is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.preprocessing import OneHotEncoder

from sklearn_repr import LatentDiffusion, load, save


def quick(autoencoder=None, **settings):
    given = {"hidden_layer_sizes": (16,), "sampling_steps": 5, "max_steps": 20}
    return LatentDiffusion(autoencoder, **{**given, "random_state": 0, **settings})


@pytest.mark.parametrize("kind", ["classes", "words", "numbers"])
def test_files_know_what_rows_are_drawn_by(kind, tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    y = {"classes": y, "words": y.map(list("abc").__getitem__), "numbers": y / 2}[kind]
    model = quick(max_steps=2).fit(X, y)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    asked = {"n_samples": 3, "y": y.iloc[-1], "random_state": 0}
    pd.testing.assert_frame_equal(again.sample(**asked), model.sample(**asked))


def test_counts_may_be_integers_of_numpy():
    X = load_iris().data
    model = quick(max_steps=2).fit(X)
    assert model.sample(np.int64(3)).shape == (3, 4)
    assert model.interpolate(X[:1], X[1:2], np.int32(2)).shape == (2, 4)


def flags(n=200):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=n), "flag": rng.random(n) < 0.8})
    frame["step"] = pd.Categorical(rng.choice([3, 5, 9], n, p=[0.2, 0.3, 0.5]))
    return frame


# PCA and a model without categories take truth values and numbers of levels for numbers
@pytest.mark.parametrize(
    "model",
    [quick(PCA(3), max_steps=200), quick(categorical_features=None)],
    ids=["PCA", "numbers"],
)
def test_levels_that_were_read_as_numbers_are_still_themselves(model):
    X = flags()
    drawn = model.fit(X).sample(500, random_state=0)
    assert list(drawn.dtypes) == list(X.dtypes)
    assert drawn["flag"].mean() == pytest.approx(0.8, abs=0.12)
    shares = drawn["step"].value_counts(normalize=True)
    assert shares[9] > shares[3] > 0.05


def test_an_autoencoder_may_return_labels():
    X = pd.DataFrame({"k": ["a", "b", "b", "b"] * 20})
    drawn = quick(OneHotEncoder(sparse_output=False), max_steps=100).fit(X).sample(200)
    assert drawn["k"].value_counts().index.tolist() == ["b", "a"]


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "bool"])
@pytest.mark.parametrize("categories", [None, [0, 1, 2]])
def test_arrays_come_back_in_their_type(dtype, categories):
    X = np.random.default_rng(0).integers(0, 2, (60, 3)).astype(dtype)
    drawn = quick(categorical_features=categories, max_steps=2).fit(X).sample(9)
    assert drawn.dtype == dtype
    assert np.isin(drawn, X).all()


def test_an_array_of_objects_is_one_of_numbers_with_holes():
    X = np.array([[1, None], [2, 3.5], [4, 5]] * 10, dtype=object)
    drawn = quick().fit(X).sample(50, random_state=0)
    assert drawn.dtype == np.float64
    assert np.isnan(drawn[:, 1]).any()
    assert not np.isnan(drawn[:, 0]).any()


@pytest.mark.parametrize("dtype", ["Int64", "int32[pyarrow]"])
def test_integers_that_may_be_missing_stay_integers(dtype):
    X = pd.DataFrame({"n": pd.array([1, 2, None, 4] * 10, dtype=dtype)})
    drawn = quick().fit(X).sample(50, random_state=0)
    assert drawn["n"].dtype == dtype
    assert drawn["n"].isna().any()


def test_holes_of_categories_are_drawn_however_few_levels_they_have():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"yes": ["yes"] * 400, "rare": ["u"] * 388 + ["v"] * 12})
    X = X.where(rng.random(X.shape) < [0.5, 0.7])
    model = quick(max_steps=150, learning_rate_init=0.005, sampling_steps=18).fit(X)
    drawn = model.sample(1000, random_state=0)
    np.testing.assert_allclose(drawn.isna().mean(), X.isna().mean(), atol=0.05)
    assert set(drawn["rare"].dropna()) == {"u", "v"}
    unknown = X[:2].assign(rare="w")
    assert np.isfinite(model.score_samples(unknown)).all()
    filled = model.set_params(missing="fill").fit(X).sample(100, random_state=0)
    assert not filled.isna().any(axis=None)


def test_a_warm_start_goes_on_from_the_same_question():
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = quick(warm_start=True, max_steps=2).fit(X, y)
    before = model.sample(y=[0, 1, 2], random_state=0)
    for other, message in (
        (None, "warm_start=True cannot continue: the last fit was with y"),
        (y + 1, "y holds 3, a class that fit saw no row of"),
        (y / 2, r"y holds 0\.5, a class that fit saw no row of"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(X, other)
    pd.testing.assert_frame_equal(model.sample(y=[0, 1, 2], random_state=0), before)
    again = model.fit(X, y.where(y > 0))
    assert again.n_iter_ == 4
    np.testing.assert_array_equal(again.classes_, [0, 1, 2])
    coded = quick(PCA(2), warm_start=True, max_steps=2).fit(X)
    with pytest.raises(ValueError, match="autoencoder was"):
        coded.set_params(autoencoder=None).fit(X)
    model = quick(warm_start=True, max_steps=2).fit(X, y / 2)
    scale = model.fit(X, y / 2 + 9)._conditions.center_
    assert scale == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0.5, np.inf] * 75, "contains infinity"),
        ([0.0, np.inf] * 75, "contains infinity"),
        ([np.nan] * 150, "none: all are -1 or NaN"),
    ],
)
def test_bad_y_is_named_without_a_warning(y, message):
    with pytest.raises(ValueError, match=message):
        quick().fit(load_iris().data, y)


def test_numbers_may_be_missing_from_lists():
    model = quick(max_steps=2).fit(load_iris().data, [0.5, None, 1.5] * 50)
    assert model.classes_ is None
    assert model.sample(y=[1.0]).shape == (1, 4)
