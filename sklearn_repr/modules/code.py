"""What a code may be made of: any numbers, rates, or a few active units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TopK"]


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
