"""Moving-average targets, and the engine's part in them."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.engine.fast import fast_path
from sklearn_repr.engine.net import RepresentationNet
from sklearn_repr.modules import EMATarget, make_mlp
from sklearn_repr.objectives import Objective
from sklearn_repr.utils.randomness import Seeds


def drift(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))


@pytest.mark.parametrize("n_steps", [None, 5])
def test_a_target_is_the_moving_average_of_its_source(n_steps):
    source = make_mlp([3, 4, 2]).double()
    target = EMATarget(source, momentum=0.8, n_steps=n_steps)
    expected = [p.detach().clone().numpy() for p in source.parameters()]
    for step in range(7):
        drift(source)
        target.update()
        share = 0 if n_steps is None else min(step / n_steps, 1)
        m = 1 - 0.2 * (math.cos(math.pi * share) + 1) / 2
        for slow, fast in zip(expected, source.parameters(), strict=True):
            slow *= m
            slow += (1 - m) * fast.detach().numpy()
    for slow, got in zip(expected, target.module.buffers(), strict=True):
        np.testing.assert_allclose(got, slow, rtol=1e-12)


def test_a_target_has_no_gradient_and_no_parameters():
    source = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    target = EMATarget(source, momentum=1.0)
    assert not list(target.parameters())
    x = torch.randn(6, 3, requires_grad=True)
    assert not target(x).requires_grad
    source(x)
    drift(source)
    before = target.module[0].weight.clone()
    target.update()
    assert torch.equal(target.module[0].weight, before)
    # buffers are copied whatever the momentum
    assert torch.equal(target.module[1].running_mean, source[1].running_mean)
    assert int(target.module[1].num_batches_tracked) == 1


def pickled(module):
    return pickle.loads(pickle.dumps(module))  # noqa: S301


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_a_copied_target_follows_the_copied_source(duplicate):
    holder = nn.ModuleList([nn.Linear(2, 2)])
    holder.append(EMATarget(holder[0], momentum=0.0))
    source, target = duplicate(holder)
    drift(source)
    target.update()
    assert torch.equal(target.module.weight, source.weight)
    assert not torch.equal(holder[1].module.weight, source.weight)
    assert len(list(holder.parameters())) == 2


def test_shared_weights_and_other_dtypes():
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.weight = layer.weight
    source = nn.Sequential(layer, layer, other)
    holder = nn.ModuleList([source, EMATarget(source, momentum=0.5)]).double()
    drift(source)
    expected = (holder[1].module[1].weight + layer.weight) / 2
    holder[1].update()
    for part in holder[1].module:
        torch.testing.assert_close(part.weight, expected.detach())


class Follower(nn.Module):
    """An encoder, and a target that it is to predict."""

    def __init__(self):
        super().__init__()
        self.encoder = make_mlp([3, 4, 2])
        self.target = EMATarget(self.encoder, momentum=0.5)
        self.seen = []

    def forward(self, x):
        embedding = self.encoder(x)
        return Outputs(embedding, prediction=embedding, target=self.target(x + 1))

    def after_step(self):
        self.seen.append(self.encoder[0].weight.detach().clone())
        self.target.update()


class Distance(Objective):
    """Prediction error, beside the labels that came along."""

    def terms(self, outputs, target):
        assert target.labels.shape == (len(target),)
        assert torch.equal(target.labels, target.values[:, 0].long())
        error = (outputs.prediction - outputs.target).square().sum(dim=1)
        return {"error": error}


class Listener(Callback):
    """Hears of every batch, which the plain path serves."""

    def on_batch_end(self, net, **kwargs):
        pass


@pytest.mark.parametrize("callbacks", [[], [Listener()]])
def test_the_engine_updates_targets_after_every_step(callbacks):
    torch.manual_seed(0)
    values = torch.randn(23, 3)
    values[:, 0] = torch.arange(23)
    rows = Batch(values, labels=torch.arange(23))
    net = RepresentationNet(
        Follower(),
        Distance(),
        seeds=Seeds(0),
        lr=1e-3,
        batch_size=5,
        max_epochs=2,
        callbacks=callbacks,
        train_split=None,
        verbose=0,
    ).initialize()
    net.partial_fit(rows)
    module = net.module_
    assert len(module.seen) == 10
    assert len({float(weight.sum()) for weight in module.seen}) == 10
    # the last of the weights that were seen are those that the encoder has now
    assert torch.equal(module.seen[-1], module.encoder[0].weight)
    with fast_path(net) as fast:
        assert fast.gradients is None


def test_labels_travel_with_their_rows():
    batch = Batch(torch.randn(6, 2), labels=torch.arange(6))
    assert batch.take(torch.tensor([4, 1])).labels.tolist() == [4, 1]
    assert [part.labels.tolist() for part in batch.split([2, 4])] == [
        [0, 1],
        [2, 3, 4, 5],
    ]
    assert batch.to("cpu").labels.tolist() == list(range(6))
    assert Batch(torch.zeros(2, 1)).split([1, 1])[0].labels is None
