"""Train by a fixed number of steps, all members of an ensemble at once."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sklearn_repr.utils.devices import single_thread

__all__ = ["one_cycle", "train_steps"]

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
    >>> from sklearn_repr.engine.ensemble import one_cycle
    >>> [round(one_cycle(step, 11), 2) for step in (0, 3, 10)]
    [0.04, 0.98, 0.0]
    """
    peak = max(RISE * n_steps - 1, 1e-9)
    low, share = (1 / START, step / peak)
    if step > peak:
        low, share = END / START, (n_steps - 1 - step) / max(n_steps - 1 - peak, 1e-9)
    return low + (1 - low) * (1 - math.cos(math.pi * share)) / 2


def train_steps(
    module: nn.Module,
    loss: Callable[[int], Tensor],
    n_steps: int,
    *,
    learning_rate: float,
    label: str,
    verbose: int = 0,
) -> None:
    """Minimise `loss` by AdamW under a one-cycle learning rate.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place; its method ``after_step``, if any, is called after every step.
    loss : callable
        Takes the number of the step, draws its own batch, and returns the loss.
    n_steps : int
        How many.
    learning_rate : float
        The peak.
    label : str
        Text before the progress bar.
    verbose : int, default=0
        1 draws a progress bar on stderr.

    Raises
    ------
    ValueError
        If the last loss or a weight is not finite.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=learning_rate, fused=True)
    after_step = getattr(module, "after_step", None)
    last = torch.zeros(())
    bar = tqdm(
        total=n_steps, desc=label, unit="step", file=sys.stderr, disable=not verbose
    )
    with single_thread(), torch.inference_mode(False), torch.enable_grad(), bar:
        for step in range(n_steps):
            optimizer.param_groups[0]["lr"] = learning_rate * one_cycle(step, n_steps)
            optimizer.zero_grad()
            last = loss(step)
            torch.autograd.backward(last)
            optimizer.step()
            if after_step is not None:
                after_step()
            bar.update()
    if not all(bool(torch.isfinite(t).all()) for t in (last, *module.parameters())):
        raise ValueError(
            f"The training loss of {label} is not finite after {n_steps} steps. Clip"
            " columns with extreme values, or choose scaling='robust' or 'quantile'."
        )
