"""Cells that are erased: set to zero, or to their column's extremes."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import (
    Corruption,
    corruption,
    draw_level,
)

__all__ = ["ColumnSubset", "MaskingNoise", "SaltAndPepperNoise"]


@corruption("masking", default_level=0.3, share=True)
class MaskingNoise(Corruption):
    """Set each cell to zero with probability `level`.

    Zero is the encoded zero: a column's mean under standard scaling, its median under
    robust scaling, black for an unscaled image.

    Parameters
    ----------
    level : float or (float, float)
        Expected share of masked cells, in [0, 1].

    References
    ----------
    Vincent et al., "Stacked denoising autoencoders", JMLR 11 (2010) 3371-3408.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import MaskingNoise
    >>> MaskingNoise(1.0)(torch.ones(1, 2), torch.Generator()).values
    tensor([[0., 0.]])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Mask cells; see :class:`Corruption`."""
        level = draw_level(self.level, values, generator)
        mask = self.rates(values, generator) < level
        return Corrupted(values.masked_fill(mask, 0.0), mask)


@corruption("subset", default_level=0.3, share=True)
class ColumnSubset(Corruption):
    """Let every row keep a random subset of its columns, and set the others to zero.

    Exactly ⌊level · d⌋ cells of each row are set to zero, but never all of them.
    Every row draws its own subset, where the paper uses fixed subsets of the columns.

    Parameters
    ----------
    level : float or (float, float)
        Share of columns to leave out, in [0, 1].

    References
    ----------
    Ucar, Hajiramezanali and Edwards, "SubTab: subsetting features of tabular data for
    self-supervised representation learning", NeurIPS 2021, arXiv:2110.04361.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import ColumnSubset
    >>> ColumnSubset(0.5)(torch.ones(2, 4), torch.Generator()).values.sum(dim=1)
    tensor([2., 2.])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Leave columns out; see :class:`Corruption`."""
        width = self.n_cells(values)
        level = draw_level(self.level, values, generator)
        # a product such as 0.3 * 10 may be rounded to 2.9999..., whose floor is 2
        count = torch.as_tensor(level * width + 1e-6, device=values.device).floor()
        shape = len(values), width
        draws = torch.rand(shape, generator=generator, device=values.device)
        rank = draws.argsort(dim=1).argsort(dim=1)
        mask = self.spread(rank < count.clamp_max(width - 1))
        return Corrupted(values.masked_fill(mask, 0.0), mask)


@corruption("salt_and_pepper", default_level=0.3, share=True)
class SaltAndPepperNoise(Corruption):
    """Set each cell, with probability `level`, to its column's minimum or maximum.

    Parameters
    ----------
    level : float or (float, float)
        Expected share of replaced cells, in [0, 1]; minimum and maximum, taken over the
        training rows, are equally likely.

    References
    ----------
    Vincent et al., "Stacked denoising autoencoders", JMLR 11 (2010) 3371-3408.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import SaltAndPepperNoise
    >>> values = torch.tensor([[0.0], [0.5], [1.0]])
    >>> noise = SaltAndPepperNoise(1.0).fit(values)
    >>> noise(values, torch.Generator()).values.unique()
    tensor([0., 1.])
    """

    def fit(self, values: Tensor) -> SaltAndPepperNoise:
        """Find the extremes of every column; see :class:`Corruption`."""
        self.lowest_, self.highest_ = torch.aminmax(values, dim=0)
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Replace cells by extremes; see :class:`Corruption`."""
        level = draw_level(self.level, values, generator)
        mask = self.rates(values, generator) < level
        salt = self.rates(values, generator) < 0.5
        extremes = torch.where(salt, self.highest_, self.lowest_)
        return Corrupted(torch.where(mask, extremes, values), mask)
