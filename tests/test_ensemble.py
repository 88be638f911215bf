"""Networks trained together: module, batches, noise, trimmed loss, and the whole."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from conftest import correlated
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score
from torch import nn

from sklearn_repr import ReconstructionOutlierDetector
from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.corruptions.members import KnownNoise, PartialNoise
from sklearn_repr.data.members import MemberBatches
from sklearn_repr.engine import ensembles, train
from sklearn_repr.engine.ensembles import RECIPES, Denoisers
from sklearn_repr.engine.schedule import one_cycle
from sklearn_repr.engine.step import is_recordable
from sklearn_repr.estimators import outlier_detector
from sklearn_repr.modules.ensemble import EnsembleDenoiser, EnsembleMLP
from sklearn_repr.objectives import Reconstruction
from sklearn_repr.objectives.trimmed import TrimmedReconstruction
from sklearn_repr.utils.randomness import Seeds, make_generator

KINDS = pytest.mark.parametrize("kind", ["contaminated", "clean"])


def generators(count):
    return [make_generator(seed) for seed in range(count)]


def trained(kind, n_steps, rows, **changes):
    recipe = dataclasses.replace(RECIPES[kind], **changes)
    return Denoisers(recipe, n_steps, Seeds(0), 0, None, "").fit(rows)


# -- the module ------------------------------------------------------------------------


def separate(members, i):
    layers = []
    for weight, bias in zip(members.weights, members.biases, strict=True):
        layer = nn.Linear(*weight.shape[1:])
        layer.weight.data, layer.bias.data = weight[i].T.clone(), bias[i, 0].clone()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("grad", [True, False])
def test_members_are_separate_perceptrons(grad):
    members = EnsembleMLP([5, 8, 7, 2], generators(3))
    x = torch.randn(3, 10, 5)
    with torch.set_grad_enabled(grad):
        together = members(x)
    for i in range(3):
        alone = separate(members, i)
        torch.testing.assert_close(together[i], alone(x[i]))
        if grad:
            members.zero_grad()
            members(x).square().sum().backward()
            alone(x[i]).square().sum().backward()
            for j, weight in enumerate(members.weights):
                torch.testing.assert_close(weight.grad[i].T, alone[2 * j].weight.grad)


def test_errors_at_known_levels_are_their_definition():
    module = EnsembleDenoiser(4, [8], generators(3), levels=[0.5, 2.0])
    module.draw_noise(generators(3))
    x = torch.randn(6, 4)
    errors, expected = torch.zeros(6, 2, 4), torch.zeros(6, 4)
    for at, level in enumerate((0.5, 2.0)):
        for m in range(3):
            noisy = (x + level * module.noise[at, m]) / np.sqrt(1 + level**2)
            seen = torch.cat([noisy, torch.full((6, 1), np.log(level))], dim=1)
            rebuilt = separate(module.network, m)(seen)
            errors[:, at] += (rebuilt - x).abs() / 3
            expected += rebuilt / 3 if level >= 1 else 0
    torch.testing.assert_close(module.errors(x), errors)
    torch.testing.assert_close(module.expected(x), expected)
    assert module.noise.std() > 0.5


def test_errors_without_levels_are_those_of_clean_rows():
    module = EnsembleDenoiser(4, [8], generators(3))
    x = torch.randn(6, 4)
    rebuilt = torch.stack([separate(module.network, m)(x) for m in range(3)])
    torch.testing.assert_close(module.errors(x)[:, 0], (rebuilt - x).abs().mean(dim=0))
    torch.testing.assert_close(module.expected(x), rebuilt.mean(dim=0))


# -- batches ---------------------------------------------------------------------------


def numbered(n, count, **settings):
    values = torch.arange(float(n))[:, None]
    settings = {"batch_size": 40, "n_batches": 30, **settings}
    return MemberBatches(values, generators(count), **settings)


def test_members_draw_from_rows_of_their_own():
    rows = numbered(60, 3, rows_per_member=20)
    batches = torch.cat([b.values for b in rows.pools(make_generator(0))], dim=1)
    assert batches.shape == (3, 30 * 40, 1)
    seen = [set(member.ravel().tolist()) for member in batches]
    assert [len(rows) for rows in seen] == [20, 20, 20]
    assert len(set.union(*seen)) > 30
    assert rows.pool_sizes() == [3] * 30
    # at most half of all rows, and at least one
    assert numbered(60, 1, rows_per_member=256).subsets.shape == (1, 30)
    assert numbered(1, 2, rows_per_member=256).subsets.shape == (2, 1)


def test_without_a_limit_every_member_draws_from_all_rows():
    rows = numbered(60, 2)
    batches = torch.cat([b.values for b in rows.pools(make_generator(0))], dim=1)
    assert [len(set(member.ravel().tolist())) for member in batches] == [60, 60]
    assert not torch.equal(batches[0], batches[1])
    again = torch.cat([b.values for b in rows.pools(make_generator(0))], dim=1)
    assert not torch.equal(batches, again)
    (table,) = rows.pools(None)
    assert torch.equal(table.values, rows.values)
    assert len(rows) == len(rows.sample()) == 60
    assert len(rows.some(10)) == 10


# -- noise -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KnownNoise, PartialNoise])
def test_noise_levels_are_log_uniform(kind):
    levels = kind(0.1, 3.0, generators(2)).draw_log_levels(torch.zeros(2, 4000, 3))
    for member in levels[..., 0].numpy():
        share = (member - np.log(0.1)) / np.log(30)
        assert kstest(share, "uniform").pvalue > 1e-3
    assert not torch.equal(*levels)


def test_known_noise_keeps_the_variance_and_tells_the_level():
    values = torch.randn(2, 20_000, 3, generator=make_generator(5))
    seen = KnownNoise(0.1, 3.0, generators(2))(values, make_generator(0)).values
    noisy, level = seen[..., :3], seen[..., 3:].exp()
    assert noisy.std() == pytest.approx(1, abs=0.02)
    noise = (noisy * (1 + level.square()).sqrt() - values) / level
    assert kstest(noise.ravel().numpy()[:5000], "norm").pvalue > 1e-3


def test_partial_noise_falls_on_a_share_of_the_cells_of_each_row():
    values = torch.randn(2, 400, 50, generator=make_generator(5))
    noisy, mask = PartialNoise(1.0, 1.0, generators(2))(values, make_generator(0))
    assert torch.equal(noisy != values, mask)
    assert kstest(mask.double().mean(dim=2).ravel().numpy(), "uniform").pvalue > 1e-3
    noise = (noisy - values)[mask]
    assert kstest(noise.numpy()[:3000], "norm").pvalue > 1e-3


# -- the trimmed loss ------------------------------------------------------------------


def slow_loss(residual, level, trimmed):
    """Mean loss of each member over the rows with the smallest relative losses."""
    total = 0.0
    for member, sigma in zip(residual, level, strict=True):
        losses = [float(row @ row) for row in member]
        relative = [x * (1 + s**2) / s**2 for x, s in zip(losses, sigma, strict=True)]
        kept = np.argsort(relative)[: int(len(losses) * (1 - trimmed))]
        total += np.mean([losses[i] for i in kept])
    return total


@pytest.mark.parametrize("trimmed", [0.0, 0.1, 0.3])
def test_the_trimmed_loss_is_its_definition(trimmed):
    rng = np.random.default_rng(0)
    residual, level = rng.normal(size=(3, 20, 4)), np.exp(rng.normal(size=(3, 20)))
    values = torch.from_numpy(rng.normal(size=(3, 20, 4)))
    rebuilt = values + torch.from_numpy(residual)
    seen = torch.cat([rebuilt, torch.from_numpy(np.log(level))[..., None]], dim=2)
    objective = TrimmedReconstruction(trimmed, full_epochs=2)
    outputs = Outputs(rebuilt, reconstruction=rebuilt, inputs=seen)
    for epoch, share in ((0, 0.0), (1, 0.0), (2, 0.0), (3, trimmed)):
        objective.start_epoch(epoch, 60)
        loss = objective(outputs, Batch(values))["reconstruction"]
        assert float(loss) == pytest.approx(slow_loss(residual, level, share))
    assert objective.phase == ("trimmed" if trimmed else "full")


def test_rows_that_are_trimmed_teach_nothing():
    rebuilt = torch.tensor([[[1.0], [-2.0], [50.0]]], requires_grad=True)
    objective = TrimmedReconstruction(0.3, loss="huber", scale=1.5)
    objective.start_epoch(1, 3)
    outputs = Outputs(rebuilt, reconstruction=rebuilt, inputs=rebuilt)
    objective(outputs, Batch(torch.zeros(1, 3, 1)))["reconstruction"].backward()
    assert rebuilt.grad.ravel().tolist() == [0.5, -0.75, 0.0]


def test_the_trimmed_loss_takes_every_loss_that_reconstruction_takes():
    rebuilt, values = torch.rand(2, 3, 5, 4, generator=make_generator(0))
    outputs, batch = (
        Outputs(rebuilt, reconstruction=rebuilt, inputs=rebuilt),
        Batch(values),
    )
    for loss in (torch.square, "squared_error", "binary_cross_entropy"):
        objective = TrimmedReconstruction(loss=loss)
        # a user's function may do what a recorded step cannot repeat
        assert is_recordable(objective) == isinstance(loss, str)
        found = objective(outputs, batch)["reconstruction"]
        plain = Reconstruction(loss).cells(outputs, batch).sum(dim=2).mean(dim=1).sum()
        torch.testing.assert_close(found, plain)
    with pytest.raises(ValueError, match="one value per cell"):
        TrimmedReconstruction(loss=torch.sum)(outputs, batch)


@pytest.mark.parametrize("value", [-0.1, 1.0, np.nan])
def test_a_share_that_cannot_be_trimmed_is_refused(value):
    with pytest.raises(ValueError, match="trimmed"):
        TrimmedReconstruction(value)


# -- the whole -------------------------------------------------------------------------


@KINDS
def test_a_member_is_the_same_whichever_are_trained_with_it(kind):
    rows = correlated(100)
    together = trained(kind, 30, rows, n_members=6).module_
    for count in (1, 4):
        alone = trained(kind, 30, rows, n_members=count).module_
        for name, weight in alone.named_parameters():
            found = together.get_parameter(name)[:count]
            torch.testing.assert_close(found, weight, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("n_steps", [10, 601])
def test_the_learning_rate_is_torchs_one_cycle(n_steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=n_steps)
    for step in range(n_steps):
        expected = optimizer.param_groups[0]["lr"]
        assert one_cycle(step, n_steps) == pytest.approx(expected, rel=1e-6)
        optimizer.step()
        if step < n_steps - 1:
            schedule.step()
    assert np.isfinite(one_cycle(0, 1) + one_cycle(1, 2))


@KINDS
def test_networks_learn_what_columns_say_of_each_other(kind):
    train, test = correlated(400), correlated(200, seed=1)
    scrambled = np.random.default_rng(0).permuted(test, axis=0)

    def auc(n_steps):
        networks = trained(kind, n_steps, train, n_members=2)
        scores = [networks.errors(rows).sum(axis=(1, 2)) for rows in (test, scrambled)]
        return roc_auc_score(np.repeat([0, 1], 200), np.concatenate(scores))

    assert auc(300) > 0.9
    assert auc(300) > auc(1) + 0.2


class Seen(TrimmedReconstruction):
    """Notes what every step of training is given."""

    steps: list

    def terms(self, outputs, target):
        self.steps.append((self.phase, outputs.inputs.detach(), target.values))
        return super().terms(outputs, target)


def steps_of_a_fit(monkeypatch, kind, n_steps, rows):
    monkeypatch.setattr(Seen, "steps", [], raising=False)
    objective = RECIPES[kind].objective
    arguments = objective.args if isinstance(objective, partial) else ()
    trained(kind, n_steps, rows, objective=partial(Seen, *arguments))
    return Seen.steps


@pytest.mark.parametrize("n_steps", [1, 7, 20, 33])
def test_nothing_is_trimmed_in_the_first_tenth_of_the_steps(monkeypatch, n_steps):
    steps = steps_of_a_fit(monkeypatch, "contaminated", n_steps, correlated(40))
    phases = [phase for phase, *_ in steps]
    n_full = int(np.ceil(n_steps / 10))
    assert phases == ["full"] * n_full + ["trimmed"] * (n_steps - n_full)


def test_networks_of_contaminated_rows_see_rows_of_their_own_and_known_noise(monkeypatch):
    steps = steps_of_a_fit(monkeypatch, "contaminated", 30, correlated(700))
    seen = torch.cat([inputs for _, inputs, _ in steps], dim=1)
    clean = torch.cat([values for *_, values in steps], dim=1)
    assert seen.shape == (8, 30 * 64, 7)
    assert clean.shape == (8, 30 * 64, 6)
    assert seen[..., 6].exp().min() < 0.12
    assert seen[..., 6].exp().max() > 2.5
    assert not (seen[..., :6] == clean).any()
    drawn = [{tuple(row) for row in member.tolist()} for member in clean]
    assert all(250 < len(rows) <= 256 for rows in drawn)
    assert len(set.union(*drawn)) > 600


def test_networks_of_clean_rows_see_all_rows_and_partial_noise(monkeypatch):
    steps = steps_of_a_fit(monkeypatch, "clean", 30, correlated(200))
    assert {phase for phase, *_ in steps} == {"full"}
    seen = torch.cat([inputs for _, inputs, _ in steps], dim=1)
    clean = torch.cat([values for *_, values in steps], dim=1)
    assert seen.shape == clean.shape == (2, 30 * 128, 6)
    assert (seen != clean).double().mean() == pytest.approx(0.5, abs=0.05)
    assert [len({tuple(row) for row in member.tolist()}) for member in clean] == [200] * 2


def test_training_is_one_cycle_with_weight_decay(monkeypatch):
    nets = []

    def watched(*args, **kwargs):
        nets.append(train(*args, **kwargs))
        return nets[-1]

    monkeypatch.setattr(ensembles, "train", watched)
    trained("contaminated", 40, correlated(60))
    (net,) = nets
    assert net.steps_ == (40, 40)
    group = net.optimizer_.param_groups[0]
    assert isinstance(net.optimizer_, torch.optim.AdamW)
    assert group["weight_decay"] == 0.01
    assert group["lr"] == pytest.approx(1e-2 * one_cycle(39, 40))


def test_wide_rows_are_scored_under_noise_and_in_units_of_training(monkeypatch):
    monkeypatch.setattr(outlier_detector, "MOST_COLUMNS", 5)
    X = correlated(300)
    detector = ReconstructionOutlierDetector(
        neighbor_weight=0.0, n_steps=30, random_state=0
    ).fit(X)
    errors = detector._scorer.cells.reconstructor
    noise = errors.networks.module_.noise
    assert noise.shape == (4, 8, 1, 6)
    assert len(noise.unique()) == noise.numel()
    raw = errors.networks.errors(errors.units.networks(detector._scorer.codec.scale(X)))
    sums = (raw / (raw.mean(axis=0) + 0.05)).sum(axis=2)
    expected = (sums / np.median(sums, axis=0)).mean(axis=1)
    np.testing.assert_allclose(detector.anomaly_score(X), expected)


def test_a_robust_loss_reaches_the_ensemble():
    class Robust(ReconstructionOutlierDetector):
        __doc__ = "With Cauchy's loss."

        def _recipe(self, name):
            robust = partial(TrimmedReconstruction, 0.1, loss="cauchy", scale=0.1)
            return dataclasses.replace(super()._recipe(name), objective=robust)

    X = correlated(60)
    plain, robust = (
        kind(n_steps=30, random_state=0).fit(X).score_samples(X)
        for kind in (ReconstructionOutlierDetector, Robust)
    )
    assert not np.allclose(plain, robust, rtol=1e-2)
    assert np.corrcoef(plain, robust)[0, 1] > 0.8


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_steps", [1, 3, "auto"])
def test_a_short_training_is_silent(n_steps, capsys):
    ReconstructionOutlierDetector(n_steps=n_steps, random_state=0).fit(np.ones((20, 3)))
    assert capsys.readouterr() == ("", "")


def test_one_bar_shows_the_progress(capsys):
    ReconstructionOutlierDetector(n_steps=20, verbose=1).fit(correlated(20))
    out, err = capsys.readouterr()
    assert not out
    assert "ReconstructionOutlierDetector" in err
    assert "10/10" in err
