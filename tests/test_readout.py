"""What is read off layers: block variances, principal components, an even turn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances
from sklearn.preprocessing import StandardScaler

from sklearn_repr.modules import make_mlp
from sklearn_repr.modules.readout import (
    LayerReadout,
    equal_variance_rotation,
    hidden_layers,
    unit_length,
)


@pytest.fixture
def blocks():
    """Two hidden layers of a perceptron, of very different sizes."""
    torch.manual_seed(0)
    perceptron = make_mlp([6, 20, 12, 3], activation="silu").double()
    layers = hidden_layers(perceptron, torch.randn(200, 6).double() * 100)
    return [layer.detach() for layer in layers]


def test_layers_are_roots_that_keep_their_sign():
    torch.manual_seed(0)
    perceptron, rows = make_mlp([6, 20, 12, 3], activation="silu"), torch.randn(9, 6)
    first = perceptron[1](perceptron[0](rows))
    second = perceptron[3](perceptron[2](first))
    for found, layer in zip(
        hidden_layers(perceptron, rows), (first, second), strict=True
    ):
        assert (layer < 0).any()
        torch.testing.assert_close(found * found.abs(), layer)
    (only,) = hidden_layers(make_mlp([6, 3]), rows)
    assert only is rows


def concatenated(blocks):
    """Compute by hand what the principal components are of."""
    parts = (block.numpy() for block in blocks)
    return [part / np.sqrt(part.var(axis=0).sum()) for part in parts]


def read(blocks, n_components):
    width = sum(block.shape[1] for block in blocks)
    readout = LayerReadout(width, n_components).double().fit(blocks)
    return readout(blocks).numpy()


@pytest.mark.parametrize("n_components", [4, 16])
def test_the_readout_is_a_turn_of_the_pca_of_all_layers(blocks, n_components):
    Z = read(blocks, n_components)
    scores = PCA(n_components).fit_transform(np.hstack(concatenated(blocks)))
    np.testing.assert_allclose(Z @ Z.T, scores @ scores.T, atol=1e-9)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-9)


def test_all_blocks_have_the_same_total_variance(blocks):
    for part in concatenated(blocks):
        np.testing.assert_allclose(part.var(axis=0).sum(), 1)
    # with as many components as there are columns, nothing is lost
    Z = read(blocks, 40)
    np.testing.assert_allclose(Z.var(axis=0).sum(), len(blocks))


def test_a_scaler_behind_the_readout_whitens_nothing(blocks):
    Z = read(blocks, 12)
    np.testing.assert_allclose(Z.var(axis=0), Z.var(axis=0).mean())
    before, after = (
        pairwise_distances(Z),
        pairwise_distances(StandardScaler().fit_transform(Z)),
    )
    ratio = after[before > 0] / before[before > 0]
    np.testing.assert_allclose(ratio, ratio[0])


def test_components_beyond_the_rank_share_what_variance_there_is():
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    readout = LayerReadout(3, 8).fit([rows])
    Z = readout([rows]).numpy()
    assert Z.shape == (4, 8)
    np.testing.assert_allclose(Z.var(axis=0), Z.var(axis=0).mean(), rtol=1e-5)
    scaled = rows.numpy() / np.sqrt(rows.numpy().var(axis=0).sum())
    np.testing.assert_allclose(
        pairwise_distances(Z), pairwise_distances(scaled), atol=1e-5
    )


def test_constant_blocks_give_zeros():
    blocks = [torch.full((5, 2), 3.0), torch.ones(5, 4)]
    readout = LayerReadout(6, 3).fit(blocks)
    assert (readout(blocks) == 0).all()


@pytest.mark.parametrize(("k", "width"), [(1, 1), (1, 5), (3, 3), (7, 64), (64, 64)])
def test_the_turn_is_orthonormal_and_evens_variances(k, width):
    variances = torch.rand(k, generator=torch.Generator().manual_seed(k)).double() ** 6
    turn = equal_variance_rotation(variances, width)
    np.testing.assert_allclose(turn.T @ turn, np.eye(k), atol=1e-12)
    diagonal = ((turn * variances) @ turn.T).diagonal()
    np.testing.assert_allclose(diagonal, variances.sum() / width, rtol=1e-9)


def test_lengths_at_the_ends_of_the_range():
    big, small = torch.finfo(torch.float32).max, 1e-30
    rows = torch.tensor([[big, big], [small, 0.0], [0.0, 0.0]])
    lengths = unit_length(rows).norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 1.0, 0.0]))
