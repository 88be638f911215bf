"""The interface of a corruption, and a user's callable behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.utils.parameters import HasParameters
from sklearn_repr.utils.registry import Registry

__all__ = [
    "Corruption",
    "ImageView",
    "Level",
    "SequenceView",
    "ShapedView",
    "UserCorruption",
    "cells_at_rate",
    "corruption",
    "draw_between",
    "draw_level",
]

# how strong: a number, or a range that every row draws from
Level = float | tuple[float, float]

# Corruptions and views by name, with their `default_level`; `share` says that a level is
# a share or a probability, and so at most 1
corruption = Registry("corruption")


class Corruption(HasParameters):
    """Corrupt encoded rows, drawing from the generator that the caller brings.

    Attributes
    ----------
    uses_global_generator : bool
        True where the randomness is not the caller's generator but torch's global one.
    """

    uses_global_generator = False

    def fit(self, values: Tensor) -> Corruption:
        """Learn what the corruption needs of the training rows.

        Parameters
        ----------
        values : Tensor of shape (n, d)
            Encoded rows.

        Returns
        -------
        self : Corruption
            Itself.
        """
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Return corrupted copies of the rows.

        Parameters
        ----------
        values : Tensor of shape (n, d)
            Clean encoded rows; left as they are.
        generator : Generator
            Source of randomness, on the device of `values`.

        Returns
        -------
        corrupted : Corrupted
            The corrupted rows and, where it applies, which cells were replaced.
        """
        raise NotImplementedError


class UserCorruption(Corruption):
    """A user's callable: encoded rows in, corrupted rows of the same shape out.

    Parameters
    ----------
    function : callable
        Takes and returns a Tensor of shape (n, d). It may draw from torch's global
        generator, which the engine seeds for it.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import UserCorruption
    >>> halve = UserCorruption(lambda values: values / 2)
    >>> halve(torch.ones(1, 2), torch.Generator()).values
    tensor([[0.5000, 0.5000]])
    """

    uses_global_generator = True

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.function = function

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Call the user's function; see :class:`Corruption`."""
        result = self.function(values.clone())
        if not isinstance(result, Tensor) or result.shape != values.shape:
            got = tuple(result.shape) if isinstance(result, Tensor) else type(result)
            raise ValueError(
                "A corruption given as a callable must return a tensor of the shape it"
                f" was given, {tuple(values.shape)}; got {got}."
            )
        # NumPy's constants make doubles of singles
        return Corrupted(result.to(values.dtype))


class ShapedView(Corruption):
    """A corruption of rows that are images or sequences.

    Parameters
    ----------
    level : float or (float, float)
        How strong; a range is drawn from anew for every row.
    input_shape : sequence of int
        (channels, height, width) or (channels, length) of a row.
    """

    # what a row may be, by the number of its sides
    shapes: ClassVar[dict[int, str]] = {
        2: "(channels, length)",
        3: "(channels, height, width)",
    }
    kind: ClassVar[str] = "Views of images and sequences"

    def __init__(self, level: Level, input_shape: Sequence[int]):
        self.level = level
        self.input_shape = tuple(input_shape)
        if len(self.input_shape) not in self.shapes:
            raise ValueError(
                f"{self.kind} need input_shape={' or '.join(self.shapes.values())};"
                f" {type(self).__name__} got {self.input_shape}."
            )

    def shaped(self, values: Tensor) -> Tensor:
        """Return flat rows as images or sequences, without copying."""
        return values.view(-1, *self.input_shape)

    def draw(self, values: Tensor, generator: Generator) -> Tensor:
        """Return the level of every row, (n,)."""
        level = draw_level(self.level, values, generator)
        return torch.as_tensor(level, dtype=values.dtype, device=values.device).expand(
            len(values), 1
        )[:, 0]


class ImageView(ShapedView):
    """A corruption of rows that are images; see :class:`ShapedView`."""

    shapes = {3: "(channels, height, width)"}  # noqa: RUF012 - annotated above
    kind = "Views of images"


class SequenceView(ShapedView):
    """A corruption of rows that are sequences; see :class:`ShapedView`."""

    shapes = {2: "(channels, length)"}  # noqa: RUF012 - annotated above
    kind = "Views of sequences"


def draw_level(level: Level, values: Tensor, generator: Generator) -> float | Tensor:
    """Return a fixed level, or one for every row, drawn uniformly from a range."""
    if not isinstance(level, tuple):
        return level
    low, high = level
    draws = torch.rand(
        (len(values), 1), generator=generator, device=values.device, dtype=values.dtype
    )
    return low + (high - low) * draws


def cells_at_rate(values: Tensor, rate: float | Tensor, generator: Generator) -> Tensor:
    """Choose every cell independently with probability `rate`."""
    draws = torch.rand(values.shape, generator=generator, device=values.device)
    return draws < rate


def draw_between(low: Tensor, high: Tensor, generator: Generator) -> Tensor:
    """Draw uniformly between two tensors, cell by cell."""
    draws = torch.rand(low.shape, generator=generator, device=low.device, dtype=low.dtype)
    return low + (high - low) * draws
