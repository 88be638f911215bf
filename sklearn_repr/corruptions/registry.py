"""Corruptions by name."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from torch import Tensor

from sklearn_repr.corruptions._base import Corruption, Level, UserCorruption
from sklearn_repr.corruptions.images import (
    Crop,
    HorizontalFlip,
    Rotation,
    Translation,
    VerticalFlip,
)
from sklearn_repr.corruptions.masking import (
    ColumnSubset,
    MaskingNoise,
    SaltAndPepperNoise,
)
from sklearn_repr.corruptions.mixing import Mixup
from sklearn_repr.corruptions.noise import GaussianNoise, MultiplicativeNoise
from sklearn_repr.corruptions.pixels import Blur, Brightness, Contrast, Cutout
from sklearn_repr.corruptions.sequences import Jitter, Scaling, TimeCrop, WindowMasking
from sklearn_repr.corruptions.swap import MarginalSwap, SwapNoise
from sklearn_repr.corruptions.views import Composed

__all__ = [
    "CORRUPTIONS",
    "IMAGE_CORRUPTIONS",
    "NATURAL_LEVELS",
    "RATE_CORRUPTIONS",
    "SEQUENCE_CORRUPTIONS",
    "SHARES",
    "make_corruption",
    "make_views",
]

# those whose level is a share of cells, and so at most 1
RATE_CORRUPTIONS: dict[str, Callable[[Level], Corruption]] = {
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepperNoise,
    "scarf": MarginalSwap,
    "subset": ColumnSubset,
    "swap": SwapNoise,
}
CORRUPTIONS: dict[str, Callable[[Level], Corruption]] = {
    "gaussian": GaussianNoise,
    "mixup": Mixup,
    "multiplicative": MultiplicativeNoise,
    **RATE_CORRUPTIONS,
}
# those that need to know that a row is an image, or an image or a sequence
IMAGE_CORRUPTIONS: dict[str, Callable[[Level, Sequence[int]], Corruption]] = {
    "blur": Blur,
    "brightness": Brightness,
    "contrast": Contrast,
    "crop": Crop,
    "cutout": Cutout,
    "horizontal_flip": HorizontalFlip,
    "rotation": Rotation,
    "translation": Translation,
    "vertical_flip": VerticalFlip,
}
# those that need to know that a row is a sequence
SEQUENCE_CORRUPTIONS: dict[str, Callable[[Level, Sequence[int]], Corruption]] = {
    "jitter": Jitter,
    "scaling": Scaling,
    "time_crop": TimeCrop,
    "window_masking": WindowMasking,
}
# levels that are a share or a probability
SHARES = {
    *RATE_CORRUPTIONS,
    *("contrast", "crop", "cutout", "horizontal_flip", "mixup", "time_crop"),
    *("translation", "vertical_flip", "window_masking"),
}
# what "auto" stands for
NATURAL_LEVELS: dict[str, float] = {
    "blur": 1.0,
    "brightness": 0.5,
    "contrast": 0.5,
    "crop": 0.6,
    "cutout": 0.4,
    "gaussian": 0.3,
    "horizontal_flip": 0.5,
    "jitter": 0.3,
    "masking": 0.3,
    "mixup": 0.3,
    "multiplicative": 0.3,
    "rotation": 15.0,
    "salt_and_pepper": 0.3,
    "scaling": 0.3,
    "scarf": 0.3,
    "subset": 0.3,
    "swap": 0.3,
    "time_crop": 0.5,
    "translation": 0.1,
    "vertical_flip": 0.5,
    "window_masking": 0.3,
}


def make_corruption(
    corruption: str | Callable[[Tensor], Tensor] | Any,
    level: Level | str,
    parameter: str = "corruption",
    input_shape: Sequence[int] | None = None,
) -> Corruption:
    """Build a corruption from an estimator's parameters.

    Parameters
    ----------
    corruption : str, callable or Corruption
        A name in `CORRUPTIONS`, `IMAGE_CORRUPTIONS` or `SEQUENCE_CORRUPTIONS`, or a
        function from encoded rows to corrupted rows.
    level : float, (float, float) or "auto"
        Strength: what the class of that name calls `level`. A range is drawn from per
        row; "auto" is the name's entry in `NATURAL_LEVELS`.
    parameter : str, default="corruption"
        What the estimator calls the parameter, for the message.
    input_shape : sequence of int or None, default=None
        Shape of a row that is an image or a sequence.

    Returns
    -------
    corruption : Corruption
        Not yet fitted.

    Raises
    ------
    ValueError
        If the name is unknown, the level is no number or range, is above 1 where it is a
        share, or if `input_shape` is missing where it is needed.

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
    shaped = {**IMAGE_CORRUPTIONS, **SEQUENCE_CORRUPTIONS}
    if corruption not in {**CORRUPTIONS, **shaped}:
        known = ", ".join(sorted({**CORRUPTIONS, **shaped}))
        raise ValueError(f"{parameter}={corruption!r} is unknown; there are {known}.")
    if isinstance(level, str) and level == "auto":
        level = NATURAL_LEVELS[corruption]
    ends: Any = tuple(level) if isinstance(level, tuple | list) else (level, level)
    numbers = all(isinstance(end, Real) and math.isfinite(end) for end in ends)
    if len(ends) != 2 or not numbers or not 0 <= ends[0] <= ends[1]:
        raise ValueError(
            "corruption_level must be a number >= 0 or a range (low, high) of such;"
            f" got {level!r}."
        )
    if corruption in SHARES and ends[1] > 1:
        raise ValueError(
            f"corruption_level={level!r} is not a share: with"
            f" {parameter}={corruption!r} it must be between 0 and 1."
        )
    drawn: Level = ends[0] if ends[0] == ends[1] else ends
    if corruption in CORRUPTIONS:
        return CORRUPTIONS[corruption](drawn)
    if input_shape is None:
        shape = "length" if corruption in SEQUENCE_CORRUPTIONS else "height, width"
        raise ValueError(
            f"{parameter}={corruption!r} needs input_shape=(channels, {shape})."
        )
    return shaped[corruption](drawn, input_shape)


def make_views(
    views: Any,
    level: Level | str = "auto",
    *,
    parameter: str = "views",
    input_shape: Sequence[int] | None = None,
) -> Corruption:
    """Build one corruption from a name, a callable or a list of such.

    Parameters
    ----------
    views : str, callable, Corruption or sequence
        See :func:`make_corruption`. The entries of a sequence act in their order; each is
        one of these, or a pair (name, level).
    level : float, (float, float) or "auto", default="auto"
        Level of every name that brings none of its own.
    parameter : str, default="views"
        What the estimator calls the parameter, for the message.
    input_shape : sequence of int or None, default=None
        Shape of a row that is an image or a sequence.

    Returns
    -------
    corruption : Corruption
        Not yet fitted.

    Raises
    ------
    ValueError
        As :func:`make_corruption` does, and if the list is empty or an entry is none of
        these.

    Examples
    --------
    >>> from sklearn_repr.corruptions import make_views
    >>> views = make_views(["crop", ("rotation", 5)], input_shape=(1, 8, 8))
    >>> [view.level for view in views.corruptions]
    [0.6, 5]
    """
    if isinstance(views, str) or callable(views):
        return make_corruption(views, level, parameter, input_shape)
    entries = list(views)
    if not entries:
        raise ValueError(f"{parameter}={views!r} holds no view: name at least one.")
    parts = []
    for entry in entries:
        name, own = entry, level
        if isinstance(entry, tuple | list) and len(entry) == 2:
            name, own = entry
        if not (isinstance(name, str) or callable(name)):
            raise ValueError(
                f"{parameter} must hold names, pairs (name, level), callables or"
                f" corruptions; got {entry!r}."
            )
        parts.append(make_corruption(name, own, parameter, input_shape))
    return parts[0] if len(parts) == 1 else Composed(parts)
