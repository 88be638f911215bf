"""Networks that know which cells of a row they cannot see."""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr._contracts import (
    Array,
    Outputs,
)
from sklearn_repr.modules.factors import FLOOR, FactorModel, posterior_mean
from sklearn_repr.modules.factory import ArchitectureOptions
from sklearn_repr.modules.mlp import ACTIVATIONS
from sklearn_repr.modules.tokens import TokenEncoder

__all__ = [
    "MaskInputs",
    "MaskedNetwork",
    "PosteriorPath",
    "make_masked_network",
    "path_width",
]

# The linear path solves a system of this many equations a row at most, and multiplies
# by a matrix of this many numbers
WIDEST = 128
LARGEST = 2**24
# the same for tables of more columns than this
WIDE, LARGEST_OF_WIDE = 4096, 2**21


class MaskInputs(nn.Module):
    """A perceptron on cells and visibility, side by side."""

    def __init__(self, network: nn.Sequential):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Map cells, zero where hidden, and visibility to codes."""
        return self.network(torch.cat([x, visible], dim=1))  # type: ignore[no-any-return]


class PosteriorPath(nn.Module):
    """The linear path: factor analysis, its posterior mean there and its W z + μ back.

    It solves for the first units of a very wide code only.
    """

    def __init__(self, n_features: int, n_components: int):
        super().__init__()
        width = path_width(n_features, n_components)
        self.missing = n_components - width
        self.weight = nn.Parameter(torch.empty(n_features, width))
        self.mean = nn.Parameter(torch.zeros(n_features))
        self.log_noise = nn.Parameter(torch.zeros(n_features))
        nn.init.normal_(self.weight, std=n_components**-0.5)

    def encode(self, x: Tensor) -> Tensor:
        """Map rows, NaN where a cell is hidden, to codes."""
        noise = self.log_noise.exp() + FLOOR * self.weight.square().sum(dim=1)
        z = posterior_mean(x, self.mean, self.weight, noise)
        return functional.pad(z, (0, self.missing))

    def decode(self, z: Tensor) -> Tensor:
        """Map codes to rows."""
        return functional.linear(z[:, : self.weight.shape[1]], self.weight, self.mean)


def path_width(n_features: int, n_components: int) -> int:
    """Return how many units of a code the linear path fills."""
    largest = LARGEST if n_features <= WIDE else LARGEST_OF_WIDE
    return max(1, min(n_components, WIDEST, isqrt(largest // n_features)))


class MaskedNetwork(nn.Module):
    r"""Encode what is visible of a row, decode all of it.

    Hidden cells are NaN. The linear path encodes a row by the posterior mean of
    factor analysis given its visible cells, and decodes by :math:`W z + \mu`; networks
    beside it add what is not linear.

    Parameters
    ----------
    encoder : torch.nn.Module or None
        Maps cells, zero where hidden, and visibility to (n, k).
    decoder : torch.nn.Module or None
        Maps (n, k) to (n, d).
    path : torch.nn.Module or None
        The linear path.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_repr.modules.factory import ArchitectureOptions
    >>> from sklearn_repr.modules.masked import make_masked_network
    >>> network = make_masked_network("mlp", np.arange(5), 2, ArchitectureOptions())
    >>> network.encode(torch.full((1, 5), float("nan"))).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: nn.Module | None,
        decoder: nn.Module | None,
        path: nn.Module | None,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.path = path

    def encode(self, x: Tensor) -> Tensor:
        """Map rows, NaN where a cell is hidden, to codes."""
        parts = []
        if self.path is not None:
            parts.append(self.path.encode(x))  # type: ignore[operator]
        if self.encoder is not None:
            visible = ~x.isnan()
            cells = x.where(visible, torch.zeros_like(x))
            parts.append(self.encoder(cells, visible.to(x)))
        z: Tensor = sum(parts[1:], parts[0])
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Map codes to whole rows."""
        parts = []
        if self.path is not None:
            parts.append(self.path.decode(z))  # type: ignore[operator]
        if self.decoder is not None:
            parts.append(self.decoder(z))
        x: Tensor = sum(parts[1:], parts[0])
        return x

    def forward(self, x: Tensor) -> Outputs:
        """Return embedding and reconstruction."""
        embedding = self.encode(x)
        return Outputs(embedding, reconstruction=self.decode(embedding), inputs=x)


def make_masked_network(
    architecture: str,
    patches: Array,
    n_components: int,
    options: ArchitectureOptions,
    *,
    linear_skip: bool = True,
    model: FactorModel | None = None,
    dtype: torch.dtype = torch.float32,
) -> MaskedNetwork:
    """Build a masked autoencoder.

    Parameters
    ----------
    architecture : "mlp" or "transformer"
        What encodes.
    patches : ndarray of shape (d,)
        Number of the patch of each column.
    n_components : int
        Width of the code.
    options : ArchitectureOptions
        Shape of the network; without hidden layers there is the linear path alone.
    linear_skip : bool, default=True
        Put the linear path beside the network.
    model : FactorModel or None, default=None
        Where the linear path starts, of :func:`path_width`; None starts at random.
    dtype : torch.dtype, default=torch.float32
        Type of the weights.

    Returns
    -------
    network : MaskedNetwork
        The network.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.modules.factory import ArchitectureOptions
    >>> from sklearn_repr.modules.masked import make_masked_network
    >>> network = make_masked_network("mlp", np.arange(5), 2, ArchitectureOptions(()))
    >>> network.encoder is None
    True
    """
    d = len(patches)
    encoder: nn.Module | None = None
    decoder: nn.Sequential | None = None
    last: list[nn.Linear] = []
    if architecture == "transformer":
        auto = isinstance(options.hidden_layer_sizes, str)
        widths = (64, 64) if auto else tuple(options.hidden_layer_sizes)
        encoder = TokenEncoder(
            patches,
            n_components,
            # unequal widths, or none, are refused there
            width=widths[0] if len(set(widths)) == 1 else len(set(widths)),  # type: ignore[arg-type]
            depth=len(widths),
            activation=ACTIVATIONS[options.activation],
            dropout=options.dropout,
        )
        last.append(encoder.head)  # type: ignore[arg-type]
        hidden = ArchitectureOptions().hidden(d)
    else:
        # the first layer sees every column twice
        hidden = options.hidden(d if d <= WIDE else 2 * d)
        if hidden:
            network = options.build([2 * d, *hidden, n_components])
            encoder = MaskInputs(network)
            last.append(network[-1])  # type: ignore[arg-type]
    if hidden:
        decoder = options.build([n_components, *reversed(hidden), d])
        last.append(decoder[-1])  # type: ignore[arg-type]
    path = PosteriorPath(d, n_components) if linear_skip or not hidden else None
    built = MaskedNetwork(encoder, decoder, path).to(dtype)
    with torch.no_grad():
        if path is not None:
            for layer in last:
                layer.weight.zero_()
                layer.bias.zero_()
        if path is not None and model is not None:
            path.weight.copy_(model.weight)
            path.mean.copy_(model.mean)
            path.log_noise.copy_(model.noise.log())
            if hidden:
                path.requires_grad_(False)
    return built
