"""Parameters of training: the same in every estimator, and none without effect."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TRANSFORMERS, each, fast
from sklearn.exceptions import ConvergenceWarning

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    ContrastivePredictiveCoder,
    PairedEmbedder,
    VariationalAutoencoder,
)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine", "plateau"])
@each(TRANSFORMERS)
def test_every_estimator_hands_schedule_and_clipping_to_the_engine(estimator, schedule):
    model = fast(estimator).set_params(learning_rate=schedule, gradient_clip=0.5)
    settings = model._training_settings(100)
    assert (settings.learning_rate, settings.gradient_clip) == (schedule, 0.5)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
@pytest.mark.parametrize("patience", [{"n_iter_no_change": 3}, {"tol": 0.1}])
@each(TRANSFORMERS)
def test_patience_is_refused_where_all_epochs_are_run(estimator, schedule, patience, X):
    model = fast(estimator).set_params(learning_rate=schedule, **patience)
    (name,) = patience
    with pytest.raises(ValueError, match=f"{name}=.* has no effect with learning_rate='"):
        model.fit(X)


@pytest.mark.parametrize(
    "estimator", [ContrastiveEmbedder, ContrastivePredictiveCoder, PairedEmbedder]
)
def test_a_batch_of_one_is_refused_where_rows_are_compared(estimator, X):
    with pytest.raises(ValueError, match=r"'batch_size' parameter .* range \[2, inf\)"):
        estimator(batch_size=1).fit(X, X)


@each(TRANSFORMERS)
def test_without_held_out_rows_the_last_epoch_is_kept(estimator, X):
    model = fast(estimator).set_params(early_stopping=False).fit(X)
    assert model.best_epoch_ == model.n_iter_


def test_the_best_epoch_is_that_of_the_lowest_loss_on_held_out_rows(X):
    model = VariationalAutoencoder(2, init=None, max_iter=12, random_state=0).fit(X)
    assert model.best_epoch_ == 1 + int(np.argmin(model.validation_curve_)) > 1


def test_the_best_epoch_is_0_where_nothing_is_better_than_the_start(X):
    model = AutoencoderTransformer(2, learning_rate_init=10.0, max_iter=5, random_state=0)
    with pytest.warns(ConvergenceWarning):
        model.fit(X)
    assert model.best_epoch_ == 0
    assert model.best_loss_ < min(model.validation_curve_)


def test_a_warm_start_goes_on_counting_epochs(X):
    model = AutoencoderTransformer(2, init=None, max_iter=5, warm_start=True)
    first = model.set_params(random_state=0).fit(X).best_epoch_
    assert 0 < first <= 5
    with pytest.warns(ConvergenceWarning):  # the weights stay those of the first fit
        model.set_params(learning_rate_init=10.0).fit(X)
    assert (model.n_iter_, model.best_epoch_) == (10, first)
    model.set_params(learning_rate_init=1e-3).fit(X)
    assert 10 < model.best_epoch_ <= 15
