"""Normal draws for rows that are scored, each by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_repr.utils.randomness import make_generator

__all__ = ["matched_draws", "row_shifts", "shifted_normal"]


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
