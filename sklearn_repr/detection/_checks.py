"""What every function on scores asks of its arguments."""

from __future__ import annotations

from numbers import Real

import numpy as np
from numpy.typing import (
    ArrayLike,
    NDArray,
)


def check_scores(
    values: ArrayLike, name: str, *, empty: bool = False
) -> NDArray[np.float64]:
    """Return one-dimensional float64 numbers without NaN, or say which argument is none.

    Infinite scores pass: they have a place in the order, and order is what thresholds
    and p-values are made of.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {scores.shape}.")
    if not (empty or scores.size):
        raise ValueError(f"{name} must hold at least one row.")
    if np.isnan(scores).any():
        raise ValueError(f"{name} contains NaN.")
    return scores


def check_share(
    value: float, name: str, *, low: float = 0.0, high: float = 1.0, closed: str = ""
) -> float:
    """Return a number between two bounds; `closed` names the bounds that belong to it."""
    inside = isinstance(value, Real)
    if inside:
        above = value >= low if "left" in closed else value > low
        below = value <= high if "right" in closed else value < high
        inside = above and below
    if not inside:
        left = "[" if "left" in closed else "("
        right = "]" if "right" in closed else ")"
        raise ValueError(
            f"{name} must be in {left}{low:g}, {high:g}{right}, got {value!r}."
        )
    return float(value)


def cut_between(flagged: float, kept: float) -> float:
    """Return a number t with flagged < t <= kept, halfway where floats allow."""
    middle = flagged / 2.0 + kept / 2.0  # the sum itself might overflow
    return middle if flagged < middle <= kept else kept
