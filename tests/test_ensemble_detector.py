"""The default detector: networks, neighbours, explanations, calibrated decisions."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import fast
from scipy import sparse
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score
from torch import nn

from sklearn_repr import ReconstructionOutlierDetector
from sklearn_repr.detection.neighbours import LocalNeighbours, SetNeighbours
from sklearn_repr.engine.ensemble import one_cycle, train_steps
from sklearn_repr.estimators._noise_networks import CleanNetworks, ContaminatedNetworks
from sklearn_repr.modules.batched import BatchedMLP

PRESETS = pytest.mark.parametrize("training_data", ["contaminated", "clean"])
KINDS = [None, PCA(3)]


def correlated(n, d=6, rank=2, seed=0):
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(99).normal(size=(rank, d))
    return rng.normal(size=(n, rank)) @ axes + 0.1 * rng.normal(size=(n, d))


# -- networks in one pass ------------------------------------------------------------


def generators(count):
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def separate(members, i):
    layers = []
    for weight, bias in zip(members.weights, members.biases, strict=True):
        layer = nn.Linear(*weight.shape[1:])
        layer.weight.data, layer.bias.data = weight[i].T.clone(), bias[i, 0].clone()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("grad", [True, False])
def test_members_are_separate_perceptrons(grad):
    members = BatchedMLP([5, 8, 7, 2], generators(3))
    x = torch.randn(3, 10, 5)
    with torch.set_grad_enabled(grad):
        together = members(x)
    for i in range(3):
        alone = separate(members, i)
        torch.testing.assert_close(together[i], alone(x[i]))
        if grad:
            members.zero_grad()
            members(x).square().sum().backward()
            alone(x[i]).square().sum().backward()
            for j, weight in enumerate(members.weights):
                torch.testing.assert_close(weight.grad[i].T, alone[2 * j].weight.grad)


def test_members_trained_together_are_members_trained_alone():
    torch.manual_seed(0)
    members = BatchedMLP([4, 8, 4], generators(3))
    alone = [separate(members, i) for i in range(3)]
    batches = torch.randn(20, 3, 16, 4)
    settings = {"learning_rate": 1e-2, "label": ""}
    train_steps(
        members,
        lambda step: (
            (members(batches[step]) - batches[step]).square().mean(dim=(1, 2)).sum()
        ),
        20,
        **settings,
    )
    for i, network in enumerate(alone):
        rows = batches[:, i]
        train_steps(
            network,
            lambda step, n=network, r=rows: (n(r[step]) - r[step]).square().mean(),
            20,
            **settings,
        )
        torch.testing.assert_close(network(rows[0]), members(batches[0])[i])


@pytest.mark.parametrize("kind", [ContaminatedNetworks, CleanNetworks])
def test_a_network_is_the_same_whichever_are_trained_beside_it(kind):
    rows = correlated(100)
    together = kind(range(8), 30).fit(rows).network_
    for seed in range(8):
        alone = kind([seed], 30).fit(rows).network_
        for name, weight in alone.named_parameters():
            found = dict(together.named_parameters())[name][seed]
            torch.testing.assert_close(found, weight[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("n_steps", [10, 601])
def test_the_learning_rate_is_torchs_one_cycle(n_steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=n_steps)
    for step in range(n_steps):
        expected = optimizer.param_groups[0]["lr"]
        assert one_cycle(step, n_steps) == pytest.approx(expected, rel=1e-6)
        optimizer.step()
        if step < n_steps - 1:
            schedule.step()
    assert np.isfinite(one_cycle(0, 1) + one_cycle(1, 2))


@pytest.mark.parametrize("kind", [ContaminatedNetworks, CleanNetworks])
def test_networks_learn_what_columns_say_of_each_other(kind):
    train, test = correlated(400), correlated(200, seed=1)
    scrambled = np.random.default_rng(0).permuted(test, axis=0)

    def auc(n_steps):
        networks = kind([0, 1], n_steps).fit(train)
        scores = [networks.errors(rows).sum(axis=1) for rows in (test, scrambled)]
        return roc_auc_score(np.repeat([0, 1], 200), np.concatenate(scores))

    assert auc(300) > 0.9
    assert auc(300) > auc(1) + 0.2


def test_trimming_keeps_outliers_from_teaching():
    rows = correlated(400)
    rows[:30] = np.random.default_rng(0).permuted(rows[:30], axis=0) * 3
    labels = np.arange(400) < 30
    scores = ContaminatedNetworks(range(4), 300).fit(rows).errors(rows).sum(axis=1)
    assert roc_auc_score(labels, scores) > 0.9


def test_a_loss_that_is_not_finite_is_an_error():
    network = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="not finite after 3 steps"):
        train_steps(
            network,
            lambda step: network(torch.full((1, 1), torch.inf)).sum(),
            3,
            learning_rate=0.1,
            label="x",
        )


# -- neighbours ----------------------------------------------------------------------


def test_set_neighbours_are_their_definition():
    rng = np.random.default_rng(0)
    rows, fresh = 5 * rng.normal(size=(80, 3)), 5 * rng.normal(size=(600, 3))
    fresh[:80] = rows
    near = SetNeighbours(n_sets=7, set_size=9).fit(rows, np.random.default_rng(1))

    def soft(x):
        return 3 * np.sign(x) * np.log1p(np.abs(x) / 3)

    expected = np.zeros(fresh.shape)
    for members in near.sets_:
        for i, row in enumerate(soft(fresh)):
            apart = np.abs(near.rows_[members] - row)
            others = apart[apart.sum(axis=1) > 1e-3 * (1 + np.abs(row).sum())]
            expected[i] += others[others.sum(axis=1).argmin()] / 7
    np.testing.assert_allclose(near.distances(fresh), expected)
    assert near.sets_.shape == (7, 9)
    assert SetNeighbours().fit(rows, rng).sets_.shape == (64, 10)
    assert all(len(set(members)) == 9 for members in near.sets_)


@pytest.mark.parametrize("d", [3, 17])
def test_local_neighbours_are_their_definition(d):
    rng = np.random.default_rng(0)
    rows, fresh = rng.normal(size=(80, d)), rng.normal(size=(300, d))
    fresh[:80] = rows
    near = LocalNeighbours(5).fit(rows, rng)
    for i, row in enumerate(fresh):
        apart = np.linalg.norm(rows - row, axis=1)
        order = np.argsort(apart)
        order = order[1:6] if i < 80 else order[:5]
        weight = 1 / apart[order] ** 2
        mean = weight @ rows[order] / weight.sum()
        squares = np.square(row - mean)
        first = squares / squares.sum()
        each = np.square(row - rows[order[:3]]) / apart[order[:3], None]
        second = each.sum(axis=0) / each.sum()
        got = near.distances(row[None])[0]
        distance = np.sqrt(np.sqrt(squares.sum()) * apart[order[:3]].mean())
        np.testing.assert_allclose(got, distance * (first + second) / 2, atol=1e-12)


@pytest.mark.parametrize("kind", [SetNeighbours, LocalNeighbours])
@pytest.mark.parametrize("d", [1, 5, 30])
def test_neighbours_of_a_row_are_its_own_also_among_ties(kind, d):
    rows = np.random.default_rng(0).integers(0, 3, size=(900, d)).astype(float)
    near = kind().fit(rows, np.random.default_rng(0))
    together = near.distances(rows)
    for i in (0, 1, 255, 256, 700, 899):
        np.testing.assert_array_equal(near.distances(rows[i : i + 1])[0], together[i])
    np.testing.assert_array_equal(near.distances(rows[::-1]), together[::-1])


@pytest.mark.parametrize("kind", [SetNeighbours, LocalNeighbours])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_neighbours_of_few_and_of_equal_rows(kind, n):
    for rows in (np.zeros((n, 2)), np.arange(2.0 * n).reshape(n, 2)):
        near = kind().fit(rows, np.random.default_rng(0))
        for fresh in (rows, rows + 1e3, rows * 1e15):
            assert np.isfinite(near.distances(fresh)).all()


def test_a_row_that_is_there_twice_is_near_itself():
    twice = np.repeat(np.arange(4.0)[:, None], 2, axis=0)
    near = LocalNeighbours().fit(twice, np.random.default_rng(0))
    assert not near.distances(twice).any()


# -- the score -----------------------------------------------------------------------


@PRESETS
@pytest.mark.parametrize("neighbors", ["auto", 0.0, 3.0])
@pytest.mark.parametrize("estimator", KINDS)
def test_contributions_add_up(training_data, neighbors, estimator, X):
    detector = fast(
        ReconstructionOutlierDetector(
            estimator, training_data=training_data, neighbors=neighbors
        )
    ).fit(X)
    rows = np.r_[X, X[:5] * 50]
    score = detector.anomaly_score(rows)
    cells = detector.explain(rows)
    assert cells.shape == rows.shape
    assert (cells >= 0).all()
    np.testing.assert_allclose(cells.sum(axis=1), score, rtol=1e-9)
    parts = detector.score_parts(rows)
    np.testing.assert_allclose(sum(parts.values()), score, rtol=1e-12)
    weight = 0.0 if neighbors == "auto" and estimator is not None else neighbors
    assert set(parts) == {"reconstruction", *(["neighbors"] if weight else [])}


@PRESETS
@pytest.mark.parametrize("neighbors", [1e-6, 400.0, 1e6])
def test_any_weight_of_neighbours_gives_finite_scores(training_data, neighbors, X):
    detector = ReconstructionOutlierDetector(
        PCA(3), training_data=training_data, neighbors=neighbors, random_state=0
    ).fit(X)
    rows = np.r_[X, X[:5] * 1e6]
    score, cells = detector.anomaly_score(rows), detector.explain(rows)
    assert (score > 0).all()
    np.testing.assert_allclose(cells.sum(axis=1), score, rtol=1e-9)
    assert score[-5:].min() > score[:-5].max()


@PRESETS
def test_a_wrong_cell_ranks_first(training_data):
    train, rows = correlated(500, d=8), correlated(200, d=8, seed=1)
    detector = ReconstructionOutlierDetector(training_data=training_data, random_state=0)
    detector.fit(train)
    wrong = np.arange(200) % 8
    rows[np.arange(200), wrong] += 6 * train.std(axis=0)[wrong]
    assert (detector.explain(rows).argmax(axis=1) == wrong).mean() >= 0.9


@PRESETS
def test_constant_and_duplicated_columns_do_not_dominate(training_data):
    train, rows = correlated(400), correlated(100, seed=1)

    def widened(rows, shift):
        n = len(rows)
        flat = [np.full(n, 5.0) + shift, 1e3 + 1e-9 * np.arange(n), np.zeros(n)]
        return np.c_[rows, rows[:, :1], np.transpose(flat)]

    detector = ReconstructionOutlierDetector(training_data=training_data, random_state=0)
    detector.fit(widened(train, 0.0))
    rows[:, 2] += 6 * train.std(axis=0)[2]
    cells = detector.explain(widened(rows, 1e-4))
    assert (cells.argmax(axis=1) == 2).mean() >= 0.9
    assert (cells[:, 7:] < 0.1 * cells[:, 2:3]).all()


def test_the_tidy_frame_speaks_original_units():
    data = load_breast_cancer(as_frame=True)
    X = data.data[data.target == 1].iloc[:, :8]
    X.index = [f"patient {i}" for i in range(len(X))]
    detector = ReconstructionOutlierDetector(training_data="clean", random_state=0).fit(X)
    odd = X.iloc[:3].copy()
    odd.loc["patient 0", "mean radius"] *= 3
    frame = detector.explain(odd, as_frame=True)
    assert list(frame) == ["row", "column", "observed", "expected", "contribution"]
    assert len(frame) == 24
    first = frame.iloc[0]
    assert (first["row"], first["column"]) == ("patient 0", "mean radius")
    assert first["observed"] == odd.iloc[0, 0]
    assert abs(first["expected"] - X.iloc[0, 0]) < 0.5 * abs(
        odd.iloc[0, 0] - X.iloc[0, 0]
    )
    sums = frame.groupby("row")["contribution"].sum()
    np.testing.assert_allclose(sums, detector.anomaly_score(odd))
    falling = frame.groupby("row")["contribution"].apply(
        lambda c: c.is_monotonic_decreasing
    )
    assert falling.all()
    plain = detector.explain(sparse.csr_array(odd.to_numpy()), as_frame=True)
    assert plain["column"].iloc[0] == "mean radius"


@PRESETS
def test_it_finds_clustered_and_scattered_outliers(training_data):
    rng = np.random.default_rng(0)
    inliers = correlated(500)
    scattered = rng.permuted(correlated(25, seed=2), axis=0) * 2
    clustered = rng.normal(size=(25, 6)) * 0.1 + [2, -3, 2, -3, 2, -3]
    X = np.r_[inliers, scattered, clustered]
    train = inliers if training_data == "clean" else X
    detector = ReconstructionOutlierDetector(training_data=training_data, random_state=0)
    scores = detector.fit(train).anomaly_score(X)
    assert roc_auc_score(np.arange(550) >= 500, scores) > 0.97


@PRESETS
@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_tiny_tables(training_data, n):
    X = correlated(n, d=3)
    detector = fast(ReconstructionOutlierDetector(training_data=training_data)).fit(X)
    for rows in (X, X[:1] * 1e30, -X * 1e12):
        assert np.isfinite(detector.anomaly_score(rows)).all()
        assert np.isfinite(detector.explain(rows)).all()
    constant = fast(detector).fit(np.full((n, 2), 3.0))
    assert (constant.predict(np.full((2, 2), 3.0)) == 1).all()
    assert np.isfinite(constant.anomaly_score([[3.0, 4.0]])).all()


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", None])
def test_units_do_not_matter(scaling):
    X = correlated(300)
    detector = fast(ReconstructionOutlierDetector(scaling=scaling))
    plain = detector.fit(X).anomaly_score(X)
    moved = detector.fit(X * 1e6 + 1e7).anomaly_score(X * 1e6 + 1e7)
    assert np.corrcoef(plain, moved)[0, 1] > 0.999


@PRESETS
def test_rows_alone_and_in_long_tables(training_data):
    X = correlated(2500, d=5)
    detector = fast(ReconstructionOutlierDetector(training_data=training_data)).fit(X)
    scores, cells = detector.score_samples(X), detector.explain(X)
    for i in (0, 255, 256, 1023, 1024, 2499):
        assert detector.score_samples(X[i : i + 1])[0] == scores[i]
        np.testing.assert_array_equal(detector.explain(X[i : i + 1])[0], cells[i])


# -- thresholds ----------------------------------------------------------------------


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("calibration", [None, 3, 0.3])
def test_the_training_share_flagged_is_the_contamination(contamination, calibration):
    X = correlated(150)
    detector = fast(
        ReconstructionOutlierDetector(
            contamination=contamination, calibration=calibration
        )
    )
    flagged = (detector.fit_predict(X) == -1).mean()
    assert flagged == pytest.approx(contamination, abs=1 / 150)


def test_rules_of_the_threshold():
    X = correlated(500)
    fresh = correlated(4000, seed=5)
    detector = ReconstructionOutlierDetector(PCA(2), random_state=0, calibration=0.4)
    detector.fit(X)
    scores = detector.anomaly_score(fresh)
    for rule in ("gpd", "conformal"):
        for alpha in (0.02, 0.1):
            detector.set_threshold(rule, alpha=alpha)
            rate = (detector.predict(fresh) == -1).mean()
            assert rate == pytest.approx(alpha, abs=0.6 * alpha)
    detector.set_threshold("quantile", contamination=0.3)
    assert (detector.predict(X) == -1).mean() == pytest.approx(0.3, abs=1 / 500)
    detector.set_threshold(1.25)
    assert detector.offset_ == -1.25
    np.testing.assert_array_equal(detector.predict(fresh) == -1, scores > 1.25)
    auto = detector.set_threshold("auto").offset_
    assert auto == detector.set_threshold("mad").offset_
    fixed = ReconstructionOutlierDetector(PCA(2), threshold=1.25).fit(X)
    assert fixed.offset_ == -1.25
    assert detector.threshold == "auto"


def test_tuned_thresholds():
    X = correlated(400)
    detector = ReconstructionOutlierDetector(PCA(2)).fit(X)
    rows = np.r_[correlated(200, seed=1), correlated(20, seed=2) + 1]
    y = np.arange(220) >= 200
    for metric, score in (
        ("f1", f1_score),
        ("balanced_accuracy", balanced_accuracy_score),
    ):
        tuned = score(y, detector.tune_threshold(rows, y, metric).predict(rows) == -1)
        for quantile in np.linspace(0.5, 0.99, 20):
            cut = np.quantile(detector.anomaly_score(rows), quantile)
            other = detector.set_threshold(float(cut)).predict(rows) == -1
            assert tuned >= score(y, other)
    signed = np.where(y, -1, 1)
    offset = detector.tune_threshold(rows, y).offset_
    assert detector.tune_threshold(rows, signed).offset_ == offset
    inliers = rows[:200]
    detector.tune_threshold(inliers, np.ones(200, int))
    assert -detector.offset_ >= detector.anomaly_score(inliers).max()
    assert (detector.predict(inliers) == 1).all()


@pytest.mark.parametrize("n", [2, 3, 4])
def test_fewer_rows_than_folds_are_a_fold_each(n):
    detector = ReconstructionOutlierDetector(n_steps=2, threshold="conformal")
    X = correlated(n)
    assert (detector.fit(X).predict(X) == 1).all()
    assert detector.offset_ == -np.inf
    assert (detector.p_values(X, smoothed=False) >= 1 / (n + 1)).all()


@pytest.mark.parametrize(
    "setting",
    [
        {"threshold": "quantile", "contamination": "much"},
        {"threshold": "quantile", "contamination": 1.5},
        {"threshold": "gpd", "alpha": "little"},
        {"threshold": "conformal", "alpha": 0.0},
    ],
)
def test_a_share_that_is_none_is_named(setting, X):
    detector = ReconstructionOutlierDetector(PCA(2), calibration=0.3).fit(X)
    before = detector.offset_
    name, value = list(setting.items())[-1]
    with pytest.raises(ValueError, match=rf"{name} must be in .*, got {value!r}"):
        detector.set_threshold(**setting)
    assert detector.offset_ == before


def test_what_a_rule_needs_is_said(X):
    detector = ReconstructionOutlierDetector(PCA(2)).fit(X)
    before = detector.offset_
    with pytest.raises(ValueError, match=r"set calibration to a number of folds"):
        detector.p_values(X)
    with pytest.raises(ValueError, match=r"threshold='quantile' needs contamination"):
        detector.set_threshold("quantile")
    with pytest.raises(ValueError, match=r"got 'loud'"):
        detector.set_threshold("loud")
    with pytest.raises(ValueError, match="calibration=200 folds need as many rows"):
        ReconstructionOutlierDetector(PCA(2), calibration=200).fit(X)
    with pytest.raises(ValueError, match=r"calibration=0\.001 of n_samples=133"):
        ReconstructionOutlierDetector(PCA(2), calibration=0.001).fit(X)
    assert detector.offset_ == before


# -- false alarms --------------------------------------------------------------------


@pytest.mark.parametrize("calibration", [0.5, 5])
@pytest.mark.parametrize("n", [60, 400])
def test_p_values_keep_the_rate_of_false_alarms(n, calibration):
    m, seeds = 400, 20
    p = []
    for seed in range(seeds):
        detector = ReconstructionOutlierDetector(
            PCA(2), calibration=calibration, random_state=seed
        ).fit(correlated(n, seed=seed))
        fresh = correlated(m, seed=1000 + seed)
        p.append(detector.p_values(fresh))
        plain = detector.p_values(fresh, smoothed=False)
        assert (p[-1] > 0).all()
        assert (p[-1] <= plain).all()
        np.testing.assert_array_equal(p[-1][5:6], detector.p_values(fresh[5:6]))
    size = n * calibration if calibration < 1 else n
    for alpha in (0.01, 0.05, 0.1):
        # fresh rows share their calibration rows, which adds to the binomial error
        error = np.sqrt(alpha * (1 - alpha) * (1 / m + 1 / size) / seeds)
        assert np.mean(np.array(p) <= alpha) == pytest.approx(alpha, abs=4 * error)


def test_p_values_take_little_more_memory_than_a_number_a_row():
    n, d = 40_000, 30
    rows = np.random.default_rng(0).normal(size=(n, d))
    detector = ReconstructionOutlierDetector(PCA(2), calibration=0.5).fit(rows[:200])
    detector.p_values(rows[:2000])
    tracemalloc.start()
    try:
        detector.p_values(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows.nbytes / 2


@PRESETS
def test_p_values_of_the_ensemble(training_data):
    rates = []
    for seed in range(4):
        detector = ReconstructionOutlierDetector(
            training_data=training_data, calibration=0.4, n_steps=100, random_state=seed
        ).fit(correlated(300, seed=seed))
        rates.append((detector.p_values(correlated(500, seed=50 + seed)) <= 0.1).mean())
    assert np.mean(rates) == pytest.approx(0.1, abs=0.06)


def test_selections_keep_the_false_discovery_rate():
    shares, found = [], []
    y = np.arange(300) >= 250
    for seed in range(20):
        detector = ReconstructionOutlierDetector(
            PCA(2), calibration=0.5, random_state=seed
        ).fit(correlated(1000, seed=seed))
        rows = correlated(300, seed=100 + seed)
        rows[y, :2] += 1.5 * np.random.default_rng(seed).choice([-1, 1], size=(50, 2))
        selected = detector.select(rows, fdr=0.2)
        shares.append((selected & ~y).sum() / max(selected.sum(), 1))
        found.append(selected[y].mean())
    assert np.mean(shares) <= 0.2 + 3 * np.std(shares) / np.sqrt(20)
    assert np.mean(found) > 0.5


def test_probabilities_are_above_a_half_exactly_where_rows_are_flagged():
    X = np.r_[correlated(300), correlated(20, seed=1) * 3 + 1]
    detector = ReconstructionOutlierDetector(PCA(2), contamination=0.06).fit(X)
    for rule in (0.3, "mad", "quantile", "gpd"):
        detector.set_threshold(rule)
        probability = detector.outlier_probability(X)
        assert ((probability > 0) & (probability < 1)).all()
        np.testing.assert_array_equal(probability > 0.5, detector.predict(X) == -1)
        order = np.argsort(detector.anomaly_score(X))
        assert (np.diff(probability[order]) >= 0).all()


def test_frames_and_calibrated_detectors_survive_fit_in_a_frame():
    frame = pd.DataFrame(correlated(120), columns=list("abcdef"))
    detector = fast(ReconstructionOutlierDetector(calibration=3)).fit(frame)
    assert (detector.p_values(frame) > 0).all()
