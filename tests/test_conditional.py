"""Every cell given all others: the linear part, the networks, categories, the join."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import correlated
from scipy.stats import norm, rankdata
from sklearn.covariance import ledoit_wolf as sklearns_ledoit_wolf
from sklearn.metrics import roc_auc_score

from sklearn_repr import ReconstructionOutlierDetector
from sklearn_repr._contracts import Block
from sklearn_repr.detection import ConditionalErrors
from sklearn_repr.detection.conditional import MildColumns, ledoit_wolf
from sklearn_repr.detection.joining import TailJoin
from sklearn_repr.detection.table_cells import TableCells
from sklearn_repr.engine.ensembles import RECIPES, Conditionals
from sklearn_repr.modules.conditional import ConditionalEnsemble
from sklearn_repr.utils.randomness import Seeds, make_generator

CELLS = [np.arange(5), np.array([0, 1, 1, 1, 2])]


def networks(cells, n_members=2, seed=0):
    width = len(cells)
    generators = [make_generator(seed + i) for i in range(n_members)]
    rng = np.random.default_rng(seed)
    residual = torch.from_numpy(rng.normal(size=(width, width)).astype(np.float32))
    unit = torch.from_numpy(rng.uniform(0.5, 2, width).astype(np.float32))
    return ConditionalEnsemble(residual, torch.from_numpy(cells), unit, 8, generators)


class Silent:
    """Networks that add nothing to the linear expectation."""

    def fit(self, rows, residual, cells, unit):
        self.residual = residual

    def residuals(self, rows):
        return rows @ self.residual


# -- networks --------------------------------------------------------------------------


@pytest.mark.parametrize("cells", CELLS, ids=["numbers", "a category"])
def test_networks_expect_a_cell_from_the_others_alone(cells):
    module = networks(cells)
    x = torch.randn(2, 6, 5)
    said = module.corrections(x)
    for j, cell in enumerate(cells):
        other = x.clone()
        other[..., cells == cell] = 9.0 * torch.randn(2, 6, int((cells == cell).sum()))
        torch.testing.assert_close(module.corrections(other)[..., j], said[..., j])
    # and they do look at the others
    other = x.clone()
    other[..., 0] += 1.0
    assert not torch.isclose(module.corrections(other), said)[..., 1:].any(dim=1).all()


@pytest.mark.parametrize("cells", CELLS, ids=["numbers", "a category"])
def test_corrections_are_their_formula(cells):
    module = networks(cells)
    x = torch.randn(2, 6, 5)
    expected = torch.zeros(2, 6, 5)
    for m in range(2):
        for j, cell in enumerate(cells):
            others = torch.from_numpy(cells != cell)
            seen = (x[m] * module.unit)[:, others]
            hidden = torch.relu(seen @ module.weight[m][others] + module.bias[m])
            expected[m, :, j] = hidden @ module.readout[m, j] + module.shift[m, 0, j]
    torch.testing.assert_close(module.corrections(x), expected)
    module.trust = torch.linspace(0, 1, 5)
    same = x[0].expand(2, 6, 5)
    missed = x[0] @ module.residual - module.trust * module.corrections(same).mean(dim=0)
    torch.testing.assert_close(module.residuals(x[0]), missed)


def test_trust_is_the_least_squares_factor_of_rows_that_were_not_seen():
    module = networks(np.arange(5))
    x = torch.randn(40, 5)
    unseen = torch.rand(2, 40) < 0.5
    with torch.no_grad():
        module.learn_trust(x, unseen)
    said = module.corrections(x.expand(2, 40, 5))[unseen].detach()
    missed = (x @ module.residual).clamp(-3, 3).expand(2, 40, 5)[unseen]
    for j in range(5):
        best = (said[:, j] @ missed[:, j] / said[:, j].square().sum()).item()
        assert module.trust[j].item() == pytest.approx(np.clip(best, 0, 1), abs=1e-4)


def fitted(rows, seed=0):
    recipe = RECIPES["conditional"]
    trained = Conditionals(recipe, "auto", Seeds(seed), 0, None, "")
    errors = ConditionalErrors(trained, "standard", novelty=False)
    found = errors.fit_errors(rows, rows.std(axis=0) == 0)
    return errors, found


def test_networks_are_trusted_where_they_know_something():
    rng = np.random.default_rng(0)
    noise, _ = fitted(rng.normal(size=(400, 4)))
    assert noise.networks.module_.trust.max() < 0.3
    x = rng.normal(size=1000)
    curve = np.c_[x, np.cos(3 * x) + 0.1 * rng.normal(size=1000), rng.normal(size=1000)]
    errors, _ = fitted(curve)
    assert errors.networks.module_.trust[1] > 0.7
    # rows off the curve are found, which no linear expectation could
    fresh = rng.normal(size=(300, 3))
    fresh[:, 1] = rng.permutation(curve[:, 1])[:300]
    on = np.c_[fresh[:, 0], np.cos(3 * fresh[:, 0]), fresh[:, 2]]
    scores = errors.errors(np.r_[on, fresh]).sum(axis=1)
    alone = ConditionalErrors(Silent(), "standard", novelty=False)
    alone.fit_errors(curve, np.zeros(3, bool))
    linear = alone.errors(np.r_[on, fresh]).sum(axis=1)
    labels = np.repeat([0, 1], 300)
    assert roc_auc_score(labels, scores) > 0.8
    assert roc_auc_score(labels, linear) < 0.7


def test_trust_is_learned_from_the_half_that_a_member_has_not_seen(monkeypatch):
    given = []

    def learn_trust(self, x, unseen):
        given.append(unseen)

    monkeypatch.setattr(ConditionalEnsemble, "learn_trust", learn_trust)
    fitted(correlated(100))
    assert given[0].sum(dim=1).tolist() == [50, 50]


@pytest.mark.parametrize(("categories", "weight"), [(None, 4.0), ([0], 1.6)])
def test_neighbours_weigh_more_where_all_columns_are_numbers(categories, weight):
    X = np.c_[np.arange(60) % 3, correlated(60)]
    auto, given = (
        ReconstructionOutlierDetector(
            neighbor_weight=w, categorical_features=categories, n_steps=5, random_state=0
        ).fit(X)
        for w in ("auto", weight)
    )
    np.testing.assert_array_equal(auto.training_scores_, given.training_scores_)


# -- the linear part -------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 20, 500])
def test_the_shrunk_covariance_is_scikit_learns(n):
    rows = correlated(n)
    rows -= rows.mean(axis=0)
    expected, _ = sklearns_ledoit_wolf(rows, assume_centered=True)
    np.testing.assert_allclose(ledoit_wolf(rows), expected)
    assert not ledoit_wolf(np.zeros((n, 2))).any()


def test_linear_errors_are_distances_to_the_conditional_mean():
    rows = correlated(300)
    errors = ConditionalErrors(Silent(), "standard", novelty=False)
    found = errors.fit_errors(rows, np.zeros(6, bool))
    seen = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    mild = errors.mild_(seen)
    mild -= mild.mean(axis=0)
    covariance = ledoit_wolf(mild) + 1e-3 * np.eye(6)
    expected = np.empty(rows.shape)
    for j in range(6):
        others = np.arange(6) != j
        slope = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, j])
        variance = covariance[j, j] - covariance[j, others] @ slope
        expected[:, j] = np.abs(mild[:, j] - mild[:, others] @ slope) / np.sqrt(variance)
    expected /= expected.mean(axis=0) + 0.05
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(errors.errors(rows), found)


@pytest.mark.parametrize("scaling", ["standard", "robust", None])
def test_columns_that_are_not_standardised_keep_their_proportions(scaling):
    rows = np.random.default_rng(0).normal(size=(300, 3)) * [1.0, 1.0, 10.0]
    errors = ConditionalErrors(Silent(), scaling, novelty=False)
    size = errors.fit_errors(rows, np.zeros(3, bool)).mean(axis=0)
    assert size[2] / size[0] == pytest.approx(1 if scaling == "standard" else 10, rel=0.1)


def test_columns_are_halfway_between_values_and_ranks():
    rng = np.random.default_rng(0)
    rows = np.c_[rng.exponential(size=200), rng.integers(0, 4, 200), rng.normal(size=200)]
    mild = MildColumns(np.array([True, True, False])).fit(rows)
    found = mild(rows)
    for j in (0, 1):
        x = rows[:, j]
        normal = norm.ppf(rankdata(x) / 201)
        soft = 3 * np.sign(x) * np.log1p(np.abs(x) / 3)
        np.testing.assert_allclose(found[:, j], (normal + soft) / 2)
    np.testing.assert_array_equal(found[:, 2], rows[:, 2])
    np.testing.assert_allclose(mild.inverse(found), rows, atol=1e-9)
    # what is far out stays far out
    far = mild(np.array([[50.0, 3.0, 0.0], [100.0, 3.0, 0.0]]))
    assert far[1, 0] > far[0, 0] > found[:, 0].max()
    holed = mild(np.array([[np.nan, 1.0, np.nan]]))
    assert np.isnan(holed).tolist() == [[True, False, True]]


# -- categories and holes --------------------------------------------------------------


def test_the_error_of_a_category_is_the_surprise_of_its_level():
    rng = np.random.default_rng(0)
    level = rng.integers(0, 3, 400)
    x = np.where(rng.random(400) < 0.9, level, rng.integers(0, 3, 400)) - 1.0
    shares = np.bincount(level) / 400
    scale = np.sqrt(1 - np.square(shares).sum())
    block = Block("categorical", 1, 4, tuple(shares), scale, unseen=-6.0)
    encoded = (np.eye(4, 3) - shares) / scale
    table = TableCells(np.array([0, 1, 1, 1]), [Block("numeric", 0, 1), block])
    rows = np.c_[x, encoded[level]]
    errors = ConditionalErrors(Silent(), "standard", novelty=False)
    errors.fit_errors(rows, np.zeros(4, bool), table)
    filled, observed = errors._filled(rows)
    assert observed is None
    raw = errors._raw(rows, filled, observed)
    missed = errors._residuals(filled)[:, 1:]
    chances = np.maximum((encoded[level] - missed) * scale + shares, 0.02 * shares + 1e-3)
    chances /= chances.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(raw[:, 1], -np.log(chances[np.arange(400), level]))
    # probabilities know what the number says
    assert raw[(x + 1) == level, 1].mean() < 0.5 * raw[(x + 1) != level, 1].mean()
    unknown = np.r_[0.0, encoded[3]][None]
    raw = errors._raw(unknown, *errors._filled(unknown))
    np.testing.assert_allclose(raw[0, 1], 6.0)


def test_holes_neither_help_nor_hurt():
    rows = correlated(300)
    rows[::5, 2] = np.nan
    errors, found = fitted(rows)
    assert not found[::5, 2].any()
    holed = rows[1:2].copy()
    holed[0, [0, 3]] = np.nan
    cells = errors.errors(holed)[0]
    assert not cells[[0, 3]].any()
    raw = errors._raw(holed, *errors._filled(holed))
    np.testing.assert_allclose(cells, (raw / errors.usual_)[0] * 6 / 4)
    empty = np.full((1, 6), np.nan)
    assert not errors.errors(empty).any()
    assert np.isfinite(errors.expected(empty)).all()


@pytest.mark.parametrize("scaling", ["standard", "robust", None])
def test_what_is_expected_does_not_depend_on_the_cell(scaling):
    rows = correlated(300)
    # whose mean is not 0 after scaling
    rows[:, 2] = np.exp(2 * rows[:, 2])
    detector = ReconstructionOutlierDetector(scaling=scaling, random_state=0).fit(rows)
    holed = rows.copy()
    holed[:, 2] = np.nan
    given, hidden = (
        frame.loc[frame["column"] == 2].sort_values("row")["expected"].to_numpy()
        for frame in (detector.explain(table, as_frame=True) for table in (rows, holed))
    )
    np.testing.assert_allclose(given, hidden, rtol=1e-3, atol=1e-3)


def test_records_whose_cells_do_not_go_together_are_found():
    rng = np.random.default_rng(0)

    def frame(n):
        columns = {}
        for i in range(4):
            size = rng.normal(size=n)
            columns[f"size{i}"] = size
            columns[f"price{i}"] = 2 * size + 0.3 * rng.normal(size=n)
            over = size + 0.3 * rng.normal(size=n) > 0
            columns[f"kind{i}"] = np.where(over, "house", "flat")
        return pd.DataFrame(columns)

    train, good, other = frame(600), frame(200), frame(200)
    wrong = good.assign(kind0=other["kind0"], price1=other["price1"])
    test, labels = pd.concat([good, wrong]), np.repeat([0, 1], 200)
    detector = ReconstructionOutlierDetector(random_state=0).fit(train)
    ours = roc_auc_score(labels, detector.anomaly_score(test))
    assert ours > 0.8
    # distances to other rows see less of it
    far = ReconstructionOutlierDetector(neighbor_weight=1e9, random_state=0).fit(train)
    assert ours > roc_auc_score(labels, far.anomaly_score(test)) + 0.05
    cells = detector.explain(wrong.iloc[:100], as_frame=True)
    first = cells.groupby("row", sort=False).head(1)["column"]
    assert first.isin(["kind0", "size0", "price1", "size1"]).mean() > 0.8


# -- the join --------------------------------------------------------------------------


def test_a_row_that_is_abnormal_to_either_part_is_abnormal():
    rng = np.random.default_rng(0)
    parts = list(rng.gamma(5.0, size=(2, 1000)))
    join = TailJoin(1.0).fit(parts)
    usual = np.quantile(sum(join(parts)), 0.99)
    for far in ([60.0, 5.0], [5.0, 60.0]):
        (first, second) = join([np.array([value]) for value in far])
        assert first + second > usual + 4
        assert (first > 10 * second) == (far[0] > far[1])


def test_the_part_that_sets_some_training_rows_apart_weighs_more():
    rng = np.random.default_rng(0)
    parts = rng.gamma(5.0, size=(2, 1000))
    even = TailJoin(1.0).fit(parts).weights_
    assert min(even) > 0.6
    parts[1, :50] *= 8
    assert TailJoin(1.0).fit(parts).weights_[0] < 0.5
    assert TailJoin(3.0).fit(parts).weights_[0] < TailJoin(1.0).fit(parts).weights_[0]
    # training rows that are nearly alike, and a row far more normal than they are
    alike = 1 + 1e-5 * rng.random((2, 100))
    nothing = sum(TailJoin(1.0).fit(alike)([np.zeros(1), np.zeros(1)]))
    assert 0 <= nothing < 1e-9
    parts[1] = 7.0
    assert np.isfinite(sum(TailJoin(1.0).fit(parts)(parts))).all()
    parts[0] = 0.0
    assert np.isfinite(sum(TailJoin(1.0).fit(parts)(parts))).all()


# -- what is expected ------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["standard", "robust", None])
@pytest.mark.parametrize("width", [2, 260])
def test_what_is_expected_is_inside_of_what_was_seen(scaling, width):
    rng = np.random.default_rng(0)
    size = rng.normal(size=100)
    X = np.exp(size)[:, None] + 0.1 * rng.random((100, width))
    X[:, 1] = size
    odd = X[:2].copy()
    odd[0, 1:], odd[1, 1:] = -50.0, 5e4
    detector = ReconstructionOutlierDetector(scaling=scaling, n_steps=20, random_state=0)
    cells = detector.fit(X).explain(odd, as_frame=True)
    expected = cells.loc[cells["column"] == 0, "expected"]
    assert expected.min() >= X[:, 0].min() - 1e-9
    assert expected.max() <= X[:, 0].max() + 1e-9


def test_mild_columns_are_inverted_one_by_one(monkeypatch):
    rows = np.random.default_rng(0).exponential(size=(50, 3))
    columns = MildColumns(np.ones(3, bool)).fit(rows)
    mild = columns(rows)
    # whole rows for every column would take time with the square of their number
    monkeypatch.setattr(MildColumns, "__call__", None)
    np.testing.assert_allclose(columns.inverse(mild), rows)
    beyond = columns.inverse(np.array([[-99.0] * 3, [99.0] * 3]))
    np.testing.assert_array_equal(beyond, [rows.min(axis=0), rows.max(axis=0)])


@pytest.mark.parametrize("scaling", ["robust", None])
def test_a_heavy_tail_does_not_decide_what_others_say_of_each_other(scaling):
    rng = np.random.default_rng(0)
    X = correlated(300)
    tail = 1e3 * np.exp(4 * rng.normal(size=300))
    explained = []
    for table in (X, np.c_[X, tail]):
        errors = ConditionalErrors(Silent(), scaling, novelty=False)
        errors.fit_errors(table, np.zeros(table.shape[1], bool))
        share = errors.unit_[:6] * errors.units.unit_[:6] / table[:, :6].std(axis=0)
        explained.append(share)
    # deviations of what the others leave unexplained
    np.testing.assert_allclose(explained[1], explained[0], rtol=0.1)
    assert explained[0].max() < 0.9


@pytest.mark.parametrize(
    ("most", "kind"), [(9, "ConditionalErrors"), (8, "NetworkErrors")]
)
def test_levels_count_as_columns_where_there_may_be_too_many(most, kind, monkeypatch):
    monkeypatch.setattr("sklearn_repr.engine.ensembles.CELLS_PER_PASS", 2**10)
    monkeypatch.setattr("sklearn_repr.estimators.outlier_detector.MOST_ENCODED", most)
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=80), "b": rng.choice(list("abcdefgh"), 80)})
    detector = ReconstructionOutlierDetector(n_steps=2, random_state=0).fit(X)
    assert type(detector._scorer.cells.reconstructor).__name__ == kind
    assert detector._scorer.codec.n_encoded_ == 9
    # networks of fewer rows at a time and, of more columns, narrower ones
    narrow = RECIPES["contaminated"].narrowed(9).rows_per_pass
    rows = detector._scorer.cells.reconstructor.networks.recipe.rows_per_pass
    assert rows == (narrow if kind == "NetworkErrors" else 64)
