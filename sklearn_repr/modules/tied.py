"""A decoder whose weights are the encoder's, transposed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["TiedLinear", "tied_mlp"]


class TiedLinear(nn.Module):
    """The transpose of a linear map, with a bias of its own: z ↦ Wᵀ z + b'.

    Parameters
    ----------
    source : torch.nn.Linear
        The map whose weights are shared.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules.tied import TiedLinear
    >>> TiedLinear(nn.Linear(5, 2))(torch.zeros(1, 2)).shape
    torch.Size([1, 5])
    """

    def __init__(self, source: nn.Linear):
        super().__init__()
        # in a tuple, so that the shared weight stays a parameter of its owner alone
        self._source = (source,)
        self.bias = nn.Parameter(torch.zeros(source.in_features))

    @property
    def weight(self) -> Tensor:
        """The transposed weight, of shape (in_features, out_features) of the source."""
        return self._source[0].weight.T

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, out_features of the source) to (n, its in_features)."""
        return functional.linear(z, self.weight, self.bias)


def tied_mlp(encoder: nn.Sequential) -> nn.Sequential:
    """Build the mirror image of a perceptron, layer by layer.

    Parameters
    ----------
    encoder : torch.nn.Sequential
        As :func:`~sklearn_repr.modules.make_mlp` builds it.

    Returns
    -------
    decoder : torch.nn.Sequential
        With the encoder's weights transposed, its activations, dropout and norms.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules import make_mlp
    >>> from sklearn_repr.modules.tied import tied_mlp
    >>> tied_mlp(make_mlp([5, 4, 2]))(torch.zeros(1, 2)).shape
    torch.Size([1, 5])
    """
    layers: list[nn.Module] = []
    between: list[nn.Module] = []
    for layer in reversed(encoder):
        if isinstance(layer, nn.Linear):
            layers += [*reversed(between), TiedLinear(layer)]
            between = []
        elif isinstance(layer, nn.LayerNorm):
            between.append(nn.LayerNorm(layer.normalized_shape))
        else:
            between.append(
                type(layer)()
                if not isinstance(layer, nn.Dropout)
                else nn.Dropout(layer.p)
            )
    return nn.Sequential(*layers)
