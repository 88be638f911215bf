"""Gaussian noise of log-uniform level for the members of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import Corruption
from sklearn_repr.utils.draws import draw_each, with_known_noise

__all__ = ["KnownNoise", "PartialNoise"]


class MemberNoise(Corruption):
    r"""Noise whose level is log-uniform; every row draws its own.

    Every member of the ensemble draws from its own generator, so that no member depends
    on which others are trained with it.

    Parameters
    ----------
    lowest, highest : float
        Bounds of the level :math:`\sigma`.
    generators : sequence of Generator
        One for each of the M members.
    """

    def __init__(self, lowest: float, highest: float, generators: Sequence[Generator]):
        self.lowest = lowest
        self.highest = highest
        self.generators = generators

    def draw_log_levels(self, values: Tensor) -> Tensor:
        """Draw the logarithm of a level for each row of (M, n, d), shape (M, n, 1)."""
        low, high = math.log(self.lowest), math.log(self.highest)
        shape = (values.shape[1], 1)
        return low + (high - low) * draw_each(torch.rand, self.generators, shape)


class KnownNoise(MemberNoise):
    r"""Noise that keeps the variance, of a level that the network is told.

    .. math:: \tilde x = \Big( \frac{x + \sigma \varepsilon}{\sqrt{1 + \sigma^2}},
              \log \sigma \Big), \quad \varepsilon \sim N(0, I)

    Parameters
    ----------
    lowest, highest : float
        Bounds of the level :math:`\sigma`, which is log-uniform and drawn for every row.
    generators : sequence of Generator
        One for each member of the ensemble.

    References
    ----------
    Song et al., "Score-based generative modeling through stochastic differential
    equations", ICLR 2021, arXiv:2011.13456 (variance-preserving noise).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions.members import KnownNoise
    >>> generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    >>> noise = KnownNoise(0.1, 3.0, generators)
    >>> noise(torch.zeros(3, 10, 5), torch.Generator()).values.shape
    torch.Size([3, 10, 6])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Add noise to (M, n, d) and append the level; see :class:`Corruption`."""
        log_level = self.draw_log_levels(values)
        noise = draw_each(torch.randn, self.generators, values.shape[1:])
        return Corrupted(with_known_noise(values, log_level, noise))


class PartialNoise(MemberNoise):
    r"""Noise on a random share of each row's cells.

    .. math:: \tilde x_j = x_j + \sigma b_j \varepsilon_j, \quad
              b_j \sim \mathrm{Bernoulli}(u), \quad u \sim \mathrm{Uniform}(0, 1)

    Parameters
    ----------
    lowest, highest : float
        Bounds of the level :math:`\sigma`, which is log-uniform and drawn for every row,
        as is the share :math:`u`.
    generators : sequence of Generator
        One for each member of the ensemble.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions.members import PartialNoise
    >>> generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    >>> noise = PartialNoise(0.03, 1.0, generators)
    >>> values, mask = noise(torch.zeros(3, 10, 5), torch.Generator())
    >>> bool(((values != 0) == mask).all())
    True
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Add noise to cells of (M, n, d); see :class:`Corruption`."""
        shape = values.shape[1:]
        level = self.draw_log_levels(values).exp()
        noise = level * draw_each(torch.randn, self.generators, shape)
        share = draw_each(torch.rand, self.generators, (shape[0], 1))
        mask = draw_each(torch.rand, self.generators, shape) < share
        return Corrupted(values + noise * mask, mask)
