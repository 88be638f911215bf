"""How the learning rate moves over the steps of a training."""

from __future__ import annotations

import math

__all__ = ["one_cycle"]

# The learning rate rises over this share of the steps, from a 25th of its peak, and
# falls to next to nothing
RISE = 0.3
START = 25.0
END = 1e-4


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
    peak = max(RISE * n_steps - 1, 1e-9)
    low, share = (1 / START, step / peak)
    if step > peak:
        low, share = END / START, (n_steps - 1 - step) / max(n_steps - 1 - peak, 1e-9)
    return low + (1 - low) * (1 - math.cos(math.pi * share)) / 2
