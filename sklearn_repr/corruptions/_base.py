"""The interface of a corruption, their names, and a user's callable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.utils.parameters import HasParameters
from sklearn_repr.utils.registry import Registry

__all__ = [
    "SHAPES",
    "Corruption",
    "Level",
    "ShapedCorruption",
    "UserCorruption",
    "check_level",
    "corruption",
    "draw_between",
    "draw_level",
]

# Corruptions by name. What is said of each where it is registered:
#   default_level  what the level "auto" stands for
#   share          whether the level is a share or a probability, and so at most 1
#   needs          which rows it needs: "image", "sequence" or "either"; missing for any
corruption = Registry("corruption")

# how strong: a number, or a range from which every row draws its own
Level = float | tuple[float, float]

# the shapes of a row that `needs` allows, by their number of axes
SHAPES: dict[str, dict[int, str]] = {
    "image": {3: "(channels, height, width)"},
    "sequence": {2: "(channels, length)"},
    "either": {2: "(channels, length)", 3: "(channels, height, width)"},
}


class Corruption(HasParameters):
    """Corrupt encoded rows, drawing from the generator that the caller passes.

    Parameters
    ----------
    level : float or (float, float)
        How strong; every row draws its own level from a range.

    Attributes
    ----------
    uses_global_generator : bool
        True where the randomness is not the caller's generator but torch's global one.
    columns : int64 Tensor of shape (d,) or None
        Number of the table's column that each encoded column belongs to, where several
        make up one; they are replaced together.

    Notes
    -----
    ``@corruption(name, default_level=...)`` above a subclass makes it available by name.
    Its constructor stores every parameter unchanged, so that it can be cloned; what `fit`
    learns goes to attributes of other names.
    """

    uses_global_generator = False
    columns: Tensor | None = None

    def __init__(self, level: Level):
        check_level(level, bool(self._metadata().get("share")), type(self).__name__)
        self.level = level

    @classmethod
    def _metadata(cls) -> dict[str, Any]:
        """Return what the registry says of this class, or of one it inherits from."""
        entry = corruption.entry_of(cls)
        return {} if entry is None else entry.metadata

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

    def group(self, columns: Tensor) -> Corruption:
        """Say which encoded columns make up one column of the table.

        Parameters
        ----------
        columns : int64 Tensor of shape (d,)
            Number of the table's column, from 0, of each encoded column.

        Returns
        -------
        self : Corruption
            Itself.
        """
        self.columns = columns
        return self

    def rates(self, values: Tensor, generator: Generator) -> Tensor:
        """Draw uniformly from [0, 1), one draw for all that make up a cell, (n, d)."""
        shape = len(values), self.n_cells(values)
        draws = torch.rand(shape, generator=generator, device=values.device)
        return self.spread(draws)

    def spread(self, cells: Tensor) -> Tensor:
        """Give what is drawn for every cell to all encoded columns that make it up."""
        if self.columns is None:
            return cells
        return cells.index_select(1, self.columns.to(cells.device))

    def n_cells(self, values: Tensor) -> int:
        """Return how many cells a row has."""
        return values.shape[1] if self.columns is None else int(self.columns.max()) + 1

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

    def of_labelled(
        self, values: Tensor, generator: Generator, labels: Tensor | None
    ) -> Corrupted:
        """Return the same of rows with labels, which most corruptions do not look at.

        Parameters
        ----------
        values, generator : Tensor, Generator
            Of the call.
        labels : Tensor of shape (n,) or None
            See :class:`~sklearn_repr._contracts.Batch`.

        Returns
        -------
        corrupted : Corrupted
            See the call.
        """
        return self(values, generator)


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
        # float64 constants of NumPy promote float32 tensors
        return Corrupted(result.to(values.dtype))


class ShapedCorruption(Corruption):
    """A corruption of rows that are images or sequences.

    Parameters
    ----------
    level : float or (float, float)
        How strong; every row draws its own level from a range.
    input_shape : sequence of int
        (channels, height, width) or (channels, length) of a row.
    """

    def __init__(self, level: Level, input_shape: Sequence[int]):
        super().__init__(level)
        self.input_shape = input_shape
        self._shape = tuple(input_shape)
        allowed = SHAPES[self._metadata().get("needs", "either")]
        if len(self._shape) not in allowed:
            raise ValueError(
                f"{type(self).__name__} needs input_shape="
                f"{' or '.join(allowed.values())}; got {self._shape}."
            )

    def shaped(self, values: Tensor) -> Tensor:
        """Return flat rows as images or sequences, without copying."""
        return values.view(-1, *self._shape)

    def draw(self, values: Tensor, generator: Generator) -> Tensor:
        """Return the level of every row, (n,)."""
        level = draw_level(self.level, values, generator)
        return torch.as_tensor(level, dtype=values.dtype, device=values.device).expand(
            len(values), 1
        )[:, 0]


def check_level(
    level: object, share: bool, owner: str, parameter: str = "level"
) -> Level:
    """Check a level, and return it as a number, or as a range that is not a point.

    Parameters
    ----------
    level : float or (float, float)
        What was given.
    share : bool
        Whether it must be at most 1.
    owner : str
        Whose level it is, for the message.
    parameter : str, default="level"
        What the level is called there.

    Returns
    -------
    level : float or (float, float)
        The level.

    Raises
    ------
    ValueError
        If it is no number or range, is negative, or is above 1 where it is a share.
    """
    ends: Any = tuple(level) if isinstance(level, tuple | list) else (level, level)
    numbers = all(isinstance(end, Real) and math.isfinite(end) for end in ends)
    if len(ends) != 2 or not numbers or not 0 <= ends[0] <= ends[1]:
        raise ValueError(
            f"{parameter} must be a number >= 0 or a range (low, high) of such;"
            f" got {level!r}."
        )
    if share and ends[1] > 1:
        raise ValueError(
            f"{parameter}={level!r} is not a share: with {owner} it must be between"
            " 0 and 1."
        )
    return ends[0] if ends[0] == ends[1] else ends  # type: ignore[no-any-return]


def draw_level(level: Level, values: Tensor, generator: Generator) -> float | Tensor:
    """Return a fixed level, or one for every row, drawn uniformly from a range."""
    if not isinstance(level, tuple | list):
        return level
    low, high = level
    draws = torch.rand(
        (len(values), 1), generator=generator, device=values.device, dtype=values.dtype
    )
    return low + (high - low) * draws


def draw_between(low: Tensor, high: Tensor, generator: Generator) -> Tensor:
    """Draw uniformly between two tensors, cell by cell."""
    draws = torch.rand(low.shape, generator=generator, device=low.device, dtype=low.dtype)
    return low + (high - low) * draws
