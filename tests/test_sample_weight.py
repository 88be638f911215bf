"""Weights of rows: whole ones are repeated rows, others weigh what rows say."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from conftest import ESTIMATORS, RECONSTRUCTORS, correlated, each, fast, public_methods
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from sklearn_repr import (
    AutoencoderTransformer,
    DenoisingAutoencoder,
    MaskedAutoencoder,
    ReconstructionOutlierDetector,
    VariationalAutoencoder,
)
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.data import Columns, NumericCodec, blocks
from sklearn_repr.data.batches import hold_out
from sklearn_repr.data.repeats import arrange
from sklearn_repr.inspection import reconstruction_r2
from sklearn_repr.objectives import Decorrelation, KLSparsity
from sklearn_repr.objectives.elbo import ELBO, TotalCorrelation

WEIGHTED = [e for e in ESTIMATORS if has_fit_parameter(e, "sample_weight")]
MORE_SETTINGS = [
    AutoencoderTransformer(2, scaling="robust", dtype="float64", loss_scale="auto"),
    AutoencoderTransformer(hidden_layer_sizes=(), scaling=None),
    DenoisingAutoencoder(2, corruption="scarf", n_corruptions=2, batch_size=8),
    MaskedAutoencoder(2, architecture="transformer", hidden_layer_sizes=(16,)),
    VariationalAutoencoder(2, objective="beta_tcvae", scaling="quantile"),
    ReconstructionOutlierDetector(novelty=True, threshold="conformal"),
    ReconstructionOutlierDetector(PCA(2), calibration=0.3, threshold="gpd"),
]
WHOLE = np.array([0, 1, 2, 3, 1] * 8)


@pytest.fixture
def rows():
    return correlated(40)


def predictions(fitted, X):
    return {name: getattr(fitted, name)(X) for name in public_methods(fitted)}


def assert_same(first, second, X):
    for name, found in predictions(first, X).items():
        assert_array_equal(found, getattr(second, name)(X), err_msg=name)


def fitted_attributes(estimator):
    return {name: value for name, value in vars(estimator).items() if name[-1] == "_"}


def test_who_takes_weights():
    # contrast and prediction between rows, and pairs, have no loss of a single row
    names = {type(e).__name__ for e in WEIGHTED}
    reconstructors = {type(e).__name__ for e in RECONSTRUCTORS}
    assert names == reconstructors | {"ReconstructionOutlierDetector"}


# -- whole weights -----------------------------------------------------------------------


def takes(estimator, as_sparse):
    return get_tags(estimator).input_tags.sparse or not as_sparse


@pytest.mark.parametrize(
    ("estimator", "as_sparse"),
    [
        pytest.param(e, as_sparse, id=f"{e!r}-{'sparse' if as_sparse else 'dense'}")
        for e in WEIGHTED + MORE_SETTINGS
        for as_sparse in (False, True)
        if takes(e, as_sparse)
    ],
)
def test_whole_weights_are_repeated_rows_in_any_order(estimator, as_sparse, rows):
    rng = np.random.default_rng(0)
    repeated = rng.permutation(rows.repeat(WHOLE, axis=0))
    order = rng.permutation(len(rows))
    given, weights = rows[order], WHOLE[order]
    if as_sparse:
        given, repeated = sparse.csr_array(given), sparse.csr_array(repeated)
    weighted = fast(estimator).fit(given, sample_weight=weights)
    assert_same(weighted, fast(estimator).fit(repeated), rows)


def of_levels():
    """A frame whose levels come in another order, and are rare, by their weights."""
    frame = pd.DataFrame(correlated(40), columns=list("abcdef"))
    # as rows, r is the commonest and s the rarest; by weight it is the other way round
    frame["level"] = np.repeat(["r", "q", "p", "s"], [16, 12, 8, 4])
    weights = np.repeat([1, 3, 2, 7], [16, 12, 8, 4])
    weights[:10] = 0
    return frame, weights


@pytest.mark.parametrize(
    "options", [{}, {"min_frequency": 10}, {"min_frequency": 0.12}, {"max_categories": 3}]
)
@each(WEIGHTED)
def test_levels_are_counted_by_their_weights(estimator, options):
    frame, weights = of_levels()
    repeated = frame.loc[frame.index.repeat(weights)].reset_index(drop=True)
    weighted = fast(estimator).set_params(**options).fit(frame, sample_weight=weights)
    plain = fast(estimator).set_params(**options).fit(repeated)
    assert_same(weighted, plain, frame)


def test_levels_of_weights_that_are_not_whole_are_ordered_by_them():
    frame, weights = of_levels()
    whole = Columns(min_frequency=0.12).fit(frame, weights)
    broken = Columns(min_frequency=0.12).fit(frame, weights / 100)
    assert whole.levels_ == broken.levels_ == [*[[]] * 6, ["q", "s", "p", "r"]]
    assert whole.numbers_ == broken.numbers_
    # rows are counted in units of the mean weight of those that count
    mean = weights[weights > 0].mean()
    for fewest in (2, 4, 9, 12):
        broken = Columns(min_frequency=fewest).fit(frame, weights / 100)
        whole = Columns(min_frequency=int(np.ceil(fewest * mean))).fit(frame, weights)
        assert broken.n_codes_ == whole.n_codes_


@each(WEIGHTED)
def test_a_category_that_no_weight_is_on_is_an_error(estimator):
    frame, weights = of_levels()
    frame["level"] = np.where(weights == 0, "r", None)
    with pytest.raises(ValueError, match="'level' of X holds no observed value"):
        fast(estimator).fit(frame, sample_weight=weights)


@each(WEIGHTED)
def test_weight_zero_is_a_row_left_out(estimator, rows):
    kept = np.arange(40) % 3 > 0
    weighted = fast(estimator).fit(rows, sample_weight=kept.astype(float))
    assert_same(weighted, fast(estimator).fit(rows[kept]), rows)


@each(WEIGHTED)
def test_weights_that_are_all_one_change_nothing(estimator, rows):
    plain = fast(estimator).fit(rows)
    assert_same(fast(estimator).fit(rows, sample_weight=np.ones(40)), plain, rows)


def test_tables_without_repeated_rows_are_taken_as_they_are(rows):
    assert arrange(rows).X is rows
    assert arrange(sparse.csr_array(rows)).origin is None
    same_sums = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert arrange(same_sums).X is same_sums
    holes = np.array([[np.nan, 2.0], [np.nan, 1.0]])
    assert arrange(holes).X is holes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_order_of_repeated_rows_depends_on_the_rows_alone(dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (60, 4)).astype(dtype)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[rng.random(X.shape) < 0.1] = -0.0
    first = arrange(X)
    assert_array_equal(first.X, X[first.origin])
    assert_array_equal(first.X, arrange(rng.permutation(X)).X)
    assert_array_equal(first.X, arrange(sparse.csr_array(X)).X.toarray())


def test_large_whole_weights_weigh_instead_of_repeating(rows):
    arranged = arrange(rows, WHOLE * 10**6)
    assert arranged.X.shape == (32, 6)
    assert_allclose(arranged.weights, WHOLE[WHOLE > 0] / WHOLE[WHOLE > 0].mean())


# -- other weights -----------------------------------------------------------------------


@each([e for e in WEIGHTED if e in RECONSTRUCTORS])
def test_only_proportions_count(estimator, rows):
    weights = np.random.default_rng(0).uniform(0.1, 2, 40)
    first = fast(estimator).fit(rows, sample_weight=weights)
    assert_same(first, fast(estimator).fit(rows, sample_weight=4 * weights), rows)
    halves = fast(estimator).fit(rows, sample_weight=np.full(40, 0.5))
    assert_same(halves, fast(estimator).fit(rows), rows)


def slow_weighted_pca_loss(X, weights, n_components):
    """Mean loss of weighted PCA on weighted standardised columns, from the formulas."""
    total = sum(weights)
    mean = sum(w * x for w, x in zip(weights, X, strict=True)) / total
    variance = sum(w * (x - mean) ** 2 for w, x in zip(weights, X, strict=True)) / total
    scaled = (X - mean) / np.sqrt(variance)
    pairs = list(zip(weights, scaled, strict=True))
    axes = np.linalg.eigh(sum(w * np.outer(x, x) for w, x in pairs))[1]
    axes = axes[:, -n_components:]
    return sum(w * np.sum((x - axes @ (axes.T @ x)) ** 2) for w, x in pairs) / total


@pytest.mark.parametrize("n", [50, 5], ids=["many rows", "more columns than rows"])
def test_a_linear_autoencoder_is_weighted_pca(n):
    X = correlated(n, d=8, rank=3) * np.arange(1, 9)
    weights = np.random.default_rng(0).uniform(0.1, 3, n)
    linear = AutoencoderTransformer(
        2, hidden_layer_sizes=(), dtype="float64", max_iter=1, random_state=0
    ).fit(X, sample_weight=weights)
    assert linear.best_loss_ == pytest.approx(slow_weighted_pca_loss(X, weights, 2))


def test_a_step_goes_down_the_gradient_of_the_weighted_loss(rows):
    weights = np.random.default_rng(0).uniform(0.1, 3, 40)

    def trained(rate):
        return AutoencoderTransformer(
            2,
            hidden_layer_sizes=(5,),
            scaling=None,
            # sparse codes are not rotated after training
            penalty="activity_l1",
            penalty_weight=0.5,
            optimizer=lambda groups, lr: torch.optim.SGD(groups, lr=lr),
            learning_rate_init=rate,
            early_stopping=False,
            batch_size=40,
            max_iter=1,
            dtype="float64",
            random_state=0,
        ).fit(rows, sample_weight=weights)

    start, after = trained(1e-200), trained(0.01)
    module = copy.deepcopy(start.net_.module_)
    module.zero_grad()
    loss = 0.0
    for weight, row in zip(weights, torch.from_numpy(rows), strict=True):
        code = module.encode(row[None])
        error = (module.decode(code) - row).square().sum()
        loss = loss + weight * (error + 0.5 * code.abs().sum()) / weights.sum()
    loss.backward()
    assert after.loss_curve_[0] == pytest.approx(loss.item())
    stepped = dict(after.net_.module_.named_parameters())
    for name, parameter in module.named_parameters():
        expected = parameter - 0.01 * parameter.grad
        torch.testing.assert_close(stepped[name], expected, rtol=1e-6, atol=1e-10)


def test_a_recorded_step_knows_weights():
    X = correlated(400)
    weights = np.random.default_rng(0).uniform(0.1, 3, 400)
    model = AutoencoderTransformer(2, batch_size=50, max_iter=20, random_state=0)
    recorded = clone(model).fit(X, sample_weight=weights)
    assert recorded.net_.way_ == "recorded"
    plain = clone(model).set_params(max_iter=1).fit(X, sample_weight=weights)
    assert plain.net_.way_.startswith("plain")
    assert plain.loss_curve_ == recorded.loss_curve_[:1]


@each([e for e in WEIGHTED if e in RECONSTRUCTORS])
def test_other_weights_lead_where_repeated_rows_lead(estimator):
    # two groups of rows on different planes; few components follow the heavy one
    X = np.r_[correlated(150, seed=1), correlated(150)[:, ::-1] + 1]
    for heavy in (slice(0, 150), slice(150, 300)):
        weights = np.full(300, 0.02)
        weights[heavy] = 1.0
        model = clone(estimator).set_params(n_components=2, max_iter=30, random_state=0)
        weighted = clone(model).fit(X, sample_weight=weights)
        repeated = clone(model).fit(X, sample_weight=50 * weights)
        plain = clone(model).fit(X)
        score = weighted.score(X, sample_weight=weights)
        assert score > plain.score(X, sample_weight=weights) + 0.02
        assert score > repeated.score(X, sample_weight=weights) - 0.1


@pytest.mark.parametrize(
    ("scaling", "tolerance"), [("standard", 1e-6), ("robust", 0.02), ("quantile", 0.02)]
)
def test_means_and_quantiles_of_columns_are_weighted(scaling, tolerance):
    X, counts = correlated(2000), np.random.default_rng(0).integers(1, 6, 2000)
    expected = NumericCodec(scaling).fit(X.repeat(counts, axis=0)).scale(X)
    found = NumericCodec(scaling).fit(X, None, counts.astype(float)).scale(X)
    # the ends of a normal distribution are far apart
    assert_allclose(found.clip(-2, 2), expected.clip(-2, 2), atol=tolerance)


@pytest.mark.parametrize(
    "objective",
    [KLSparsity(), Decorrelation(), ELBO(), ELBO(free_bits=0.5), TotalCorrelation()],
    ids=lambda objective: type(objective).__name__,
)
def test_terms_of_weighted_rows_are_those_of_repeated_ones(objective):
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([1, 3, 2, 1, 5])

    def draw(width):
        return torch.rand(5, width, generator=generator, dtype=torch.float64)

    x, z, mean, log_variance = draw(4), draw(2), draw(2), draw(2)
    repeat = torch.arange(5).repeat_interleave(counts)
    found = []
    for batch, index in (
        (Batch(x, weights=counts / counts.double().mean()), slice(None)),
        (Batch(x[repeat]), repeat),
    ):
        outputs = Outputs(
            z[index],
            x[index] + 1,
            mean=mean[index],
            log_variance=log_variance[index],
            log_noise=torch.zeros(()).double(),
        )
        objective.start_epoch(1, 100)
        share = 1.0 if batch.weights is None else batch.weights
        terms = objective.terms(outputs, batch).items()
        found.append({k: (v * share).mean() if v.ndim else v for k, v in terms})
    torch.testing.assert_close(*found)


# -- rows in memory and in blocks --------------------------------------------------------


def numbered(n):
    return np.arange(n, dtype=np.float64)[:, None] * np.ones(4)


def in_blocks(X, monkeypatch):
    monkeypatch.setattr(blocks, "POOL", 2**10)
    monkeypatch.setattr(blocks, "BLOCK", 2**8)
    monkeypatch.setattr(blocks, "FEWEST_ROWS", 16)
    return blocks.encode_table(NumericCodec(None, "float64").fit(X), X)


@pytest.mark.parametrize("kind", ["Batch", "RowBlocks"])
def test_weights_stay_with_their_rows(kind, monkeypatch):
    X = numbered(300)
    rows = (
        in_blocks(X, monkeypatch) if kind == "RowBlocks" else Batch(torch.from_numpy(X))
    )
    assert type(rows).__name__ == kind
    rows.weights = 1.0 + torch.arange(300).double()
    for part in hold_out(rows, 0.3, 0):
        batches = list(part.pools(torch.Generator().manual_seed(0)))
        weights = torch.cat([batch.weights for batch in batches])
        numbers = torch.cat([batch.values[:, 0] for batch in batches])
        assert float(weights.mean()) == pytest.approx(1.0)
        torch.testing.assert_close(
            weights / weights.sum(), (numbers + 1) / (numbers + 1).sum()
        )
    drawn = rows.some(4515)
    counts = torch.bincount(drawn.values[:, 0].long(), minlength=300)
    assert drawn.weights is None
    assert float((counts - 4515 * rows.weights / rows.weights.sum()).abs().max()) <= 1
    assert len(rows.whole()) == 300


def test_tables_in_blocks_are_weighted_too(monkeypatch):
    X = np.r_[correlated(200, seed=1), correlated(200)[:, ::-1] + 1]
    weights = np.repeat([1.0, 0.02], 200)
    model = AutoencoderTransformer(2, max_iter=20, random_state=0)
    whole = clone(model).fit(X, sample_weight=weights).score(X, sample_weight=weights)
    in_blocks(X, monkeypatch)
    some = clone(model).fit(X, sample_weight=weights).score(X, sample_weight=weights)
    assert abs(whole - some) < 0.05
    plain = clone(model).fit(X).score(X, sample_weight=weights)
    assert some > plain + 0.02


# -- bad weights -------------------------------------------------------------------------

BAD = {
    "wrong length": (np.ones(39), "sample_weight must hold one number a row"),
    "two columns": (np.ones((40, 2)), "sample_weight must hold one number a row"),
    "a number": (2.0, "sample_weight must hold one number a row"),
    "negative": (np.r_[np.ones(39), -1], "sample_weight .* row 39 has -1"),
    "nan": (np.r_[np.nan, np.ones(39)], "sample_weight .* row 0 has nan"),
    "infinite": (np.r_[np.inf, np.ones(39)], "sample_weight .* row 0 has inf"),
    "zero": (np.zeros(40), "sample_weight is zero for every row"),
    "text": (["a"] * 40, "sample_weight must hold numbers"),
}


@pytest.mark.parametrize(("weights", "message"), BAD.values(), ids=BAD)
@each(WEIGHTED)
def test_bad_weights_are_refused(estimator, weights, message, rows):
    fitted = fast(estimator).fit(rows)
    before = fitted_attributes(fitted)
    with pytest.raises(ValueError, match=message):
        fitted.fit(rows, sample_weight=weights)
    assert fitted_attributes(fitted).keys() == before.keys()
    assert all(fitted_attributes(fitted)[name] is before[name] for name in before)
    if hasattr(fitted, "score"):
        with pytest.raises(ValueError, match=message):
            fitted.score(rows, sample_weight=weights)


# -- score, and scikit-learn's ways ------------------------------------------------------


@each([e for e in WEIGHTED if e in RECONSTRUCTORS])
def test_score_is_weighted(estimator, rows):
    fitted = fast(estimator).fit(rows)
    rebuilt = fitted.reconstruct(rows)
    weights = np.random.default_rng(0).uniform(0, 2, 40)
    score = fitted.score(rows, sample_weight=weights)
    assert score == pytest.approx(r2_score(rows, rebuilt, sample_weight=weights))
    assert reconstruction_r2(fitted, rows, sample_weight=weights) == pytest.approx(score)
    repeated = fitted.score(rows.repeat(WHOLE, axis=0))
    assert fitted.score(rows, sample_weight=WHOLE) == pytest.approx(repeated)


@each([e for e in WEIGHTED if e in RECONSTRUCTORS])
def test_score_of_categories_is_weighted(estimator):
    frame, weights = of_levels()
    fitted = fast(estimator).fit(frame)
    repeated = frame.loc[frame.index.repeat(weights)]
    found = fitted.score(frame, sample_weight=weights)
    assert found == pytest.approx(fitted.score(repeated))
    assert found != pytest.approx(fitted.score(frame))


def test_cells_that_miss_do_not_count_in_the_score(rows):
    rows[::3, 1] = np.nan
    fitted = MaskedAutoencoder(2, max_iter=5, random_state=0).fit(rows)
    repeated = fitted.score(rows.repeat(WHOLE, axis=0))
    assert fitted.score(rows, sample_weight=WHOLE) == pytest.approx(repeated)


@each([e for e in WEIGHTED if e in RECONSTRUCTORS])
def test_fit_transform_takes_weights(estimator, rows):
    weights = np.random.default_rng(0).uniform(0, 2, 40)
    expected = fast(estimator).fit(rows, sample_weight=weights).transform(rows)
    found = fast(estimator).fit_transform(rows, sample_weight=weights)
    assert_array_equal(found, expected)


@each(WEIGHTED)
def test_weights_are_routed_through_a_pipeline(estimator, rows):
    with sklearn.config_context(enable_metadata_routing=True):
        last = fast(estimator).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        piped = make_pipeline(scaler, last).fit(rows, sample_weight=WHOLE)
    scaled = StandardScaler().fit_transform(rows)
    direct = fast(estimator).fit(scaled, sample_weight=WHOLE)
    assert_same(piped[-1], direct, scaled)


@each([e for e in WEIGHTED if e in RECONSTRUCTORS])
def test_weights_are_routed_through_a_search(estimator, rows):
    with sklearn.config_context(enable_metadata_routing=True):
        model = fast(estimator).set_fit_request(sample_weight=True)
        model = model.set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"n_components": [1, 2]}, cv=2, error_score="raise")
        search.fit(rows, sample_weight=WHOLE)
    best = fast(estimator).set_params(**search.best_params_)
    assert_same(search.best_estimator_, best.fit(rows, sample_weight=WHOLE), rows)
    # held-out rows of the first fold are the first half
    half = fast(estimator).set_params(n_components=1)
    half.fit(rows[20:], sample_weight=WHOLE[20:])
    expected = half.score(rows[:20], sample_weight=WHOLE[:20])
    assert search.cv_results_["split0_test_score"][0] == expected


# -- the detector ------------------------------------------------------------------------


@pytest.mark.parametrize("calibration", [None, 3, 0.3])
def test_the_detector_answers_for_the_rows_it_was_given(calibration, rows):
    detector = ReconstructionOutlierDetector(
        calibration=calibration, n_steps=30, random_state=0
    )
    weighted = clone(detector).fit(rows, sample_weight=WHOLE)
    repeated = clone(detector).fit(rows.repeat(WHOLE, axis=0))
    assert weighted.training_scores_.shape == (40,)
    assert_allclose(
        weighted.training_scores_[WHOLE > 0].repeat(WHOLE[WHOLE > 0]),
        repeated.training_scores_,
    )
    left_out = WHOLE == 0
    expected = weighted.score_samples(rows[left_out])
    assert_array_equal(weighted.training_scores_[left_out], expected)
    assert_array_equal(
        weighted.outlier_probability(rows), repeated.outlier_probability(rows)
    )
    if calibration is not None:
        assert_array_equal(weighted.p_values(rows), repeated.p_values(rows))
    for rule in ("quantile", "mad", "gpd"):
        weighted.set_threshold(rule, contamination=0.1)
        repeated.set_threshold(rule, contamination=0.1)
        assert weighted.offset_ == repeated.offset_


def test_the_detector_counts_in_whole_rows(rows):
    with pytest.raises(ValueError, match=r"sample_weight must hold whole numbers.*Row 1"):
        ReconstructionOutlierDetector().fit(
            rows, sample_weight=np.r_[2, 0.5, np.ones(38)]
        )
