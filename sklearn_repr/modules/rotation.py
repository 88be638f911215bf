"""Rotate a trained code to ordered, decorrelated, sign-fixed axes, inside the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sklearn_repr.modules.autoencoder import Autoencoder
from sklearn_repr.modules.linear import SkipConnected
from sklearn_repr.modules.tied import TiedLinear

__all__ = ["rotate_code"]

# axes that carry less than this share of the largest are kept apart from zero, so that
# the rotation can be undone by the decoder in single precision
FLOOR = 1e-5


def rotate_code(
    module: Autoencoder, rows: Any, codes: Tensor, *, keep_lengths: bool = False
) -> Tensor:
    r"""Rotate the code without changing what the module reconstructs.

    The new code is z' = T (z - m), with m the mean code and T such that the best linear
    map from z' to the rows has orthogonal columns of unit length and z' has uncorrelated
    units, by decreasing variance: the axes of PCA on what the code linearly explains. For
    a linear autoencoder at its optimum they are the principal components themselves. The
    sign makes the entry of largest magnitude of every column positive. Where decoder and
    encoder are tied, or lengths are to be kept, T is orthogonal and its axes are those of
    the code's covariance.

    Parameters
    ----------
    module : Autoencoder
        Whose last encoding and first decoding maps are linear; changed in place.
    rows : Tensor of shape (n, n_encoded), or object with `transposed_times`
        Training rows, or what multiplies by them where they are sparse.
    codes : Tensor of shape (n, n_components)
        Their codes.
    keep_lengths : bool, default=False
        Rotate the code without stretching it, which leaves the norm of the encoder's
        Jacobian as it is.

    Returns
    -------
    variance : Tensor of shape (n_components,)
        Variance of the rows that each new unit explains linearly, decreasing; summed
        over columns.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules import Autoencoder
    >>> from sklearn_repr.modules.rotation import rotate_code
    >>> rows = torch.randn(50, 3)
    >>> ends = nn.Sequential(nn.Linear(3, 2)), nn.Sequential(nn.Linear(2, 3))
    >>> network = Autoencoder(*ends)
    >>> before = network(rows).reconstruction
    >>> variance = rotate_code(network, rows, network.encode(rows))
    >>> torch.allclose(before, network(rows).reconstruction, atol=1e-4)
    True
    """
    mean = codes.detach().double().mean(dim=0)
    z = codes.detach().double() - mean
    values, vectors = torch.linalg.eigh(z.T @ z / len(z))
    values = values.clamp(min=FLOOR**2 * float(values[-1]) + 1e-30)
    tied = any(isinstance(layer, TiedLinear) for layer in module.modules())
    rigid = tied or keep_lengths
    whiten = (vectors / values.sqrt()).T
    # the codes are centred: the rows need not be
    white = z @ whiten.T
    if isinstance(rows, Tensor):
        cross = rows.double().T @ white / len(z)
    else:
        cross = torch.from_numpy(rows.transposed_times(white.cpu().numpy())).to(z) / len(
            z
        )
    if rigid:
        order = cross.square().sum(dim=0).argsort(descending=True, stable=True)
        rotation, explained = vectors.T[order], cross.square().sum(dim=0)[order]
        columns, mean = cross[:, order], torch.zeros_like(mean)
    else:
        left, scale, right = torch.linalg.svd(cross, full_matrices=False)
        k = codes.shape[1]
        basis = torch.eye(k, dtype=z.dtype, device=z.device)
        if len(scale) < k:  # more units than columns: complete the rotation
            right = torch.linalg.svd(cross, full_matrices=True).Vh
            scale = torch.cat([scale, scale.new_zeros(k - len(scale))])
            left = torch.cat([left, left.new_zeros(len(left), k - left.shape[1])], dim=1)
        size = scale.clamp(min=FLOOR * float(scale[0]) + 1e-30)
        rotation = (basis * size) @ right @ whiten
        columns, explained = left, scale.square()
    largest = columns.gather(0, columns.abs().argmax(dim=0, keepdim=True))[0]
    rotation = rotation * torch.where(largest < 0, -1.0, 1.0).unsqueeze(1).to(rotation)
    back = rotation.T if rigid else torch.linalg.inv(rotation)
    with torch.no_grad():
        for i, layer in enumerate(_ends(module.encoder, -1)):
            layer.weight.copy_(rotation @ layer.weight.double())
            shift = mean if i == 0 else 0.0
            layer.bias.copy_(rotation @ (layer.bias.double() - shift))
        for layer in _ends(module.decoder, 0):
            if not isinstance(layer, TiedLinear):
                layer.bias.copy_(layer.bias.double() + layer.weight.double() @ mean)
                layer.weight.copy_(layer.weight.double() @ back)
    return torch.as_tensor(explained)


def _ends(part: nn.Module, position: int) -> list[nn.Linear]:
    """Return the linear maps next to the code, that of a path beside it first."""
    if isinstance(part, SkipConnected):
        return [part.linear, part.network[position]]  # type: ignore[list-item]
    return [part[position]]  # type: ignore[index]
