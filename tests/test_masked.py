"""MaskedAutoencoder and its parts: what is hidden, what is missing, what is filled."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import fast
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.decomposition import FactorAnalysis
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_repr import MaskedAutoencoder
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.corruptions import MaskedCells
from sklearn_repr.modules.factors import best_width, fit_factors, posterior_mean
from sklearn_repr.modules.tokens import TokenEncoder
from sklearn_repr.objectives import Reconstruction
from sklearn_repr.utils.patches import patch_numbers
from sklearn_repr.utils.randomness import make_generator


def with_holes(X, share, seed=0):
    rng = np.random.default_rng(seed)
    holes = rng.random(X.shape) < share
    return np.where(holes, np.nan, X), holes


def low_rank(seed=0, n=600, d=20, rank=4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) / 2
    return 10 * (X + 0.3 * rng.normal(size=X.shape)) + 5


@pytest.fixture
def holed(X):
    return with_holes(X, 0.2)[0]


# -- what is hidden ------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.01, 0.3, 0.5, 0.99, (0.1, 0.6)])
@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_a_share_of_the_patches_is_hidden(level, count):
    patches = np.repeat(np.arange(count), 3)
    values = torch.randn(200, len(patches))
    before = values.clone()
    hidden, mask = MaskedCells(level, patches)(values, make_generator(0))
    assert torch.equal(hidden.isnan(), mask)
    assert torch.equal(hidden[~mask], values[~mask])
    assert torch.equal(values, before)
    by_patch = mask.view(200, count, 3)
    assert torch.equal(by_patch.any(2), by_patch.all(2))
    number = by_patch.all(2).sum(1)
    low, high = level if isinstance(level, tuple) else (level, level)
    most = max(count - 1, 1)
    assert number.min() >= min(max(1, np.floor(low * count)), most)
    assert number.max() <= min(max(1, np.ceil(high * count)), most)
    share = by_patch.all(2).float().mean(0)
    assert float(share.max() - share.min()) < 0.25


@pytest.mark.parametrize("shape", [(1, 5), (2, 7), (1, 6, 6), (3, 5, 7)])
@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_patches_are_squares_through_all_channels(shape, size):
    numbers = patch_numbers(int(np.prod(shape)), shape, size).reshape(shape)
    assert sorted(set(numbers.ravel())) == list(range(numbers.max() + 1))
    for number in range(numbers.max() + 1):
        where = np.argwhere(numbers == number)
        extent = where.max(0) - where.min(0) + 1
        assert len(where) == np.prod(extent)
        assert extent[0] == shape[0]
        assert (extent[1:] <= size).all()


# -- what enters the loss ------------------------------------------------------------


def masked_batch(seed=0):
    torch.manual_seed(seed)
    values = torch.randn(6, 5, dtype=torch.float64)
    observed = torch.rand(6, 5) < 0.8
    mask = torch.rand(6, 5) < 0.5
    mask[0] = False
    values[~observed] = torch.nan
    return Batch(values, observed, mask)


@pytest.mark.parametrize("loss", ["squared_error", "cauchy"])
@pytest.mark.parametrize("copies", [1, 3])
def test_masked_loss_is_its_formula(loss, copies):
    batch = masked_batch()
    batch.mask = torch.cat([batch.mask.roll(i, 0) for i in range(copies)])
    rebuilt = torch.randn(6 * copies, 5, dtype=torch.float64, requires_grad=True)
    objective = Reconstruction(loss, masked_only=True)
    got = objective.terms(Outputs(rebuilt, reconstruction=rebuilt), batch)
    expected = np.zeros((copies, 6))
    for c in range(copies):
        for i in range(6):
            cells = [
                float((rebuilt[6 * c + i, j] - batch.values[i, j]).detach()) ** 2
                for j in range(5)
                if batch.observed[i, j] and batch.mask[6 * c + i, j]
            ]
            if loss == "cauchy":
                cells = [0.5 * np.log1p(r) for r in cells]
            if cells:
                expected[c, i] = 5 * np.mean(cells)
    np.testing.assert_allclose(got["reconstruction"].detach(), expected.mean(0))
    got["reconstruction"].sum().backward()
    assert torch.isfinite(rebuilt.grad).all()
    counted = batch.observed.repeat(copies, 1) & batch.mask
    assert torch.equal(rebuilt.grad != 0, counted)


def test_the_loss_is_unchanged_when_visible_targets_change():
    batch = masked_batch()
    rebuilt = torch.randn(6, 5, dtype=torch.float64)
    objective = Reconstruction(masked_only=True)
    outputs = Outputs(rebuilt, reconstruction=rebuilt)
    before = objective.terms(outputs, batch)["reconstruction"]
    counted = batch.mask & batch.observed
    batch.values = torch.where(counted, batch.values, batch.values + 7)
    assert torch.equal(before, objective.terms(outputs, batch)["reconstruction"])
    batch.values = batch.values + 7
    assert not torch.equal(before, objective.terms(outputs, batch)["reconstruction"])


@pytest.mark.parametrize("architecture", ["mlp", "transformer"])
def test_what_missing_cells_would_have_held_changes_nothing(X, architecture):
    holed, holes = with_holes(X, 0.2)
    settings = {"architecture": architecture, "early_stopping": False}
    settings["hidden_layer_sizes"] = (16,)
    fitted = fast(MaskedAutoencoder(2)).set_params(**settings).fit(holed)
    module = fitted.net_.module_
    batch = fitted._codec.encode(holed)
    assert torch.equal(batch.observed, torch.from_numpy(~holes))
    module.zero_grad()
    objective = fitted.net_.criterion_
    hidden, batch.mask = fitted._build_corruption()(batch.values, make_generator(0))
    loss = objective.terms(module(hidden), batch)["reconstruction"].mean()
    loss.backward()
    gradients = [p.grad for p in module.parameters() if p.requires_grad]
    assert all(torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) > 0 for g in gradients) > len(gradients) / 2


# -- the linear path -----------------------------------------------------------------


def test_posterior_mean_is_the_gaussian_conditional():
    rng = np.random.default_rng(0)
    weight, noise = rng.normal(size=(6, 2)), rng.uniform(0.1, 1, 6)
    mean, x = rng.normal(size=6), rng.normal(size=6)
    visible = np.array([True, False, True, True, False, True])
    covariance = weight @ weight.T + np.diag(noise)
    expected = mean + covariance[:, visible] @ np.linalg.solve(
        covariance[np.ix_(visible, visible)], (x - mean)[visible]
    )
    parts = [torch.from_numpy(part) for part in (mean, weight, noise)]
    rows = torch.from_numpy(np.where(visible, x, np.nan))[None]
    z = posterior_mean(rows, *parts)
    rebuilt = (z @ parts[1].T + parts[0])[0].numpy()
    np.testing.assert_allclose(rebuilt[~visible], expected[~visible])
    nothing = posterior_mean(torch.full((1, 6), torch.nan).double(), *parts)
    assert torch.equal(nothing, torch.zeros(1, 2).double())


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_factors_are_those_of_maximum_likelihood(share):
    X = low_rank(n=3000, d=8, rank=2) / 10
    reference = FactorAnalysis(2, tol=1e-8, max_iter=5000).fit(X)
    holed, _ = with_holes(X, share)
    mean, weight, noise = fit_factors(torch.from_numpy(holed), 2)
    covariance = (weight @ weight.T + noise.diag()).numpy()
    error = np.abs(covariance - reference.get_covariance()).max()
    assert error < (0.01 if share == 0 else 0.12)
    np.testing.assert_allclose(mean, X.mean(0), atol=1e-6 if share == 0 else 0.05)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_auto_finds_the_rank_of_a_planted_table(share):
    X, _ = with_holes(low_rank(rank=4), share)
    fitted = MaskedAutoencoder(max_iter=1, random_state=0).fit(X)
    assert 4 <= fitted.n_components_ <= 6
    rows = torch.randn(30, 1)
    assert best_width(rows, rows, rows.double(), torch.ones(30, 1).bool(), 1) == 1


# -- imputation ----------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_imputation_beats_the_mean_and_iterative_imputer(share):
    def error(filled):
        return np.sqrt(np.square(filled - X)[holes].mean())

    wins = []
    for seed in (0, 1):
        X = low_rank(seed)
        holed, holes = with_holes(X, share, seed)
        ours = error(MaskedAutoencoder(random_state=0).fit(holed).impute(holed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = error(IterativeImputer(random_state=0).fit_transform(holed))
        assert ours < 0.5 * error(np.nanmean(holed, axis=0) + 0 * X)
        wins.append(ours / theirs)
    assert np.mean(wins) < 1


def test_the_network_predicts_what_is_not_linear():
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, 1000)
    X = np.c_[u, u**2, u**3, np.sin(4 * u)] + 0.02 * rng.normal(size=(1000, 4))
    holed, _ = with_holes(X[:800], 0.2)
    test, test_holes = with_holes(X[800:], 0.2, 1)

    def error(**settings):
        fitted = MaskedAutoencoder(3, random_state=0, **settings).fit(holed)
        return np.square(fitted.impute(test) - X[800:])[test_holes].mean()

    assert error() < 0.6 * error(hidden_layer_sizes=())
    assert error(architecture="transformer", linear_skip=False) < 0.8 * error(
        hidden_layer_sizes=()
    )


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_observed_cells_are_untouched(X, holed, scaling, dtype):
    rows = (holed / X.std(axis=0)).astype(dtype)
    fitted = fast(MaskedAutoencoder(2)).set_params(scaling=scaling).fit(rows)
    filled = fitted.impute(rows)
    assert filled.dtype == dtype
    assert np.isfinite(filled).all()
    there = ~np.isnan(rows)
    np.testing.assert_array_equal(filled[there], rows[there])
    rebuilt = fitted.reconstruct(rows)
    np.testing.assert_array_equal(filled[~there], rebuilt[~there])
    assert np.isfinite(fitted.reconstruction_error(rows)).all()
    assert fitted.score(rows) > 0.5
    np.testing.assert_array_equal(filled[there], fitted.impute(filled)[there])


def test_imputed_tables_come_in_the_container_asked_for(holed):
    frame = pd.DataFrame(holed, columns=list("abcde"), index=np.arange(len(holed)) + 3)
    fitted = fast(MaskedAutoencoder(2)).set_output(transform="pandas").fit(frame)
    filled = fitted.impute(frame)
    assert list(filled.columns) == list("abcde")
    assert (filled.index == frame.index).all()
    assert not filled.isna().any(axis=None)
    plain = fast(MaskedAutoencoder(2)).fit(holed)
    np.testing.assert_array_equal(plain.impute(holed), filled)
    np.testing.assert_array_equal(plain.impute(sparse.csr_array(holed)), filled)
    nullable = frame.convert_dtypes()
    np.testing.assert_array_equal(fitted.impute(nullable), filled)


def test_it_takes_missing_cells_in_a_pipeline(holed):
    pipeline = make_pipeline(StandardScaler(), fast(MaskedAutoencoder(2))).fit(holed)
    assert np.isfinite(pipeline.transform(holed)).all()


@pytest.mark.parametrize("width", [3, 8, 80])
def test_rows_alone_and_in_a_batch_with_missing_cells(width):
    rows, _ = with_holes(low_rank(n=1200, d=width, rank=3), 0.3)
    transformer = {"architecture": "transformer", "hidden_layer_sizes": (16,)}
    for settings in ({"n_components": 5}, {"n_components": 17}, transformer):
        fitted = fast(MaskedAutoencoder()).set_params(**settings, max_iter=2).fit(rows)
        filled, codes = fitted.impute(rows), fitted.transform(rows)
        for i in (0, 5, 1023, 1024, 1100):
            np.testing.assert_array_equal(fitted.impute(rows[i : i + 1])[0], filled[i])
            np.testing.assert_array_equal(fitted.transform(rows[i : i + 1])[0], codes[i])


@pytest.mark.parametrize("n", [1, 2, 3, 31])
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("architecture", ["mlp", "transformer"])
def test_small_tables_with_missing_cells(n, d, architecture):
    X = np.random.default_rng(0).normal(size=(n, d))
    estimator = fast(MaskedAutoencoder(architecture=architecture)).fit(X)
    holed, _ = with_holes(X, 0.5)
    assert np.isfinite(estimator.impute(holed)).all()
    holed[0] = X[0]  # no column may be empty
    filled = clone_and_fill(estimator, holed)
    assert np.isfinite(filled).all()
    nothing = np.full((1, d), np.nan)
    assert np.isfinite(estimator.impute(nothing)).all()
    assert estimator.reconstruction_error(nothing)[0] == 0


def clone_and_fill(estimator, X):
    return fast(estimator).fit(X).impute(X)


def test_constant_and_nearly_empty_columns(holed):
    rows = np.c_[holed, np.full(len(holed), 3.0), np.full(len(holed), np.nan)]
    rows[::2, -2] = np.nan
    rows[7, -1] = 2.0
    fitted = fast(MaskedAutoencoder(2)).fit(rows)
    filled = fitted.impute(rows)
    np.testing.assert_allclose(filled[:, -2:], [[3.0, 2.0]] * len(rows), atol=0.2)


# -- architectures and parameters ----------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 64), (4, 16), (1, 4, 16)])
@pytest.mark.parametrize("architecture", ["mlp", "transformer"])
def test_patches_of_images_and_windows_of_sequences_are_learned(shape, architecture):
    X = load_digits().data[:500]
    estimator = MaskedAutoencoder(
        8,
        architecture=architecture,
        input_shape=shape,
        patch_size=3,
        mask_ratio=0.4,
        init=None,
        linear_skip=False,
        learning_rate="constant",
        learning_rate_init=1e-3,
        max_iter=15,
        n_iter_no_change=15,
        random_state=0,
    ).fit(X)
    curve = estimator.loss_curve_
    assert curve[-1] < 0.9 * curve[0]
    _, mask = estimator._build_corruption()(torch.zeros(5, 64), make_generator(0))
    patches = estimator._patches()
    for row in mask.numpy():
        assert len({*patches[row]} & {*patches[~row]}) == 0


def test_tokens_do_not_see_what_is_hidden():
    encoder = TokenEncoder(np.array([0, 0, 1, 1, 2]), 3).eval()
    visible = torch.tensor([[1.0, 1.0, 0.0, 1.0, 1.0]])
    x = torch.randn(1, 5) * visible
    before = encoder(x, visible)
    assert before.shape == (1, 3)
    assert not torch.equal(before, encoder(x, torch.ones(1, 5)))
    moved = encoder(x.roll(1, 1) * visible, visible)
    assert not torch.equal(before, moved)


@pytest.mark.parametrize("ratio", [(0.5, 0.2), (0.1,), (-0.1, 0.5), ("a", 1), (0.1, 1.0)])
def test_mask_ratio_is_checked(X, ratio):
    with pytest.raises(ValueError, match="mask_ratio must be a share"):
        MaskedAutoencoder(mask_ratio=ratio).fit(X)


@pytest.mark.parametrize("sizes", [(), (20,), (16, 32)])
def test_transformers_need_equal_widths(X, sizes):
    with pytest.raises(ValueError, match="equal widths, a multiple of 16"):
        MaskedAutoencoder(
            2, architecture="transformer", hidden_layer_sizes=sizes, max_iter=1
        ).fit(X)


def test_a_column_without_an_observed_value_is_named(holed):
    frame = pd.DataFrame(holed, columns=list("abcde"))
    fitted = fast(MaskedAutoencoder(2)).fit(frame)
    before = fitted.impute(frame)
    empty = frame.assign(c=np.nan)
    with pytest.raises(ValueError, match="Column 'c' of X holds no observed value"):
        fitted.fit(empty)
    np.testing.assert_array_equal(fitted.impute(frame), before)
    assert np.isfinite(fitted.impute(empty)).all(axis=None)


def test_infinity_is_named_beside_missing_cells(holed):
    holed[4, 2] = np.inf
    with pytest.raises(ValueError, match=r"infinity: column number 2 \(row 4\)"):
        MaskedAutoencoder().fit(holed)


def test_wide_codes_and_wide_tables():
    X = np.random.default_rng(0).normal(size=(40, 300))
    fitted = MaskedAutoencoder(200, max_iter=1, hidden_layer_sizes=(8,)).fit(X)
    assert fitted.transform(X).shape == (40, 200)


@pytest.mark.parametrize("n_components", ["auto", 0.7, 2])
def test_warm_start_with_missing_cells(holed, n_components):
    estimator = fast(MaskedAutoencoder(n_components, warm_start=True)).fit(holed)
    width, first = estimator.n_components_, estimator.loss_curve_
    estimator.fit(holed)
    assert estimator.n_components_ == width
    assert len(estimator.loss_curve_) == 2 * len(first)
    with pytest.raises(ValueError, match="cannot continue: patch_size"):
        estimator.set_params(patch_size=2).fit(holed)
