"""Gaussian noise, added or multiplied."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import Corruption, corruption, draw_level

__all__ = ["GaussianNoise", "MultiplicativeNoise"]


@corruption("gaussian", default_level=0.3)
class GaussianNoise(Corruption):
    r"""Additive noise in proportion to each column's spread.

    .. math:: \tilde x_{ij} = x_{ij} + \lambda s_j \varepsilon_{ij}, \quad
              \varepsilon_{ij} \sim N(0, 1)

    where :math:`s_j` is the standard deviation of encoded column j in training, so that
    `level` means the same under every scaling and a constant column stays constant.

    Parameters
    ----------
    level : float or (float, float)
        :math:`\lambda`, in standard deviations.

    References
    ----------
    Vincent et al., "Stacked denoising autoencoders", JMLR 11 (2010) 3371-3408.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import GaussianNoise
    >>> values = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    >>> noisy = GaussianNoise(0.5).fit(values)(values, torch.Generator()).values
    >>> round(float((noisy - values).std() / values.std()), 1)
    0.5
    """

    def fit(self, values: Tensor) -> GaussianNoise:
        """Measure the spread of every column; see :class:`Corruption`."""
        self.spread_ = values.std(dim=0, correction=0)
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Add noise; see :class:`Corruption`."""
        spread = draw_level(self.level, values, generator) * self.spread_
        return Corrupted(values + _normal(values, generator) * spread)


@corruption("multiplicative", default_level=0.3)
class MultiplicativeNoise(Corruption):
    r"""Multiplicative noise: encoded zeros stay zero.

    .. math:: \tilde x_{ij} = x_{ij} (1 + \lambda \varepsilon_{ij}), \quad
              \varepsilon_{ij} \sim N(0, 1)

    Parameters
    ----------
    level : float or (float, float)
        :math:`\lambda`, the standard deviation of the factor.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import MultiplicativeNoise
    >>> MultiplicativeNoise(0.5)(torch.zeros(1, 2), torch.Generator()).values
    tensor([[0., 0.]])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Multiply by noise; see :class:`Corruption`."""
        level = draw_level(self.level, values, generator)
        return Corrupted(values + values * (level * _normal(values, generator)))


def _normal(values: Tensor, generator: Generator) -> Tensor:
    return torch.randn(
        values.shape, generator=generator, device=values.device, dtype=values.dtype
    )
