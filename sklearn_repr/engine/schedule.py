"""How the learning rate moves while training lasts."""

from __future__ import annotations

import inspect
import math
from typing import Any

__all__ = ["FALLS", "SCHEDULES", "one_cycle", "rate_factor", "refuse_patience"]

# "one_cycle": the rate rises over this share of the steps, from a 25th of its peak, and
# falls to next to nothing
SHARE_OF_RISE = 0.3
START_OF_RISE = 1 / 25.0
END_OF_FALL = 1e-4 / 25.0
# "plateau": the rate is divided by this, so many times, before training ends
DIVISOR = 5.0
FALLS = 3

# what sets the rate before every step, and trains for as long as was planned
SCHEDULES = ("one_cycle", "cosine")


def one_cycle(step: int, n_steps: int) -> float:
    """Return the factor of the peak learning rate: up by half a cosine, then down.

    Parameters
    ----------
    step : int
        From 0.
    n_steps : int
        Steps in all.

    Returns
    -------
    factor : float
        Between next to 0 and 1.

    References
    ----------
    Smith and Topin, "Super-convergence: very fast training of neural networks using
    large learning rates" (2018), arXiv:1708.07120.

    Examples
    --------
    >>> from sklearn_repr.engine.schedule import one_cycle
    >>> [round(one_cycle(step, 11), 2) for step in (0, 3, 10)]
    [0.04, 0.98, 0.0]
    """
    peak = max(SHARE_OF_RISE * n_steps - 1, 1e-9)
    low, share = START_OF_RISE, step / peak
    if step > peak:
        low, share = END_OF_FALL, (n_steps - 1 - step) / max(n_steps - 1 - peak, 1e-9)
    return low + (1 - low) * (1 - math.cos(math.pi * share)) / 2


def rate_factor(schedule: str, step: int, n_steps: int) -> float:
    """Return the factor of the learning rate in a step.

    Parameters
    ----------
    schedule : {"one_cycle", "cosine"}
        See :func:`one_cycle`; "cosine" is half a cosine from 1 down to 0.
    step : int
        From 0.
    n_steps : int
        Steps in all.

    Returns
    -------
    factor : float
        Between 0 and 1.

    References
    ----------
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR
    2017, arXiv:1608.03983, equation 5 without restarts.

    Examples
    --------
    >>> from sklearn_repr.engine.schedule import rate_factor
    >>> [round(rate_factor("cosine", step, 4), 2) for step in range(4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    if schedule == "one_cycle":
        return one_cycle(step, n_steps)
    return (1 + math.cos(math.pi * step / max(n_steps, 1))) / 2


def refuse_patience(estimator: Any) -> None:
    """Refuse settings of patience where training runs all its epochs.

    Parameters
    ----------
    estimator : estimator
        With parameters `learning_rate`, `n_iter_no_change` and `tol`.

    Raises
    ------
    ValueError
        If one of the last two would have no effect and is not left at its default.
    """
    if estimator.learning_rate not in SCHEDULES:
        return
    for name in ("n_iter_no_change", "tol"):
        default = inspect.signature(type(estimator)).parameters[name].default
        if getattr(estimator, name) != default:
            raise ValueError(
                f"{name}={getattr(estimator, name)!r} has no effect with learning_rate="
                f"{estimator.learning_rate!r}, under which training runs all its epochs:"
                f" leave it at {default!r}, or set learning_rate='constant'."
            )
