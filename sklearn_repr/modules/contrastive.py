"""Encoder and projection head."""

from __future__ import annotations

from torch import Tensor, nn

from sklearn_repr._outputs import Outputs
from sklearn_repr.modules.readout import LayerReadout, unit_length

__all__ = ["ContrastiveNetwork", "hidden_layers"]


class ContrastiveNetwork(nn.Module):
    """An encoder, and heads that only the losses see.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps (n, n_encoded) to (n, n_components).
    head : torch.nn.Module
        Maps (n, n_components) to (n, projection_dim).
    decoder : torch.nn.Module or None, default=None
        Maps (n, n_components) to (n, n_encoded), for a loss that wants the rows back.
    readout : LayerReadout or None, default=None
        What `encode` returns of the encoder's layers; None is the last one. The encoder
        is then a perceptron.
    normalize : bool, default=False
        Bring embeddings to length 1 where there is no readout, which does it itself.

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

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        decoder: nn.Module | None = None,
        readout: LayerReadout | None = None,
        *,
        normalize: bool = False,
    ):
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.decoder = decoder
        self.readout = readout
        self.normalize = normalize

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to embeddings."""
        if self.readout is not None:
            return self.readout(self.layers(x))  # type: ignore[no-any-return]
        z: Tensor = self.encoder(x)
        return unit_length(z) if self.normalize else z

    def layers(self, x: Tensor) -> list[Tensor]:
        """Return the rows and the encoder's hidden layers, which a readout reads."""
        return hidden_layers(self.encoder, x)

    def forward(self, x: Tensor) -> Outputs:
        """Return the last layer, its projection, and a reconstruction if there is one.

        Losses look at the encoder alone: the readout is made when it is trained.
        """
        embedding = self.encoder(x)
        return Outputs(
            embedding=embedding,
            projection=self.head(embedding),
            reconstruction=None if self.decoder is None else self.decoder(embedding),
        )


def hidden_layers(perceptron: nn.Module, x: Tensor) -> list[Tensor]:
    """Return rows and hidden layers of a perceptron, all that its linear maps read.

    Parameters
    ----------
    perceptron : torch.nn.Sequential
        As :func:`~sklearn_repr.modules.make_mlp` builds it.
    x : Tensor of shape (n, n_encoded)
        Rows.

    Returns
    -------
    layers : list of Tensor of shape (n, width)
        The rows, then every hidden layer.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules import make_mlp
    >>> from sklearn_repr.modules.contrastive import hidden_layers
    >>> [tuple(h.shape) for h in hidden_layers(make_mlp([3, 8, 4, 2]), torch.ones(5, 3))]
    [(5, 3), (5, 8), (5, 4)]
    """
    layers = []
    for part in perceptron:  # type: ignore[attr-defined]
        if isinstance(part, nn.Linear):
            layers.append(x)
        x = part(x)
    return layers
