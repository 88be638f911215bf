"""Several corruptions in a row, and several corrupted copies of every row."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import Corruption
from sklearn_repr.corruptions.erasing import ColumnSubset
from sklearn_repr.corruptions.swap import MarginalSwap

__all__ = ["Composed", "Copies", "TwoViews", "warn_of_same_views"]


class Composed(Corruption):
    """Corrupt rows by several corruptions, one after the other.

    Parameters
    ----------
    corruptions : sequence of Corruption
        In the order in which they are applied. Each is fitted to the clean rows.

    Notes
    -----
    The mask holds every cell that one of them replaced; it is None if one of them has no
    mask.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Composed, GaussianNoise, MaskingNoise
    >>> both = Composed([GaussianNoise(0.1), MaskingNoise(0.5)])
    >>> rows = torch.ones(2, 4)
    >>> both.fit(rows)(rows, torch.Generator()).values.shape
    torch.Size([2, 4])
    """

    def __init__(self, corruptions: Sequence[Corruption]):
        self.corruptions = corruptions
        self.uses_global_generator = any(c.uses_global_generator for c in corruptions)

    def fit(self, values: Tensor) -> Composed:
        """Fit every corruption; see :class:`Corruption`."""
        for corruption in self.corruptions:
            corruption.fit(values)
        return self

    def group(self, columns: Tensor) -> Composed:
        """Tell every corruption; see :class:`Corruption`."""
        for corruption in self.corruptions:
            corruption.group(columns)
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Corrupt rows; see :class:`Corruption`."""
        masks = []
        for corruption in self.corruptions:
            values, mask = corruption(values, generator)
            masks.append(mask)
        known = [mask for mask in masks if mask is not None]
        if len(known) < len(masks):
            return Corrupted(values)
        return Corrupted(values, reduce(torch.logical_or, known))


class Copies(Corruption):
    """Corrupt every row several times, independently.

    Parameters
    ----------
    corruption : Corruption
        Makes each of the copies.
    n_copies : int
        How many.

    Notes
    -----
    n rows become n_copies · n, copy after copy: rows i, n + i, 2n + i ... come from i.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Copies, MaskingNoise
    >>> copies = Copies(MaskingNoise(0.5), 3)
    >>> copies(torch.ones(2, 4), torch.Generator()).values.shape
    torch.Size([6, 4])
    """

    def __init__(self, corruption: Corruption, n_copies: int):
        self.corruption = corruption
        self.n_copies = n_copies
        self.uses_global_generator = corruption.uses_global_generator

    def fit(self, values: Tensor) -> Copies:
        """Fit the corruption; see :class:`Corruption`."""
        self.corruption.fit(values)
        return self

    def group(self, columns: Tensor) -> Copies:
        """Tell the corruption; see :class:`Corruption`."""
        self.corruption.group(columns)
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Return all copies, one after the other; see :class:`Corruption`."""
        copies = [self.corruption(values, generator) for _ in range(self.n_copies)]
        masks = [copy.mask for copy in copies if copy.mask is not None]
        return Corrupted(
            torch.cat([copy.values for copy in copies]),
            torch.cat(masks) if len(masks) == self.n_copies else None,
        )


class TwoViews(Copies):
    """Two views of every row, for contrastive objectives; see :class:`Copies`.

    Parameters
    ----------
    corruption : Corruption
        Makes each of the views.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import MaskingNoise, TwoViews
    >>> views = TwoViews(MaskingNoise(0.5))
    >>> views(torch.ones(3, 4), torch.Generator()).values.shape
    torch.Size([6, 4])
    """

    def __init__(self, corruption: Corruption):
        super().__init__(corruption, n_copies=2)


def warn_of_same_views(views: Corruption, width: int) -> None:
    """Warn if a share of `width` columns, rounded down, is less than one cell."""
    only = views.corruption if isinstance(views, TwoViews) else None
    if not isinstance(only, MarginalSwap | ColumnSubset):
        return
    level = only.level
    if not isinstance(level, tuple) and level * width + 1e-6 < 1:
        warnings.warn(
            f"corruption_level={level} of {width} columns is less than one cell: both"
            " views of a row are the same. Raise it to at least"
            f" {math.ceil(100 / width) / 100:g}.",
            UserWarning,
            stacklevel=4,
        )
