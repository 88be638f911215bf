"""Corruptions of sequences: jitter, scaling, crops in time and masked windows."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import ShapedCorruption, corruption, draw_between

__all__ = ["Jitter", "Scaling", "TimeCrop", "WindowMasking"]


@corruption("jitter", default_level=0.3, needs="sequence")
class Jitter(ShapedCorruption):
    """Additive noise in proportion to the spread of each channel.

    :class:`GaussianNoise` uses the spread of every column, which for a sequence is a
    point in time; this class uses the spread over all times.

    Parameters
    ----------
    level : float or (float, float)
        Standard deviation of the noise, in those of the channel.
    input_shape : sequence of int
        (channels, length) of a row.

    References
    ----------
    Um et al., "Data augmentation of wearable sensor data for Parkinson's disease
    monitoring using convolutional neural networks", ICMI 2017, arXiv:1706.00527.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Jitter
    >>> rows = torch.randn(100, 50, generator=torch.Generator().manual_seed(0))
    >>> noisy = Jitter(0.5, (1, 50)).fit(rows)(rows, torch.Generator()).values
    >>> round(float((noisy - rows).std()), 1)
    0.5
    """

    def fit(self, values: Tensor) -> Jitter:
        """Measure the spread of every channel; see :class:`Corruption`."""
        self.spread_ = self.shaped(values).std(dim=(0, 2), correction=0)
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Add noise; see :class:`Corruption`."""
        level = self.draw(values, generator)
        noise = torch.randn(
            (len(values), *self._shape),
            generator=generator,
            device=values.device,
            dtype=values.dtype,
        )
        noise = noise * level[:, None, None] * self.spread_[:, None]
        return Corrupted(values + noise.view(values.shape))


@corruption("scaling", default_level=0.3, needs="sequence")
class Scaling(ShapedCorruption):
    r"""Multiply every channel of a sequence by a factor of its own.

    .. math:: \tilde x_{ct} = (1 + \lambda \varepsilon_c) x_{ct}, \quad
              \varepsilon_c \sim N(0, 1)

    Parameters
    ----------
    level : float or (float, float)
        :math:`\lambda`, the standard deviation of the factor.
    input_shape : sequence of int
        (channels, length) of a row.

    References
    ----------
    Um et al., "Data augmentation of wearable sensor data for Parkinson's disease
    monitoring using convolutional neural networks", ICMI 2017, arXiv:1706.00527.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Scaling
    >>> scaled = Scaling(0.1, (1, 3))(torch.ones(1, 3), torch.Generator()).values
    >>> scaled.unique().shape
    torch.Size([1])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Scale channels; see :class:`Corruption`."""
        level = self.draw(values, generator)
        draws = torch.randn(
            (len(values), self._shape[0]),
            generator=generator,
            device=values.device,
            dtype=values.dtype,
        )
        factor = 1 + level[:, None] * draws
        return Corrupted((self.shaped(values) * factor[..., None]).view(values.shape))


@corruption("time_crop", default_level=0.5, share=True, needs="sequence")
class TimeCrop(ShapedCorruption):
    """Cut a stretch out of every sequence and resize it to the whole.

    The stretch covers a share of the sequence drawn from [1 - level, 1]; values between
    two steps are interpolated linearly.

    Parameters
    ----------
    level : float or (float, float)
        Largest share of the sequence to cut off, in [0, 1]; every row draws its own from
        a range.
    input_shape : sequence of int
        (channels, length) of a row.

    References
    ----------
    Le Guennec, Malinowski and Tavenard, "Data augmentation for time series
    classification using convolutional neural networks", ECML/PKDD workshop AALTD 2016.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import TimeCrop
    >>> rows = torch.arange(5.0).view(1, 5)
    >>> cropped = TimeCrop(0.5, (1, 5))(rows, torch.Generator()).values
    >>> bool((cropped.diff() > 0).all()), bool(cropped.max() <= 4)
    (True, True)
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Crop sequences; see :class:`Corruption`."""
        channels, length = self._shape
        last = length - 1
        level = self.draw(values, generator)
        zero = torch.zeros_like(level)
        width = draw_between(1 - level, zero + 1, generator) * last
        start = draw_between(zero, last - width, generator)
        share = torch.arange(length, dtype=values.dtype, device=values.device)
        share = share / max(last, 1)
        place = (start[:, None] + width[:, None] * share).clamp(0, last)
        before = place.floor()
        weight = (place - before)[:, None]
        index = before.long()[:, None].expand(-1, channels, -1)
        sequences = self.shaped(values)
        left = sequences.gather(2, index)
        right = sequences.gather(2, (index + 1).clamp_max(last))
        return Corrupted(torch.lerp(left, right, weight).view(values.shape))


@corruption("window_masking", default_level=0.3, share=True, needs="sequence")
class WindowMasking(ShapedCorruption):
    """Set a stretch of every sequence to zero, in all channels.

    Parameters
    ----------
    level : float or (float, float)
        Share of the steps to mask, in [0, 1], rounded to whole steps; every row draws its
        own from a range.
    input_shape : sequence of int
        (channels, length) of a row.

    References
    ----------
    Park et al., "SpecAugment: a simple data augmentation method for automatic speech
    recognition", Interspeech 2019, arXiv:1904.08779 (time masking).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import WindowMasking
    >>> mask = WindowMasking(0.5, (1, 6))
    >>> mask(torch.ones(1, 6), torch.Generator().manual_seed(0)).values
    tensor([[1., 0., 0., 0., 1., 1.]])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Mask windows; see :class:`Corruption`."""
        channels, length = self._shape
        width = (self.draw(values, generator) * length).round()
        places = length - width + 1
        start = draw_between(torch.zeros_like(width), places, generator).floor()
        start = torch.minimum(start, places - 1)  # a draw may round up to the end
        step = torch.arange(length, dtype=values.dtype, device=values.device)
        inside = (step >= start[:, None]) & (step < (start + width)[:, None])
        mask = inside[:, None].expand(-1, channels, -1).reshape(values.shape)
        return Corrupted(values.masked_fill(mask, 0.0), mask)
