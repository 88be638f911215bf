"""Whether drawn rows pass for real: measures beside slow references and known answers."""

from __future__ import annotations

import warnings
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
import polars
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from sklearn_repr.inspection import (
    by_boosting,
    closeness,
    dependence_differences,
    exact_copy_share,
    manifold_precision_recall,
    marginal_distances,
    near_copy_share,
    synthetic_report,
    two_sample_auroc,
    usefulness,
)
from sklearn_repr.inspection._alike import read_alike

PAIRS = [
    marginal_distances,
    dependence_differences,
    two_sample_auroc,
    usefulness,
    manifold_precision_recall,
    exact_copy_share,
    synthetic_report,
]


def mixed(n, seed=0, shift=0.0):
    """Two numbers, one of them whole, and two categories, with holes in three columns."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n) + shift
    rooms = np.round(size + rng.normal(size=n)).astype("int64")
    city = np.where(
        size > rng.normal(size=n), "Oslo", rng.choice(["Rome", "Bonn", "Lima"], n)
    )
    frame = pd.DataFrame({"size": size, "rooms": rooms, "city": city, "new": size > 0.5})
    frame["new"] = frame["new"].astype(object).mask(rng.random(n) < 0.1)
    frame["city"] = frame["city"].mask(rng.random(n) < 0.1).astype("category")
    frame["size"] = frame["size"].mask(rng.random(n) < 0.2)
    return frame


@pytest.fixture
def few_trees(monkeypatch):
    """Boosting of few trees, for tests in which it is only handed through."""
    for name in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
        short = partial(getattr(by_boosting, name), max_iter=5)
        monkeypatch.setattr(by_boosting, name, short)


# -- columns and pairs of columns --------------------------------------------------------


def test_marginal_distances_are_their_formulas():
    real, drawn = mixed(60), mixed(45, seed=1, shift=0.7)
    found = marginal_distances(real, drawn)
    assert list(found.index) == list(real.columns)
    for name in ("size", "rooms"):
        a, b = real[name].dropna(), drawn[name].dropna()
        gaps = [abs((a <= x).mean() - (b <= x).mean()) for x in [*a, *b]]
        assert found.loc[name, "distance"] == pytest.approx(max(gaps))
    for name in ("city", "new"):
        a, b = real[name].dropna().tolist(), drawn[name].dropna().tolist()
        shares = [abs(a.count(x) / len(a) - b.count(x) / len(b)) for x in {*a, *b}]
        assert found.loc[name, "distance"] == pytest.approx(sum(shares) / 2)
    missing = (real.isna().mean() - drawn.isna().mean()).abs()
    assert found["missing"].tolist() == pytest.approx(missing.tolist())
    assert found["measure"].tolist() == ["ks", "ks", *["total_variation"] * 2]


def test_marginal_distances_of_known_cases():
    grid = np.linspace(0, 1, 101)[:, None]
    assert marginal_distances(grid, grid + 0.3).loc[0, "distance"] == pytest.approx(
        0.3, abs=0.01
    )
    assert marginal_distances(grid, grid[::-1]).loc[0, "distance"] == 0.0
    assert marginal_distances(grid, grid + 2.0).loc[0, "distance"] == 1.0
    holes = np.full((3, 1), np.nan)
    assert marginal_distances(grid, holes).loc[0].tolist() == ["ks", 1.0, 1.0]
    assert marginal_distances(holes, holes).loc[0].tolist() == ["ks", 0.0, 0.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert marginal_distances(grid[:1], grid[:1] + 1).loc[0, "distance"] == 1.0


def cut(column, deciles):
    """Write cells as levels: intervals of numbers, and holes as one of their own."""
    if deciles is not None:
        column = column.map(lambda x: np.nan if x != x else sum(x >= deciles))
    return ["hole" if pd.isna(x) else x for x in column]


def test_dependence_differences_are_their_formulas():
    real, drawn = mixed(60), mixed(45, seed=1, shift=0.7)
    found = dependence_differences(real, drawn)
    assert (found.to_numpy() == found.to_numpy().T).all()
    assert (np.diag(found) == 0).all()
    numbers = {"size", "rooms"}
    shares = np.arange(1, 10) / 10
    deciles = {c: np.unique(np.nanquantile(real[c], shares)) for c in numbers}
    for one, other in combinations(real.columns, 2):
        if {one, other} == numbers:
            rho = [f[[one, other]].dropna().corr().iloc[0, 1] for f in (real, drawn)]
            expected = abs(rho[0] - rho[1])
        else:
            tables = [
                list(zip(*(cut(f[c], deciles.get(c)) for c in (one, other)), strict=True))
                for f in (real, drawn)
            ]
            a, b = tables
            gaps = [abs(a.count(x) / len(a) - b.count(x) / len(b)) for x in {*a, *b}]
            expected = sum(gaps) / 2
        assert found.loc[one, other] == pytest.approx(expected), (one, other)


def test_dependence_differences_of_known_cases():
    x = np.random.default_rng(0).normal(size=(50, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = dependence_differences(np.c_[x, x, x], np.c_[x, -x, 0 * x]).to_numpy()
    assert found == pytest.approx(np.array([[0, 2, 1], [2, 0, 1], [1, 1, 0]]))
    equal = pd.DataFrame({"a": list("xyxy"), "b": list("xyxy")})
    apart = equal.assign(b=list("xxyy"))
    assert dependence_differences(equal, apart).loc["a", "b"] == 0.5
    assert marginal_distances(equal, apart)["distance"].tolist() == [0.0, 0.0]


# -- gradient boosting -------------------------------------------------------------------


def test_two_sample_auroc_is_scikit_learns_with_delongs_error():
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(size=(50, 2)), rng.normal(size=(40, 2)) + 0.8
    auroc, error = two_sample_auroc(real, drawn, cv=3, random_state=1)
    rows, label = np.vstack([real, drawn]), np.repeat([0, 1], [50, 40])
    folds = StratifiedKFold(3, shuffle=True, random_state=1)
    model = HistGradientBoostingClassifier(random_state=1)
    told = cross_val_predict(model, rows, label, cv=folds, method="predict_proba")[:, 1]
    assert auroc == pytest.approx(roc_auc_score(label, told))
    right = [[(b > a) + (b == a) / 2 for b in told[50:]] for a in told[:50]]
    variance = np.var(np.mean(right, axis=1), ddof=1) / 50
    variance += np.var(np.mean(right, axis=0), ddof=1) / 40
    assert error == pytest.approx(np.sqrt(variance * (1 + 3 / 2)))


def test_two_sample_auroc_of_known_cases():
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(size=(2, 150, 3))
    auroc, error = two_sample_auroc(real, drawn)
    assert abs(auroc - 0.5) < 3 * error < 0.25
    assert two_sample_auroc(real, drawn + 4.0)[0] > 0.99
    assert two_sample_auroc(real, real)[0] < 0.35  # copies


def test_categories_and_holes_are_told():
    real, drawn = mixed(100), mixed(100, seed=1)
    auroc, error = two_sample_auroc(real, drawn)
    assert abs(auroc - 0.5) < 3 * error
    both = pd.concat([real.astype(object), drawn.astype(object)], ignore_index=True)
    for name in ("city", "new"):
        both[name] = both[name].map(
            {level: i for i, level in enumerate(both[name].value_counts().index)}
        )
    model = HistGradientBoostingClassifier(
        categorical_features=[2, 3], early_stopping=False, random_state=0
    )
    label = np.repeat([0, 1], 100)
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(both, label)
    rows, told = both.to_numpy(float), np.zeros(200)
    for a, b in folds:
        told[b] = model.fit(rows[a], label[a]).predict_proba(rows[b])[:, 1]
    assert auroc == pytest.approx(roc_auc_score(label, told))
    other = drawn.assign(city=drawn["city"].cat.rename_categories({"Oslo": "Paris"}))
    assert two_sample_auroc(real, other)[0] > auroc + 0.1
    assert two_sample_auroc(real, drawn.assign(size=1.0 * drawn["rooms"]))[0] > 0.55


def test_boosting_takes_columns_without_values_and_of_many_levels():
    rare = [f"rare {i}" for i in range(300)]  # too many: the frequent ones are kept apart
    real, drawn = (
        pd.DataFrame({"hole": np.nan, "name": [*rare, *[usual] * 60]})
        for usual in ("a", "b")
    )
    # a number that a single row has: in one fold no training row has any
    real["seldom"] = np.where(np.arange(360) == 5, 1.0, np.nan)
    drawn["seldom"] = np.nan
    assert two_sample_auroc(real, drawn, cv=2)[0] > 0.6
    both = pd.concat([real, drawn]).assign(y=np.repeat(["real", "drawn"], 360))
    assert usefulness(both, both, target="y") > 0.55


def test_usefulness_is_the_score_of_boosting():
    iris = load_iris(as_frame=True).frame
    train, real = iris[::2], iris[1::2]
    settings = {"random_state": 0, "early_stopping": False}
    model = HistGradientBoostingClassifier(**settings)
    expected = model.fit(train.iloc[:, :4], train["target"]).score(
        real.iloc[:, :4], real["target"]
    )
    assert usefulness(real, train, target="target") == expected
    assert usefulness(real.to_numpy(), train.to_numpy(), target=-1) == expected
    word = iris["target"].map(lambda k: f"kind {k}")
    assert usefulness(*(f.assign(target=word) for f in (real, train))) == expected
    model = HistGradientBoostingRegressor(**settings)
    expected = model.fit(train.iloc[:, 1:], train.iloc[:, 0]).score(
        real.iloc[:, 1:], real.iloc[:, 0]
    )
    assert usefulness(real, train, target=0) == pytest.approx(expected)


def test_usefulness_of_few_classes_and_of_holes_in_the_target():
    real = pd.DataFrame({"x": np.arange(40.0), "y": ["a", "b", "b", None] * 10})
    assert usefulness(real, real.assign(y="a"), target="y") == pytest.approx(1 / 3)
    assert usefulness(real, real.assign(y="other"), target="y") == 0.0
    # drawn numbers need not be whole where the real ones are classes
    rng = np.random.default_rng(0)
    real = np.column_stack([np.arange(60.0), np.repeat([0.0, 1.0, 2.0], 20)])
    drawn = real + rng.uniform(-0.4, 0.4, real.shape)
    whole = np.column_stack([drawn[:, 0], real[:, 1]])
    assert usefulness(real, drawn) == usefulness(real, whole) > 0.9


# -- closeness ---------------------------------------------------------------------------


def distances(points, table, reference):
    """Return squared distances of the rows of two frames, pair by pair."""
    numbers = ["size", "rooms"]
    mean, deviation = reference[numbers].mean(), reference[numbers].std(ddof=0)

    def distance(a, b):
        total = 0.0
        for name in points:
            holes = [pd.isna(a[name]), pd.isna(b[name])]
            if name in numbers:
                gap = [
                    0.0 if hole else (row[name] - mean[name]) / deviation[name]
                    for row, hole in zip((a, b), holes, strict=True)
                ]
                total += (gap[0] - gap[1]) ** 2 + 2 * (holes[0] != holes[1])
            else:
                total += 2 * (
                    holes[0] != holes[1] or (not holes[0] and a[name] != b[name])
                )
        return total

    return np.array(
        [[distance(a, b) for _, b in table.iterrows()] for _, a in points.iterrows()]
    )


def test_distances_are_their_formula():
    train, drawn = mixed(25), mixed(15, seed=1, shift=1.0)
    reference, points = read_alike(train=train, drawn=drawn)
    found = np.vstack(list(closeness.Places(reference).distances(points, reference)))
    assert found == pytest.approx(distances(drawn, train, train))


def test_precision_and_recall_are_their_formulas(monkeypatch):
    real, drawn = mixed(40), mixed(30, seed=1, shift=1.0)

    def covered(points, table, k):
        radius = np.sort(distances(table, table, real), axis=1)[:, k]
        inside = distances(points, table, real) <= radius + 1e-9
        return inside.any(axis=1).mean()

    expected = covered(drawn, real, 2), covered(real, drawn, 2)
    assert 0.0 < min(expected) < max(expected) < 1.0
    assert manifold_precision_recall(real, drawn, n_neighbors=2) == expected
    monkeypatch.setattr(closeness, "DISTANCES", 100)  # a few rows at a time
    assert manifold_precision_recall(real, drawn, n_neighbors=2) == expected


def test_precision_and_recall_of_known_cases():
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(size=(2, 300, 2)) * [1.0, 1e3]
    assert min(manifold_precision_recall(real, drawn)) > 0.85
    assert manifold_precision_recall(real, real) == (1.0, 1.0)
    assert manifold_precision_recall(real, drawn + 1e4) == (0.0, 0.0)
    # no row reaches further than itself; a column that does not vary changes nothing
    assert manifold_precision_recall(np.ones((5, 2)), np.ones((5, 2))) == (1.0, 1.0)
    wider = [np.c_[rows, np.full(300, 0.1)] for rows in (real, drawn)]
    assert manifold_precision_recall(*wider) == manifold_precision_recall(real, drawn)
    wider[1][:, 2] += 1e-3
    assert min(manifold_precision_recall(*wider)) > 0.85
    precision, recall = manifold_precision_recall(real, drawn / 10)
    assert precision > 0.99
    assert recall < 0.1
    precision, recall = manifold_precision_recall(real, drawn * 10)
    assert precision < 0.2
    assert recall > 0.9


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_units_do_not_matter(unit):
    rows, drawn = np.random.default_rng(0).normal(size=(2, 40, 2))
    first, second = rows * [unit, 1.0], drawn * [unit, 1.0]
    assert manifold_precision_recall(first, second) == manifold_precision_recall(
        rows, drawn
    )
    assert near_copy_share(first, second, first, quantile=1.0) == near_copy_share(
        rows, drawn, rows, quantile=1.0
    )
    found, expected = (
        dependence_differences(*p) for p in ((first, second), (rows, drawn))
    )
    assert found.to_numpy() == pytest.approx(expected.to_numpy())


def test_near_copies_are_their_formula_and_known_cases():
    train, real, drawn = mixed(50), mixed(40, seed=1), mixed(30, seed=2)
    nearest = [distances(f, train, train).min(axis=1) for f in (real, drawn)]
    expected = (nearest[1] < np.quantile(nearest[0], 0.6)).mean()
    assert 0.0 < expected < 1.0
    assert near_copy_share(real, drawn, train, quantile=0.6) == expected
    train, real, drawn = np.random.default_rng(0).normal(size=(3, 1000, 3))
    assert near_copy_share(real, drawn, train) == pytest.approx(0.01, abs=0.01)
    assert near_copy_share(real, train + 1e-6, train) == 1.0
    half = np.vstack([train[:500], drawn[:500] + 9.0])
    assert near_copy_share(real, half, train) == 0.5
    assert near_copy_share(train, train, train) == 0.0  # nothing is nearer than 0
    # scales are those of the training rows: one drawn row far out changes no other
    third = np.c_[train[:, :2], drawn[:, 2]]
    third[0, 2] = 1e6
    assert near_copy_share(real, third, train) < 0.2


def test_exact_copies_are_rows_that_equal_in_every_cell():
    train = mixed(60)
    drawn = pd.concat([train[5:20], mixed(25, seed=1)], ignore_index=True)
    rows = {tuple("hole" if pd.isna(x) else x for x in row) for row in train.to_numpy()}
    slow = [
        tuple("hole" if pd.isna(x) else x for x in row) in rows
        for row in drawn.to_numpy()
    ]
    assert exact_copy_share(drawn, train) == np.mean(slow) >= 15 / 40
    assert exact_copy_share(train, train[::-1]) == 1.0
    assert exact_copy_share([[0.0, np.nan]], [[-0.0, np.nan]]) == 1.0
    assert exact_copy_share(np.float32([[1, 2]]), np.int64([[1, 2]])) == 1.0
    assert exact_copy_share([[1.0, 2.0 + 1e-15]], [[1.0, 2.0]]) == 0.0


# -- the report --------------------------------------------------------------------------


def test_the_report_holds_every_measure(few_trees):
    train, real, drawn = mixed(60), mixed(60, seed=1), mixed(60, seed=2)
    given = [frame.copy() for frame in (real, drawn, train)]
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    report = synthetic_report(real, drawn, train, target="city")
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    for frame, before in zip((real, drawn, train), given, strict=True):
        pd.testing.assert_frame_equal(frame, before)
    value = report["value"]
    marginals = marginal_distances(real, drawn)
    pairs = dependence_differences(real, drawn).to_numpy()[np.triu_indices(4, 1)]
    assert value["marginal_distance"] == marginals["distance"].mean()
    assert value["missing_difference"] == marginals["missing"].mean()
    assert value["dependence_difference"] == pairs.mean()
    assert tuple(report.loc["two_sample_auroc"])[:2] == two_sample_auroc(real, drawn)
    told = value["precision"], value["recall"]
    assert told == manifold_precision_recall(real, drawn)
    assert value["usefulness"] == usefulness(real, drawn, target="city")
    assert value["near_copies"] == near_copy_share(real, drawn, train)
    assert value["exact_copies"] == exact_copy_share(drawn, train)
    assert report["standard_error"].notna().sum() == 1
    reference = report["reference"]
    same = marginal_distances(real, train)["distance"].mean()
    assert reference["marginal_distance"] == same
    assert reference["near_copies"] == near_copy_share(real, real, train)
    assert reference["exact_copies"] == exact_copy_share(real, train)
    alone = synthetic_report(real, drawn)
    assert alone["reference"].isna().all()
    rest = ["usefulness", "near_copies", "exact_copies"]
    pd.testing.assert_series_equal(alone["value"], value.drop(rest))


def test_the_report_tells_copies_from_fresh_and_from_shifted_rows(few_trees):
    train, real, fresh = np.random.default_rng(0).normal(size=(3, 150, 3))
    reports = {
        name: synthetic_report(real, drawn, train)["value"]
        for name, drawn in {
            "fresh": fresh,
            "copies": train[::-1],
            "shifted": fresh + np.array([3.0, 0, 0]),
        }.items()
    }
    found = pd.DataFrame(reports).T
    assert found["exact_copies"].tolist() == [0.0, 1.0, 0.0]
    assert found["near_copies"]["copies"] == 1.0
    assert found["near_copies"]["fresh"] < 0.1
    assert found["two_sample_auroc"]["fresh"] < 0.65 < 0.9
    assert found["two_sample_auroc"]["shifted"] > 0.9
    assert found["marginal_distance"].idxmax() == "shifted"
    assert found["precision"]["shifted"] < 0.5 < found["precision"]["fresh"]


def test_more_rows_than_the_smaller_table_or_max_rows_are_not_compared(few_trees):
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(size=(41, 2)), rng.normal(size=(90, 2)) + 2.0
    first = synthetic_report(real, drawn)
    again = synthetic_report(real, drawn)
    pd.testing.assert_frame_equal(first, again)
    # precision is a number of sevenths, or of 41sts, not of ninetieths
    few = synthetic_report(real, drawn, max_rows=7).loc["precision", "value"]
    many = first.loc["precision", "value"]
    assert 0 < few < 1
    assert 0 < many < 1
    assert 7 * few == pytest.approx(round(7 * few))
    assert 41 * many == pytest.approx(round(41 * many))
    # copies of any training row count
    train = rng.normal(size=(200, 2))
    found = synthetic_report(real, train[150:170], train, max_rows=10)
    assert found.loc["exact_copies", "value"] == 1.0


# -- all measures ------------------------------------------------------------------------


def equal(one, other):
    if isinstance(one, pd.DataFrame):
        return np.array_equal(one.to_numpy(), other.to_numpy()) or one.equals(other)
    return one == other


@pytest.mark.parametrize("measure", PAIRS)
def test_containers_and_the_order_of_columns_do_not_matter(measure, few_trees):
    real, drawn = (mixed(30, seed=seed).drop(columns="new") for seed in (0, 1))
    drawn["rooms"] = drawn["rooms"].astype(float)
    expected = measure(real, drawn)
    assert equal(measure(real, drawn[["size", "city", "rooms"]]), expected)
    as_polars = [
        polars.DataFrame(
            {
                name: polars.Series(
                    f[name].astype(object).where(f[name].notna(), None).tolist()
                )
                for name in f
            }
        )
        for f in (real, drawn)
    ]
    assert equal(measure(*as_polars), expected)
    objects = [f.to_numpy(object) for f in (real, drawn)]
    by_position = (
        (objects[0], drawn) if measure is exact_copy_share else (real, objects[1])
    )
    assert equal(measure(*by_position), expected)
    array = measure(*objects)
    assert equal(array, expected) or array.equals(expected.set_axis(array.index))


BAD = {
    "columns": (pd.DataFrame({"a": [1.0], "z": [1.0]}), "missing are \\['b'\\]"),
    "width": (np.ones((3, 3)), "must have the 2 columns of"),
    "one dimension": (np.ones(3), "must be a table"),
    "no rows": (np.ones((0, 2)), "has no cells"),
    "infinity": (pd.DataFrame({"a": [np.inf], "b": [1.0]}), "'a' of .* infinity"),
    "text": (pd.DataFrame({"a": ["x"], "b": [1.0]}), "'a' of .* must hold numbers"),
}


@pytest.mark.parametrize("measure", PAIRS)
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_compared_is_named(measure, case):
    table, message = BAD[case]
    good = pd.DataFrame({"a": np.arange(6.0), "b": np.arange(6.0)})
    given = (table, good) if measure is exact_copy_share else (good, table)
    with pytest.raises(ValueError, match=message):
        measure(*given)


def test_columns_of_one_name_must_have_one_order():
    real = pd.DataFrame(np.ones((2, 3)), columns=["a", "b", "b"])
    assert marginal_distances(real, real)["distance"].tolist() == [0.0] * 3
    with pytest.raises(ValueError, match="in its order where two have one name"):
        marginal_distances(real, real.iloc[:, [1, 0, 2]])


def test_dates_and_objects_are_refused():
    good = pd.DataFrame({"a": [1.0, 2.0]})
    for cells, message in (
        (pd.to_datetime(["2025-01-01", "2025-01-02"]), "'a' of real holds dates"),
        ([{1}, {2}], "'a' of real holds objects of type set"),
    ):
        with pytest.raises(ValueError, match=message):
            marginal_distances(good.assign(a=cells), good)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: two_sample_auroc(x, x, cv=7), "lower cv or pass more rows"),
        (lambda x: two_sample_auroc(x, x, cv=1), "cv == 1, must be >= 2"),
        (lambda x: manifold_precision_recall(x, x[:3]), "synthetic has 3 rows"),
        (lambda x: manifold_precision_recall(x, x, n_neighbors=0), "n_neighbors == 0"),
        (lambda x: near_copy_share(x, x, x, quantile=2.0), "quantile == 2.0"),
        (lambda x: usefulness(x, x, target="z"), "target='z' is neither"),
        (lambda x: usefulness(x, x, target=2), "target=2 is neither"),
        (lambda x: usefulness(x[:, :1], x[:, :1]), "no column to predict"),
        (lambda x: usefulness(x, x * [1, np.nan]), "is missing in all rows"),
        (lambda x: synthetic_report(x, x, max_rows=0), "max_rows == 0"),
    ],
)
def test_settings_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.arange(12.0).reshape(6, 2))
