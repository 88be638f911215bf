"""Losses of one residual r; the robust ones stop minding how gross an error is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "RESIDUAL_LOSSES",
    "SCALED_LOSSES",
    "absolute_error",
    "auto_scale",
    "cauchy",
    "correntropy",
    "fair",
    "geman_mcclure",
    "huber",
    "log_cosh",
    "pseudo_huber",
    "squared_error",
]

# Standard deviation of a normal distribution over its median absolute deviation
MAD_TO_SD = 1.4826
# Ratios beyond this would overflow when squared in single precision
FAR = 1e18


def squared_error(residual: Tensor, scale: float) -> Tensor:
    """Return r²; `scale` plays no part."""
    return residual.square()


def absolute_error(residual: Tensor, scale: float) -> Tensor:
    """Return abs(r); `scale` plays no part."""
    return residual.abs()


def huber(residual: Tensor, scale: float) -> Tensor:
    """Return r²/2 where abs(r) <= c and c · (abs(r) - c/2) beyond; c is `scale`."""
    size = residual.abs()
    inside = size.clamp(max=scale)
    return inside * (size - 0.5 * inside)


def pseudo_huber(residual: Tensor, scale: float) -> Tensor:
    """Return c² (√(1 + (r/c)²) - 1), also known as L1-L2; c is `scale`."""
    ratio = residual / scale
    # in this form nothing cancels where r is small nor overflows where it is large
    return scale**2 * ratio * (ratio / (torch.hypot(ratio, torch.ones_like(ratio)) + 1))


def cauchy(residual: Tensor, scale: float) -> Tensor:
    """Return c²/2 · log(1 + (r/c)²); c is `scale`."""
    return scale**2 / 2 * torch.log1p((residual / scale).clamp(-FAR, FAR).square())


def geman_mcclure(residual: Tensor, scale: float) -> Tensor:
    """Return r²/2 / (1 + (r/c)²), which never exceeds c²/2; c is `scale`."""
    ratio = (residual / scale).clamp(-FAR, FAR).square()
    return scale**2 / 2 * (ratio / (1 + ratio))


def fair(residual: Tensor, scale: float) -> Tensor:
    """Return c² (abs(r)/c - log(1 + abs(r)/c)); c is `scale`."""
    ratio = residual.abs() / scale
    # near zero the difference would cancel: its series
    small = ratio.clamp(max=0.02)
    series = 1 / 2 - small * (1 / 3 - small * (1 / 4 - small * (1 / 5 - small / 6)))
    far = ratio - torch.log1p(ratio)
    return scale**2 * torch.where(ratio < 0.02, small.square() * series, far)


def correntropy(residual: Tensor, scale: float) -> Tensor:
    """Return 1 - exp(-r²/σ), which never exceeds 1; σ is `scale`."""
    return -torch.expm1(-residual.square() / scale)


def log_cosh(residual: Tensor, scale: float) -> Tensor:
    """Return c² log cosh(r/c); c is `scale`."""
    size = (residual / scale).abs()
    # near zero the second form would lose the result in the rounding of log 2
    near = torch.log1p(2 * (size.clamp(max=1) / 2).sinh().square())
    far = size + functional.softplus(-2 * size) - math.log(2)
    return scale**2 * torch.where(size < 1, near, far)


class ScaledLoss(NamedTuple):
    """A loss with a scale, and the scale at which it is 95% efficient on normal errors.

    Attributes
    ----------
    function : callable
        Maps residuals and scale to losses, cell by cell.
    tuning : float
        The efficient scale, in standard deviations of the residuals.
    """

    function: Callable[[Tensor, float], Tensor]
    tuning: float


# constants of Zhang (1997), doi:10.1016/S0262-8856(96)01112-2, table 1, where it has them
SCALED_LOSSES = {
    "huber": ScaledLoss(huber, 1.345),
    "pseudo_huber": ScaledLoss(pseudo_huber, 1.345),
    "cauchy": ScaledLoss(cauchy, 2.3849),
    "geman_mcclure": ScaledLoss(geman_mcclure, 2.0),
    "fair": ScaledLoss(fair, 1.3998),
    "correntropy": ScaledLoss(correntropy, 2.0),
    "log_cosh": ScaledLoss(log_cosh, 1.2047),
}
RESIDUAL_LOSSES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    **{name: loss.function for name, loss in SCALED_LOSSES.items()},
}


def auto_scale(loss: str, residual: Tensor) -> float:
    """Return the scale of a loss that fits given residuals.

    The spread s of the residuals is 1.4826 times their median absolute value. The scale
    is the loss's tuning constant times s, for "correntropy" 2 s², which makes its
    exponent that of a normal density.

    Parameters
    ----------
    loss : str
        A name in `SCALED_LOSSES`; any other has no scale, and 1 is returned.
    residual : Tensor
        Residuals of any shape.

    Returns
    -------
    scale : float
        Positive.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.losses import auto_scale
    >>> round(auto_scale("correntropy", torch.tensor([-1.0, 1.0, 1.0])), 3)
    4.396
    """
    if loss not in SCALED_LOSSES:
        return 1.0
    if residual.numel() == 0:
        return 1.0
    sizes = residual.abs()
    typical = float(sizes.median())
    if typical == 0.0 and sizes.any():  # more than half are zero: the others decide
        typical = float(sizes[sizes > 0].median())
    spread = max(MAD_TO_SD * typical, 1e-6)
    tuning = SCALED_LOSSES[loss].tuning
    return tuning * spread**2 if loss == "correntropy" else tuning * spread
