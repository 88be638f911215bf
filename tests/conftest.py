"""Data and settings that several test modules share."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.decomposition import PCA
from sklearn.utils import get_tags

from sklearn_repr import (
    AutoencoderImputer,
    AutoencoderTransformer,
    BinaryEmbedder,
    EmbeddingIndex,
    MaskedAutoencoder,
    PairedEmbedder,
    RepresentationClassifier,
    RepresentationRegressor,
)
from sklearn_repr.utils.discovery import all_estimators

# enough epochs to learn something, few enough to stay fast
FAST = {"max_iter": 8, "n_steps": 10, "sampling_steps": 3, "random_state": 0}

# what contrastive objectives are tested with: the last layer of a plain encoder
PLAIN = {
    "readout": "last",
    "normalize": False,
    "scaling": "standard",
    "hidden_layer_sizes": (64, 32),
    "activation": "silu",
    "layer_norm": False,
    "reconstruction_weight": 0.0,
    "pairs": "row",
    "views": "scarf",
    "optimizer": "adam",
    "learning_rate": "constant",
    "learning_rate_init": 1e-3,
    "batch_size": 256,
    "max_steps": None,
    "early_stopping": True,
}


def fast(estimator):
    """Return a clone that trains briefly and from a fixed seed."""
    names = estimator.get_params()
    return clone(estimator).set_params(**{k: v for k, v in FAST.items() if k in names})


class SelfPaired(PairedEmbedder):
    """A paired embedder for tests that bring one table: it is its own partner."""

    # without its examples, which are run where they stand
    __doc__ = PairedEmbedder.__doc__.partition("    Examples\n")[0]

    def fit(self, X, y=None):
        return super().fit(X, X)

    def score(self, X, y=None):
        return super().score(X, X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags


# those that need targets, on an encoder that is fast
KEPT = AutoencoderTransformer(0.99, hidden_layer_sizes=4, max_iter=2)
SUPERVISED = [RepresentationClassifier(KEPT), RepresentationRegressor(KEPT)]
UNSUPERVISED = [
    cls()
    for _, cls in all_estimators()
    if not (is_classifier(cls()) or is_regressor(cls()))
]
# those that need a second table are tested as they are where that is at hand
PAIRED = [e for e in UNSUPERVISED if get_tags(e).target_tags.required]
# those that train another estimator, and have no parameters of training themselves
WRAPPERS = [AutoencoderImputer(MaskedAutoencoder(2, max_iter=5, random_state=0))]
# those that train no network of their own
OTHERS = [
    BinaryEmbedder(),
    EmbeddingIndex(),
    EmbeddingIndex(PCA(1), index="hnsw"),
]
WITHOUT_NETWORK = {type(e) for e in [*WRAPPERS, *OTHERS]}
ESTIMATORS = [e for e in UNSUPERVISED if type(e) not in WITHOUT_NETWORK]
ESTIMATORS = [SelfPaired() if type(e) is PairedEmbedder else e for e in ESTIMATORS]
TRANSFORMERS = [e for e in ESTIMATORS if hasattr(e, "transform")]
RECONSTRUCTORS = [e for e in TRANSFORMERS if hasattr(e, "inverse_transform")]


def correlated(n, d=6, rank=2, seed=0):
    """Rows on a noisy subspace, the same one for every seed."""
    rng = np.random.default_rng(seed)
    axes = np.random.default_rng(99).normal(size=(rank, d))
    return rng.normal(size=(n, rank)) @ axes + 0.1 * rng.normal(size=(n, d))


def each(estimators):
    """Parametrise over estimators, named after their classes."""
    return pytest.mark.parametrize(
        "estimator", estimators, ids=[type(e).__name__ for e in estimators]
    )


def public_methods(estimator):
    """Methods that map rows to numbers, by name."""
    names = (
        "transform",
        "reconstruct",
        "reconstruction_error",
        "score_samples",
        "decision_function",
        "anomaly_score",
        "predict",
    )
    return [name for name in names if hasattr(estimator, name)]


@pytest.fixture
def X():
    """133 rows and 5 columns of different units around a curved surface."""
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1, 1, (2, 133))
    rows = np.c_[u, v, u * v, np.sin(3 * u), u**2] + 0.05 * rng.normal(size=(133, 5))
    return rows * [1, 10, 100, 0.1, 1] + [0, 5, -300, 0, 1]


@pytest.fixture
def linear_data():
    """600 rows on a noisy 3-dimensional subspace of 12 columns, halved."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(600, 3)) @ rng.normal(size=(3, 12))
    rows += 0.05 * rng.normal(size=rows.shape)
    return rows[:400], rows[400:]
