"""LatentDiffusion: rows that pass for real, by class, as the table was."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kstest, norm
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_repr import LatentDiffusion, NonFiniteLossError, VariationalAutoencoder
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.corruptions import NoiseLevels
from sklearn_repr.data.normal_scores import NormalScores
from sklearn_repr.engine.diffusion import log_density, to_noise, to_rows
from sklearn_repr.engine.drawing import CHUNK
from sklearn_repr.modules.denoiser import preconditioning
from sklearn_repr.objectives import DenoisingScore

SMALL = {"hidden_layer_sizes": (32,), "sampling_steps": 6, "random_state": 0}
# enough training to learn what the closed form of normal rows does not know
TRAINED = {
    "hidden_layer_sizes": (64,),
    "max_steps": None,
    "max_iter": 400,
    "learning_rate_init": 0.005,
    "sampling_steps": 18,
}


def small(autoencoder=None, **settings):
    return LatentDiffusion(autoencoder, **{"max_steps": 30, **SMALL, **settings})


class Mixture:
    """Normal distributions whose denoiser, field and density are known."""

    def __init__(self, weights, means, variances):
        parts = (weights, means, variances)
        self.weights, self.means, self.variances = (
            torch.tensor(part, dtype=torch.float64) for part in parts
        )

    def parts(self, x, variance):
        """Logarithms of the weighted densities of the parts, (n, k)."""
        total = self.variances + variance
        squares = (x[:, None] - self.means) ** 2 / total
        logs = squares + (2 * math.pi * total).log()
        return self.weights.log() - logs.sum(dim=2) / 2

    def denoise(self, x, log_level):
        variance = (2 * log_level).exp()[:, None]
        shares = self.parts(x, variance).softmax(dim=1)[:, :, None]
        kept = self.variances * x[:, None] + variance * self.means
        return (shares * kept / (self.variances + variance)).sum(dim=1)

    def field(self, y, log_level):
        factors = preconditioning(log_level)
        x = y / factors.into
        return (self.denoise(x, log_level) - factors.skip * x) / factors.out

    def draw(self, n, generator):
        part = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator).double()
        return self.means[part] + self.variances[part].sqrt() * noise

    def density(self, x):
        return self.parts(x, 0.0).logsumexp(dim=1)


MIXTURE = Mixture(
    [0.5, 0.3, 0.2],
    [[-1.0, 0.0], [1.0, 0.3], [0.0, -1.2]],
    [[0.1, 0.4], [0.3, 0.05], [0.05, 0.2]],
)


def test_preconditioning_is_that_of_the_paper():
    level, spread = torch.tensor([0.002, 0.7, 80.0], dtype=torch.float64), 0.5
    factors = preconditioning(level.log(), spread)
    total = level**2 + spread**2
    expected = (
        spread**2 / total,
        level * spread / total.sqrt(),
        1 / total.sqrt(),
        level.log() / 4,
    )
    for found, wanted in zip(factors, expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_values_are_drawn_from_the_scores_that_they_own_and_labels_forgotten():
    X = np.repeat([[0.0], [1.0], [5.0]], [50, 30, 20], axis=0)
    scores = NormalScores().fit(X)
    values = torch.from_numpy(np.resize(scores.transform(X), (10_000, 1)))
    labels = torch.arange(10_000) % 5 - 1
    noise = NoiseLevels(edges=scores.edges()).fit(values)
    seen = noise.of_labelled(values, torch.Generator().manual_seed(0), labels).values
    noisy, clean, log_level, told = seen.T
    decoded = scores.inverse_transform(clean[:, None].numpy())
    np.testing.assert_array_equal(decoded, np.resize(X, (10_000, 1)))
    assert kstest(clean, "norm").statistic < 0.02
    assert kstest(log_level, norm(-1.2, 1.2).cdf).statistic < 0.001
    assert kstest((noisy - clean) / log_level.exp(), "norm").statistic < 0.02
    assert told[labels < 0].isnan().all()
    known = told[labels >= 0]
    assert known.isnan().double().mean() == pytest.approx(0.1, abs=0.02)
    kept = ~known.isnan()
    assert torch.equal(known[kept], labels[labels >= 0][kept].double())


def test_the_objective_weighs_as_the_paper():
    level = torch.tensor([[0.1], [2.0]])
    clean, denoised = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 0.0]] * 2)
    outputs = Outputs(
        denoised, prediction=denoised, target=clean, log_noise=2 * level.log()
    )
    found = DenoisingScore().terms(outputs, Batch(clean))["denoising"]
    weight = (level**2 + 1) / level**2
    torch.testing.assert_close(found, weight[:, 0] * 5 / 3)
    observed = torch.tensor([[True, False, False], [True, True, True]])
    found = DenoisingScore().terms(outputs, Batch(clean, observed))["denoising"]
    torch.testing.assert_close(found, weight[:, 0] * torch.tensor([1.0, 5 / 3]))


@pytest.mark.parametrize("churn", [0.0, 10.0])
def test_the_sampler_reproduces_the_moments_of_a_mixture(churn):
    n, generator = 20_000 if churn else 100_000, torch.Generator().manual_seed(0)
    noise = torch.randn(n, 2, generator=generator).double()
    steps = 60 if churn else 32
    rows = to_rows(MIXTURE.field, noise, steps, churn=churn, generator=generator)
    mean = MIXTURE.weights @ MIXTURE.means
    square = MIXTURE.weights @ (MIXTURE.variances + MIXTURE.means**2)
    product = MIXTURE.weights @ MIXTURE.means.prod(dim=1)
    for found, wanted in (
        (rows, mean),
        (rows**2, square),
        (rows.prod(dim=1, keepdim=True), product[None]),
    ):
        error = found.std(dim=0) / math.sqrt(n)
        assert ((found.mean(dim=0) - wanted).abs() < 3 * error).all()


def test_noise_leads_back_to_the_rows_that_it_came_from():
    rows = MIXTURE.draw(200, torch.Generator().manual_seed(0))
    noise = to_noise(MIXTURE.field, rows, 40)
    assert noise.std() == pytest.approx(1, abs=0.1)
    again = to_rows(MIXTURE.field, noise, 40)
    assert (again - rows).abs().mean() < 0.01


def test_the_density_of_a_mixture_is_exact_and_estimated_without_bias():
    rows = MIXTURE.draw(300, torch.Generator().manual_seed(0))
    exact = log_density(MIXTURE.field, rows, 18)
    assert (exact - MIXTURE.density(rows)).abs().mean() < 0.01
    signs = torch.randint(0, 2, (300, 64, 2), generator=torch.Generator().manual_seed(1))
    estimated = log_density(MIXTURE.field, rows, 18, 2.0 * signs - 1)
    assert (estimated - exact).abs().mean() > 1e-4
    assert (estimated - exact).mean().abs() < 0.02


def test_a_gaussian_is_learned_to_its_closed_form():
    rng = np.random.default_rng(0)
    covariance = np.array([[1.0, 0.6], [0.6, 1.0]])
    X = rng.multivariate_normal([0.3, 0], covariance, size=4000)
    model = small(None, scaling=None, max_steps=300, batch_size=1024, sampling_steps=18)
    model.fit(X)
    mean, own = X.mean(axis=0), np.cov(X.T, bias=True)
    for level in (0.2, 1.0, 3.0):
        noise = level**2 * np.eye(2)
        x = rng.multivariate_normal(mean, own + noise, 500)
        log_level = torch.full((500, 1), math.log(level))
        factors = preconditioning(log_level)
        noisy = torch.from_numpy(x).float()
        with torch.no_grad():
            field = model.net_.module_.field(
                factors.into * noisy, log_level, noisy[:, :0]
            )
        denoised = (factors.skip * noisy + factors.out * field).numpy()
        exact = mean + (x - mean) @ np.linalg.solve(own + noise, own)
        assert np.square(denoised - exact).mean() < 1e-3 * np.square(exact).mean()
    rows = X[:100]
    inverse, log_volume = np.linalg.inv(own), np.linalg.slogdet(own)[1]
    wanted = np.einsum("ni,ij,nj->n", rows - mean, inverse, rows - mean) + log_volume
    wanted = -wanted / 2 - math.log(2 * math.pi)
    assert model.score(rows) == pytest.approx(wanted.mean(), abs=0.01)
    units = small(None, scaling="standard", max_steps=2).fit(X * [10, 1])
    same = small(None, scaling="standard", max_steps=2).fit(X)
    assert units.score(rows * [10, 1]) == pytest.approx(same.score(rows) - math.log(10))


def mixed(n=400, seed=0):
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "size": size.astype("float32"),
            "count": rng.poisson(3, n),
            "colour": pd.Categorical(np.where(size > 0, "red", "blue")),
            "flag": rng.random(n) < 0.3,
            "text": rng.choice(["a", "b", "c"], n),
        }
    )
    frame.loc[rng.random(n) < 0.3, "size"] = np.nan
    frame.loc[rng.random(n) < 0.2, "text"] = None
    return frame


@pytest.mark.parametrize("missing", ["draw", "fill"])
def test_a_frame_comes_back_as_it_was(missing):
    X = mixed()
    drawn = small(missing=missing, **TRAINED).fit(X).sample(500, random_state=0)
    assert list(drawn.columns) == list(X.columns)
    for name in ("size", "count", "colour"):
        assert drawn[name].dtype == X[name].dtype
    assert set(drawn["text"].dropna()) <= set("abc")
    assert set(drawn["flag"]) == {True, False}
    assert drawn["count"].between(X["count"].min(), X["count"].max()).all()
    rates = drawn.isna().mean()
    if missing == "fill":
        assert not rates.any()
    else:
        np.testing.assert_allclose(rates, X.isna().mean(), atol=0.12)


@pytest.mark.parametrize("container", ["integers", "float32", "polars"])
def test_other_containers_come_back_as_they_were(container):
    table = np.random.default_rng(0).poisson(4, (100, 3))
    if container == "polars":
        polars = pytest.importorskip("polars")
        table = polars.DataFrame(table, schema=["a", "b", "c"])
        drawn = small().fit(table).sample(7, random_state=0)
        assert drawn.schema == table.schema
        return
    table = table.astype("float32") if container == "float32" else table
    drawn = small().fit(table).sample(7, random_state=0)
    assert drawn.dtype == table.dtype
    assert drawn.shape == (7, 3)
    assert np.isin(drawn, table).all()


def test_rows_have_the_class_that_they_are_drawn_by():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = small(**TRAINED)
    drawn = model.fit(X, names).sample(y=np.repeat(names, 4), random_state=0)
    judge = make_pipeline(StandardScaler(), KNeighborsClassifier(9)).fit(X, names)
    agreed = judge.score(drawn, np.repeat(names, 4))
    assert agreed >= 0.95 * judge.score(X, names)


def test_rows_have_the_number_that_they_are_drawn_by():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = 3 * X[:, 0] + 10
    model = small(**{**TRAINED, "max_iter": 200}).fit(X, y)
    asked = np.repeat([8.0, 12.0], 200)
    drawn = model.sample(y=asked, random_state=0)
    assert model.classes_ is None
    assert np.corrcoef(drawn[:, 0], asked)[0, 1] > 0.85


def test_no_guidance_is_unconditional():
    X, y = load_iris(return_X_y=True)
    model = small().fit(X, y)
    without = model.sample(20, random_state=0)
    by_class = model.sample(20, y=1, random_state=0)
    assert not np.array_equal(without, by_class)
    ignored = model.set_params(guidance=0.0).sample(20, y=1, random_state=0)
    np.testing.assert_array_equal(ignored, without)
    stronger = model.set_params(guidance=2.0).sample(20, y=1, random_state=0)
    assert not np.array_equal(stronger, by_class)


@pytest.mark.parametrize("churn", [0.0, 5.0])
def test_rows_depend_on_their_number_and_the_seed_alone(churn, monkeypatch):
    from sklearn_repr.estimators import latent_diffusion

    monkeypatch.setattr(latent_diffusion, "BLOCK", CHUNK)
    X, y = load_iris(return_X_y=True)
    model = small(hidden_layer_sizes=(8,), sampling_steps=3, churn=churn).fit(X, y)
    labels = np.resize([0, 1, 2], CHUNK + 100)
    labels[CHUNK:] = labels[:100]
    many = model.sample(y=labels, random_state=3)
    few = model.sample(y=labels[:5], random_state=3)
    np.testing.assert_array_equal(many[:5], few)
    blocks = list(model.sample_blocks(y=labels, random_state=3))
    assert [len(block) for block in blocks] == [CHUNK, 100]
    np.testing.assert_array_equal(np.concatenate(blocks), many)
    assert not np.array_equal(model.sample(y=labels, random_state=4), many)
    assert not np.array_equal(many[CHUNK:], many[:100])
    assert len(np.unique(many[:, 0])) > 5


@pytest.mark.parametrize(
    "autoencoder",
    [
        PCA(2),
        make_pipeline(StandardScaler(), PCA(3)),
        VariationalAutoencoder(2, max_iter=3),
        "identity",
    ],
    ids=["PCA", "Pipeline", "VAE", "identity"],
)
def test_any_autoencoder_will_do(autoencoder):
    X = load_iris(as_frame=True).data
    model = small(autoencoder, **TRAINED).fit(X)
    drawn = model.sample(150, random_state=0)
    assert list(drawn.columns) == list(X.columns)
    assert (drawn.min() >= X.min()).all()
    assert (drawn.max() <= X.max()).all()
    assert abs(drawn.corr().iloc[2, 3] - X.corr().iloc[2, 3]) < 0.2
    assert np.isfinite(model.score_samples(X[:3])).all()
    if autoencoder != "identity":
        assert not hasattr(autoencoder, "n_features_in_")
        assert model.autoencoder_.transform(X).shape[1] < 4


def test_mixed_tables_go_through_an_autoencoder():
    X = mixed().dropna()
    drawn = small(VariationalAutoencoder(3, max_iter=3)).fit(X).sample(20)
    assert list(drawn.dtypes) == list(X.dtypes)


def test_interpolation_begins_and_ends_where_it_is_told():
    X = load_iris(as_frame=True).data
    model = small(max_steps=300, sampling_steps=24).fit(X)
    ways = model.interpolate(X[:2], X[-2:], n_points=4)
    assert ways.shape == (8, 4)
    ends = ways.iloc[[0, 4, 3, 7]].to_numpy()
    assert abs(ends - X.iloc[[0, 1, -2, -1]].to_numpy()).max() < 0.25


@pytest.mark.parametrize("scaling", ["normal_scores", "standard", None])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_and_constant_rows_give_such_rows(n, scaling):
    X = np.column_stack([np.full(n, 7.0), np.arange(n), np.full(n, 1e6)])
    drawn = small(scaling=scaling, max_steps=5).fit(X).sample(10, random_state=0)
    assert (drawn[:, 0] == 7).all()
    assert (drawn[:, 2] == 1e6).all()
    assert ((drawn[:, 1] >= 0) & (drawn[:, 1] <= n - 1)).all()


def test_unknown_labels_are_of_no_class():
    X, y = load_iris(return_X_y=True)
    y = y.astype(float)
    y[::3] = np.nan
    model = small().fit(X, y)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert model.sample(y=[2.0]).shape == (1, 4)


def test_what_cannot_be_drawn_is_said():
    X, y = load_iris(return_X_y=True)
    model = small(max_steps=2)
    with pytest.raises(ValueError, match="fitted without y"):
        model.fit(X).sample(y=[0])
    model.fit(X, y)
    with pytest.raises(ValueError, match=r"holds 3, a class.*there are 0, 1, 2"):
        model.sample(y=[0, 3])
    with pytest.raises(ValueError, match="n_samples=3, but y has 2 entries"):
        model.sample(3, y=[0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[:5])
    with pytest.raises(ValueError, match="finite"):
        model.fit(X, y + 0.5).sample(y=[np.nan])


def test_a_loss_that_is_no_number_leaves_the_fitted_model():
    X = load_iris().data
    model = small(max_steps=3).fit(X)
    before = model.sample(3, random_state=0)
    broken = model.set_params(optimizer="sgd", learning_rate_init=1e30)
    with pytest.raises(NonFiniteLossError):
        broken.fit(X)
    np.testing.assert_array_equal(model.sample(3, random_state=0), before)


def test_rows_whose_class_is_known_may_all_be_held_out():
    X = load_iris().data[:40]
    settings = {"early_stopping": True, "validation_fraction": 0.5, "max_steps": 2}
    for place in range(6):
        y = [None] * 40
        y[place] = "b"
        assert small(learning_rate="constant", **settings).fit(X, y).sample(y="b").size


def test_rows_are_drawn_by_the_average_of_the_weights():
    model = small().fit(load_iris().data)
    before = model.sample(3, random_state=0)
    for weights in model.net_.module_.network.parameters():
        torch.nn.init.ones_(weights)
    np.testing.assert_array_equal(model.sample(3, random_state=0), before)
    for weights in model.net_.module_.average.module.buffers():
        torch.nn.init.ones_(weights)
    assert not np.array_equal(model.sample(3, random_state=0), before)
