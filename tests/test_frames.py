"""Any frame as it is: numbers, categories, booleans, text and holes."""

from __future__ import annotations

import copy
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow
import pytest
from conftest import ESTIMATORS, RECONSTRUCTORS, WRAPPERS, each, fast
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from sklearn_repr import (
    AutoencoderImputer,
    AutoencoderTransformer,
    ContrastivePredictiveCoder,
    MaskedAutoencoder,
    PairedEmbedder,
    ReconstructionOutlierDetector,
    VariationalAutoencoder,
)
from sklearn_repr.data import Columns
from sklearn_repr.estimators import _reconstructor

# sequences are of numbers
OF_TABLES = [e for e in ESTIMATORS if "categorical_features" in e.get_params()]
OF_TABLES += WRAPPERS
# the imputer leaves the choice of categories to its estimator
OF_CATEGORIES = [e for e in OF_TABLES if "categorical_features" in e.get_params()]
TWO_KINDS = [AutoencoderTransformer(2), MaskedAutoencoder(2)]


def brief(estimator):
    estimator = fast(estimator)
    wanted = {"max_iter": 3, "n_steps": 10, "n_components": 2}
    names = estimator.get_params()
    return estimator.set_params(**{k: v for k, v in wanted.items() if k in names})


def mixed(n=60, seed=0, holes=True):
    """Numbers, and categories that follow from them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "age": x + 0.1 * rng.normal(size=n),
            "count": rng.integers(0, 9, n),
            "colour": np.where(x > 0, "red", np.where(x > -1, "green", "blue")),
            "member": rng.random(n) < 0.4,
            "size": pd.Categorical(rng.choice(["s", "m", "l"], n), ["s", "m", "l"]),
        },
        index=[f"row{i}" for i in range(n)],
    )
    if holes:
        frame.loc[frame.index[::7], "age"] = np.nan
        frame.loc[frame.index[3::9], "colour"] = None
    return frame


def as_object(frame):
    return frame.astype(
        {"colour": object, "size": object, "member": object, "count": object}
    )


def nullable(frame):
    return frame.astype(
        {"age": "Float64", "count": "Int64", "colour": "string", "member": "boolean"}
    )


def backed_by_pyarrow(frame):
    kinds = {
        "age": pyarrow.float64(),
        "count": pyarrow.int64(),
        "member": pyarrow.bool_(),
    }
    text = pd.ArrowDtype(pyarrow.string())
    types = {name: pd.ArrowDtype(kind) for name, kind in kinds.items()}
    return frame.astype({**types, "colour": text, "size": "category"})


def of_polars(frame):
    columns = {
        name: [None if v is None or v != v else v for v in frame[name].astype(object)]
        for name in frame
    }
    return pl.DataFrame(columns).with_columns(pl.col("size").cast(pl.Categorical))


CONTAINERS = [lambda f: f, as_object, nullable, backed_by_pyarrow, of_polars]
NAMES = ["pandas", "object", "nullable", "pyarrow", "polars"]


def results(fitted, frame):
    """Return what an estimator says of rows, in numbers."""
    for name in ("transform", "score_samples"):
        if hasattr(fitted, name):
            said = getattr(fitted, name)(frame)
            break
    return said.to_numpy() if hasattr(said, "to_numpy") else np.asarray(said)


def fit(estimator, frame):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(frame)


@pytest.mark.parametrize("container", CONTAINERS, ids=NAMES)
@each([e for e in OF_TABLES if e not in WRAPPERS])
def test_frames_of_every_kind_give_the_same_bits(estimator, container):
    reference = results(fit(brief(estimator), mixed()), mixed(20, seed=1))
    fitted = fit(brief(estimator), container(mixed()))
    np.testing.assert_array_equal(
        results(fitted, container(mixed(20, seed=1))), reference
    )


@each(OF_TABLES)
def test_a_frame_of_categories_only(estimator):
    frame = mixed()[["colour", "member", "size"]]
    said = results(fit(brief(estimator), frame), frame)
    assert len(said) == len(frame)
    if not isinstance(estimator, AutoencoderImputer):
        assert np.isfinite(said).all()


@each(OF_TABLES)
def test_unknown_missing_and_single_levels_and_a_thousand(estimator):
    frame = mixed(300)
    frame["name"] = [f"n{i}" for i in range(300)]
    frame["one"] = "same"
    fitted = fit(brief(estimator), frame)
    other = frame.copy()
    other.loc[other.index[:5], "colour"] = "never seen"
    other.loc[other.index[5:9], "size"] = None
    other.loc[other.index[9], "one"] = "other"
    said = results(fitted, other)
    assert len(said) == 300
    if not isinstance(estimator, AutoencoderImputer):
        assert np.isfinite(said).all()
        assert (said[:5] != results(fitted, frame)[:5]).any()


@each(OF_TABLES)
def test_holes_where_fit_had_none_and_rows_of_holes_alone(estimator):
    fitted = fit(brief(estimator), mixed(holes=False))
    other = nullable(mixed(30, seed=2))
    other.iloc[0] = pd.NA
    said = results(fitted, other)
    assert len(said) == 30
    if not isinstance(estimator, AutoencoderImputer):
        assert np.isfinite(said).all()


@each(OF_TABLES)
def test_columns_in_another_order_are_an_error(estimator):
    fitted = fit(brief(estimator), mixed())
    with pytest.raises(ValueError, match="feature names"):
        results(fitted, mixed()[["colour", "age", "count", "member", "size"]])
    with pytest.raises(ValueError, match=r"feature names|features"):
        results(fitted, mixed().assign(extra=1.0))
    with pytest.raises(ValueError, match="feature names"):
        results(fitted, mixed().rename(columns={"age": "years"}))


@each(OF_TABLES)
def test_columns_of_another_kind_are_named(estimator):
    fitted = fit(brief(estimator), mixed())
    with pytest.raises(ValueError, match="'age' held numbers in fit"):
        results(fitted, mixed().assign(age="x"))
    with pytest.raises(ValueError, match="'colour' held text in fit"):
        results(fitted, mixed().assign(colour=3.0))
    lossless = mixed().assign(count=mixed()["count"].astype(float))
    np.testing.assert_array_equal(results(fitted, lossless), results(fitted, mixed()))


@each(OF_TABLES)
def test_dates_and_columns_without_a_cell_are_named(estimator):
    dated = mixed().assign(day=pd.Timestamp("2026-01-01"))
    with pytest.raises(ValueError, match=r"'day' holds dates.*TableVectorizer"):
        brief(estimator).fit(dated)
    for empty in (np.nan, None):
        with pytest.raises(ValueError, match=r"'gone'.* no observed value"):
            brief(estimator).fit(mixed().assign(gone=empty))


@each(OF_CATEGORIES)
def test_text_that_is_left_out_is_named(estimator):
    partly = brief(estimator).set_params(categorical_features=["colour"])
    with pytest.raises(ValueError, match="'member' holds text, categories or booleans"):
        partly.fit(mixed())
    with pytest.raises(ValueError, match="'colour' cannot be read as numbers"):
        brief(estimator).set_params(categorical_features=None).fit(mixed())


@each(OF_TABLES)
def test_names_of_levels_and_their_order_do_not_matter(estimator):
    frame = mixed()
    names = {"red": "zz", "green": "aa", "blue": "mm"}
    renamed = frame.assign(colour=frame["colour"].map(names))
    renamed["size"] = frame["size"].cat.reorder_categories(["l", "s", "m"])
    one, other = fit(brief(estimator), frame), fit(brief(estimator), renamed)
    if isinstance(estimator, AutoencoderImputer):
        back = one.transform(frame)["colour"].map(names)
        assert (other.transform(renamed)["colour"].astype(object) == back).all()
    else:
        np.testing.assert_array_equal(results(one, frame), results(other, renamed))


@pytest.mark.parametrize("declared", [[False, True, False], [1], "names"])
@each(OF_CATEGORIES)
def test_integers_that_are_declared_to_be_categories(estimator, declared):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=50), rng.integers(3, 6, 50), rng.random(50)])
    table = X
    if declared == "names":
        table, declared = pd.DataFrame(X, columns=["a", "b", "c"]), ["b"]
    fitted = brief(estimator).set_params(categorical_features=declared)
    fit(fitted, table)
    if hasattr(fitted, "inverse_transform"):
        back = fitted.inverse_transform(fitted.transform(table))
        assert set(np.asarray(back)[:, 1]) <= {3.0, 4.0, 5.0}
        assert type(back) is type(table)
    assert len(results(fitted, table)) == 50


@each(RECONSTRUCTORS)
def test_what_comes_back_speaks_the_language_of_the_frame(estimator):
    frame = mixed()
    fitted = fit(brief(estimator), frame)
    tables = [
        fitted.inverse_transform(fitted.transform(frame)),
        fitted.reconstruct(frame),
        fitted.impute(frame),
    ]
    if isinstance(fitted, VariationalAutoencoder):
        tables.append(fitted.sample(len(frame), random_state=0))
    for table in tables:
        assert list(table.columns) == list(frame.columns)
        assert table["size"].dtype == frame["size"].dtype
        assert table["member"].dtype == bool
        assert table["colour"].isin(["red", "green", "blue"]).all()
        assert table["age"].dtype == np.float64
    for table in tables[1:3]:
        assert list(table.index) == list(frame.index)
    assert fitted.impute(nullable(frame))["age"].dtype == "Float64"


@pytest.mark.parametrize("container", CONTAINERS, ids=NAMES)
@each([*RECONSTRUCTORS, *WRAPPERS])
def test_observed_cells_are_kept_bit_for_bit(estimator, container):
    frame = container(mixed())
    fitted = fit(brief(estimator), frame)
    filled = (fitted.impute if hasattr(fitted, "impute") else fitted.transform)(frame)
    assert type(filled) is type(frame)
    given = frame.to_pandas() if isinstance(frame, pl.DataFrame) else frame
    made = filled.to_pandas() if isinstance(filled, pl.DataFrame) else filled
    known = given.notna().to_numpy()
    assert not made.isna().to_numpy().any()
    cells = made.astype(object).to_numpy()[known]
    assert (cells == given.astype(object).to_numpy()[known]).all()


@each(RECONSTRUCTORS)
def test_integers_come_back_as_integers_where_asked(estimator):
    frame = nullable(mixed())
    frame.loc[frame.index[:9], "count"] = pd.NA
    fitted = fit(brief(estimator), frame)
    assert fitted.impute(frame)["count"].dtype == "Float64"
    assert fitted.impute(frame, round_integers=True)["count"].dtype == "Int64"


@pytest.mark.parametrize(
    "dtype", ["UInt8", "uint8[pyarrow]", "Int8", "Int64", pl.UInt8, pl.Int8, pl.Int64]
)
def test_integers_that_come_back_stay_in_the_range_of_their_type(dtype):
    if isinstance(dtype, str):
        z = pd.array([1, 2, None, None, None], dtype=dtype)
        frame = pd.DataFrame({"z": z, "word": list("uvuvu")})
    else:
        z = pl.Series("z", [1, 2, None, None, None], dtype=dtype)
        frame = pl.DataFrame([z, pl.Series("word", list("uvuvu"))])
    columns = Columns().fit(frame)
    rows = np.array([[9, 9, -1e30, 1e30, 2.6], [0, 1, 0, 1, 0]]).T
    filled = columns.fill(frame, rows, round_integers=True)["z"]
    assert filled.dtype == z.dtype
    kind = np.iinfo(str(dtype).lower().removesuffix("[pyarrow]"))
    # the largest integer that is a float, where not all are
    high = min(kind.max, 2**63 - 2**10)
    assert filled.to_list() == [1, 2, kind.min, high, 3]


def test_observed_integers_that_are_no_floats_are_kept():
    large = pd.array([2**60 + 1, None, 3, 4] * 10, dtype="Int64")
    frame = pd.DataFrame({"x": np.arange(40.0), "z": large, "word": ["u", "v"] * 20})
    filled = fit(AutoencoderTransformer(1, max_iter=2), frame).impute(
        frame, round_integers=True
    )
    assert filled["z"][0] == 2**60 + 1
    assert filled["z"].notna().all()


@pytest.mark.parametrize("container", [nullable, backed_by_pyarrow], ids=NAMES[2:4])
def test_columns_come_back_in_their_types(container):
    frame = container(mixed()).assign(single=np.arange(60, dtype=np.float32))
    fitted = fit(AutoencoderTransformer(1, max_iter=2), frame)
    others = [name for name in frame if name != "count"]  # integers become floats
    for table in (fitted.reconstruct(frame), fitted.impute(frame)):
        assert (table.dtypes[others] == frame.dtypes[others]).all()
    assert fitted.reconstruct(frame)["count"].dtype == np.float64


def test_floats_of_polars_keep_their_precision():
    frame = of_polars(mixed()).with_columns(pl.col("age").cast(pl.Float32))
    fitted = fit(AutoencoderTransformer(1, max_iter=2), frame)
    assert fitted.impute(frame).dtypes == frame.dtypes
    assert fitted.reconstruct(frame)["age"].dtype == pl.Float32


@each([*OF_TABLES, ContrastivePredictiveCoder(2)])
def test_arrays_with_missing_cells(estimator):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    holed = np.where(rng.random(X.shape) < 0.2, np.nan, X)
    fitted = fit(brief(estimator), holed)
    takes_sparse = get_tags(estimator).input_tags.sparse
    for table in (holed, X, sparse.csr_matrix(holed))[: 2 + takes_sparse]:
        said = results(fitted, table)
        assert np.isfinite(said).all()
    for first in range(3):  # a row is the same alone and with others
        alone = results(fitted, holed[[first, first]])
        np.testing.assert_array_equal(alone[:1], results(fitted, holed)[[first]])


@each(RECONSTRUCTORS)
def test_holes_neither_help_nor_hurt_the_error_of_a_row(estimator):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 8))  # nothing to learn: every cell costs the same
    fitted = fit(brief(estimator), X)
    if isinstance(fitted, VariationalAutoencoder):
        fitted.net_.module_.log_noise.data.zero_()
    whole = fitted.reconstruction_error(X).mean()
    holed = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    assert fitted.reconstruction_error(holed).mean() == pytest.approx(whole, rel=0.15)


@each(TWO_KINDS)
def test_grid_search_over_a_frame(estimator):
    search = GridSearchCV(brief(estimator), {"max_categories": [2, 4]}, cv=2, n_jobs=2)
    fit(search, mixed())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    fit(make_pipeline(clone(estimator).set_params(max_iter=2), PCA(1)), mixed())


def test_outliers_are_explained_in_labels():
    frame = mixed(200)
    detector = fit(ReconstructionOutlierDetector(n_steps=30, random_state=0), frame)
    cells = detector.explain(frame, as_frame=True)
    assert len(cells) == frame.size
    colours = cells[cells["column"] == "colour"]
    assert set(colours["expected"]) <= {"red", "green", "blue"}
    assert set(colours["observed"]) == {"red", "green", "blue", None}
    missing = cells[cells["observed"].isna()]
    assert (missing["contribution"] == 0).all()
    sums = cells.groupby("row", sort=False)["contribution"].sum()
    np.testing.assert_allclose(sums, detector.anomaly_score(frame))


DETECTORS = [{}, {"novelty": True}, {"estimator": PCA(2)}]


@pytest.mark.parametrize("options", DETECTORS)
@pytest.mark.parametrize("levels", [False, True])
def test_holes_neither_help_nor_hurt_an_outlier_score(levels, options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 8))  # nothing to learn: every cell costs the same
    holed = np.where(rng.random(X.shape) < 0.4, np.nan, X)
    if levels:
        X, holed = (pd.DataFrame(table, columns=list("abcdefgh")) for table in (X, holed))
        word = pd.Series(rng.choice(["u", "v"], 300))
        X["i"], holed["i"] = word, word.where(rng.random(300) < 0.6)
    detector = ReconstructionOutlierDetector(**options, n_steps=30, random_state=0)
    whole = fit(detector, X).anomaly_score(X).mean()
    found = detector.anomaly_score(holed)
    assert found.mean() == pytest.approx(whole, rel=0.25)
    np.testing.assert_allclose(detector.explain(holed).sum(axis=1), found)


@pytest.mark.parametrize("options", DETECTORS)
def test_outliers_of_unknown_levels(options):
    frame = mixed(300, holes=False)
    detector = ReconstructionOutlierDetector(**options, n_steps=60, random_state=0)
    fit(detector, frame)
    place = list(frame).index("size")
    unknown = detector.explain(frame.assign(size="xxl"))
    for level in ("s", "m", "l"):
        known = detector.explain(frame.assign(size=level))
        assert (unknown[:, place] > known[:, place]).mean() > 0.95
    assert (detector.anomaly_score(frame.assign(size="xxl")) > 0).all()
    missing = detector.explain(frame.assign(size=None))
    assert (missing[:, place] == 0).all()


def test_a_detector_takes_the_holes_that_its_estimator_takes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4))
    X[::5, 1] = np.nan
    for estimator in (MaskedAutoencoder(2, max_iter=3), PCA(2)):
        detector = ReconstructionOutlierDetector(estimator, random_state=0)
        assert np.isfinite(fit(detector, X).anomaly_score(X)).all()


def test_the_second_table_of_a_pair_may_be_a_frame():
    frame = mixed()
    paired = fit_pair = PairedEmbedder(2, max_iter=2, random_state=0)
    fit_pair.fit(np.random.default_rng(0).normal(size=(60, 3)), frame)
    assert np.isfinite(paired.transform_y(frame)).all()


def test_an_imputer_beside_scikit_learns():
    frame = mixed(100)
    imputer = AutoencoderImputer(
        MaskedAutoencoder(2, max_iter=3, random_state=0), add_indicator=True
    )
    filled = fit(imputer, frame).transform(frame)
    names = [*frame.columns, "missingindicator_age", "missingindicator_colour"]
    assert list(filled.columns) == names == list(imputer.get_feature_names_out())
    np.testing.assert_array_equal(
        filled["missingindicator_age"], frame["age"].isna().astype(float)
    )
    array = frame[["age", "count"]].to_numpy()
    theirs = SimpleImputer(add_indicator=True).fit_transform(array)
    ours = fit(clone(imputer), array).transform(array)
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(ours[:, 1:], theirs[:, 1:])


def test_an_imputer_rounds_and_draws_where_asked():
    frame = nullable(mixed(100))
    frame.loc[frame.index[:9], "count"] = pd.NA
    model = MaskedAutoencoder(2, max_iter=3, random_state=0)
    imputer = AutoencoderImputer(model, random_state=0)
    plain = fit(imputer, frame).transform(frame)
    assert plain["count"].dtype == "Float64"
    rounded = imputer.set_params(round_integers=True).transform(frame)
    assert rounded["count"].dtype == "Int64"
    np.testing.assert_array_equal(rounded["count"], plain["count"].round())
    drawn = [
        fit(
            clone(imputer).set_params(sample_posterior=True, random_state=seed), frame
        ).transform(frame)
        for seed in (0, 0, 1)
    ]
    hidden = frame["age"].isna()
    ages = [table["age"][hidden].to_numpy() for table in (plain, *drawn)]
    assert (ages[0] != ages[1]).all()
    assert (ages[1] == ages[2]).all()
    assert (ages[1] != ages[3]).all()


def test_a_network_that_does_not_look_for_holes_fills_again_what_it_filled(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 8))
    hidden = rng.random(X.shape) < 0.2
    holed = np.where(hidden, np.nan, X)
    fitted = AutoencoderTransformer(2, hidden_layer_sizes=(), random_state=0).fit(holed)
    error = np.square((fitted.impute(holed) - X)[hidden]).mean()
    monkeypatch.setattr(_reconstructor, "IMPUTATION_STEPS", 0)
    once = np.square((fitted.impute(holed) - X)[hidden]).mean()
    assert error < 0.8 * once


@each([MaskedAutoencoder(2, max_iter=5), VariationalAutoencoder(2, max_iter=5)])
def test_draws_of_missing_cells_scatter_and_means_do_not(estimator):
    frame = mixed(100)
    imputer = fit(AutoencoderImputer(estimator, random_state=0), frame)
    hidden = frame["age"].isna().to_numpy()
    one = imputer.transform(frame)["age"][hidden]
    assert (one == imputer.transform(frame)["age"][hidden]).all()
    draws = []
    for seed in range(40):
        drawn = imputer.estimator_.impute(
            frame, sample_posterior=True, random_state=seed
        )["age"]
        assert (drawn[~hidden] == frame["age"][~hidden]).all()
        draws.append(drawn[hidden])
    spread = np.std(draws, axis=0) / frame["age"].std()
    assert 0.02 < spread.mean() < 2
    with pytest.raises(ValueError, match="sample_posterior=True needs"):
        fit(AutoencoderTransformer(2, max_iter=2), frame).impute(
            frame, sample_posterior=True
        )


# -- columns of objects ------------------------------------------------------------------

OBJECTS = {
    "tuples": ([(1, 2), (3, 4)], r"objects of type tuple\. .*name the column"),
    "bytes": ([b"a", b"b"], r"objects of type bytes\. .*name the column"),
    "lists": ([[1], [2]], r"objects of type list\. Take them apart"),
    "complex": ([1j, 2.0 + 1j], r"complex numbers\. Turn them into real numbers"),
    "several": ([1, "a"], r"numbers and text\. .*name the column"),
    "nothing": ([None, None], r"no observed value\. Drop the column"),
}


@pytest.mark.parametrize("dtype", [object, None])
@pytest.mark.parametrize(("values", "message"), OBJECTS.values(), ids=OBJECTS)
def test_what_is_neither_number_nor_category_is_said(values, message, dtype):
    frame = pd.DataFrame({"x": range(20), "odd": pd.Series(values * 10, dtype=dtype)})
    with pytest.raises(ValueError, match=f"'odd'.* {message}"):
        AutoencoderTransformer(1, max_iter=2).fit(frame.assign(word="w"))


def test_tuples_may_be_declared_to_be_levels():
    frame = pd.DataFrame({"x": range(20), "pair": [(1, 2), (3, 4)] * 10})
    for table in (frame, frame.to_numpy(dtype=object)):
        model = AutoencoderTransformer(1, categorical_features=[1], max_iter=2)
        rebuilt = np.asarray(fit(model, table).reconstruct(table), dtype=object)
        assert rebuilt.shape == (20, 2)
        assert set(rebuilt[:, 1]) <= {(1, 2), (3, 4)}


def test_numbers_of_several_types_are_numbers():
    odd = [Fraction(1, 2), 3, True, None] * 5
    plain = pd.DataFrame({"x": np.arange(20.0), "odd": [0.5, 3.0, 1.0, np.nan] * 5})
    frame = plain.assign(odd=pd.Series(odd, dtype=object), word="w")
    one = fit(AutoencoderTransformer(1, max_iter=2, random_state=0), frame)
    other = clone(one).fit(plain.assign(word="w"))
    np.testing.assert_array_equal(results(one, frame), results(other, frame))


def test_levels_of_another_kind_are_an_error():
    fitted = fit(AutoencoderTransformer(1, max_iter=2), mixed())
    for value, kind in ((b"red", "bytes"), (pd.Timestamp(0), "Timestamp")):
        other = mixed().assign(colour=pd.Series([value] * 60, mixed().index))
        with pytest.raises(ValueError, match=f"'colour' held text in fit.* {kind} now"):
            fitted.transform(other)


@each(TWO_KINDS)
def test_lists_of_rows_keep_numbers_as_numbers(estimator):
    table = mixed(holes=False).to_numpy(dtype=object)
    model = brief(estimator).set_params(categorical_features=[2, 3, 4])
    reference = fit(model, table)
    of_lists = fit(clone(model), table.tolist())
    np.testing.assert_array_equal(
        reference.transform(table), of_lists.transform(table.tolist())
    )
    holed = [*table[:-1].tolist(), [1.5, None, "red", True, "s"]]
    filled = of_lists.impute(holed)
    assert filled[-1][0] == 1.5
    assert isinstance(filled[-1][1], float)
    assert filled[0].tolist() == table[0].tolist()


def test_names_and_positions_may_be_mixed():
    model = AutoencoderTransformer(1, max_iter=2, random_state=0)
    one = clone(model).set_params(categorical_features=["colour", 3, np.int64(4)])
    np.testing.assert_array_equal(
        results(fit(one, mixed()), mixed()), results(fit(model, mixed()), mixed())
    )


@pytest.mark.parametrize("other", [lambda f: f, lambda f: f.to_numpy()])
def test_a_frame_of_polars_is_filled_from_any_table(other):
    frame = mixed()
    fitted = fit(AutoencoderTransformer(1, max_iter=2), of_polars(frame))
    filled = fitted.impute(other(frame))
    assert isinstance(filled, pl.DataFrame)
    expected = fitted.impute(of_polars(frame))
    assert filled.to_dicts() == expected.to_dicts()


def test_tables_without_rows_and_those_to_be_computed_are_said_to_be_so():
    model = AutoencoderTransformer(1, max_iter=2)
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        model.fit(mixed().iloc[:0])
    with pytest.raises(TypeError, match=r"LazyFrame.* pass X\.collect\(\)"):
        model.fit(of_polars(mixed()).lazy())
    fitted = fit(model, of_polars(mixed()))
    with pytest.raises(TypeError, match=r"LazyFrame.* pass X\.collect\(\)"):
        fitted.transform(of_polars(mixed()).lazy())


@pytest.mark.parametrize("names", [[5, 6, 7, 8, 9], [("a", i) for i in range(5)]])
def test_explanations_name_columns_as_the_frame_does(names):
    frame = mixed().set_axis(pd.Index(names), axis=1)
    detector = fit(ReconstructionOutlierDetector(PCA(1)), frame)
    assert set(detector.explain(frame, as_frame=True)["column"]) == set(names)


@each([e for e in OF_CATEGORIES if "warm_start" in e.get_params()])
def test_what_is_a_category_must_stay_so_under_a_warm_start(estimator):
    fitted = fit(brief(estimator).set_params(warm_start=True), mixed())
    fit(fitted, mixed())
    for changed in ({"max_categories": 2}, {"categorical_features": [1, 2, 3, 4]}):
        other = copy.deepcopy(fitted).set_params(**changed)
        with pytest.raises(ValueError, match=f"{next(iter(changed))} was"):
            other.fit(mixed())
