"""Encoder and decoder."""

from __future__ import annotations

from torch import Tensor, nn

from sklearn_repr._outputs import Outputs

__all__ = ["Autoencoder"]


class Autoencoder(nn.Module):
    """x̂ = ψ(φ(x)): any encoder φ and decoder ψ.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps (n, n_encoded) to (n, n_components).
    decoder : torch.nn.Module
        Maps (n, n_components) to (n, n_encoded).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules import Autoencoder
    >>> network = Autoencoder(nn.Linear(5, 2), nn.Linear(2, 5))
    >>> network(torch.zeros(3, 5)).embedding.shape
    torch.Size([3, 2])
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to codes."""
        return self.encoder(x)  # type: ignore[no-any-return]

    def decode(self, z: Tensor) -> Tensor:
        """Map codes to rows."""
        return self.decoder(z)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Outputs:
        """Return embedding and reconstruction."""
        embedding = self.encode(x)
        return Outputs(embedding=embedding, reconstruction=self.decode(embedding))
