"""Which columns make up a patch of an image, or a window of a sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["patch_grid", "patch_numbers"]


def patch_numbers(
    n_columns: int, input_shape: Sequence[int] | None, patch_size: int
) -> NDArray[np.int64]:
    """Return the number of the patch that every column of a row belongs to.

    Parameters
    ----------
    n_columns : int
        Width of a row.
    input_shape : sequence of int or None
        (channels, height, width) or (channels, length); None means that every column is
        a patch of its own.
    patch_size : int
        Side of a patch, which spans all channels; those at the far ends may be smaller.

    Returns
    -------
    patches : ndarray of shape (n_columns,)
        Number of the patch of every column, from 0, without gaps.

    Examples
    --------
    >>> from sklearn_repr.utils.patches import patch_numbers
    >>> patch_numbers(5, (1, 5), 2)
    array([0, 0, 1, 1, 2])
    """
    if input_shape is None:
        return np.arange(n_columns)
    channels, *sides = input_shape
    number = np.zeros((1,) * len(sides), dtype=np.int64)
    for axis, side in enumerate(sides):
        index = np.arange(side) // patch_size
        shape = [1] * len(sides)
        shape[axis] = side
        number = number * (int(index[-1]) + 1) + index.reshape(shape)
    return np.tile(number.ravel(), channels)


def patch_grid(input_shape: Sequence[int], patch_size: int) -> tuple[int, ...]:
    """Return how many patches there are along every side of a row.

    Parameters
    ----------
    input_shape : sequence of int
        (channels, height, width) or (channels, length).
    patch_size : int
        Side of a patch.

    Returns
    -------
    grid : tuple of int
        (rows, columns) of patches, or (windows,).

    Examples
    --------
    >>> from sklearn_repr.utils.patches import patch_grid
    >>> patch_grid((3, 28, 30), 4)
    (7, 8)
    """
    return tuple(-(-side // patch_size) for side in input_shape[1:])
