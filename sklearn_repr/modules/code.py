"""Codes of rates between 0 and 1, and codes of a few active units."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

__all__ = ["TopK", "make_code"]


class TopK(nn.Module):
    """Keep the k units of the code that are largest in magnitude, zero the others.

    Parameters
    ----------
    k : int
        Active units a row.

    References
    ----------
    Makhzani and Frey, "k-sparse autoencoders", ICLR 2014, arXiv:1312.5663.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.code import TopK
    >>> TopK(1)(torch.tensor([[1.0, -3.0, 2.0]]))
    tensor([[ 0., -3.,  0.]])
    """

    def __init__(self, k: int):
        super().__init__()
        self.k = k

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, n_components) to the same shape."""
        kept = z.abs().topk(self.k, dim=1).indices
        return torch.zeros_like(z).scatter(1, kept, z.gather(1, kept))


def make_code(
    penalties: Collection[str], sparsity_target: float, n_components: int
) -> nn.Module | None:
    """Build the activation of the code that penalties ask for.

    Parameters
    ----------
    penalties : collection of str
        "topk" keeps a share of the units, "kl_sparsity" needs a code of rates.
    sparsity_target : float
        Share of the units that "topk" keeps.
    n_components : int
        Units of the code.

    Returns
    -------
    code : torch.nn.Module or None
        None where the code may hold any numbers.

    Examples
    --------
    >>> from sklearn_repr.modules.code import make_code
    >>> make_code(["topk"], 0.5, 8).k
    4
    """
    if "topk" in penalties:
        return TopK(max(1, round(sparsity_target * n_components)))
    return nn.Sigmoid() if "kl_sparsity" in penalties else None
