"""Losses ρ of one cell's residual r; robust ones grow slowly where r is large.

Those with a scale register `tuning`: their scale in standard deviations of the
residuals, to the `power` that it has in units of the residual. On normal errors an
estimate of location by such a loss has E[ψ']² / E[ψ²] of the mean's efficiency, with
ψ = ρ': 95% unless `efficiency` says otherwise. Less efficient ones forget gross errors
sooner.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_repr.objectives._base import cell_loss

__all__ = [
    "BINARY",
    "absolute_error",
    "auto_scale",
    "binary_cross_entropy",
    "cauchy",
    "correntropy",
    "fair",
    "geman_mcclure",
    "huber",
    "log_cosh",
    "loss_of_cells",
    "pseudo_huber",
    "residual_losses",
    "squared_error",
]

# The loss of a probability, which no residual alone determines
BINARY = "binary_cross_entropy"

# Standard deviation of a normal distribution over its median absolute deviation
MAD_TO_SD = 1.4826
# Ratios beyond this would overflow when squared in single precision
FAR = 1e18


@cell_loss("squared_error")
def squared_error(residual: Tensor, scale: float) -> Tensor:
    """Return r²; `scale` plays no part."""
    return residual.square()


@cell_loss("absolute_error")
def absolute_error(residual: Tensor, scale: float) -> Tensor:
    """Return abs(r); `scale` plays no part."""
    return residual.abs()


@cell_loss("huber", tuning=1.345)
def huber(residual: Tensor, scale: float) -> Tensor:
    """Return r²/2 where abs(r) <= c and c · (abs(r) - c/2) beyond; c is `scale`."""
    size = residual.abs()
    inside = size.clamp(max=scale)
    return inside * (size - 0.5 * inside)


@cell_loss("pseudo_huber", tuning=1.345, efficiency=0.954)
def pseudo_huber(residual: Tensor, scale: float) -> Tensor:
    """Return c² (√(1 + (r/c)²) - 1), also known as L1-L2; c is `scale`."""
    ratio = residual / scale
    # in this form nothing cancels where r is small nor overflows where it is large
    return scale**2 * ratio * (ratio / (torch.hypot(ratio, torch.ones_like(ratio)) + 1))


@cell_loss("cauchy", tuning=2.3849)
def cauchy(residual: Tensor, scale: float) -> Tensor:
    """Return c²/2 · log(1 + (r/c)²); c is `scale`."""
    return scale**2 / 2 * torch.log1p((residual / scale).clamp(-FAR, FAR).square())


@cell_loss("geman_mcclure", tuning=2.0, efficiency=0.782)
def geman_mcclure(residual: Tensor, scale: float) -> Tensor:
    """Return r²/2 / (1 + (r/c)²), which never exceeds c²/2; c is `scale`."""
    ratio = (residual / scale).clamp(-FAR, FAR).square()
    return scale**2 / 2 * (ratio / (1 + ratio))


@cell_loss("fair", tuning=1.3998)
def fair(residual: Tensor, scale: float) -> Tensor:
    """Return c² (abs(r)/c - log(1 + abs(r)/c)); c is `scale`."""
    ratio = residual.abs() / scale
    # near zero the difference would cancel: its series
    small = ratio.clamp(max=0.02)
    series = 1 / 2 - small * (1 / 3 - small * (1 / 4 - small * (1 / 5 - small / 6)))
    far = ratio - torch.log1p(ratio)
    return scale**2 * torch.where(ratio < 0.02, small.square() * series, far)


@cell_loss("correntropy", tuning=2.0, power=2, efficiency=0.65)
def correntropy(residual: Tensor, scale: float) -> Tensor:
    """Return 1 - exp(-r²/σ), which never exceeds 1; σ is `scale`."""
    return -torch.expm1(-residual.square() / scale)


@cell_loss("log_cosh", tuning=1.2047)
def log_cosh(residual: Tensor, scale: float) -> Tensor:
    """Return c² log cosh(r/c); c is `scale`."""
    size = (residual / scale).abs()
    # near zero the second form would lose the result in the rounding of log 2
    near = torch.log1p(2 * (size.clamp(max=1) / 2).sinh().square())
    far = size + functional.softplus(-2 * size) - math.log(2)
    return scale**2 * torch.where(size < 1, near, far)


@cell_loss(BINARY, of_residual=False)
def binary_cross_entropy(rebuilt: Tensor, values: Tensor) -> Tensor:
    """Return -x log p - (1 - x) log(1 - p) of values x and probabilities p."""
    return functional.binary_cross_entropy(rebuilt, values, reduction="none")


def loss_of_cells(
    loss: str | Callable[[Tensor], Tensor], rebuilt: Tensor, values: Tensor, scale: float
) -> Tensor:
    """Return the loss of every cell, by a registered name or a function of residuals.

    Raises
    ------
    ValueError
        If the name is unknown, or a function does not return one value per cell.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.losses import loss_of_cells
    >>> loss_of_cells("squared_error", torch.ones(1, 2), torch.zeros(1, 2), 1.0)
    tensor([[1., 1.]])
    """
    if isinstance(loss, str):
        entry = cell_loss[loss]
        if entry.metadata.get("of_residual", True):
            cells: Tensor = entry.make(rebuilt - values, scale)
        else:
            cells = entry.make(rebuilt, values)
        return cells
    cells = loss(rebuilt - values)
    if cells.shape != values.shape:
        raise ValueError(
            "A loss given as a callable must return one value per cell, shape"
            f" {tuple(values.shape)}; got {tuple(cells.shape)}."
        )
    return cells


def residual_losses() -> list[str]:
    """Return the names of losses that depend on the residual alone."""
    return [entry.name for entry in cell_loss if entry.metadata.get("of_residual", True)]


def auto_scale(loss: str, residual: Tensor) -> float:
    """Return the scale of a loss that fits given residuals.

    The spread s of the residuals is 1.4826 times their median absolute value. The scale
    is the loss's tuning constant times s, for "correntropy" times s², which makes its
    exponent that of a normal density.

    Parameters
    ----------
    loss : str
        A registered name; for a loss without a scale 1 is returned.
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
    tuning = cell_loss[loss].metadata.get("tuning")
    if tuning is None:
        return 1.0
    if residual.numel() == 0:
        return 1.0
    sizes = residual.abs()
    typical = float(sizes.median())
    if typical == 0.0 and sizes.any():  # more than half are zero: the others decide
        typical = float(sizes[sizes > 0].median())
    spread = max(MAD_TO_SD * typical, 1e-6)
    return float(tuning * spread ** cell_loss[loss].metadata.get("power", 1))
