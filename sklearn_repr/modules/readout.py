"""The embedding of a trained encoder: all layers with equal weight, made compact."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr.modules.linear import principal_subspace

__all__ = [
    "LayerReadout",
    "equal_variance_rotation",
    "hidden_layers",
    "signed_root",
    "unit_length",
]

# Widest concatenation of layers whose axes are computed exactly
EXACT_WIDTH = 2000
# Axes with less than this share of the largest variance are rounding noise
NO_VARIANCE = 1e-10
# What is added to |x| in the derivative of a signed root, which has no bound at 0
GIVE = 0.1


def signed_root(x: Tensor) -> Tensor:
    """Return sign(x) · √|x|, which shortens the long tails of hidden units.

    Its gradient is that of x / √(|x| + 0.1), which is bounded.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.readout import signed_root
    >>> signed_root(torch.tensor([4.0, 0.0, -9.0]))
    tensor([ 2.,  0., -3.])
    """
    with torch.no_grad():
        root = x.sign() * x.abs().sqrt()
    if not (torch.is_grad_enabled() and x.requires_grad):
        return root
    smooth = x * (x.abs() + GIVE).rsqrt()
    return smooth + (root - smooth.detach())


class LayerReadout(nn.Module):
    r"""Principal components of layers side by side, rotated to equal variance.

    .. math:: z = Q V^\top (u - \bar u), \qquad
              u = \Bigl( \frac{h_1}{s_1}, \dots, \frac{h_L}{s_L} \Bigr)

    with layers :math:`h_l`, :math:`s_l^2` the total variance of layer l over the training
    rows, V the leading principal axes of u, and Q a rotation after which every component
    has the same variance.

    Parameters
    ----------
    width : int
        Width of all blocks together.
    n_components : int
        Width of the result. Beyond the rank of the training rows there are no more axes;
        Q spreads the ones there are over all components.

    Notes
    -----
    Nothing is whitened: distances between rows are those of u, as far as V keeps them.
    Principal components themselves would be whitened by the next scaler in a pipeline,
    which lifts the noise in the last ones to the size of the first. The rotation Q leaves
    all distances and angles as they are and gives a scaler nothing to do.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.readout import LayerReadout
    >>> rows = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 0.5], [0.0, -0.5]])
    >>> readout = LayerReadout(2, 2).fit([rows])
    >>> readout([rows]).var(dim=0, correction=0)
    tensor([0.5000, 0.5000])
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, width: int, n_components: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(n_components, width))
        self.register_buffer("bias", torch.zeros(n_components))

    def fit(self, blocks: Sequence[Tensor]) -> LayerReadout:
        """Learn scales, axes and rotation, in double precision.

        Parameters
        ----------
        blocks : sequence of Tensor of shape (n, width of the block)
            The layers of the training rows.

        Returns
        -------
        self : LayerReadout
            The fitted readout.
        """
        n_components, width = self.weight.shape
        scales, scaled = [], []
        for block in blocks:
            total = block.double().var(dim=0, correction=0).sum().sqrt()
            scale = 1.0 / total if total > 0 else torch.zeros_like(total)
            scales.append(scale.expand(block.shape[1]))
            scaled.append(block * scale.to(block))
        few = n_components if width > EXACT_WIDTH else None
        subspace = principal_subspace(torch.cat(scaled, dim=1), few)
        variances = subspace.variances
        usable = int((variances > NO_VARIANCE * variances[0]).sum())
        k = min(usable, n_components)
        axes, variances = subspace.axes[:k], variances[:k]
        rotated = equal_variance_rotation(variances, n_components) @ axes
        self.weight.copy_(rotated * torch.cat(scales))
        self.bias.copy_(-(rotated @ subspace.mean))
        return self

    def forward(self, blocks: Sequence[Tensor]) -> Tensor:
        """Map the layers of n rows to (n, n_components)."""
        rows = torch.cat(list(blocks), dim=1)
        return functional.linear(rows, self.weight, self.bias)


def hidden_layers(perceptron: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the signed roots of a perceptron's hidden layers.

    Parameters
    ----------
    perceptron : torch.nn.Sequential
        As :func:`~sklearn_repr.modules.make_mlp` builds it.
    x : Tensor of shape (n, n_encoded)
        Rows.

    Returns
    -------
    layers : list of Tensor of shape (n, width)
        For every hidden layer h, sign(h) · √|h|; the rows as they are if there is none.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules import make_mlp
    >>> from sklearn_repr.modules.readout import hidden_layers
    >>> [tuple(h.shape) for h in hidden_layers(make_mlp([3, 8, 4, 2]), torch.ones(5, 3))]
    [(5, 8), (5, 4)]
    """
    layers = []
    for part in perceptron:  # type: ignore[attr-defined]
        if isinstance(part, nn.Linear):
            layers.append(x)
        x = part(x)
    rows, *hidden = layers
    return [signed_root(h) for h in hidden] or [rows]


def unit_length(z: Tensor) -> Tensor:
    """Divide rows by their norm; a row of zeros stays.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.readout import unit_length
    >>> unit_length(torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e38, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000],
            [1.0000, 0.0000]])
    """
    # by the largest entry first, whose square might be out of range
    tiny = torch.finfo(z.dtype).tiny
    z = z / z.abs().amax(dim=1, keepdim=True).clamp(min=tiny)
    return z / z.square().sum(dim=1, keepdim=True).sqrt().clamp(min=tiny)


def equal_variance_rotation(variances: Tensor, width: int) -> Tensor:
    """Return orthonormal columns that spread variances evenly over `width` components.

    Parameters
    ----------
    variances : Tensor of shape (k,)
        Of uncorrelated components, k ≤ width.
    width : int
        Number of components after the rotation.

    Returns
    -------
    rotation : Tensor of shape (width, k)
        Q with QᵀQ = 1, such that every diagonal entry of Q diag(variances) Qᵀ is the sum
        of the variances divided by `width`.

    Notes
    -----
    One plane rotation after the other brings a component to the mean; at most width - 1
    are needed.

    References
    ----------
    Davies and Higham, "Numerically stable generation of correlation matrices and their
    factors", BIT 40 (2000), doi:10.1023/A:1022384216930.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.readout import equal_variance_rotation
    >>> rotation = equal_variance_rotation(torch.tensor([3.0, 1.0]), 4)
    >>> (rotation * torch.tensor([3.0, 1.0]) @ rotation.T).diagonal().round()
    tensor([1., 1., 1., 1.])
    """
    k = len(variances)
    # many tiny steps, for which NumPy is several times as fast as torch
    spread = variances.detach().cpu().double().numpy()
    rotation, matrix = np.eye(width), np.zeros((width, width))
    matrix[range(k), range(k)] = spread
    mean = spread.sum() / width
    open_ = np.ones(width, dtype=bool)
    for _ in range(width - 1):
        diagonal = matrix.diagonal()
        high = int(np.where(open_, diagonal, -np.inf).argmax())
        low = int(np.where(open_, diagonal, np.inf).argmin())
        above, below = diagonal[high] - mean, diagonal[low] - mean
        if above <= 0 or below >= 0:
            break  # all that are left are at the mean, to the last bit
        # the tangent of an angle that brings `high` to the mean
        mixed = matrix[high, low]
        root = math.copysign(math.sqrt(mixed * mixed - above * below), mixed)
        tangent = -above / (mixed + root)
        cosine = 1 / math.sqrt(1 + tangent * tangent)
        sine = tangent * cosine
        plane = np.array([[cosine, sine], [-sine, cosine]])
        pair = [high, low]
        rotation[pair] = plane @ rotation[pair]
        matrix[pair] = plane @ matrix[pair]
        matrix[:, pair] = matrix[:, pair] @ plane.T
        open_[high] = False
    return torch.from_numpy(rotation[:, :k].copy()).to(variances)
