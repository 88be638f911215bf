"""Geometric corruptions of images: crops, flips, rotations and translations."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import ShapedCorruption, corruption, draw_between

__all__ = ["Crop", "HorizontalFlip", "Rotation", "Translation", "VerticalFlip"]

# largest factor between the aspect ratios of a crop and of the image, as in the paper
MAX_STRETCH = 4 / 3


class _Affine(ShapedCorruption):
    """A view that resamples images bilinearly."""

    # what is sampled outside an image: encoded zeros, or its border
    padding: ClassVar[str] = "zeros"

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Resample every image by a matrix of its own; see :class:`Corruption`."""
        images = self.shaped(values)
        grid = functional.affine_grid(
            self.matrices(values, generator), list(images.shape), align_corners=False
        )
        moved = functional.grid_sample(
            images, grid, padding_mode=self.padding, align_corners=False
        )
        return Corrupted(moved.reshape(values.shape))

    def matrices(self, values: Tensor, generator: Generator) -> Tensor:
        """Draw a matrix of shape (2, 3) for every row."""
        raise NotImplementedError

    def _uniform(self, values: Tensor, generator: Generator) -> Tensor:
        """Draw from [-level, level], one a row."""
        level = self.draw(values, generator)
        return draw_between(-level, level, generator)


@corruption("rotation", default_level=15.0, needs="image")
class Rotation(_Affine):
    """Rotate every image about its centre by an angle drawn from [-level, level].

    Parameters
    ----------
    level : float or (float, float)
        Largest angle in degrees; every row draws its own from a range.
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
        _, height, width = self._shape
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        # the grid runs from -1 to 1 along both sides, however long they are
        first = torch.stack([cos, -sin * height / width, zero], dim=1)
        second = torch.stack([sin * width / height, cos, zero], dim=1)
        return torch.stack([first, second], dim=1)


@corruption("translation", default_level=0.1, share=True, needs="image")
class Translation(_Affine):
    """Shift every image along both sides by shares of them drawn from [-level, level].

    Parameters
    ----------
    level : float or (float, float)
        Largest shift as a share of the side, in [0, 1]; every row draws its own from a
        range.
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


@corruption("crop", default_level=0.6, share=True, needs="image")
class Crop(_Affine):
    """Cut a rectangle out of every image and resize it to the whole.

    The rectangle covers a share of the area drawn from [1 - level, 1]; its aspect
    ratio differs from the image's by a factor of up to 4/3 either way, as far as it fits.

    Parameters
    ----------
    level : float or (float, float)
        Largest share of the area to cut off, in [0, 1]; every row draws its own from a
        range.
    input_shape : sequence of int
        (channels, height, width) of a row.

    References
    ----------
    Szegedy et al., "Going deeper with convolutions", CVPR 2015, arXiv:1409.4842; as a
    view, Chen et al., arXiv:2002.05709.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Crop
    >>> rows = torch.ones(2, 9)
    >>> Crop(0.5, (1, 3, 3))(rows, torch.Generator()).values.round(decimals=4).unique()
    tensor([1.])
    """

    padding = "border"

    def matrices(self, values: Tensor, generator: Generator) -> Tensor:
        """Draw rectangles; see :class:`Corruption`."""
        level = self.draw(values, generator)
        # a rectangle of area 0 has no aspect ratio
        area = draw_between(1 - level, torch.ones_like(level), generator).clamp_min(1e-3)
        most = (-area.log()).clamp_max(math.log(MAX_STRETCH))
        ratio = draw_between(-most, most, generator)
        high, wide = (area.log() + ratio).div(2).exp(), (area.log() - ratio).div(2).exp()
        right = draw_between(wide - 1, 1 - wide, generator)
        down = draw_between(high - 1, 1 - high, generator)
        zero = torch.zeros_like(area)
        first = torch.stack([wide, zero, right], dim=1)
        second = torch.stack([zero, high, down], dim=1)
        return torch.stack([first, second], dim=1)


@corruption("horizontal_flip", default_level=0.5, share=True, needs="image")
class HorizontalFlip(ShapedCorruption):
    """Mirror every image, left to right, with probability `level`.

    Parameters
    ----------
    level : float or (float, float)
        Probability, in [0, 1].
    input_shape : sequence of int
        (channels, height, width) of a row.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import HorizontalFlip
    >>> rows = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    >>> HorizontalFlip(1.0, (1, 2, 2))(rows, torch.Generator()).values
    tensor([[2., 1., 4., 3.]])
    """

    axis: ClassVar[int] = 3

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Flip images; see :class:`Corruption`."""
        level = self.draw(values, generator)
        zero = torch.zeros_like(level)
        flipped = draw_between(zero, zero + 1, generator) < level
        images = self.shaped(values)
        mirrored = images.flip(self.axis)
        chosen = torch.where(flipped.view(-1, 1, 1, 1), mirrored, images)
        return Corrupted(chosen.reshape(values.shape))


@corruption("vertical_flip", default_level=0.5, share=True, needs="image")
class VerticalFlip(HorizontalFlip):
    """Mirror every image, top to bottom, with probability `level`.

    Parameters
    ----------
    level : float or (float, float)
        Probability, in [0, 1].
    input_shape : sequence of int
        (channels, height, width) of a row.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import VerticalFlip
    >>> rows = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    >>> VerticalFlip(1.0, (1, 2, 2))(rows, torch.Generator()).values
    tensor([[3., 4., 1., 2.]])
    """

    axis = 2
