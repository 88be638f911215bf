"""Masked cells, patches or windows, as in masked autoencoders and I-JEPA."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import (
    Array,
    Corrupted,
)
from sklearn_repr.corruptions._base import (
    Corruption,
    Level,
    check_level,
    draw_between,
    draw_level,
)

__all__ = ["MaskedAndWhole", "MaskedBlocks", "MaskedCells"]

# I-JEPA's blocks: how many, the range of their height divided by their width, and of the
# share of an image that the context covers
N_BLOCKS = 4
ASPECT_RATIOS = 0.75, 1.5
CONTEXT_SHARES = 0.85, 1.0


class MaskedCells(Corruption):
    """Mask a share of every row's patches.

    Masked cells become NaN, as missing ones are, so that a module can tell which cells
    are visible. At least one patch is masked and, if there are two or more, at least one
    is not (unless draws of 24 bits coincide).

    Parameters
    ----------
    level : float or (float, float)
        Share of patches to mask, in [0, 1].
    patches : ndarray of shape (d,)
        Number of the patch that each column belongs to, from 0.

    References
    ----------
    He et al., "Masked autoencoders are scalable vision learners", CVPR 2022,
    arXiv:2111.06377.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_repr.corruptions import MaskedCells
    >>> masked = MaskedCells(0.5, np.array([0, 0, 1, 1]))
    >>> masked(torch.zeros(1, 4), torch.Generator().manual_seed(0)).mask
    tensor([[ True,  True, False, False]])
    """

    def __init__(self, level: Level, patches: Array):
        check_level(level, True, type(self).__name__)
        self.level = level
        self.patches = patches
        self._patches = torch.as_tensor(patches)
        self.count = int(self._patches.max()) + 1
        self._one_column_each = torch.equal(self._patches, torch.arange(self.count))

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Mask patches; see :class:`Corruption`."""
        mask = self.choose(values, generator)  # (n, t)
        if not self._one_column_each:
            mask = mask[:, self._patches.to(values.device)]  # (n, d)
        return Corrupted(values.masked_fill(mask, float("nan")), mask)

    def choose(self, values: Tensor, generator: Generator) -> Tensor:
        """Choose which patches of every row to mask.

        Parameters
        ----------
        values : Tensor of shape (n, d)
            Rows.
        generator : Generator
            Source of randomness, on the device of `values`.

        Returns
        -------
        chosen : bool Tensor of shape (n, t)
            True where a patch is masked.
        """
        level = draw_level(self.level, values, generator)
        draws = torch.rand(
            (len(values), self.count), generator=generator, device=values.device
        )
        most = max(self.count - 1, 1)
        # the patches with the smallest draws are masked
        wanted = torch.as_tensor(level, device=values.device).mul(self.count).round()
        last = wanted.clamp(1, most).long().sub(1).expand(len(values), 1)
        return draws <= _ordered(draws).gather(1, last)


class MaskedBlocks(MaskedCells):
    r"""Mask blocks of neighbouring patches of images, or windows of sequences.

    Four blocks, each of a share :math:`1 - (1 - r)^{1/4}` of all patches. A block of an
    image has an aspect from [0.75, 1.5]; outside of one more block, which covers a share
    from [0.85, 1] of the image, everything is masked as well. Every row has draws of
    its own. Blocks that would leave nothing visible are left out.

    Parameters
    ----------
    level : float or (float, float)
        r, about the share of patches to mask, in [0, 1]; see Notes.
    patches : ndarray of shape (d,)
        Number of the patch that each column belongs to, from 0, row by row of the grid.
    grid : sequence of int
        (rows, columns) of patches, or (windows,).

    Notes
    -----
    A share r would be masked if blocks were placed independently of the image's borders.
    They lie within it, and so overlap more in its middle. The mean share is therefore
    about 0.65 for r = 0.7, 0.72 for 0.8 and 0.8 for 0.9. From 0.2 to 0.6 it is
    within 0.07 of r where there are 7 by 7 patches, 16 windows or more.

    References
    ----------
    Assran et al., "Self-supervised learning from images with a joint-embedding predictive
    architecture", CVPR 2023, arXiv:2301.08243, section 3: multi-block masking, there of
    four blocks of shares from [0.15, 0.2].

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_repr.corruptions import MaskedBlocks
    >>> masked = MaskedBlocks(0.4, np.arange(9), (9,))
    >>> masked(torch.zeros(1, 9), torch.Generator().manual_seed(0)).mask.long()
    tensor([[0, 0, 1, 0, 1, 1, 0, 0, 1]])
    """

    def __init__(self, level: Level, patches: Array, grid: Sequence[int]):
        super().__init__(level, patches)
        self.grid = grid
        self.is_image = len(grid) > 1
        # windows are a single row of patches
        self.height, self.width = grid if self.is_image else (1, *grid)

    def choose(self, values: Tensor, generator: Generator) -> Tensor:
        """Return which patches of every row to mask, (n, t)."""
        n = len(values)
        level = torch.as_tensor(draw_level(self.level, values, generator)).to(values)
        area = self.count * (1 - (1 - level.expand(n, N_BLOCKS)) ** (1 / N_BLOCKS))
        height, width = torch.ones_like(area), area
        if self.is_image:
            aspect = self._uniform(ASPECT_RATIOS, area, generator)
            height, width = (area * aspect).sqrt(), (area / aspect).sqrt()
        height = height.round().clamp(1, self.height)
        width = width.round().clamp(1, self.width)
        # one block alone never masks everything
        whole = (height == self.height) & (width == self.width)
        tall = self.height >= self.width
        height = (height - (whole & tall).to(area)).clamp(min=1)
        width = (width - (whole & (not tall)).to(area)).clamp(min=1)
        masked = self._rectangles(height, width, generator)
        if self.is_image:
            side = self._uniform(CONTEXT_SHARES, area[:, :1], generator).sqrt()
            height, width = (side * self.height).round(), (side * self.width).round()
            context = self._rectangles(height, width, generator)
            masked = torch.cat([masked, ~context], dim=1)
        # masked after every block; the last that leaves something visible is taken
        masked = masked.cumsum(dim=1) > 0  # (n, b, t)
        last = (~masked.all(dim=2)).sum(dim=1).sub(1).clamp(min=0)
        return masked[torch.arange(n, device=values.device), last]

    def _uniform(
        self, between: tuple[float, float], like: Tensor, generator: Generator
    ) -> Tensor:
        low, high = (torch.full_like(like, end) for end in between)
        return draw_between(low, high, generator)

    def _rectangles(self, height: Tensor, width: Tensor, generator: Generator) -> Tensor:
        """Place rectangles of (n, b) heights and widths; return (n, b, t)."""
        sides = []
        for size, end in ((height, self.height), (width, self.width)):
            start = self._uniform((0.0, 1.0), size, generator).mul(end - size + 1)
            # the product may be rounded up to the next whole number
            start = start.floor().minimum(end - size).unsqueeze(2)
            at = torch.arange(end, device=size.device)
            sides.append((at >= start) & (at < start + size.unsqueeze(2)))
        return (sides[0].unsqueeze(3) & sides[1].unsqueeze(2)).flatten(2)


def _ordered(draws: Tensor) -> Tensor:
    """Sort every row; on the CPU by NumPy, which takes an eighth of torch's time."""
    if draws.is_cpu:
        return torch.from_numpy(np.sort(draws.numpy(), axis=1))
    return draws.sort(dim=1).values


class MaskedAndWhole(Corruption):
    """Join rows with masked patches and the same rows without masks.

    For modules whose one encoder sees the masked row, and another the whole row.

    Parameters
    ----------
    level : float or (float, float)
        Share of patches to mask, in [0, 1].
    patches : ndarray of shape (d,)
        Number of the patch that each column belongs to, from 0.
    grid : sequence of int or None, default=None
        (rows, columns) of patches, or (windows,), to mask blocks of neighbours as
        :class:`MaskedBlocks` does; None masks patches one by one, as
        :class:`MaskedCells` does.

    Notes
    -----
    (n, d) rows become (n, 2 d); the mask is of the first half and of shape (n, d).

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_repr.corruptions import MaskedAndWhole
    >>> masked = MaskedAndWhole(0.5, np.array([0, 1]))
    >>> masked(torch.ones(1, 2), torch.Generator().manual_seed(0)).values
    tensor([[nan, 1., 1., 1.]])
    """

    def __init__(self, level: Level, patches: Array, grid: Sequence[int] | None = None):
        self.level = level
        self.patches = patches
        self.grid = grid
        self._masked = (
            MaskedCells(level, patches)
            if grid is None
            else MaskedBlocks(level, patches, grid)
        )

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Mask patches; see :class:`Corruption`."""
        masked, mask = self._masked(values, generator)
        return Corrupted(torch.cat([masked, values], dim=1), mask)
