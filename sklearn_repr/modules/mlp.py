"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

__all__ = ["ACTIVATIONS", "make_mlp"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def make_mlp(
    sizes: Sequence[int],
    *,
    activation: str = "silu",
    dropout: float = 0.0,
    layer_norm: bool = False,
    batch_norm: bool = False,
) -> nn.Sequential:
    """Build a perceptron with a linear output layer.

    Parameters
    ----------
    sizes : sequence of int
        Widths from input to output, at least two.
    activation : str, default="silu"
        Name in `ACTIVATIONS`, after every layer but the last.
    dropout : float, default=0.0
        Probability of dropping a hidden unit.
    layer_norm : bool, default=False
        Normalise hidden layers before their activation.
    batch_norm : bool, default=False
        Normalise them over the batch instead.

    Returns
    -------
    mlp : torch.nn.Sequential
        Maps (n, sizes[0]) to (n, sizes[-1]).

    Examples
    --------
    >>> from sklearn_repr.modules import make_mlp
    >>> make_mlp([4, 8, 2], activation="relu")
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=2, bias=True)
    )
    """
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(sizes[:-1]):
        # the norm would subtract a bias again, which would only follow rounding errors
        layers.append(nn.Linear(width_in, width_out, bias=not batch_norm))
        if layer_norm:
            layers.append(nn.LayerNorm(width_out))
        elif batch_norm:
            layers.append(nn.BatchNorm1d(width_out))
        if activation != "identity":
            layers.append(ACTIVATIONS[activation]())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(sizes[-2], sizes[-1]))
    return nn.Sequential(*layers)
