"""Two augmented views of every row, for contrastive objectives."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sklearn_repr._outputs import Corrupted
from sklearn_repr.corruptions._base import Corruption

__all__ = ["TwoViews"]


class TwoViews(Corruption):
    """Corrupt every row twice, independently.

    Parameters
    ----------
    corruption : Corruption
        Makes each of the views.

    Notes
    -----
    n rows become 2n: row i and row n + i are the two views of row i.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import MaskingNoise, TwoViews
    >>> views = TwoViews(MaskingNoise(0.5))
    >>> views(torch.ones(3, 4), torch.Generator()).values.shape
    torch.Size([6, 4])
    """

    def __init__(self, corruption: Corruption):
        self.corruption = corruption
        self.uses_global_generator = corruption.uses_global_generator

    def fit(self, values: Tensor) -> TwoViews:
        """Let the corruption learn; see :class:`Corruption`."""
        self.corruption.fit(values)
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Return the first views, then the second; see :class:`Corruption`."""
        first = self.corruption(values, generator)
        second = self.corruption(values, generator)
        mask = None
        if first.mask is not None and second.mask is not None:
            mask = torch.cat([first.mask, second.mask])
        return Corrupted(torch.cat([first.values, second.values]), mask)
