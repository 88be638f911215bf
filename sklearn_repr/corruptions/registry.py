"""Corruptions by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor

from sklearn_repr.corruptions._base import Corruption, UserCorruption
from sklearn_repr.corruptions.masking import MaskingNoise, SaltAndPepperNoise
from sklearn_repr.corruptions.noise import GaussianNoise, MultiplicativeNoise
from sklearn_repr.corruptions.swap import MarginalSwap, SwapNoise

__all__ = ["CORRUPTIONS", "RATE_CORRUPTIONS", "make_corruption"]

# those whose level is a share of cells, and so at most 1
RATE_CORRUPTIONS: dict[str, Callable[[float], Corruption]] = {
    "masking": MaskingNoise,
    "salt_and_pepper": SaltAndPepperNoise,
    "scarf": MarginalSwap,
    "swap": SwapNoise,
}
CORRUPTIONS: dict[str, Callable[[float], Corruption]] = {
    "gaussian": GaussianNoise,
    "multiplicative": MultiplicativeNoise,
    **RATE_CORRUPTIONS,
}


def make_corruption(
    corruption: str | Callable[[Tensor], Tensor] | Any,
    level: float,
    parameter: str = "corruption",
) -> Corruption:
    """Build a corruption from an estimator's parameters.

    Parameters
    ----------
    corruption : str, callable or Corruption
        A name in `CORRUPTIONS`, or a function from encoded rows to corrupted rows.
    level : float
        Strength: standard deviations for noise, share of cells otherwise.
    parameter : str, default="corruption"
        What the estimator calls the parameter, for the message.

    Returns
    -------
    corruption : Corruption
        Not yet fitted.

    Raises
    ------
    ValueError
        If the level is above 1 where it is a share of cells.

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
    if corruption in RATE_CORRUPTIONS and level > 1:
        raise ValueError(
            f"corruption_level={level!r} is not a share of cells: with"
            f" {parameter}={corruption!r} it must be between 0 and 1."
        )
    return CORRUPTIONS[corruption](level)
