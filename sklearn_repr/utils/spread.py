"""How far embeddings spread, and in how many directions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["effective_rank", "spread"]


def spread(z: Tensor) -> Tensor:
    r"""Return the standard deviation of unit vectors around their mean.

    .. math:: \sqrt{\tfrac1n \sum_i \|\bar z_i - \tfrac1n \textstyle\sum_j \bar z_j\|^2}

    Parameters
    ----------
    z : Tensor of shape (n, p)
        Embeddings; scaled to unit length here.

    Returns
    -------
    spread : 0-d Tensor
        0 if all point the same way, at most 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.utils.spread import spread
    >>> spread(torch.tensor([[1.0, 0.0], [-5.0, 0.0]]))
    tensor(1.)
    """
    unit = functional.normalize(z, dim=1)
    return (unit - unit.mean(dim=0)).square().sum(dim=1).mean().sqrt()


def effective_rank(z: Tensor) -> Tensor:
    r"""Exponential of the entropy of the spectrum; RankMe.

    The same number as :func:`sklearn_repr.inspection.effective_rank`, from the
    eigenvalues of the smaller Gram matrix, which is faster.

    Parameters
    ----------
    z : Tensor of shape (n, p)
        Embeddings.

    Returns
    -------
    rank : 0-d Tensor, float64
        Directions in use; 0 if all rows are the same, NaN if an entry is not finite.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.utils.spread import effective_rank
    >>> round(float(effective_rank(torch.eye(4))), 3)
    3.0
    """
    centred = (z - z.mean(dim=0)).double()
    if not bool(torch.isfinite(centred).all()):
        return centred.new_tensor(torch.nan)  # training is about to say why
    gram = centred.T @ centred if z.shape[1] <= len(z) else centred @ centred.T
    squares = torch.linalg.eigvalsh(gram)
    rounding = torch.finfo(z.dtype).eps * z.abs().max() * max(z.shape)
    values = squares[squares > rounding**2].sqrt()
    share = values / values.sum()
    return torch.exp(-(share * share.log()).sum()) * bool(len(values))
