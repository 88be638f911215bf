"""Corruptions of pixel values: blur, brightness, contrast and cutout."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import ShapedCorruption, corruption, draw_between

__all__ = ["Blur", "Brightness", "Contrast", "Cutout"]


@corruption("blur", default_level=1.0, needs="either")
class Blur(ShapedCorruption):
    r"""Blur every image or sequence by a Gaussian, each with a width of its own.

    The kernel is the discrete Gaussian, which smooths as diffusion between neighbouring
    cells does, with closed borders: values stay between the lowest and the highest of
    their channel, and its mean is unchanged. In the basis of cosines every frequency is
    multiplied by

    .. math:: \exp(-\sigma^2 (1 - \cos \omega)), \quad \sigma \sim U(0, \lambda)

    Parameters
    ----------
    level : float or (float, float)
        :math:`\lambda`, the largest standard deviation, in pixels or steps; every row
        draws its own from a range.
    input_shape : sequence of int
        (channels, height, width) or (channels, length) of a row.

    References
    ----------
    Lindeberg, "Scale-space for discrete signals", IEEE PAMI 12 (1990) 234-254,
    doi:10.1109/34.49051.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Blur
    >>> rows = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]])
    >>> blurred = Blur((5.0, 5.0), (1, 5))(rows, torch.Generator()).values
    >>> bool(blurred.max() < 1), round(float(blurred.sum()), 4)
    (True, 1.0)
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Blur rows; see :class:`Corruption`."""
        level = self.draw(values, generator)
        variance = draw_between(torch.zeros_like(level), level, generator).square()
        blurred = self.shaped(values)
        for axis, side in enumerate(self._shape[1:], start=2):
            cosines, decay = _cosine_basis(side, values)
            factor = torch.exp(-variance[:, None] * decay)
            shape = [len(values)] + [1] * (blurred.ndim - 1)
            shape[axis] = side
            waves = torch.movedim(torch.movedim(blurred, axis, -1) @ cosines.T, -1, axis)
            waves = waves * factor.view(shape)
            blurred = torch.movedim(torch.movedim(waves, axis, -1) @ cosines, -1, axis)
        return Corrupted(blurred.reshape(values.shape))


def _cosine_basis(side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal cosines, (side, side), and the decay rate of each, (side,)."""
    place = torch.arange(side, dtype=like.dtype, device=like.device)
    frequency = math.pi * place / side
    cosines = torch.cos(frequency[:, None] * (place + 0.5)) * math.sqrt(2 / side)
    cosines[0] = math.sqrt(1 / side)
    return cosines, 1 - torch.cos(frequency)


@corruption("brightness", default_level=0.5, needs="image")
class Brightness(ShapedCorruption):
    """Add a constant to every image.

    Parameters
    ----------
    level : float or (float, float)
        Largest constant either way, in standard deviations of all pixels in training;
        every row draws its own from a range.
    input_shape : sequence of int
        (channels, height, width) of a row.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Brightness
    >>> rows = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    >>> brighter = Brightness(0.5, (1, 2, 2)).fit(rows)(rows, torch.Generator()).values
    >>> bool((brighter - rows).std() < 1e-6)
    True
    """

    def fit(self, values: Tensor) -> Brightness:
        """Measure the spread of all pixels; see :class:`Corruption`."""
        self.spread_ = values.std(correction=0)
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Shift images; see :class:`Corruption`."""
        level = self.draw(values, generator)
        shift = draw_between(-level, level, generator) * self.spread_
        return Corrupted(values + shift[:, None])


@corruption("contrast", default_level=0.5, share=True, needs="image")
class Contrast(ShapedCorruption):
    r"""Scale the deviations of every image from the mean of each channel.

    .. math:: \tilde x = \bar x + f (x - \bar x), \quad f \sim U(1 - \lambda, 1 + \lambda)

    Parameters
    ----------
    level : float or (float, float)
        :math:`\lambda`, in [0, 1]; every row draws its own from a range.
    input_shape : sequence of int
        (channels, height, width) of a row.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Contrast
    >>> rows = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    >>> float(Contrast(0.5, (1, 2, 2))(rows, torch.Generator()).values.mean())
    1.5
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Stretch images; see :class:`Corruption`."""
        level = self.draw(values, generator)
        gain = draw_between(-level, level, generator).view(-1, 1, 1, 1)
        images = self.shaped(values)
        # level 0 then changes nothing, to the last bit
        stretched = images + gain * (images - images.mean(dim=(2, 3), keepdim=True))
        return Corrupted(stretched.reshape(values.shape))


@corruption("cutout", default_level=0.4, share=True, needs="image")
class Cutout(ShapedCorruption):
    """Set a rectangle of every image to zero.

    Its sides are `level` times those of the image; its centre is anywhere in the image,
    and part of it may lie outside.

    Parameters
    ----------
    level : float or (float, float)
        Share of the sides, in [0, 1]; every row draws its own from a range.
    input_shape : sequence of int
        (channels, height, width) of a row.

    References
    ----------
    DeVries and Taylor, "Improved regularization of convolutional neural networks with
    cutout" (2017), arXiv:1708.04552.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Cutout
    >>> cut = Cutout(0.5, (1, 4, 4))(torch.ones(1, 16), torch.Generator().manual_seed(0))
    >>> cut.values.view(4, 4)
    tensor([[1., 1., 1., 1.],
            [1., 1., 0., 0.],
            [1., 1., 0., 0.],
            [1., 1., 1., 1.]])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Cut rectangles; see :class:`Corruption`."""
        channels, *sides = self._shape
        level = self.draw(values, generator)
        inside = []
        for side in sides:
            centre = draw_between(
                torch.zeros_like(level), torch.full_like(level, side), generator
            )
            place = torch.arange(side, dtype=values.dtype, device=values.device) + 0.5
            inside.append((place - centre[:, None]).abs() < level[:, None] * side / 2)
        mask = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        mask = mask.expand(-1, channels, -1, -1).reshape(values.shape)
        return Corrupted(values.masked_fill(mask, 0.0), mask)
