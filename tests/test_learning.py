"""It learns: these tests fail if the backward pass is taken out."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import RECONSTRUCTORS, TRANSFORMERS, each
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    DenoisingAutoencoder,
    MaskedAutoencoder,
    ReconstructionOutlierDetector,
)
from sklearn_repr.inspection import reconstruction_r2


@pytest.fixture(scope="module")
def manifold():
    """1,000 rows on a curved 2-dimensional surface in 8 columns, halved."""
    rng = np.random.default_rng(0)
    t = rng.uniform(-1, 1, (1000, 2))
    columns = [t, np.sin(3 * t), np.cos(4 * t), t**2 * t[:, ::-1]]
    rows = np.hstack(columns) + 0.01 * rng.normal(size=(1000, 8))
    return rows[:500], rows[500:]


@pytest.mark.parametrize("settings", [{}, {"init": None, "linear_skip": False}])
@pytest.mark.parametrize("cls", [AutoencoderTransformer, DenoisingAutoencoder])
def test_the_loss_halves_on_a_curved_manifold(cls, settings, manifold):
    level = {"corruption_level": 0.02} if cls is DenoisingAutoencoder else {}
    estimator = cls(2, max_iter=60, random_state=0, **settings, **level)
    estimator.fit(manifold[0])
    assert estimator.loss_curve_[-1] < 0.5 * estimator.loss_curve_[0]
    pca = PCA(2).fit(manifold[0])
    assert estimator.score(manifold[1]) > reconstruction_r2(pca, manifold[1]) + 0.1


def test_the_contrastive_loss_falls_and_its_score_rises(manifold):
    def fitted(max_iter):
        return ContrastiveEmbedder(16, max_iter=max_iter, random_state=0).fit(manifold[0])

    short, long = fitted(1), fitted(40)
    assert long.loss_curve_[-1] < 0.9 * long.loss_curve_[0]
    assert long.score(manifold[1]) > short.score(manifold[1]) + 0.2
    assert long.score(manifold[1]) == long.score(manifold[1])


@each(TRANSFORMERS)
def test_the_embedding_is_not_constant_and_not_collapsed(estimator, manifold):
    estimator = clone(estimator).set_params(n_components=4, max_iter=20, random_state=0)
    Z = estimator.fit(manifold[0]).transform(manifold[1])
    share = np.linalg.svd(Z - Z.mean(axis=0), compute_uv=False) ** 2
    assert share[0] / share.sum() < 0.9


@each(TRANSFORMERS)
def test_every_parameter_has_moved(estimator, manifold):
    estimator = clone(estimator).set_params(max_iter=2, random_state=0, n_components=2)
    estimator.set_params(early_stopping=False)
    module = estimator.fit(manifold[0]).net_.module_
    trained = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    assert len(trained) > 2
    for name, parameter in trained:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("settings", [{}, {"init": None}, {"linear_skip": False}])
@each(RECONSTRUCTORS)
def test_r2_on_linear_data_is_close_to_that_of_pca(estimator, settings, linear_data):
    train, test = linear_data
    estimator = clone(estimator).set_params(n_components=3, random_state=0, **settings)
    margin = 0.02
    if settings and isinstance(estimator, MaskedAutoencoder):
        # far from its start, it has to learn every choice of cells, whole rows among them
        estimator.set_params(learning_rate="constant", n_iter_no_change=30, max_iter=200)
        margin = 0.03
    pca = reconstruction_r2(PCA(3).fit(train), test)
    assert estimator.fit(train).score(test) > pca - margin


@pytest.mark.parametrize("k", [1, 3, 5])
def test_r2_on_a_linear_manifold_is_that_of_pca(k):
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(400, k)) @ rng.normal(size=(k, 12))
    train, test = StandardScaler().fit_transform(rows)[:300], rows[300:]
    test = StandardScaler().fit(rows[:300]).transform(test)
    pca = reconstruction_r2(PCA(k).fit(train), test)
    ours = AutoencoderTransformer(k, random_state=0).fit(train).score(test)
    assert ours >= pca - 1e-6


def test_denoising_removes_noise(linear_data):
    train, test = linear_data
    noisy = test + np.random.default_rng(0).normal(size=test.shape) * test.std(axis=0)
    plain = AutoencoderTransformer(12, random_state=0).fit(train)
    denoiser = DenoisingAutoencoder(12, corruption_level=1.0, random_state=0).fit(train)

    def distance(estimator):
        return np.square(estimator.reconstruct(noisy) - test).mean()

    assert distance(denoiser) < 0.6 * distance(plain)


def test_embeddings_serve_a_classifier():
    X, y = load_digits(return_X_y=True)
    X, y = X[:900], y[:900]
    for reducer in (
        AutoencoderTransformer(16, max_iter=40, random_state=0),
        DenoisingAutoencoder(16, max_iter=40, random_state=0),
        ContrastiveEmbedder(32, max_iter=40, random_state=0),
    ):
        model = make_pipeline(reducer, StandardScaler(), LogisticRegression(max_iter=500))
        assert cross_val_score(model, X, y, cv=3).mean() > 0.85


@pytest.mark.parametrize("loss", ["absolute_error", "huber"])
def test_robust_losses_ignore_gross_errors(loss, linear_data):
    train, test = linear_data
    rng = np.random.default_rng(0)
    bad = train + 30 * (rng.random(train.shape) < 0.02) * rng.normal(size=train.shape)

    def score(loss):
        model = AutoencoderTransformer(
            3, loss=loss, scaling="robust", hidden_layer_sizes=(), random_state=0
        )
        return model.set_params(learning_rate_init=0.01).fit(bad).score(test)

    assert score(loss) > score("squared_error") + 0.02


# -- outliers --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(manifold):
    """A curved surface, and rows with the same marginals off it."""
    rng = np.random.default_rng(1)
    test = manifold[1]
    outliers = np.column_stack([rng.permutation(c) for c in test[:150].T])
    X = np.vstack([test, outliers])
    return manifold[0], X, np.r_[np.zeros(len(test)), np.ones(len(outliers))]


def test_planted_outliers_are_found_better_than_by_pca(planted):
    train, X, y = planted
    auroc = {
        name: roc_auc_score(y, detector.fit(train).anomaly_score(X))
        for name, detector in {
            "pca": ReconstructionOutlierDetector(PCA(2)),
            "default": ReconstructionOutlierDetector(random_state=0),
            "autoencoder": ReconstructionOutlierDetector(
                AutoencoderTransformer(2), random_state=0
            ),
        }.items()
    }
    forest = IsolationForest(random_state=0).fit(train)
    auroc["forest"] = roc_auc_score(y, -forest.score_samples(X))
    assert auroc["default"] > max(auroc["pca"], auroc["forest"])
    assert auroc["autoencoder"] > max(auroc["pca"], auroc["forest"])


def test_contaminated_training_data(planted):
    train, X, _ = planted
    detector = ReconstructionOutlierDetector(random_state=0, contamination=0.1)
    labels = detector.fit_predict(np.vstack([train, X[-50:]]))
    assert set(labels) == {1, -1}
    assert (labels == -1).mean() == pytest.approx(0.1, abs=1 / len(labels))
    assert (labels[-50:] == -1).mean() > 4 * (labels[:-50] == -1).mean()


# -- model selection -------------------------------------------------------------------


def test_a_search_without_labels_chooses_between_pca_and_ours(manifold):
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", PCA(2))])
    grid = {"reduce": [PCA(2), AutoencoderTransformer(2, max_iter=40, random_state=0)]}
    search = GridSearchCV(pipeline, grid, scoring=reconstruction_r2, cv=3)
    search.fit(manifold[0])
    assert isinstance(search.best_params_["reduce"], AutoencoderTransformer)


@each(TRANSFORMERS)
def test_a_search_without_labels_or_scorer(estimator, manifold):
    search = GridSearchCV(
        clone(estimator).set_params(max_iter=3, random_state=0),
        {"n_components": [1, 2]},
        cv=3,
        error_score="raise",
    ).fit(manifold[0])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_clusters_stay_apart_in_the_contrastive_embedding():
    X, y = make_blobs(300, 8, centers=3, random_state=0)
    Z = ContrastiveEmbedder(8, max_iter=30, random_state=0).fit_transform(X)
    assert cross_val_score(LogisticRegression(), Z, y).mean() > 0.95
