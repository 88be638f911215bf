"""Scikit-learn's own checks, strict: no failure, no skip of ours."""

from __future__ import annotations

import importlib.util

import pytest
from conftest import (
    ESTIMATORS,
    KEPT,
    OTHERS,
    PAIRED,
    SUPERVISED,
    TRANSFORMERS,
    WRAPPERS,
    each,
    fast,
)
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    DenoisingAutoencoder,
    MaskedAutoencoder,
    PairedEmbedder,
    ReconstructionOutlierDetector,
    RepresentationClassifier,
    RepresentationRegressor,
)

# scikit-learn skips it unless an environment variable was set before SciPy was imported
ALLOWED_SKIPS = {"check_array_api_input"}

# small and short: scikit-learn's checks ask for conventions, not for good embeddings
OTHER_SETTINGS = [
    AutoencoderTransformer(
        2, hidden_layer_sizes=(), init=None, scaling=None, max_iter=20
    ),
    AutoencoderTransformer(
        1, scaling="quantile", loss="huber", dropout=0.1, dtype="float64", max_iter=3
    ),
    DenoisingAutoencoder(
        0.5, corruption="swap", scaling="robust", early_stopping=False, max_iter=3
    ),
    *[
        ContrastiveEmbedder(2, hidden_layer_sizes=(8,), max_iter=1, **settings)
        for settings in (
            {"objective": "supcon"},
            {"objective": "vicreg", "pairs": "neighbors", "batch_size": 2},
            {"objective": "barlow_twins", "pairs": "time", "views": "gaussian"},
            {"objective": "byol", "chunk_size": 3},
            {"objective": "simsiam", "pairs": "label", "batch_size": 5},
            {"objective": "triplet", "readout": "last", "reconstruction_weight": 0.0},
            {"learn_temperature": True},
        )
    ],
    MaskedAutoencoder(
        2, architecture="transformer", hidden_layer_sizes=(16,), loss="cauchy", max_iter=2
    ),
    PairedEmbedder(
        3, init=None, hidden_layer_sizes=8, scaling="robust", dtype="float64", max_iter=3
    ),
    RepresentationClassifier(KEPT, mode="fine_tune", max_iter=3),
    RepresentationRegressor(KEPT, mode="fine_tune", max_iter=3),
    ReconstructionOutlierDetector(PCA(1), contamination=0.1, scaling="robust"),
    ReconstructionOutlierDetector(AutoencoderTransformer(1, max_iter=3)),
    ReconstructionOutlierDetector(
        novelty=True, n_steps=3, threshold="gpd", false_alarm_rate=0.1, calibration=2
    ),
]


@pytest.mark.parametrize(
    "estimator",
    ESTIMATORS + PAIRED + WRAPPERS + OTHERS + SUPERVISED + OTHER_SETTINGS,
    ids=repr,
)
def test_check_estimator(estimator):
    results = check_estimator(
        estimator, expected_failed_checks=None, on_skip=None, on_fail=None
    )
    # densities, which do not transform, have the fewest
    assert len(results) >= 40
    failed = [r for r in results if r["status"] in ("failed", "xfail")]
    skipped = [r for r in results if r["status"] == "skipped"]
    assert not [(r["check_name"], r["exception"]) for r in failed]
    assert {r["check_name"] for r in skipped} <= ALLOWED_SKIPS


CHECKS_BY_HAND = [
    "check_param_validation",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_get_feature_names_out_error",
    "check_inplace_ensure_writeable",
]


def briefest(estimator):
    """Return a clone that hardly trains: names and containers do not depend on it."""
    known = estimator.get_params()
    steps = {"max_iter": 1, "n_steps": 2}
    return clone(estimator).set_params(**{k: v for k, v in steps.items() if k in known})


@pytest.mark.parametrize("name", CHECKS_BY_HAND)
@each(ESTIMATORS + PAIRED + WRAPPERS + OTHERS[:2] + SUPERVISED)
def test_checks_that_the_generator_leaves_out(estimator, name):
    if hasattr(estimator, "transform") or name == "check_param_validation":
        check = getattr(estimator_checks, name)
        check(type(estimator).__name__, briefest(estimator))


def test_optional_containers_are_installed_so_that_their_checks_run():
    assert importlib.util.find_spec("pandas")
    assert importlib.util.find_spec("polars")


@each(TRANSFORMERS)
def test_feature_names_are_prefixed_by_the_class(estimator, X):
    fitted = fast(estimator).set_params(n_components=2).fit(X)
    prefix = type(estimator).__name__.lower()
    assert list(fitted.get_feature_names_out()) == [f"{prefix}0", f"{prefix}1"]
