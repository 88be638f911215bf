"""Encoder and projection head."""

from __future__ import annotations

from torch import Tensor, nn

from sklearn_repr._outputs import Outputs

__all__ = ["ContrastiveNetwork"]


class ContrastiveNetwork(nn.Module):
    """An encoder, and a projection head that only the contrastive loss sees.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps (n, n_encoded) to (n, n_components).
    head : torch.nn.Module
        Maps (n, n_components) to (n, projection_dim).

    References
    ----------
    Chen et al., "A simple framework for contrastive learning of visual
    representations", ICML 2020, arXiv:2002.05709.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules import ContrastiveNetwork
    >>> network = ContrastiveNetwork(nn.Linear(5, 3), nn.Linear(3, 2))
    >>> network(torch.zeros(1, 5)).projection.shape
    torch.Size([1, 2])
    """

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.head = head

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to embeddings."""
        return self.encoder(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Outputs:
        """Return embedding and projection."""
        embedding = self.encode(x)
        return Outputs(embedding=embedding, projection=self.head(embedding))
