"""Several networks of one shape, computed together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from sklearn_repr._contracts import Outputs
from sklearn_repr.utils.draws import draw_each, with_known_noise

__all__ = ["EnsembleDenoiser", "EnsembleMLP", "aligned_product"]

# Matrix kernels give a row the same bits wherever it stands if widths are multiples
ALIGNMENT = 8


class EnsembleMLP(nn.Module):
    """M perceptrons with ReLU between linear layers, one batched product a layer.

    Parameters
    ----------
    sizes : sequence of int
        Widths from input to output, at least two.
    generators : sequence of Generator
        M generators; each draws the weights of its member, uniformly within ±1/√fan_in as
        :class:`torch.nn.Linear` does.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.ensemble import EnsembleMLP
    >>> generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    >>> EnsembleMLP([5, 8, 2], generators)(torch.zeros(3, 10, 5)).shape
    torch.Size([3, 10, 2])
    """

    def __init__(self, sizes: Sequence[int], generators: Sequence[Generator]):
        super().__init__()
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for width_in, width_out in pairwise(sizes):
            bound = width_in**-0.5
            # of shape (M, width_in + 1, width_out)
            drawn = draw_each(torch.rand, generators, (width_in + 1, width_out))
            drawn = (2 * drawn - 1) * bound
            self.weights.append(nn.Parameter(drawn[:, :-1].clone()))
            self.biases.append(nn.Parameter(drawn[:, -1:].clone()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, n, d_in) to (M, n, d_out)."""
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = aligned_product(bias, x, weight)
            if i < last:
                x = torch.relu(x)
        return x


def aligned_product(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return bias + x · weight of M members.

    Outside training a row's result has the same bits wherever the row stands.
    """
    inner, outer = (-size % ALIGNMENT for size in weight.shape[1:])
    if torch.is_grad_enabled() or (not inner and not outer):
        return torch.baddbmm(bias, x, weight)
    x = functional.pad(x, (0, inner))
    weight = functional.pad(weight, (0, outer, 0, inner))
    product = torch.baddbmm(functional.pad(bias, (0, outer)), x, weight)
    return product[:, :, : bias.shape[2]]


class EnsembleDenoiser(nn.Module):
    """M perceptrons that rebuild rows from noisy ones, each trained on its own batches.

    There is no bottleneck: noise alone keeps the networks from copying their input.

    Parameters
    ----------
    width : int
        Columns d.
    hidden_layer_sizes : sequence of int
        Widths between input and output.
    generators : sequence of Generator
        One for each of the M members, of its weights.
    levels : sequence of float, default=()
        Noise levels at which rows are scored. If there are any, the networks are told
        the level: the logarithm of it is one more column of what they see. If there are
        none, rows are scored without noise.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.ensemble import EnsembleDenoiser
    >>> generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    >>> denoiser = EnsembleDenoiser(5, [8], generators, levels=[0.1, 1.0])
    >>> denoiser(torch.zeros(3, 10, 6)).reconstruction.shape
    torch.Size([3, 10, 5])
    >>> denoiser.errors(torch.zeros(10, 5)).shape
    torch.Size([10, 2, 5])
    """

    noise: Tensor

    def __init__(
        self,
        width: int,
        hidden_layer_sizes: Sequence[int],
        generators: Sequence[Generator],
        levels: Sequence[float] = (),
    ):
        super().__init__()
        self.levels = tuple(levels)
        self.n_members = len(generators)
        sizes = [width + bool(self.levels), *hidden_layer_sizes, width]
        self.network = EnsembleMLP(sizes, generators)
        shape = (len(self.levels), self.n_members, 1, width)
        self.register_buffer("noise", torch.zeros(shape))

    def draw_noise(self, generators: Sequence[Generator]) -> EnsembleDenoiser:
        """Draw the noise under which rows are scored, the same for every row.

        Parameters
        ----------
        generators : sequence of Generator
            One for each member.

        Returns
        -------
        self : EnsembleDenoiser
            Itself.
        """
        if self.levels:
            shape = (len(self.levels), 1, self.noise.shape[-1])
            self.noise = draw_each(torch.randn, generators, shape).transpose(0, 1)
        return self

    def forward(self, x: Tensor) -> Outputs:
        """Rebuild (M, n, d) from noisy (M, n, d), or (M, n, d + 1) with known levels."""
        rebuilt = self.network(x)
        return Outputs(rebuilt, reconstruction=rebuilt, inputs=x)

    def errors(self, x: Tensor) -> Tensor:
        """Return how far cells are from their reconstruction, averaged over members.

        Parameters
        ----------
        x : Tensor of shape (n, d)
            Clean rows.

        Returns
        -------
        errors : Tensor of shape (n, L, d)
            Absolute errors at each of L levels, or at one without noise.
        """
        apart = [(part - x).abs() for part in self._at_levels(x)]
        return torch.stack([part.mean(dim=0) for part in apart], dim=1)

    def expected(self, x: Tensor) -> Tensor:
        """Return what the networks expect in every cell.

        Parameters
        ----------
        x : Tensor of shape (n, d)
            Clean rows.

        Returns
        -------
        expected : Tensor of shape (n, d)
            The mean reconstruction, under noise of level 1 and more if there is any:
            under little noise even abnormal cells are rebuilt as they are.
        """
        parts = self._at_levels(x)
        if self.levels:
            strong = zip(parts, self.levels, strict=True)
            parts = [part for part, level in strong if level >= 1]
        return torch.stack(parts).mean(dim=(0, 1))

    def _at_levels(self, x: Tensor) -> list[Tensor]:
        """Return reconstructions of shape (M, n, d), one for each level."""
        if not self.levels:
            return [self.network(x.expand(self.n_members, *x.shape))]
        return [
            self.network(with_known_noise(x, x.new_full((1, 1, 1), math.log(level)), e))
            for level, e in zip(self.levels, self.noise, strict=True)
        ]
