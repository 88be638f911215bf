"""Two encoders into one space."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr._contracts import (
    Architecture,
    Outputs,
)
from sklearn_repr.modules.canonical import CanonicalMaps
from sklearn_repr.modules.factory import ArchitectureOptions, make_contrastive_network
from sklearn_repr.modules.linear import SkipConnected

__all__ = ["PairedNetwork", "make_side", "start_at_canonical_maps", "unit_rows"]

# Inverse temperatures: where CLIP starts, and its largest
START = 1 / 0.07
LARGEST = 100.0
# How many rows are compared with each other to find a temperature to start from
GROUP = 256


def unit_rows(z: Tensor) -> Tensor:
    """Scale rows to unit length, however long they are; rows of zeros stay zero.

    Parameters
    ----------
    z : Tensor of shape (n, k)
        Rows.

    Returns
    -------
    unit : Tensor of shape (n, k)
        The same directions.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.paired import unit_rows
    >>> unit_rows(torch.tensor([[3e30, 4e30], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    # squares of large entries would overflow; the factor needs no gradient
    longest = z.detach().abs().amax(dim=1, keepdim=True)
    z = z / longest.clamp(min=torch.finfo(z.dtype).tiny)
    return functional.normalize(z, dim=1)


class PairedNetwork(nn.Module):
    """Two encoders, one for each side of rows that come in pairs.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps (n, d_x) to (n, n_components).
    partner : torch.nn.Module
        Maps (n, d_y) to (n, n_components).
    n_features : int
        d_x; rows are both sides next to each other.

    Notes
    -----
    Embeddings have unit length. The logarithm of the inverse temperature is a parameter
    that starts at -log 0.07 and is kept at or below log 100, as in CLIP
    (arXiv:2103.00020, section 2.5).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules.paired import PairedNetwork
    >>> network = PairedNetwork(nn.Linear(3, 2), nn.Linear(4, 2), 3)
    >>> network(torch.zeros(1, 7)).projection.shape
    torch.Size([2, 2])
    """

    def __init__(self, encoder: nn.Module, partner: nn.Module, n_features: int):
        super().__init__()
        self.encoder = encoder
        self.partner = partner
        self.n_features = n_features
        self.log_scale = nn.Parameter(torch.tensor(math.log(START)))

    def encode(self, x: Tensor) -> Tensor:
        """Map rows of the first side to unit embeddings."""
        return unit_rows(self.encoder(x))

    def encode_partner(self, y: Tensor) -> Tensor:
        """Map rows of the second side to unit embeddings."""
        return unit_rows(self.partner(y))

    def forward(self, pairs: Tensor) -> Outputs:
        """Return both embeddings, one side behind the other, and the inverse temperature.

        The first side alone is the embedding.
        """
        x, y = pairs.tensor_split([self.n_features], dim=1)
        first, second = self.encode(x), self.encode_partner(y)
        both = torch.cat([first, second])
        return Outputs(first, projection=both, log_scale=self.log_scale)

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the inverse temperature at or below 100."""
        self.log_scale.clamp_(max=math.log(LARGEST))


def make_side(
    architecture: Architecture,
    n_features: int,
    n_components: int,
    options: ArchitectureOptions,
    *,
    linear_skip: bool,
) -> nn.Module:
    """Build the encoder of one side.

    Parameters
    ----------
    architecture : "mlp", "conv" or callable
        As in :func:`make_contrastive_network`.
    n_features, n_components : int
        Widths of rows and embeddings.
    options : ArchitectureOptions
        Shape of the network.
    linear_skip : bool
        Put a linear path beside the network, whose last layer then starts at zero. Not
        for a user's own.

    Returns
    -------
    encoder : torch.nn.Module
        Maps (n, n_features) to (n, n_components).

    Examples
    --------
    >>> from sklearn_repr.modules.factory import ArchitectureOptions
    >>> from sklearn_repr.modules.paired import make_side
    >>> make_side("mlp", 3, 2, ArchitectureOptions(()), linear_skip=True)
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True)
    )
    """
    whole = make_contrastive_network(
        architecture, n_features, n_components, options, projection_dim=1
    )
    encoder: Any = whole.encoder
    if linear_skip and isinstance(architecture, str) and len(encoder) > 1:
        return SkipConnected(nn.Linear(n_features, n_components), encoder)
    return encoder  # type: ignore[no-any-return]


@torch.no_grad()
def start_at_canonical_maps(
    network: PairedNetwork, maps: CanonicalMaps, pairs: Tensor
) -> None:
    """Start linear paths at canonical directions, at the temperature that fits best.

    Parameters
    ----------
    network : PairedNetwork
        Changed in place. Sides without a linear path are left as they are.
    maps : CanonicalMaps
        Of the training rows.
    pairs : Tensor of shape (n, d_x + d_y)
        Training rows.
    """
    sides = (network.encoder, maps.first), (network.partner, maps.second)
    paths = [_linear_path(side) for side, _ in sides]
    for path, (_, (weight, mean)) in zip(paths, sides, strict=True):
        if path is not None:
            path.weight.copy_(weight)
            path.bias.copy_(-(weight @ mean))
    if None in paths:
        return
    network.eval()
    first, second = network(pairs).projection.tensor_split(2)
    network.train()
    # where linear maps cannot tell pairs apart, the best scale is too low to learn from
    scales = torch.logspace(math.log10(START), math.log10(LARGEST), 15)
    losses = []
    for scale in scales.tolist():
        total = 0.0
        for u, v in zip(first.split(GROUP), second.split(GROUP), strict=True):
            similarity = scale * u @ v.T
            matched = similarity.diagonal()
            total += float((similarity.logsumexp(dim=1) - matched).sum())
            total += float((similarity.logsumexp(dim=0) - matched).sum())
        losses.append(total)
    best = scales[int(torch.tensor(losses).argmin())]
    network.log_scale.fill_(float(best.log()))


def _linear_path(side: nn.Module) -> nn.Linear | None:
    if isinstance(side, SkipConnected):
        return side.linear  # type: ignore[return-value]
    if isinstance(side, nn.Sequential) and len(side) == 1:
        return side[0]  # type: ignore[return-value]
    return None
