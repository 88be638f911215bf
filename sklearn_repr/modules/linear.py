"""The linear path beside a network, and the principal subspace it starts from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["PrincipalSubspace", "SkipConnected", "principal_subspace"]


class PrincipalSubspace(NamedTuple):
    """Principal axes of a set of rows.

    Attributes
    ----------
    mean : Tensor of shape (d,)
        Column means.
    axes : Tensor of shape (d, d)
        Orthonormal axes as rows, by decreasing variance; signs are fixed so that the
        entry of largest magnitude of each is positive.
    variances : Tensor of shape (d,)
        Variance along each axis.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor

    def count_for_share(self, share: float) -> int:
        """Return how many axes explain `share` of the variance, at least one."""
        total = float(self.variances.sum())
        if total <= 0:
            return 1
        reached = self.variances.cumsum(0) / total >= share * (1 - 1e-12)
        return int((~reached).sum().clamp(max=len(reached) - 1)) + 1


def principal_subspace(values: Tensor) -> PrincipalSubspace:
    """Compute principal axes in double precision.

    Parameters
    ----------
    values : Tensor of shape (n, d)
        Rows.

    Returns
    -------
    subspace : PrincipalSubspace
        All d axes.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules import principal_subspace
    >>> principal_subspace(torch.tensor([[-1.0, 0.0], [1.0, 0.0]])).variances
    tensor([1., 0.], dtype=torch.float64)
    """
    rows = values.double()
    mean = rows.mean(dim=0)
    centred = rows - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    axes = vectors.flip(1).T
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return PrincipalSubspace(
        mean, axes * largest.sign(), variances.flip(0).clamp(min=0.0)
    )


class SkipConnected(nn.Module):
    """A linear map beside a network: x ↦ W x + b + f(x).

    The network's last layer starts at zero, so training starts from the linear map.

    Parameters
    ----------
    linear : torch.nn.Linear
        The linear path.
    network : torch.nn.Sequential
        The non-linear path; its last layer must be linear.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules import SkipConnected, make_mlp
    >>> linear = nn.Linear(3, 2)
    >>> both = SkipConnected(linear, make_mlp([3, 8, 2]))
    >>> x = torch.ones(1, 3)
    >>> bool((both(x) == linear(x)).all())
    True
    """

    def __init__(self, linear: nn.Linear, network: nn.Sequential):
        super().__init__()
        self.linear = linear
        self.network = network
        last = network[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, d_in) to (n, d_out)."""
        return self.linear(x) + self.network(x)  # type: ignore[no-any-return]


def set_to_principal_axes(
    encoder: nn.Linear, decoder: nn.Linear, subspace: PrincipalSubspace
) -> None:
    """Start two linear maps at the PCA solution with a code of unit variance.

    Parameters
    ----------
    encoder, decoder : torch.nn.Linear
        Maps d → k and k → d. Components beyond d, or without variance, keep their
        random encoder weights and a zero decoder.
    subspace : PrincipalSubspace
        Of the training rows.
    """
    floor = 1e-10 * float(subspace.variances[0]) + 1e-30
    usable = int((subspace.variances > floor).sum())
    k = min(encoder.out_features, usable)
    axes, spread = subspace.axes[:k], subspace.variances[:k].sqrt().unsqueeze(1)
    with torch.no_grad():
        encoder.weight[:k] = (axes / spread).to(encoder.weight)
        encoder.bias.copy_(-(encoder.weight.double() @ subspace.mean))
        decoder.weight.zero_()
        decoder.weight[:, :k] = (axes * spread).T.to(decoder.weight)
        decoder.bias.copy_(subspace.mean)
