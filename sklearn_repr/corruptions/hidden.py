"""Cells, patches or windows that the encoder must do without."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from sklearn_repr._outputs import Corrupted
from sklearn_repr.corruptions._base import Corruption, Level, draw_level

__all__ = ["HiddenBeside", "HiddenCells"]


class HiddenCells(Corruption):
    """Hide a share of every row's patches from a module that knows what is hidden.

    Hidden cells become NaN, as missing ones are. At least one patch is hidden and, if
    there are two or more, at least one is not (unless draws of 24 bits coincide).

    Parameters
    ----------
    level : float or (float, float)
        Share of patches to hide, in [0, 1].
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
    >>> from sklearn_repr.corruptions import HiddenCells
    >>> hide = HiddenCells(0.5, np.array([0, 0, 1, 1]))
    >>> hide(torch.zeros(1, 4), torch.Generator().manual_seed(0)).mask
    tensor([[ True,  True, False, False]])
    """

    def __init__(self, level: Level, patches: NDArray[Any]):
        self.level = level
        self.patches = torch.as_tensor(patches)
        self.count = int(self.patches.max()) + 1
        self.shared = not torch.equal(self.patches, torch.arange(self.count))

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Hide patches; see :class:`Corruption`."""
        level = draw_level(self.level, values, generator)
        draws = torch.rand(
            (len(values), self.count), generator=generator, device=values.device
        )
        most = max(self.count - 1, 1)
        # hidden are the patches with the smallest draws
        wanted = torch.as_tensor(level, device=values.device).mul(self.count).round()
        last = wanted.clamp(1, most).long().sub(1).expand(len(values), 1)
        mask = draws <= _ordered(draws).gather(1, last)
        if self.shared:
            mask = mask[:, self.patches.to(values.device)]
        return Corrupted(values.masked_fill(mask, float("nan")), mask)


def _ordered(draws: Tensor) -> Tensor:
    """Sort rows, on the CPU by NumPy, which takes an eighth of torch's time."""
    if draws.is_cpu:
        return torch.from_numpy(np.sort(draws.numpy(), axis=1))
    return draws.sort(dim=1).values


class HiddenBeside(HiddenCells):
    """Put rows with hidden patches beside the same rows as they are.

    For modules that predict what another part of theirs makes of the whole row; see
    :class:`HiddenCells`.

    Parameters
    ----------
    level : float or (float, float)
        Share of patches to hide, in [0, 1].
    patches : ndarray of shape (d,)
        Number of the patch that each column belongs to, from 0.

    Notes
    -----
    (n, d) rows become (n, 2 d); the mask is of the first half and of shape (n, d).

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_repr.corruptions import HiddenBeside
    >>> hide = HiddenBeside(0.5, np.array([0, 1]))
    >>> hide(torch.ones(1, 2), torch.Generator().manual_seed(0)).values
    tensor([[nan, 1., 1., 1.]])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Hide patches; see :class:`Corruption`."""
        hidden, mask = super().__call__(values, generator)
        return Corrupted(torch.cat([hidden, values], dim=1), mask)
