"""Same seed, same bits; global state is left alone."""

from __future__ import annotations

import io
import os
import pickle
import random
import threading
import warnings

import numpy as np
import pytest
import torch
from conftest import ESTIMATORS, RECONSTRUCTORS, each, fast, public_methods
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_repr import (
    AutoencoderTransformer,
    JointEmbeddingPredictor,
    ReconstructionOutlierDetector,
)
from sklearn_repr.utils.randomness import Seeds, local_torch_seed


def results(estimator, X):
    return {name: getattr(estimator, name)(X) for name in public_methods(estimator)}


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert first
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@each(ESTIMATORS)
def test_refit_clone_and_pickle_are_bit_equal(estimator, X):
    estimator = fast(estimator)
    first = results(estimator.fit(X), X)
    assert_same(first, results(estimator.fit(X), X))
    assert_same(first, results(clone(estimator).fit(X), X))
    assert_same(first, results(pickle.loads(pickle.dumps(estimator)), X))  # noqa: S301


@each(ESTIMATORS)
def test_set_params_of_the_seed_changes_the_result(estimator, X):
    estimator = fast(estimator)
    first = results(estimator.fit(X), X)
    other = results(estimator.set_params(random_state=1).fit(X), X)
    for name in first.keys() - {"predict"}:
        assert not np.array_equal(first[name], other[name])


@each(ESTIMATORS)
def test_no_seed_differs_from_fit_to_fit(estimator, X):
    estimator = fast(estimator).set_params(random_state=None)
    first = results(estimator.fit(X), X)
    other = results(estimator.fit(X), X)
    for name in first.keys() - {"predict"}:
        assert not np.array_equal(first[name], other[name])


@each(ESTIMATORS)
def test_a_random_state_instance_moves_on(estimator, X):
    state = np.random.RandomState(0)
    first = results(fast(estimator).set_params(random_state=state).fit(X), X)
    again = np.random.RandomState(0)
    assert_same(first, results(fast(estimator).set_params(random_state=again).fit(X), X))
    assert state.randint(1000) != np.random.RandomState(0).randint(1000)


@each(ESTIMATORS)
def test_processes_and_threads_give_the_same_bits(estimator, X):
    estimator = fast(estimator)
    here = results(clone(estimator).fit(X), X)

    def job():
        return results(clone(estimator).fit(X), X)

    for backend in ("loky", "threading"):
        for there in Parallel(n_jobs=2, backend=backend)(
            delayed(job)() for _ in range(2)
        ):
            assert_same(here, there)


@each(ESTIMATORS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 3, 5])
def test_a_row_alone_is_as_in_any_batch(estimator, X, width, dtype):
    names = estimator.get_params()
    settings = {"n_components": 3, "hidden_layer_sizes": (13, 7), "dtype": dtype}
    if isinstance(estimator, JointEmbeddingPredictor):  # widths of attention heads
        settings["hidden_layer_sizes"] = (16,)
    estimator = fast(estimator)
    estimator.set_params(**{k: v for k, v in settings.items() if k in names})
    rng = np.random.default_rng(0)
    # more than two chunks; densities take long and come in small ones
    n = 260 if "sampling_steps" in names else 2100
    table = rng.normal(size=(n, width))
    estimator.fit(table[:200])
    together = results(estimator, table)
    order = rng.permutation(len(table))
    shuffled = results(estimator, table[order])
    for name, values in together.items():
        np.testing.assert_array_equal(values[order], shuffled[name], err_msg=name)
        method = getattr(estimator, name)
        for i in {0, 1, 5, min(n - 1, 1023), min(n - 1, 1024), n - 1}:
            np.testing.assert_array_equal(method(table[i : i + 1])[0], values[i])
        np.testing.assert_array_equal(method(table[7:40]), values[7:40])


@pytest.mark.parametrize("reconstructor", [None, PCA(2), AutoencoderTransformer(2)])
def test_training_scores_are_prediction_scores(reconstructor, X):
    detector = fast(ReconstructionOutlierDetector(reconstructor, contamination=0.1))
    detector.fit(X)
    np.testing.assert_array_equal(detector.training_scores_, detector.score_samples(X))
    assert (detector.predict(X) == -1).sum() == pytest.approx(13, abs=1)


@each(RECONSTRUCTORS)
def test_reconstruct_is_the_round_trip(estimator, X):
    fitted = fast(estimator).fit(X)
    np.testing.assert_array_equal(
        fitted.reconstruct(X), fitted.inverse_transform(fitted.transform(X))
    )


def test_grid_search_in_two_processes_is_bit_equal(X):
    pipeline = make_pipeline(
        StandardScaler(), AutoencoderTransformer(max_iter=5, random_state=0)
    )
    grid = {
        "autoencodertransformer__n_components": [1, 2],
        "autoencodertransformer__alpha": [0.0, 0.01],
    }
    searches = [
        GridSearchCV(pipeline, grid, cv=3, n_jobs=n_jobs).fit(X) for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(
        searches[0].cv_results_["mean_test_score"],
        searches[1].cv_results_["mean_test_score"],
    )
    np.testing.assert_array_equal(searches[0].transform(X), searches[1].transform(X))


class State:
    """A picture of everything global that a call might change."""

    def __init__(self):
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002
        self.parts = {
            "numpy": (kind, keys.tobytes(), *rest),
            "random": random.getstate(),
            "torch": torch.get_rng_state().numpy().tobytes(),
            "environ": dict(os.environ),
            "threads": torch.get_num_threads(),
            "dtype": torch.get_default_dtype(),
            "filters": list(warnings.filters),
            "grad": torch.is_grad_enabled(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        }


@each(ESTIMATORS)
@pytest.mark.parametrize("seed", [None, 0])
def test_global_state_is_the_same_after_any_call(estimator, X, seed):
    estimator = fast(estimator).set_params(random_state=seed)
    torch.set_num_threads(2)
    before = State().parts
    estimator.fit(X)
    results(estimator, X)
    if hasattr(estimator, "score"):
        estimator.score(X)
    with pytest.raises(ValueError, match=r"NaN|no observed value"):
        estimator.fit(np.full_like(X, np.nan))
    after = State().parts
    for name, value in before.items():
        assert value == after[name], name


@each(ESTIMATORS)
def test_nothing_is_said(estimator, X, capfd, recwarn):
    estimator = fast(estimator).fit(X)
    results(estimator, X)
    assert capfd.readouterr() == ("", "")
    assert not [str(w.message) for w in recwarn]


def test_seeds_are_named_and_independent():
    assert Seeds(3)["a"] == Seeds(3)["a"]
    assert len({Seeds(s)[name] for s in range(5) for name in "abcde"}) == 25
    assert Seeds(None)["a"] != Seeds(None)["a"]


def test_threads_take_turns_with_the_global_generator():
    drawn = {}

    def draw(seed):
        with local_torch_seed(seed):
            drawn[seed] = torch.rand(1000).sum()

    before = torch.get_rng_state()
    threads = [threading.Thread(target=draw, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(8):
        with local_torch_seed(seed):
            assert torch.rand(1000).sum() == drawn[seed]
    assert torch.equal(before, torch.get_rng_state())


def test_fitted_estimators_stay_small(X):
    def size(rows):
        estimator = fast(AutoencoderTransformer(2)).fit(rows)
        buffer = io.BytesIO()
        pickle.dump(estimator, buffer)
        return buffer.tell()

    assert size(np.tile(X, (20, 1))) < 1.2 * size(X)
