"""Inference: recorded mappings, threads, chunks, mixed precision."""

import numpy as np
import pytest
import torch
from conftest import TRANSFORMERS, each, fast
from scipy.stats import spearmanr
from torch import nn

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    MaskedAutoencoder,
    VariationalAutoencoder,
)
from sklearn_repr.engine import inference, training
from sklearn_repr.engine.inference import chunk_rows, infer

FAMILIES = [
    AutoencoderTransformer,
    ContrastiveEmbedder,
    MaskedAutoencoder,
    VariationalAutoencoder,
]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 4)) @ rng.normal(size=(4, 11))


def test_mappings_are_recorded_when_they_come_again(X, monkeypatch):
    model = AutoencoderTransformer(3, max_iter=1, random_state=0).fit(X)
    recorded = []
    original = inference._record
    monkeypatch.setattr(
        inference, "_record", lambda *args: recorded.append(1) or original(*args)
    )
    counts, codes = [], []
    for _ in range(3):
        codes.append(model.transform(X))
        counts.append(len(recorded))
    assert counts == [0, 1, 1]
    np.testing.assert_array_equal(codes[1], codes[0])
    # other weights are recorded anew
    with torch.no_grad():
        model.net_.module_.encoder.linear.weight.mul_(2)
    assert not np.array_equal(model.transform(X), codes[0])
    model.transform(X)
    assert len(recorded) == 2
    model.net_.module_.encoder.linear.weight.data.mul_(2)
    model.transform(X)
    changed = model.transform(X)
    assert len(recorded) == 3
    np.testing.assert_array_equal(model.transform(X), changed)
    # and not at all while somebody listens
    heard = []
    model.net_.module_.encoder.register_forward_hook(lambda *_: heard.append(1))
    for _ in range(3):
        np.testing.assert_array_equal(model.transform(X), changed)
    assert (len(recorded), len(heard)) == (3, 3)


def test_functions_that_refer_to_other_things_are_recorded_anew():
    module, X = nn.Linear(3, 2), np.ones((3000, 3), np.float32)

    def scaled(factor):
        return infer(
            lambda module, x: factor * module(x),
            torch.from_numpy,
            X,
            "cpu",
            module=module,
        )

    for factor in (1.0, 2.0, 3.0):
        np.testing.assert_allclose(scaled(factor), factor * scaled(1.0), rtol=1e-6)


@pytest.mark.parametrize("cls", FAMILIES)
def test_results_do_not_depend_on_the_number_of_threads(cls, X):
    model = cls(3, max_iter=1, random_state=0).fit(X)
    big = np.tile(X, (70, 1))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(model.transform(big))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    np.testing.assert_array_equal(results[0][:300], results[0][-300:])


@pytest.mark.parametrize("cls", FAMILIES)
def test_bits_do_not_depend_on_the_size_of_a_chunk(cls, X):
    model = cls(3, hidden_layer_sizes=(33, 20), max_iter=1, random_state=0).fit(X)
    big = np.tile(X, (14, 1)) + np.linspace(0, 1, 4200)[:, None]
    expected = model.transform(big)
    for n in (1, 64, 65, 130, 1100, 2100):
        np.testing.assert_array_equal(model.transform(big[-n:]), expected[-n:])


def test_few_rows_are_computed_where_few_come(X, monkeypatch):
    model = AutoencoderTransformer(3, max_iter=1, random_state=0).fit(X)
    expected = model.transform(X)
    sizes = []
    original = inference._record
    monkeypatch.setattr(
        inference, "_record", lambda f, x: sizes.append(len(x)) or original(f, x)
    )
    big = np.tile(X, (20, 1))
    for agree in (True, False):
        inference._Mappings.known.clear()
        sizes.clear()
        # a kernel may add up in another order where there are fewer rows
        monkeypatch.setattr(inference, "_agree", lambda *shape, agree=agree: agree)
        for n in (1, 64, 65, 1024, 1025, 6000):
            for _ in range(2):
                found = model.transform(big[:n])
                np.testing.assert_array_equal(found[:300], expected[:n])
        if agree:
            assert sizes == [64, 128, 1024, 2048, 4096]
        else:
            assert set(sizes) - {1024} == {64, 128, 2048, 4096}
            assert 1024 in sizes


@pytest.mark.parametrize("scaling", [None, "standard", "quantile"])
@pytest.mark.parametrize("cls", [AutoencoderTransformer, VariationalAutoencoder])
def test_bad_cells_far_down_a_table_are_named(cls, scaling, X):
    X = X.astype(np.float32)
    model = cls(3, scaling=scaling, max_iter=1, random_state=0).fit(X)
    for method in (model.transform, model.reconstruction_error, model.reconstruct):
        big = np.tile(X, (40, 1))
        big[9000, 4] = np.inf
        with pytest.raises(ValueError, match=r"infinity: .*4 \(row 9000\)"):
            method(big)


def test_cells_far_out_are_clamped_and_leave_other_rows_alone(X):
    X = X.astype(np.float32)
    model = AutoencoderTransformer(3, max_iter=1, random_state=0).fit(X)
    far = X.copy()
    far[7] = [1e20, *X[7, 1:]]
    codes, expected = model.transform(far), model.transform(X)
    assert np.isfinite(codes).all()
    others = np.arange(len(X)) != 7
    np.testing.assert_array_equal(codes[others], expected[others])
    np.testing.assert_array_equal(codes[7:8], model.transform(far[7:8]))


def test_errors_in_a_thread_are_raised(X):
    model = AutoencoderTransformer(3, max_iter=1, random_state=0).fit(X)
    big = np.tile(1e-3 * X, (70, 1))
    model._codec.scale_ = np.full(11, 1e-38)
    model._codec.single_ = None
    big[-1] = 1e30
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="too large"):
            model.transform(big)
    finally:
        torch.set_num_threads(before)


def test_large_modules_take_fewer_rows_at_a_time():
    sizes = [chunk_rows(nn.Linear(width, width)) for width in (10, 200, 300, 3000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 1024
    assert sizes[-1] == 64


@pytest.mark.parametrize("cls", [AutoencoderTransformer, VariationalAutoencoder])
def test_mixed_precision_keeps_the_ranking(cls, X, monkeypatch):
    options = {"max_iter": 20, "random_state": 0}
    X = X + 0.1 * np.random.default_rng(1).normal(size=X.shape)
    expected = cls(2, **options).fit(X)
    monkeypatch.setattr(training, "computes_in_bfloat16", lambda device: True)
    mixed = cls(2, dtype="bfloat16", **options).fit(X)
    assert next(mixed.net_.module_.parameters()).dtype == torch.float32
    errors = [model.reconstruction_error(X) for model in (expected, mixed)]
    assert (errors[0] != errors[1]).any()
    assert spearmanr(*errors).statistic > 0.999


def test_mixed_precision_is_single_precision_where_it_cannot_be(X, monkeypatch):
    monkeypatch.setattr(training, "computes_in_bfloat16", lambda device: False)
    codes = [
        AutoencoderTransformer(3, max_iter=3, random_state=0, dtype=dtype).fit_transform(
            X
        )
        for dtype in ("float32", "bfloat16")
    ]
    np.testing.assert_array_equal(*codes)


@each(TRANSFORMERS)
def test_every_estimator_trains_in_mixed_precision(estimator, X, monkeypatch):
    monkeypatch.setattr(training, "computes_in_bfloat16", lambda device: True)
    mixed = fast(estimator).set_params(dtype="bfloat16").fit(X)
    assert np.isfinite(mixed.transform(X)).all()
