"""Parameters of training: the same in every estimator, and none without effect."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from conftest import TRANSFORMERS, each, fast
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    ContrastivePredictiveCoder,
    NonFiniteLossError,
    PairedEmbedder,
    VariationalAutoencoder,
)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine", "plateau"])
@each(TRANSFORMERS)
def test_every_estimator_hands_schedule_and_clipping_to_the_engine(
    estimator, schedule, X
):
    model = fast(estimator).set_params(learning_rate=schedule, gradient_clip=0.5)
    settings = model.set_params(max_iter=1).fit(X)._training_settings(100)
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


class Rates(Callback):
    """Notes the learning rate and the length of the gradient of every step."""

    def __init__(self):
        self.rates, self.lengths = [], []

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.net = net

    def on_batch_end(self, net, **kwargs):
        self.rates.append(net.optimizer_.param_groups[0]["lr"])
        grads = [p.grad for _, p in net.get_all_learnable_params()]
        self.lengths.append(float(torch.cat([g.flatten() for g in grads]).norm()))


def watched(X, **settings):
    model = AutoencoderTransformer(
        2, batch_size=32, random_state=0, callbacks=[Rates()], **settings
    ).fit(X)
    return model, [callback for _, callback in model.net_.callbacks_][-1]


def test_the_cosine_schedule_falls_from_the_rate_to_nothing(X):
    model, seen = watched(X, learning_rate="cosine", learning_rate_init=0.01, max_iter=5)
    n = len(seen.rates)
    expected = 0.01 * (1 + np.cos(np.pi * np.arange(n) / n)) / 2
    np.testing.assert_allclose(seen.rates, expected)
    assert model.n_iter_ == 5


def test_the_plateau_schedule_divides_the_rate_before_it_gives_up(X):
    settings = {"init": None, "n_iter_no_change": 3, "max_iter": 400, "tol": 0.05}
    constant, _ = watched(X, **settings)
    model, seen = watched(X, learning_rate="plateau", **settings)
    falls = np.unique(np.round(1e-3 / np.array(seen.rates), 6))
    assert falls.tolist() == [1, 5, 25, 125]
    assert np.all(np.diff(seen.rates) <= 0)
    assert constant.n_iter_ < model.n_iter_ < 400
    # as long as the rate has not fallen, nothing differs
    assert model.loss_curve_[: constant.n_iter_] == constant.loss_curve_


@pytest.mark.parametrize("learning_rate", ["constant", "one_cycle"])
def test_gradients_are_no_longer_than_they_may_be(X, learning_rate):
    settings = {"max_iter": 5, "init": None, "learning_rate": learning_rate}
    _, free = watched(X, **settings)
    limit = float(np.median(free.lengths))
    _, clipped = watched(X, gradient_clip=limit, **settings)
    assert max(free.lengths) > 1.01 * limit
    assert max(clipped.lengths) <= limit * (1 + 1e-5)
    # recorded steps are clipped too
    recorded = AutoencoderTransformer(
        2, batch_size=32, random_state=0, gradient_clip=limit, **settings
    ).fit(X)
    plain, _ = watched(X, gradient_clip=limit, **settings)
    assert recorded.loss_curve_ == plain.loss_curve_


def test_a_warning_that_nothing_was_found_agrees_with_its_numbers(X):
    rng = np.random.default_rng(0)
    for seed in range(12):
        noise = rng.normal(size=(60, 4))
        model = VariationalAutoencoder(
            2, max_iter=5, random_state=seed, learning_rate_init=10.0 ** (-seed % 5)
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.fit(noise)
            except NonFiniteLossError:
                continue
        for warning in caught:
            text = str(warning.message)
            numbers = re.search(r"it was (\S+) before and (\S+) after", text)
            if "never fell" in text or "rose" in text:
                assert float(numbers[2]) >= float(numbers[1]) * (1 - 1e-5)
