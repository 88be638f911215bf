"""Categories against slow references: how they are encoded, read and paid for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import clone

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    DenoisingAutoencoder,
    MaskedAutoencoder,
    VariationalAutoencoder,
)
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.corruptions import Corruption, make_corruption
from sklearn_repr.data import Columns, NumericCodec, TableCodec
from sklearn_repr.objectives import ELBO, Reconstruction
from sklearn_repr.objectives.categories import CategoryLoss


def table(n=400, seed=0):
    """A number, and categories of 2, 4 and 9 levels of uneven shares."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=n)})
    for k in (2, 4, 9):
        shares = 0.5 ** np.arange(k)
        levels = [f"level {i}" for i in range(k)]
        frame[f"c{k}"] = rng.choice(levels, n, p=shares / shares.sum())
    return frame


def encoded(frame, **options):
    columns = Columns(**options).fit(frame)
    rows = columns.read(frame)
    codec = TableCodec(NumericCodec(dtype="float64"), columns.n_codes_).fit(rows)
    return columns, codec, rows


def test_every_category_has_the_variance_of_a_standardised_number():
    _, codec, rows = encoded(table())
    values = codec.scale(rows)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-12)
    totals = np.bincount(codec.columns_, values.var(axis=0))
    np.testing.assert_allclose(totals, 1)


def test_what_is_encoded_is_decoded_rare_levels_too():
    frame = table(3000)
    frame.loc[0, "c9"] = "once in three thousand rows"
    columns, codec, rows = encoded(frame)
    np.testing.assert_allclose(codec.decode(codec.scale(rows)), rows)
    assert columns.restore(rows)["c9"][0] == "once in three thousand rows"


def test_a_level_in_ten_million_rows_is_read_as_itself():
    rows, weights = np.array([[0.0], [1.0], [2.0]]), np.array([9e6, 1e6, 1.0])
    codec = TableCodec(NumericCodec(dtype="float64"), [4]).fit(rows, None, weights)
    np.testing.assert_array_equal(codec.decode(codec.scale(rows)), rows)


def test_the_loss_is_the_cross_entropy_in_units_of_the_entropy():
    _, codec, rows = encoded(table())
    values = torch.from_numpy(codec.scale(rows))
    said = torch.randn(values.shape, generator=torch.manual_seed(0)).to(values)
    found = CategoryLoss(codec.blocks_)(said, values).numpy()
    for place, (j, block) in enumerate(zip((1, 2, 3), codec.blocks_[1:], strict=True)):
        part = said[:, block.start : block.stop].numpy()
        logits = np.asarray(block.offset) + np.asarray(block.gain) * part
        unseen = np.full((len(part), 1), block.unseen)
        log_q = log_softmax(np.hstack([logits, unseen]), axis=1)
        level = rows[:, j].astype(int)
        shares = np.bincount(level) / len(level)
        entropy = -(shares * np.log(shares)).sum()
        expected = -log_q[np.arange(len(level)), level] / entropy
        np.testing.assert_allclose(found[:, place], expected)


def test_to_predict_the_shares_costs_one_whatever_the_number_of_levels():
    _, codec, rows = encoded(table(5000))
    values = torch.from_numpy(codec.scale(rows))
    objective = Reconstruction(blocks=codec.blocks_)
    outputs = Outputs(values, reconstruction=torch.zeros_like(values))
    cells = objective.cells(outputs, Batch(values)).mean(dim=0)
    np.testing.assert_allclose(cells, 1, rtol=2e-3)


def test_an_unknown_level_is_more_surprising_than_any_known_one():
    columns, codec, rows = encoded(table())
    other = table().assign(c4="never seen")
    unknown = torch.from_numpy(codec.scale(columns.read(other)))
    values = torch.from_numpy(codec.scale(rows))
    loss = CategoryLoss(codec.blocks_)
    zero = torch.zeros_like(values)
    known = loss(zero, values)[:, 1].max()
    assert (loss(zero, unknown)[:, 1] > known + 1).all()
    # neither a level nor missing
    block = codec.blocks_[2]
    cells = unknown[0, block.start : block.stop]
    assert cells.abs().sum() > 0
    assert not any(torch.equal(cells, row[block.start : block.stop]) for row in values)


def test_rare_levels_share_one_number_and_come_back_as_the_most_frequent_of_them():
    columns, codec, rows = encoded(table(), max_categories=3)
    assert columns.n_codes_ == [0, 3, 4, 4]  # the last for unknown levels
    back = columns.restore(codec.decode(codec.scale(rows)))
    assert set(back["c9"]) == {"level 0", "level 1", "level 2"}
    often, _, _ = encoded(table(), max_categories=None, min_frequency=0.1)
    counts = table()["c9"].value_counts()
    assert often.n_codes_[3] == (counts >= 40).sum() + 2


def test_a_thousand_levels_do_not_blow_the_width_up():
    frame = pd.DataFrame({"c": [f"name {i}" for i in range(1000)]})
    _, codec, _ = encoded(frame, max_categories=32)
    assert codec.n_encoded_ == 32


@pytest.mark.parametrize("name", ["swap", "scarf", "masking", "subset"])
def test_corruptions_replace_whole_cells(name):
    _, codec, rows = encoded(table(50))
    values = torch.from_numpy(codec.scale(rows))
    corruption = make_corruption(name, 0.5).group(torch.from_numpy(codec.columns_))
    seen, mask = corruption.fit(values)(values, torch.manual_seed(0))
    for j in range(4):
        own = mask[:, torch.from_numpy(codec.columns_ == j)]
        assert (own.all(dim=1) | ~own.any(dim=1)).all()
        assert own.any()
        assert not own.all()
    if name in ("swap", "scarf"):  # what replaces a category is one of its levels
        np.testing.assert_allclose(codec.scale(codec.decode(seen)), seen)


def test_the_bound_of_a_category_is_that_of_its_level():
    _, codec, rows = encoded(table()[["c2", "c4", "c9"]])
    values = torch.from_numpy(codec.scale(rows))
    zero = torch.zeros_like(values)
    moment = torch.zeros(len(values), 1, dtype=values.dtype)
    outputs = Outputs(moment, zero, mean=moment, log_variance=moment, log_noise=moment[0])
    found = ELBO(blocks=codec.blocks_).terms(outputs, Batch(values))["reconstruction"]
    expected = np.zeros(len(rows))
    for j in range(3):
        shares = np.bincount(rows[:, j].astype(int)) / len(rows)
        expected -= np.log(shares[rows[:, j].astype(int)])
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_indicators_say_where_numbers_are_missing_and_no_loss_looks_at_them():
    rows = np.random.default_rng(0).normal(size=(200, 3))
    rows[::4, 1] = np.nan
    codec = TableCodec(NumericCodec(fill=True), [0, 0, 0]).fit(rows)
    batch = codec.encode(rows)
    assert batch.values.shape == (200, 4)
    assert not batch.values.isnan().any()
    marks = batch.values[:, 3]
    assert (marks[::4] > 0).all()
    assert (marks[1::4] < 0).all()
    objective = Reconstruction(blocks=codec.blocks_)
    other = batch.values.clone()
    other[:, 3] += 100.0
    one, two = (
        objective.terms(Outputs(v, reconstruction=v), batch)["reconstruction"]
        for v in (batch.values, other)
    )
    assert torch.equal(one, two)
    assert codec.decode(batch.values).shape == (200, 3)


def test_indicators_are_small():
    rows = np.random.default_rng(0).normal(size=(200, 3))
    rows[::4, 1] = rows[::9, 2] = np.nan
    codec = TableCodec(NumericCodec(dtype="float64", fill=True), [0, 0, 0]).fit(rows)
    marks = codec.encode(rows).values[:, 3:]
    np.testing.assert_allclose(marks.mean(dim=0), 0, atol=1e-12)
    np.testing.assert_allclose(marks.var(dim=0, correction=0), 0.1)


def test_levels_are_drawn_with_their_probabilities():
    _, codec, rows = encoded(table(4000))
    zero = np.zeros((4000, codec.n_encoded_))
    drawn = codec.decode(zero, np.random.default_rng(0).random(zero.shape))
    for j in (1, 2, 3):
        shares, expected = (
            np.bincount(part[:, j].astype(int), minlength=9) / 4000
            for part in (drawn, rows)
        )
        np.testing.assert_allclose(shares, expected, atol=0.03)


def test_a_column_of_nearly_one_level_is_not_blown_up():
    rows, weights = np.array([[0.0], [1.0]]), np.array([9999.0, 1.0])
    codec = TableCodec(NumericCodec(dtype="float64"), [3]).fit(rows, None, weights)
    values = torch.from_numpy(codec.scale(rows))
    cost = CategoryLoss(codec.blocks_)(torch.zeros_like(values), values).flatten()
    np.testing.assert_allclose(cost, -np.log([0.9999, 0.0001]) / 0.1, atol=1e-3)
    # an unknown level has the probability of half a row
    assert codec.blocks_[0].unseen == pytest.approx(np.log(0.5 / 10_000))


@pytest.mark.parametrize(
    "estimator",
    [DenoisingAutoencoder(1, max_iter=1), ContrastiveEmbedder(1, max_iter=1)],
    ids=lambda e: type(e).__name__,
)
def test_training_replaces_whole_cells(estimator, monkeypatch):
    grouped = []

    def group(self, columns):
        grouped.append(columns.tolist())
        return self

    monkeypatch.setattr(Corruption, "group", group)
    fitted = estimator.fit(table(60))
    assert fitted._codec.columns_.tolist() in grouped


def test_a_category_that_follows_from_numbers_is_filled():
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    frame = pd.DataFrame({"x": x, "noise": rng.normal(size=600)})
    frame["sign"] = np.where(x > 0, "plus", "minus")
    holed = frame.copy()
    hidden = rng.random(600) < 0.3
    holed.loc[hidden, "sign"] = None
    filled = MaskedAutoencoder(random_state=0).fit(holed).impute(holed)
    assert (filled["sign"] == frame["sign"])[hidden].mean() > 0.9


UNIT_INTERVAL = [
    AutoencoderTransformer(1, loss="binary_cross_entropy", scaling=None, max_iter=3),
    DenoisingAutoencoder(1, loss="binary_cross_entropy", scaling=None, max_iter=3),
    VariationalAutoencoder(1, likelihood="bernoulli", scaling=None, max_iter=3),
]


@pytest.mark.parametrize("estimator", UNIT_INTERVAL, ids=lambda e: type(e).__name__)
def test_probabilities_of_cells_are_of_numbers(estimator):
    frame = pd.DataFrame({"x": np.linspace(0, 1, 40), "c": ["a", "b"] * 20})
    with pytest.raises(
        ValueError, match=r"'c' is a category\. Leave l\w+ at its default"
    ):
        clone(estimator).fit(frame)
    holed = np.column_stack([frame["x"], frame["x"][::-1]])
    holed[::5, 1] = np.nan
    fitted = clone(estimator).set_params(random_state=0).fit(holed)
    filled = fitted.impute(holed)
    assert ((filled >= 0) & (filled <= 1)).all()
    assert np.isfinite(fitted.reconstruction_error(holed)).all()
    with pytest.raises(ValueError, match="column number 1 goes from"):
        clone(estimator).fit(holed * [1, 2])


def test_the_score_is_the_mean_r2_of_numbers_and_of_the_indicators_of_levels():
    frame = table()
    frame.loc[::7, "c4"] = None
    frame.loc[::9, "x"] = np.nan
    other = frame.iloc[::2].copy()
    other.iloc[:20, 2] = "never seen"
    fitted = MaskedAutoencoder(2, max_iter=3, random_state=0).fit(frame)
    rows = fitted._columns.read(other)
    with torch.inference_mode():
        module = fitted.net_.module_
        said = module.decode(module.encode(fitted._codec.encode(rows).values)).numpy()
    shares = []
    known = ~np.isnan(rows[:, 0])
    x, rebuilt = rows[known, 0], fitted.reconstruct(other)["x"].to_numpy()[known]
    shares.append(1 - np.square(x - rebuilt).sum() / np.square(x - x.mean()).sum())
    for j, block in zip((1, 2, 3), fitted._codec.blocks_[1:], strict=True):
        part = said[:, block.start : block.stop].astype(np.float64)
        logits = np.asarray(block.offset) + np.asarray(block.gain) * part
        unseen = np.full((len(part), 1), block.unseen)
        q = softmax(np.hstack([logits, unseen]), axis=1)
        known = ~np.isnan(rows[:, j])
        e = np.eye(q.shape[1])[rows[known, j].astype(int)]
        mean = e.mean(axis=0)
        shares.append(1 - np.square(e - q[known]).sum() / np.square(e - mean).sum())
    assert min(shares) < 0 < max(shares)  # the first of these counts as 0
    assert fitted.score(other) == pytest.approx(np.mean(np.maximum(shares, 0)), abs=1e-6)


def test_units_of_numbers_do_not_matter_beside_categories():
    frame = table()
    frame["sign"] = np.where(frame["x"] > 0, "plus", "minus")
    large = frame.assign(x=1e6 * frame["x"])
    model = AutoencoderTransformer(2, max_iter=3, random_state=0)
    score = clone(model).fit(frame).score(frame)
    assert clone(model).fit(large).score(large) == pytest.approx(score, abs=1e-3)
    unscaled = clone(model).set_params(scaling=None).fit(large)
    assert unscaled.score(large) < score - 0.1
