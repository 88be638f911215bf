"""Cells replaced by values of the same column in other rows."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import (
    Corruption,
    corruption,
    draw_level,
)

__all__ = ["MarginalSwap", "SwapNoise"]

# Cells that are drawn at a time
CELLS_AT_A_TIME = 2**18


@corruption("swap", default_level=0.3, share=True)
class SwapNoise(Corruption):
    """Replace each cell, with probability `level`, by the same column of another row.

    The other row is drawn uniformly from the rest of the batch, so the marginal
    distributions of the columns stay the same. A batch of one row has no other row and
    stays unchanged.

    Parameters
    ----------
    level : float or (float, float)
        Expected share of replaced cells, in [0, 1].

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import SwapNoise
    >>> SwapNoise(1.0)(torch.tensor([[0.0], [1.0]]), torch.Generator()).values
    tensor([[1.],
            [0.]])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Swap cells; see :class:`Corruption`."""
        n, d = values.shape
        level = draw_level(self.level, values, generator) if n > 1 else 0.0
        # on the CPU rows draw one after the other, so that parts draw what all would
        step = max(1, CELLS_AT_A_TIME // d) if values.is_cpu else n
        parts = [slice(start, start + step) for start in range(0, n, step)]
        mask = torch.empty(values.shape, dtype=torch.bool, device=values.device)
        for rows in parts:
            own_level = level[rows] if isinstance(level, Tensor) else level
            mask[rows] = self.rates(values[rows], generator) < own_level
        swapped = torch.empty_like(values)
        own = torch.arange(n, device=values.device).unsqueeze(1)
        for rows in parts:
            part = values[rows]
            shape = len(part), self.n_cells(values)
            offset = torch.randint(
                1, max(n, 2), shape, generator=generator, device=values.device
            )
            others = values.gather(0, self.spread(offset).add_(own[rows]).remainder_(n))
            torch.where(mask[rows], others, part, out=swapped[rows])
        return Corrupted(swapped, mask)


@corruption("scarf", default_level=0.3, share=True)
class MarginalSwap(Corruption):
    """SCARF: replace exactly ⌊level · d⌋ cells of every row by draws from the marginals.

    Which cells is drawn per row; the new values are drawn, independently per cell, from
    the empirical marginal of the column over the training rows.

    Parameters
    ----------
    level : float or (float, float)
        Share of cells to replace, in [0, 1].

    References
    ----------
    Bahri et al., "SCARF: self-supervised contrastive learning using random feature
    corruption", ICLR 2022, arXiv:2106.15147.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import MarginalSwap
    >>> pool = torch.full((5, 4), 7.0)
    >>> swap = MarginalSwap(0.5).fit(pool)
    >>> (swap(torch.zeros(2, 4), torch.Generator()).values == 7).sum(dim=1)
    tensor([2, 2])
    """

    def fit(self, values: Tensor) -> MarginalSwap:
        """Keep the rows whose marginals are drawn from; see :class:`Corruption`."""
        self.pool_ = values
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Replace cells; see :class:`Corruption`."""
        level = draw_level(self.level, values, generator)
        shape = len(values), self.n_cells(values)
        # a product such as 0.3 * 10 may be rounded to 2.9999..., whose floor is 2
        count = torch.as_tensor(level * shape[1] + 1e-6).floor()
        draws = torch.rand(shape, generator=generator, device=values.device)
        most = int(count.max())
        chosen = draws.topk(most, dim=1).indices
        mask = torch.zeros(shape, dtype=torch.bool, device=values.device)
        if count.ndim:
            wanted = torch.arange(most, device=values.device) < count.to(values.device)
            mask.scatter_(1, chosen, wanted.expand(chosen.shape))
        else:
            mask.scatter_(1, chosen, True)
        rows = torch.randint(
            len(self.pool_), chosen.shape, generator=generator, device=values.device
        )
        if self.columns is None:
            drawn = values.scatter(1, chosen, self.pool_[rows, chosen])
        else:
            mask = self.spread(mask)
            rows = self.spread(torch.zeros_like(draws).long().scatter(1, chosen, rows))
            drawn = self.pool_.gather(0, rows)
        return Corrupted(torch.where(mask, drawn, values), mask)
