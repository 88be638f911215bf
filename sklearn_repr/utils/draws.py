"""Draws for rows that are scored each by itself, and for members of an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from sklearn_repr.utils.randomness import make_generator

__all__ = [
    "draw_each",
    "matched_draws",
    "row_shifts",
    "row_uniforms",
    "shifted_normal",
    "with_known_noise",
]


def draw_each(
    draw: Callable[..., Tensor], generators: Sequence[Generator], *arguments: object
) -> Tensor:
    """Stack what every member of an ensemble draws from its own generator.

    Parameters
    ----------
    draw : callable
        :func:`torch.rand` and its kin.
    generators : sequence of Generator
        M generators.
    *arguments
        Of `draw`.

    Returns
    -------
    draws : Tensor of shape (M, ...)
        A member's draws depend on its own generator alone.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.utils.draws import draw_each
    >>> generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    >>> draw_each(torch.rand, generators, (4, 2)).shape
    torch.Size([3, 4, 2])
    """
    return torch.stack([draw(*arguments, generator=g) for g in generators])


def with_known_noise(values: Tensor, log_level: Tensor, noise: Tensor) -> Tensor:
    r"""Add noise, keep the variance, and append the logarithm of the noise level.

    .. math:: \Big( \frac{x + \sigma \varepsilon}{\sqrt{1 + \sigma^2}},
              \log \sigma \Big)

    Parameters
    ----------
    values : Tensor of shape (..., n, d)
        Rows of columns with variance 1.
    log_level : Tensor, broadcast to (..., n, 1)
        :math:`\log \sigma`.
    noise : Tensor, broadcast to (..., n, d)
        :math:`\varepsilon`, standard normal.

    Returns
    -------
    noisy : Tensor of shape (..., n, d + 1)
        Of the shape that all three have together.
    """
    level = log_level.exp()
    noisy = (values + level * noise) / (1 + level.square()).sqrt()
    return torch.cat([noisy, log_level.expand(*noisy.shape[:-1], 1)], dim=-1)


def matched_draws(at_least: int, width: int) -> Tensor:
    """Draw standard normals whose mean and covariance are exactly those they stand for.

    All rows share the draws, so what a plain sample misses would not average out.

    Parameters
    ----------
    at_least : int
        How many; wide codes need more.
    width : int
        Units of the code.

    Returns
    -------
    draws : Tensor of shape (m, width), float64
        In pairs of opposite signs, whitened.
    """
    half = max(at_least // 2, 2 * width)
    generator = make_generator(0)
    draws = torch.randn(half, width, generator=generator, dtype=torch.float64)
    factor = torch.linalg.cholesky(draws.T @ draws / half)
    draws = torch.linalg.solve_triangular(factor, draws.T, upper=False).T
    return torch.cat([draws, -draws])


def row_shifts(rows: Tensor, width: int) -> Tensor:
    """Hash every row to numbers in [0, 1), as good as random and its own.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Encoded rows.
    width : int
        Numbers a row.

    Returns
    -------
    shifts : Tensor of shape (n, width), float64
        The same for the same row, wherever it stands.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.utils.draws import row_shifts
    >>> rows = torch.tensor([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])
    >>> first, same, other = row_shifts(rows, 3)
    >>> bool((first == same).all()), bool((first == other).any())
    (True, False)
    """
    integer = torch.int32 if rows.dtype == torch.float32 else torch.int64
    # adding zero makes one of the two zeros that floats have
    bits = (rows.cpu() + 0.0).contiguous().view(integer).long()
    shape, generator = (rows.shape[1], width), make_generator(1)
    factors = 2 * torch.randint(-(2**62), 2**62, shape, generator=generator) + 1
    mixed = bits @ factors + torch.arange(1, width + 1)
    for _ in range(2):  # spread every bit over all, in the manner of splitmix64
        mixed = (mixed ^ (mixed >> 30)) * -4658895280553007687
        mixed = mixed ^ (mixed >> 27)
    return ((mixed & (2**53 - 1)).double() / 2**53).to(rows.device)


def row_uniforms(chunks: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Hash every row to a number in (0, 1], as good as random and its own.

    Parameters
    ----------
    chunks : iterable of ndarrays of shape (n_k, d)
        Encoded rows, some at a time.

    Returns
    -------
    uniforms : ndarray of shape (n,)
        The same for the same row, wherever it stands.
    """
    shifts = [row_shifts(torch.from_numpy(rows), 1) for rows in chunks]
    return np.asarray(1.0 - torch.cat(shifts)[:, 0].numpy())


def shifted_normal(point: Tensor, shifts: Tensor) -> Tensor:
    """Turn a point of the unit cube into normal draws, one for every row's shift.

    Parameters
    ----------
    point : Tensor of shape (width,)
        In [0, 1).
    shifts : Tensor of shape (n, width)
        In [0, 1).

    Returns
    -------
    draws : Tensor of shape (n, width)
        Standard normal, if the shifts are uniform.

    References
    ----------
    Cranley and Patterson, "Randomization of number theoretic methods for multiple
    integration", SIAM J. Numer. Anal. 13 (1976), doi:10.1137/0713071.
    """
    inside = (point + shifts).remainder(1.0).clamp(1e-12, 1 - 1e-12)
    normal: Tensor = torch.special.ndtri(inside)
    return normal
