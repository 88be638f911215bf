"""Several perceptrons of one shape, computed together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

__all__ = ["BatchedMLP"]

# Matrix kernels give a row the same bits wherever it stands if widths are multiples
ALIGNMENT = 8


class BatchedMLP(nn.Module):
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
    >>> from sklearn_repr.modules.batched import BatchedMLP
    >>> generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    >>> BatchedMLP([5, 8, 2], generators)(torch.zeros(3, 10, 5)).shape
    torch.Size([3, 10, 2])
    """

    def __init__(self, sizes: Sequence[int], generators: Sequence[Generator]):
        super().__init__()
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for width_in, width_out in pairwise(sizes):
            bound = width_in**-0.5
            shape = (width_in + 1, width_out)
            drawn = torch.stack([torch.rand(shape, generator=g) for g in generators])
            drawn = (2 * drawn - 1) * bound
            self.weights.append(nn.Parameter(drawn[:, :-1].clone()))
            self.biases.append(nn.Parameter(drawn[:, -1:].clone()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, n, d_in) to (M, n, d_out)."""
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if torch.is_grad_enabled():
                x = torch.baddbmm(bias, x, weight)
            else:
                x = _aligned_product(bias, x, weight)
            if i < last:
                x = torch.relu(x)
        return x


def _aligned_product(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    inner, outer = (-size % ALIGNMENT for size in weight.shape[1:])
    if not inner and not outer:
        return torch.baddbmm(bias, x, weight)
    x = functional.pad(x, (0, inner))
    weight = functional.pad(weight, (0, outer, 0, inner))
    product = torch.baddbmm(functional.pad(bias, (0, outer)), x, weight)
    return product[:, :, : bias.shape[2]]
