"""An encoder and what predicts from its code: f(x) = g(φ(x))."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sklearn_repr._contracts import Outputs

__all__ = ["Head", "Predictor"]


class Head(nn.Module):
    """Layers on standardised codes.

    Parameters
    ----------
    mean, scale : Tensor of shape (n_components,)
        What is subtracted from codes, and what they are then divided by.
    layers : torch.nn.Module
        Maps (n, n_components) to (n, k).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules.predictor import Head
    >>> head = Head(torch.tensor([1.0]), torch.tensor([2.0]), nn.Identity())
    >>> head(torch.tensor([[5.0]]))
    tensor([[2.]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, layers: nn.Module):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = layers

    def forward(self, z: Tensor) -> Tensor:
        """Map codes to logits or numbers."""
        return self.layers((z - self.mean) / self.scale)  # type: ignore[no-any-return]


class Predictor(nn.Module):
    """A representation and a head on it, trained together.

    Parameters
    ----------
    encoder : torch.nn.Module
        The module of a representation.
    embed : callable
        Maps this module and rows (n, n_encoded) to codes (n, n_components).
    head : torch.nn.Module
        Maps codes to what is predicted, (n, k).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules.predictor import Predictor
    >>> embed = lambda module, x: module(x)
    >>> predictor = Predictor(nn.Linear(5, 3), embed, nn.Linear(3, 2))
    >>> predictor(torch.zeros(4, 5)).prediction.shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        encoder: nn.Module,
        embed: Callable[[nn.Module, Tensor], Tensor],
        head: nn.Module,
    ):
        super().__init__()
        self.encoder = encoder
        self.embed = embed
        self.head = head

    def forward(self, x: Tensor) -> Outputs:
        """Return the code, the prediction, and the weights of a linear head."""
        code = self.embed(self.encoder, x)
        layers = getattr(self.head, "layers", None)
        weights = {"head": layers.weight} if isinstance(layers, nn.Linear) else None
        return Outputs(embedding=code, prediction=self.head(code), weights=weights)
