r"""From noise to rows and back: the differential equation of a denoiser.

Rows :math:`x = x_0 + \sigma \varepsilon` with noise of level σ move along the probability
flow :math:`dx / d\sigma = (x - D(x; \sigma)) / \sigma` from noise to data. For columns of
variance 1 it is next to straight in

.. math:: y = \frac{x}{\sqrt{1 + \sigma^2}} = c_\text{in} x, \quad
          \theta = \arctan \sigma, \qquad \frac{dy}{d\theta} = -F(y; \sigma)

with F what the network says behind its preconditioning
(:func:`~sklearn_repr.modules.denoiser.preconditioning`): normal rows do not move at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Generator, Tensor

__all__ = ["Field", "angles", "arcs", "log_density", "to_noise", "to_rows"]

# Noise that cannot be told from none, and noise under which nothing can be told
LOWEST, HIGHEST = 0.002, 80.0
# How much denser steps are at low levels
RHO = 7.0

# F: scaled rows (n, d) and ln σ, (n, 1) or (1, 1), to (n, d)
Field = Callable[[Tensor, Tensor], Tensor]


def angles(n_steps: int) -> list[float]:
    r"""Return n values of θ, from the highest noise level to the lowest.

    .. math:: \sigma_i = \Big( \sigma_\text{max}^{1/\rho} + \frac{i}{n - 1} \big(
              \sigma_\text{min}^{1/\rho} - \sigma_\text{max}^{1/\rho} \big) \Big)^\rho,
              \quad \rho = 7

    Parameters
    ----------
    n_steps : int
        How many, at least 2.

    Returns
    -------
    angles : list of float
        From :math:`\arctan 80` to :math:`\arctan 0.002`.

    Examples
    --------
    >>> from sklearn_repr.engine.diffusion import angles
    >>> [round(angle, 2) for angle in angles(3)]
    [1.56, 1.19, 0.0]
    """
    ends = HIGHEST ** (1 / RHO), LOWEST ** (1 / RHO)
    roots = torch.linspace(*ends, n_steps, dtype=torch.float64)
    found: list[float] = (roots**RHO).atan().tolist()
    return found


def to_rows(
    field: Field,
    noise: Tensor,
    n_steps: int,
    *,
    churn: float = 0.0,
    generator: Generator | None = None,
) -> Tensor:
    """Follow the probability flow from noise to rows by Heun's method.

    Parameters
    ----------
    field : callable
        F.
    noise : Tensor of shape (n, d)
        Standard normal.
    n_steps : int
        Steps, at least 2; F is computed twice in each but the last.
    churn : float, default=0.0
        How much noise is added and taken away again on the way, all steps together: 0
        makes rows a function of the noise.
    generator : Generator or None, default=None
        Of that noise.

    Returns
    -------
    rows : Tensor of shape (n, d)
        As if drawn from the distribution that F belongs to.

    References
    ----------
    Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based
    generative models", NeurIPS 2022, arXiv:2206.00364, algorithms 1 and 2.

    Lu and Song, "Simplifying, stabilizing and scaling continuous-time consistency
    models", ICLR 2025, arXiv:2410.11081, for the angle.
    """
    stops = [*angles(n_steps), 0.0]
    raised = 1 + min(churn / n_steps, math.sqrt(2) - 1)
    y = noise
    for i, below in enumerate(stops[1:]):
        angle = stops[i]
        if churn and i:
            y, angle = _noisier(y, angle, raised, generator)
        step = angle - below
        moved = _at(field, y, angle)
        ahead = y + step * moved
        if below:
            ahead = y + step * (moved + _at(field, ahead, below)) / 2
        y = ahead
    return y


def to_noise(field: Field, rows: Tensor, n_steps: int) -> Tensor:
    """Follow the probability flow from rows to noise; the reverse of :func:`to_rows`.

    Parameters
    ----------
    field : callable
        F.
    rows : Tensor of shape (n, d)
        Rows.
    n_steps : int
        Steps.

    Returns
    -------
    noise : Tensor of shape (n, d)
        What :func:`to_rows` makes the rows of, but for the errors of both.
    """
    stops = angles(n_steps)[::-1]
    y = rows * math.cos(stops[0])
    for angle, above in pairwise(stops):
        step = above - angle
        moved = _at(field, y, angle)
        y = y - step * (moved + _at(field, y - step * moved, above)) / 2
    return y


def log_density(
    field: Field, rows: Tensor, n_steps: int, signs: Tensor | None = None
) -> Tensor:
    r"""Return log p of rows, by the change of volume along the probability flow.

    .. math:: \log p(y_0) = \log N(y_T; 0, I)
              - \int_0^T \operatorname{tr} \frac{\partial F}{\partial y} \, d\theta

    Parameters
    ----------
    field : callable
        F; it maps every row by itself.
    rows : Tensor of shape (n, d)
        Rows, of columns of variance 1.
    n_steps : int
        Steps of the fourth-order Runge-Kutta method, in each of which F and the trace are
        computed four times.
    signs : Tensor of shape (n, k, d) or None, default=None
        Directions of -1 and 1, k for every row, by which the trace is estimated
        (Hutchinson). None computes it exactly.

    Returns
    -------
    density : Tensor of shape (n,)
        Nats.

    References
    ----------
    Song et al., "Score-based generative modeling through stochastic differential
    equations", ICLR 2021, arXiv:2011.13456, section 4.3.
    """
    n, d = rows.shape
    columns = torch.eye(d, dtype=rows.dtype, device=rows.device).expand(n, d, d)
    directions = columns if signs is None else signs
    count = directions.shape[1]
    share = count if signs is not None else 1
    with torch.inference_mode(False):
        flat = directions.reshape(n * count, d).clone()

    def at(y: Tensor, angle: float) -> tuple[Tensor, Tensor]:
        """Return F and its trace."""
        # the caller may have turned gradients off
        with torch.inference_mode(False), torch.enable_grad():
            copies = y.unsqueeze(1).repeat(1, count, 1).view(n * count, d)
            found = _at(field, copies.requires_grad_(), angle)
            moved = torch.autograd.grad(found, copies, flat)[0]
        trace = (moved * flat).sum(dim=1).view(n, count).sum(dim=1) / share
        return found.detach().view(n, count, d)[:, 0], trace

    stops = angles(n_steps + 1)[::-1]
    y = rows * math.cos(stops[0])
    volume = torch.zeros(n, dtype=rows.dtype, device=rows.device)
    for angle, above in pairwise(stops):
        step = above - angle
        first, trace_1 = at(y, angle)
        second, trace_2 = at(y - step / 2 * first, angle + step / 2)
        third, trace_3 = at(y - step / 2 * second, angle + step / 2)
        fourth, trace_4 = at(y - step * third, above)
        y = y - step / 6 * (first + 2 * second + 2 * third + fourth)
        volume = volume - step / 6 * (trace_1 + 2 * trace_2 + 2 * trace_3 + trace_4)
    return volume - (y.square().sum(dim=1) + d * math.log(2 * math.pi)) / 2


def arcs(starts: Tensor, ends: Tensor, n_points: int) -> Tensor:
    """Return points on the arcs between rows, where noise is as probable as noise is.

    Parameters
    ----------
    starts, ends : Tensor of shape (n, d)
        Where each begins and ends.
    n_points : int
        Points on each, evenly spaced, ends included.

    Returns
    -------
    points : Tensor of shape (n, n_points, d)
        The points.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.engine.diffusion import arcs
    >>> arcs(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 3)[0, 1]
    tensor([0.7071, 0.7071])
    """
    cosine = torch.nn.functional.cosine_similarity(starts, ends, dim=1).clamp(-1, 1)
    angle = cosine.arccos()[:, None, None]
    share = torch.linspace(0, 1, n_points, dtype=starts.dtype)[None, :, None]
    # next to parallel, an arc is a line
    flat = angle.sin().abs() < 1e-4
    sine = angle.sin().where(~flat, torch.ones_like(angle))
    first = torch.where(flat, 1 - share, ((1 - share) * angle).sin() / sine)
    second = torch.where(flat, share, (share * angle).sin() / sine)
    return first * starts.unsqueeze(1) + second * ends.unsqueeze(1)


def _at(field: Field, y: Tensor, angle: float) -> Tensor:
    # one level for all rows, which the network is told once
    return field(y, y.new_full((1, 1), math.log(math.tan(angle))))


def _noisier(
    y: Tensor, angle: float, raised: float, generator: Generator | None
) -> tuple[Tensor, float]:
    """Raise the level of noise by a factor: add more to x, and return y and θ again."""
    level = math.tan(angle)
    more = level * math.sqrt(raised**2 - 1)
    fresh = torch.randn(y.shape, generator=generator, dtype=y.dtype).to(y.device)
    above = math.atan(level * raised)
    return (y / math.cos(angle) + more * fresh) * math.cos(above), above
