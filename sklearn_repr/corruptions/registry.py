"""Corruptions by name."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from torch import Tensor

from sklearn_repr.corruptions._base import Corruption, Level, UserCorruption
from sklearn_repr.corruptions.images import Rotation, Translation
from sklearn_repr.corruptions.masking import MaskingNoise, SaltAndPepperNoise
from sklearn_repr.corruptions.noise import GaussianNoise, MultiplicativeNoise
from sklearn_repr.corruptions.swap import MarginalSwap, SwapNoise

__all__ = ["CORRUPTIONS", "IMAGE_CORRUPTIONS", "RATE_CORRUPTIONS", "make_corruption"]

# those whose level is a share of cells, and so at most 1
RATE_CORRUPTIONS: dict[str, Callable[[Level], Corruption]] = {
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepperNoise,
    "scarf": MarginalSwap,
    "swap": SwapNoise,
}
CORRUPTIONS: dict[str, Callable[[Level], Corruption]] = {
    "gaussian": GaussianNoise,
    "multiplicative": MultiplicativeNoise,
    **RATE_CORRUPTIONS,
}
# those that need to know that a row is an image
IMAGE_CORRUPTIONS: dict[str, Callable[[Level, Sequence[int]], Corruption]] = {
    "rotation": Rotation,
    "translation": Translation,
}


def make_corruption(
    corruption: str | Callable[[Tensor], Tensor] | Any,
    level: Level,
    parameter: str = "corruption",
    input_shape: Sequence[int] | None = None,
) -> Corruption:
    """Build a corruption from an estimator's parameters.

    Parameters
    ----------
    corruption : str, callable or Corruption
        A name in `CORRUPTIONS` or `IMAGE_CORRUPTIONS`, or a function from encoded rows
        to corrupted rows.
    level : float or (float, float)
        Strength: standard deviations for noise, degrees for rotations, share of the
        side for translations, share of cells otherwise. A range is drawn from per row.
    parameter : str, default="corruption"
        What the estimator calls the parameter, for the message.
    input_shape : sequence of int or None, default=None
        Shape of a row that is an image.

    Returns
    -------
    corruption : Corruption
        Not yet fitted.

    Raises
    ------
    ValueError
        If the level is no number or range, is above 1 where it is a share, or if
        `input_shape` is missing where it is needed.

    Examples
    --------
    >>> from sklearn_repr.corruptions import make_corruption
    >>> make_corruption("swap", 0.1).level
    0.1
    """
    if isinstance(corruption, Corruption):
        return copy.deepcopy(corruption)  # fitting it must not change the parameter
    if not isinstance(corruption, str):
        return UserCorruption(corruption)
    ends: Any = tuple(level) if isinstance(level, tuple | list) else (level, level)
    numbers = all(isinstance(end, Real) and math.isfinite(end) for end in ends)
    if len(ends) != 2 or not numbers or not 0 <= ends[0] <= ends[1]:
        raise ValueError(
            "corruption_level must be a number >= 0 or a range (low, high) of such;"
            f" got {level!r}."
        )
    if corruption in {*RATE_CORRUPTIONS, "translation"} and ends[1] > 1:
        raise ValueError(
            f"corruption_level={level!r} is not a share: with"
            f" {parameter}={corruption!r} it must be between 0 and 1."
        )
    drawn: Level = ends[0] if ends[0] == ends[1] else ends
    if corruption not in IMAGE_CORRUPTIONS:
        return CORRUPTIONS[corruption](drawn)
    if input_shape is None:
        raise ValueError(
            f"{parameter}={corruption!r} needs input_shape=(channels, height, width)."
        )
    return IMAGE_CORRUPTIONS[corruption](drawn, input_shape)
