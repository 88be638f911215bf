"""Rows that are images, moved: rotations and translations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from sklearn_repr._outputs import Corrupted
from sklearn_repr.corruptions._base import Corruption, Level, draw_level

__all__ = ["Rotation", "Translation"]


class _Affine(Corruption):
    """A corruption that resamples images, bilinearly, with encoded zeros outside."""

    def __init__(self, level: Level, input_shape: Sequence[int]):
        self.level = level
        self.input_shape = tuple(input_shape)
        if len(self.input_shape) != 3:
            raise ValueError(
                "Rotations and translations need input_shape=(channels, height, width);"
                f" got {self.input_shape}."
            )

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Move every image by its own draw; see :class:`Corruption`."""
        images = values.view(-1, *self.input_shape)
        grid = functional.affine_grid(
            self.matrices(values, generator), list(images.shape), align_corners=False
        )
        moved = functional.grid_sample(images, grid, align_corners=False)
        return Corrupted(moved.reshape(values.shape))

    def matrices(self, values: Tensor, generator: Generator) -> Tensor:
        """Draw a matrix of shape (2, 3) for every row."""
        raise NotImplementedError

    def _uniform(self, values: Tensor, generator: Generator) -> Tensor:
        """Draw from [-level, level], one a row."""
        draws = torch.rand(
            (len(values), 1),
            generator=generator,
            device=values.device,
            dtype=values.dtype,
        )
        return ((2 * draws - 1) * draw_level(self.level, values, generator))[:, 0]


class Rotation(_Affine):
    """Rotate every image about its centre by an angle drawn from [-level, level].

    Parameters
    ----------
    level : float or (float, float)
        Largest angle in degrees; a range is drawn from anew for every row.
    input_shape : sequence of int
        (channels, height, width) of a row.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Rotation
    >>> ones = torch.ones(1, 9)
    >>> middle = Rotation(45, (1, 3, 3))(ones, torch.Generator()).values[0, 4]
    >>> round(float(middle), 4)
    1.0
    """

    def matrices(self, values: Tensor, generator: Generator) -> Tensor:
        """Draw rotations; see :class:`Corruption`."""
        angle = self._uniform(values, generator) * (math.pi / 180)
        _, height, width = self.input_shape
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        # the grid runs from -1 to 1 along both sides, however long they are
        first = torch.stack([cos, -sin * height / width, zero], dim=1)
        second = torch.stack([sin * width / height, cos, zero], dim=1)
        return torch.stack([first, second], dim=1)


class Translation(_Affine):
    """Shift every image along both sides by shares of them drawn from [-level, level].

    Parameters
    ----------
    level : float or (float, float)
        Largest shift as a share of the side, in [0, 1]; a range is drawn from anew for
        every row.
    input_shape : sequence of int
        (channels, height, width) of a row.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Translation
    >>> image = torch.eye(3).view(1, 9)
    >>> still = Translation(0.0, (1, 3, 3))
    >>> bool((still(image, torch.Generator()).values == image).all())
    True
    """

    def matrices(self, values: Tensor, generator: Generator) -> Tensor:
        """Draw shifts; see :class:`Corruption`."""
        right = 2 * self._uniform(values, generator)
        down = 2 * self._uniform(values, generator)
        one, zero = torch.ones_like(right), torch.zeros_like(right)
        first = torch.stack([one, zero, right], dim=1)
        second = torch.stack([zero, one, down], dim=1)
        return torch.stack([first, second], dim=1)
