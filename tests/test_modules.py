"""Modules: shapes, gradients, starts, and a user's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from sklearn_repr.modules import ACTIVATIONS, make_mlp, principal_subspace
from sklearn_repr.modules.factory import (
    ArchitectureOptions,
    make_autoencoder,
    make_contrastive_network,
)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(), (7,), (9, 6, 3)])
def test_autoencoder_mirrors_its_layers(activation, sizes):
    module = make_autoencoder("mlp", 5, 2, ArchitectureOptions(sizes, activation))
    outputs = module(torch.randn(4, 5))
    assert outputs.embedding.shape == (4, 2)
    assert outputs.reconstruction.shape == (4, 5)
    widths = [
        [layer.in_features for layer in part.modules() if isinstance(layer, nn.Linear)]
        for part in (module.encoder, module.decoder)
    ]
    skip = 1 if sizes else 0
    assert widths[0][skip:] == [5, *sizes]
    assert widths[1][skip:] == [2, *reversed(sizes)]


def test_there_is_no_batch_norm_and_dropout_and_layer_norm_are_optional():
    plain = {type(m) for m in make_mlp([4, 8, 8, 2]).modules()}
    assert plain == {nn.Sequential, nn.Linear, nn.SiLU}
    full = {type(m) for m in make_mlp([4, 8, 2], dropout=0.1, layer_norm=True).modules()}
    assert full == {nn.Sequential, nn.Linear, nn.SiLU, nn.Dropout, nn.LayerNorm}


@pytest.mark.parametrize("n_features", [1, 10, 64, 500])
def test_auto_sizes_grow_with_the_table(n_features):
    first, second = ArchitectureOptions("auto").hidden(n_features)
    assert 64 <= first <= 512
    assert second == first // 2
    assert first >= min(512, 2 * n_features)


@pytest.mark.parametrize("k", [1, 3, 6, 9])
@pytest.mark.parametrize("hidden", [(), (16,)])
def test_the_start_is_pca_with_a_code_of_unit_variance(k, hidden):
    rows = torch.randn(200, 6, dtype=torch.float64) @ torch.randn(6, 6).double() + 3
    module = make_autoencoder(
        "mlp",
        6,
        k,
        ArchitectureOptions(hidden),
        subspace=principal_subspace(rows),
        dtype=torch.float64,
    )
    outputs = module(rows)
    pca = PCA(min(k, 6)).fit(rows.numpy())
    np.testing.assert_allclose(
        outputs.reconstruction.detach(),
        pca.inverse_transform(pca.transform(rows.numpy())),
        atol=1e-8,
    )
    code = outputs.embedding.detach()[:, :6]
    np.testing.assert_allclose(code.std(0, correction=0), 1.0, rtol=1e-6)


@pytest.mark.parametrize("shape", [(30, 80), (700, 600)])
def test_few_axes_of_large_tables(shape):
    torch.manual_seed(0)
    rows = torch.randn(shape[0], 6).double() @ torch.randn(6, shape[1]).double()
    rows += 0.1 * torch.randn(shape).double()
    subspace = principal_subspace(rows, 5)
    pca = PCA(5, svd_solver="full").fit(rows.numpy())
    share = pca.explained_variance_ * (shape[0] - 1) / shape[0]
    np.testing.assert_allclose(subspace.variances[:5], share, rtol=1e-6)
    cosine = (subspace.axes[:5].numpy() * pca.components_).sum(axis=1)
    np.testing.assert_allclose(np.abs(cosine), 1.0, atol=1e-6)


def test_constant_columns_and_single_rows_have_a_start_too():
    for rows in (torch.ones(5, 3), torch.ones(1, 3), torch.zeros(4, 3)):
        subspace = principal_subspace(rows)
        module = make_autoencoder(
            "mlp", 3, 2, ArchitectureOptions((4,)), subspace=subspace
        )
        np.testing.assert_allclose(module(rows).reconstruction.detach(), rows, atol=1e-6)


def test_share_of_variance_counts_components_as_pca_does():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 8)) * 2.0 ** -np.arange(8)
    subspace = principal_subspace(torch.from_numpy(rows))
    for share in (0.1, 0.5, 0.75, 0.9, 0.99, 0.9999):
        expected = PCA(share, svd_solver="full").fit(rows).n_components_
        assert subspace.count_for_share(share) == expected


def test_every_parameter_of_every_architecture_learns():
    x = torch.randn(64, 5)
    modules = [
        make_autoencoder("mlp", 5, 2, ArchitectureOptions((8, 4), layer_norm=True)),
        make_autoencoder("mlp", 5, 2, ArchitectureOptions(()), linear_skip=False),
    ]
    for module in modules:
        # networks beside a linear path start at zero: look after a first step
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            (module(x).reconstruction - x).square().mean().backward()
            optimizer.step()
        assert all(p.grad.abs().max() > 0 for p in module.parameters())
    network = make_contrastive_network(
        "mlp", 5, 3, ArchitectureOptions(), projection_dim=4
    )
    network(x).projection.square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in network.parameters())
    assert network(x).projection.shape == (64, 4)


class OwnAutoencoder(nn.Module):
    """A user's module."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.down = nn.Linear(n_features, n_components)
        self.up = nn.Linear(n_components, n_features)

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z)


def pair(n_features, n_components):
    return nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)


def encoder_only(n_features, n_components):
    return nn.Linear(n_features, n_components)


@pytest.mark.parametrize("architecture", [OwnAutoencoder, pair])
def test_a_users_autoencoder(architecture):
    outputs = make_autoencoder(architecture, 5, 2, ArchitectureOptions())(
        torch.randn(3, 5)
    )
    assert outputs.embedding.shape == (3, 2)
    assert outputs.reconstruction.shape == (3, 5)


@pytest.mark.parametrize("architecture", [OwnAutoencoder, pair, encoder_only])
def test_a_users_encoder(architecture):
    network = make_contrastive_network(
        architecture, 5, 2, ArchitectureOptions(), projection_dim=4
    )
    assert network(torch.randn(3, 5)).projection.shape == (3, 4)


def test_a_users_mistakes_are_named():
    options = ArchitectureOptions()
    with pytest.raises(TypeError, match=r"with a method encode.*got Linear"):
        make_autoencoder(encoder_only, 5, 2, options)
    with pytest.raises(TypeError, match=r"torch\.nn\.Module.*got str"):
        make_autoencoder(lambda **_: "net", 5, 2, options)
    with pytest.raises(ValueError, match=r"encode turned.*\(2, 3\); expected \(2, 2\)"):
        make_autoencoder(lambda **_: pair(5, 3), 5, 2, options)
    with pytest.raises(ValueError, match=r"decode turned.*\(2, 4\); expected \(2, 5\)"):
        make_autoencoder(lambda **_: (pair(5, 2)[0], nn.Linear(2, 4)), 5, 2, options)
    with pytest.raises(ValueError, match=r"\(2, 3\); expected \(2, 2\)"):
        make_contrastive_network(
            lambda **_: nn.Linear(5, 3), 5, 2, options, projection_dim=2
        )
