"""Encoder and decoder."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sklearn_repr._contracts import Outputs
from sklearn_repr.modules.linear import SkipConnected
from sklearn_repr.modules.tied import TiedLinear

__all__ = ["Autoencoder"]

LINEAR = (nn.Linear, TiedLinear)


class Autoencoder(nn.Module):
    """x̂ = ψ(φ(x)): any encoder φ and decoder ψ.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps (n, n_encoded) to (n, n_components).
    decoder : torch.nn.Module
        Maps (n, n_components) to (n, n_encoded).
    code : torch.nn.Module or None, default=None
        Applied to the output of the encoder, such as a sigmoid.
    link : torch.nn.Module or None, default=None
        Applied to the output of the decoder.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules import Autoencoder
    >>> network = Autoencoder(nn.Linear(5, 2), nn.Linear(2, 5))
    >>> network(torch.zeros(3, 5)).embedding.shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        code: nn.Module | None = None,
        link: nn.Module | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.code = code
        self.link = link

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to codes."""
        z: Tensor = self.encoder(x)
        return z if self.code is None else self.code(z)

    def decode(self, z: Tensor) -> Tensor:
        """Map codes to rows."""
        x: Tensor = self.decoder(z)
        return x if self.link is None else self.link(x)

    def forward(self, x: Tensor) -> Outputs:
        """Return embedding, reconstruction, and what penalties need to know."""
        embedding = self.encode(x)
        return Outputs(
            embedding=embedding,
            reconstruction=self.decode(embedding),
            inputs=x,
            weights=self.weights(),
            directions=self.directions(),
            slope=self._slope(embedding),
        )

    def weights(self) -> dict[str, Tensor]:
        """Return weight matrices by name."""
        return {name: p for name, p in self.named_parameters() if p.ndim > 1}

    def directions(self) -> list[Tensor]:
        """Return the weights of the linear maps that the decoder begins with."""
        decoder: Any = self.decoder
        first = [decoder[0]] if isinstance(decoder, nn.Sequential) else []
        if isinstance(decoder, SkipConnected):
            first = [decoder.linear, decoder.network[0]]
        return [layer.weight for layer in first if isinstance(layer, LINEAR)]

    def _slope(self, embedding: Tensor) -> Tensor | None:
        """Return the derivative of the code's activation for a single linear layer."""
        encoder = self.encoder
        if not (isinstance(encoder, nn.Sequential) and len(encoder) == 1):
            return None
        if type(encoder[0]) is not nn.Linear:
            return None
        if self.code is None:
            return embedding.new_ones(1, 1).expand_as(embedding)
        if isinstance(self.code, nn.Sigmoid):
            return embedding * (1 - embedding)
        return None
