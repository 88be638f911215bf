"""Contrastive predictive coding: its loss, its causality, and what it finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_repr import ContrastivePredictiveCoder
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.modules.factory import ArchitectureOptions
from sklearn_repr.modules.predictive import (
    CausalConvolution,
    frame_ends,
    gated_recurrence,
    make_predictive_network,
)
from sklearn_repr.objectives import PredictiveInfoNCE
from sklearn_repr.objectives.predictive_info_nce import predictive_info_nce

NEGATIVES = ["rows", "times", "both"]


# -- the loss --------------------------------------------------------------------------


def slow_info_nce(prediction, frames, offset, negatives):
    """Equation 4 of the paper, loop by loop."""
    n, times, _ = frames.shape
    losses = []
    for i in range(n):
        total = 0.0
        for t in range(times - offset):
            candidates = {(i, t + offset)}
            if negatives in ("rows", "both"):
                candidates |= {(j, t + offset) for j in range(n)}
            if negatives in ("times", "both"):
                candidates |= {(i, u) for u in range(times)}

            def score(j, u, i=i, t=t):
                return math.exp(float(prediction[i, t] @ frames[j, u]))

            own = score(i, t + offset)
            total -= math.log(own / sum(score(j, u) for j, u in candidates))
        losses.append(total / (times - offset))
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_the_loss_is_its_slow_reference(offset, negatives):
    generator = torch.Generator().manual_seed(offset)
    prediction, frames = torch.randn(2, 5, 6, 4, generator=generator).double()
    fast = predictive_info_nce(prediction, frames, offset, negatives)
    torch.testing.assert_close(
        fast, slow_info_nce(prediction, frames, offset, negatives), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("negatives", "candidates"), [("rows", 5), ("times", 6), ("both", 10)]
)
def test_indifferent_predictions_cost_the_log_of_the_candidates(negatives, candidates):
    loss = predictive_info_nce(torch.zeros(5, 6, 3), torch.ones(5, 6, 3), 2, negatives)
    torch.testing.assert_close(loss, torch.full((5,), math.log(candidates)))


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_perfect_predictions_cost_nothing_and_huge_ones_are_finite(negatives):
    frames = torch.eye(12).view(3, 4, 12)  # every frame is orthogonal to all others
    prediction = torch.cat([frames[:, 1:], frames[:, :1]], dim=1)
    loss = predictive_info_nce(1e4 * prediction, frames, 1, negatives)
    torch.testing.assert_close(loss, torch.zeros(3))
    wrong = predictive_info_nce(1e4 * frames, frames, 1, negatives)
    assert wrong.isfinite().all()


def test_a_batch_of_one_row_and_duplicate_rows_are_no_trouble():
    frames = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    assert predictive_info_nce(frames, frames, 1, "rows") == 0
    twice = frames.repeat(2, 1, 1).requires_grad_()
    loss = predictive_info_nce(twice, twice, 1, "both").sum()
    loss.backward()
    assert twice.grad.isfinite().all()


def test_terms_are_the_steps_and_the_loss_their_mean():
    frames = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    told = torch.randn(4, 5, 2, 3, generator=torch.Generator().manual_seed(1))
    objective = PredictiveInfoNCE(2)
    terms = objective.terms(
        Outputs(frames[:, 0], prediction=told, frames=frames), Batch(torch.zeros(4, 5))
    )
    for step in (1, 2):
        expected = predictive_info_nce(told[:, :, step - 1], frames, step)
        assert torch.equal(terms[f"info_nce_{step}"], expected)
    assert objective.weights == {"info_nce_1": 0.5, "info_nce_2": 0.5}
    with pytest.raises(ValueError, match="needs frames and predictions"):
        objective.terms(Outputs(frames[:, 0]), Batch(torch.zeros(4, 5)))


# -- no look into the future -----------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 5])
def test_windows_end_where_they_stand(kernel_size, stride):
    for length in range(1, 12):
        layer = CausalConvolution(2, 3, kernel_size, stride)
        x = torch.randn(1, length, 2)
        ends = frame_ends(length, [stride])
        frames = layer(x)
        assert frames.shape == (1, len(ends), 3)
        assert ends[-1] == length - 1
        padded = torch.cat([torch.zeros(1, kernel_size, 2), x], dim=1)
        for frame, end in zip(frames[0], ends, strict=True):
            window = padded[0, end + 1 : end + 1 + kernel_size].T.reshape(1, -1)
            torch.testing.assert_close(layer.linear(window)[0], frame)


@pytest.mark.parametrize("settings", [{}, {"layer_norm": True}, {"kernel_size": 5}])
@pytest.mark.parametrize(
    ("sizes", "length"), [("auto", 40), ("auto", 9), ((8,), 7), ((8, 8, 8), 41), ((), 5)]
)
@pytest.mark.parametrize("training", [False, True])
def test_the_future_never_leaks_into_frames_and_contexts(
    settings, sizes, length, training
):
    torch.manual_seed(0)
    options = ArchitectureOptions(hidden_layer_sizes=sizes, **settings)
    network = make_predictive_network(
        "conv", (2, length), 6, options, n_steps="auto", output="context"
    )
    strides = [2] * (2 if sizes == "auto" else len(sizes))
    if sizes == "auto" and length == 9:
        strides = [2, 1]  # a second stride would leave 3 frames
    ends = frame_ends(length, strides)
    assert len(ends) == network.n_frames
    with torch.set_grad_enabled(training):
        x = torch.randn(3, 2 * length)
        frames = network.frames(x)
        contexts = network.contexts(frames)
        for t, end in enumerate(ends):
            future = x.clone().view(3, 2, length)
            future[:, :, end + 1 :] = 100 * torch.randn(3, 2, length - end - 1)
            changed = network.frames(future.view(3, -1))
            assert torch.equal(changed[:, : t + 1], frames[:, : t + 1])
            context = network.contexts(changed)
            assert torch.equal(context[:, : t + 1], contexts[:, : t + 1])
            if end + 1 < length:
                assert not torch.equal(context[:, -1], contexts[:, -1])
            past = x.clone().view(3, 2, length)
            past[:, :, end] += 1.0  # the last step that a frame sees does matter
            assert not torch.equal(network.frames(past.view(3, -1))[:, t], frames[:, t])


def test_the_recurrence_is_that_of_torch():
    torch.manual_seed(0)
    unit = nn.GRU(5, 5, batch_first=True).double()
    frames = torch.randn(4, 7, 5).double()
    torch.testing.assert_close(gated_recurrence(unit, frames), unit(frames)[0])


# -- the estimator ---------------------------------------------------------------------


def planted(n=1200, length=64):
    """Rows of one of four periods, at any phase, under noise as strong as the signal.

    A phase drawn at random leaves every class the same mean: no linear map of the rows
    tells the periods apart.
    """
    rng = np.random.default_rng(0)
    state = rng.integers(0, 4, n)
    period = np.array([5.0, 7.0, 10.0, 15.0])[state]
    phase = rng.uniform(0, 2 * np.pi, n)
    rows = np.sin(2 * np.pi * np.arange(length) / period[:, None] + phase[:, None])
    return rows + rng.normal(size=rows.shape), state


def probe(embed, X, y):
    Z = embed(X)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return model.fit(Z[:800], y[:800]).score(Z[800:], y[800:])


def test_a_probe_finds_the_state_that_pca_and_an_untrained_network_do_not():
    X, y = planted()
    pca = probe(PCA(16).fit(X[:800]).transform, X, y)
    coder = ContrastivePredictiveCoder(16, max_iter=20, random_state=0).fit(X[:800])
    untrained = coder.__class__(
        16, max_iter=1, learning_rate_init=1e-12, early_stopping=False, random_state=0
    ).fit(X[:800])
    found = probe(coder.transform, X, y)
    assert found > pca + 0.3
    assert found > probe(untrained.transform, X, y) + 0.12
    assert coder.loss_curve_[-1] < 0.8 * coder.loss_curve_[0]
    assert coder.score(X[800:]) > untrained.score(X[800:]) + 0.3


# other times of a row share its lag: told from them, a future teaches less of it
@pytest.mark.parametrize(
    ("negatives", "least"), [("rows", 0.85), ("both", 0.85), ("times", 0.6)]
)
def test_lags_between_channels_are_found_with_any_negatives(negatives, least):
    rng = np.random.default_rng(0)
    state = rng.integers(0, 4, 1200)
    period, phase = rng.uniform(8, 20, 1200), rng.uniform(0, 2 * np.pi, 1200)
    steps = np.arange(64) - np.array([0, 2])[:, None, None] * state[:, None]
    rows = np.sin(2 * np.pi * steps / period[:, None] + phase[:, None])
    X = np.hstack(list(rows)) + 0.3 * rng.normal(size=(1200, 128))
    coder = ContrastivePredictiveCoder(
        16, input_shape=(2, 64), negatives=negatives, max_iter=20, random_state=0
    ).fit(X[:800])
    assert probe(PCA(16).fit(X[:800]).transform, X, state) < 0.5
    assert probe(coder.transform, X, state) > least


@pytest.mark.parametrize("output", ["context", "context_mean", "encoder_mean"])
def test_outputs_are_summaries_of_one_training(output):
    X, _ = planted(100, 20)
    settings = {"max_iter": 2, "scaling": None, "random_state": 0, "dtype": "float64"}
    coder = ContrastivePredictiveCoder(6, readout=output, **settings).fit(X)
    other = ContrastivePredictiveCoder(6, readout="context", **settings).fit(X)
    assert coder.loss_curve_ == other.loss_curve_
    network = other.net_.module_
    with torch.no_grad():
        frames = network.frames(torch.from_numpy(X))
        contexts = network.contexts(frames)
    expected = {
        "context": contexts[:, -1],
        "context_mean": contexts.mean(dim=1),
        "encoder_mean": frames.mean(dim=1),
    }[output]
    np.testing.assert_allclose(coder.transform(X), expected, rtol=1e-9, atol=1e-12)


def test_a_row_alone_is_as_in_any_batch_of_longer_sequences():
    X, _ = planted(1100, 90)
    coder = ContrastivePredictiveCoder(
        7, input_shape=(3, 30), hidden_layer_sizes=(13, 9), max_iter=2, random_state=0
    ).fit(X[:200])
    together = coder.transform(X)
    for i in (0, 5, 1023, 1024, 1099):
        np.testing.assert_array_equal(coder.transform(X[i : i + 1])[0], together[i])


@pytest.mark.parametrize(
    ("width", "sizes", "frames", "steps"),
    [
        (1, "auto", 1, 1),
        (2, "auto", 2, 1),
        (3, "auto", 3, 1),
        (5, "auto", 5, 2),
        (8, "auto", 4, 2),
        (64, "auto", 16, 4),
        (8, (4, 4, 4), 1, 1),
        (5, (), 5, 2),
    ],
)
@pytest.mark.parametrize("negatives", ["rows", "both"])
def test_short_sequences_stride_less_and_are_asked_less(
    width, sizes, frames, steps, negatives
):
    X = np.random.default_rng(0).normal(size=(40, width))
    coder = ContrastivePredictiveCoder(
        3, hidden_layer_sizes=sizes, negatives=negatives, max_iter=3, random_state=0
    ).fit(X)
    assert coder.n_frames_ == frames
    terms = [name for name in coder.loss_terms_ if name.startswith("train_")]
    nearest = 0 if frames == 1 else 1
    assert terms == [f"train_info_nce_{nearest + i}" for i in range(steps)]
    assert np.isfinite(coder.transform(X)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"prediction_steps": 16},
            r"prediction_steps=16 needs at least 17 frames, but sequences of length 64 "
            r"have 16\. Lower prediction_steps, take a smaller stride",
        ),
        (
            {"prediction_steps": 1, "hidden_layer_sizes": (4,) * 6},
            "prediction_steps=1 needs at least 2 frames",
        ),
        (
            {"negatives": "times", "hidden_layer_sizes": (4,) * 6},
            "negatives='times' needs at least 2 frames",
        ),
        ({"input_shape": (1, 8, 8)}, r"input_shape=\(1, 8, 8\) is an image's"),
        ({"input_shape": (2, 30)}, "does not fit rows of 64 columns"),
        (
            {"architecture": lambda n_channels, n_components: nn.Flatten()},
            r"into \(2, 64\); expected \(2, 5, frames\)",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_the_fit_survives(settings, message):
    X, _ = planted(60)
    coder = ContrastivePredictiveCoder(5, max_iter=1, random_state=0).fit(X)
    before = coder.transform(X)
    with pytest.raises(ValueError, match=message):
        coder.set_params(**settings).fit(X)
    np.testing.assert_array_equal(before, coder.transform(X))
    assert coder.n_frames_ == 16


def test_an_architecture_of_ones_own():
    X, _ = planted(200)

    def architecture(n_channels, n_components):
        return nn.Sequential(
            nn.Conv1d(n_channels, 8, 4, stride=4),
            nn.ReLU(),
            nn.Conv1d(8, n_components, 1),
        )

    coder = ContrastivePredictiveCoder(
        5, architecture=architecture, max_iter=8, random_state=0
    ).fit(X)
    assert coder.n_frames_ == 16
    assert coder.loss_curve_[-1] < coder.loss_curve_[0]
    with pytest.raises(TypeError, match=r"must return a torch\.nn\.Module; got int"):
        coder.set_params(architecture=lambda n_channels, n_components: 3).fit(X)


def test_a_score_needs_rows_to_compare():
    X, _ = planted(60)
    coder = ContrastivePredictiveCoder(5, max_iter=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match="at least 2 rows"):
        coder.score(X[:1])
    assert coder.score(X) == coder.score(X)
