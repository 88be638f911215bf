"""The linear path beside a network, and the principal subspace it starts from."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sklearn_repr.modules.tied import TiedLinear
from sklearn_repr.utils.devices import full_precision

__all__ = ["PrincipalSubspace", "SkipConnected", "principal_subspace", "times"]


# Smaller side of a table from which a few principal axes are approximated
LARGE = 500
# Rows that are in memory in double precision
PART = 1024
# Axes of sparse rows at most, and the numbers in all of them; how many more are iterated
MOST_AXES, AXES_CELLS = 128, 2**19
SPARE_AXES, ITERATIONS = 20, 8


class PrincipalSubspace(NamedTuple):
    """Principal axes of a set of rows.

    Attributes
    ----------
    mean : Tensor of shape (d,)
        Column means.
    axes : Tensor of shape (m, d)
        Orthonormal axes as rows, by decreasing variance; signs are fixed so that the
        entry of largest magnitude of each is positive.
    variances : Tensor of shape (m,)
        Variance along each axis.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor

    def count_for_share(self, share: float, held_out: Tensor | None = None) -> int:
        """Return how many axes explain a share of the variance, at least one.

        Parameters
        ----------
        share : float
            Share of the variance, in (0, 1).
        held_out : Tensor of shape (n, d) or None, default=None
            Rows whose variance counts; None means the rows that the axes come from.

        Returns
        -------
        n_components : int
            The smallest number that reaches it, or all.
        """
        variances, total = self.variances, float(self.variances.sum())
        if held_out is not None:
            rows = held_out.double() - self.mean
            variances = (rows @ self.axes.T).square().mean(dim=0)
            total = float(rows.square().sum(dim=1).mean())
        if total <= 0:
            return 1
        reached = variances.cumsum(0) / total >= share * (1 - 1e-12)
        return int((~reached).sum().clamp(max=len(reached) - 1)) + 1


class PartialSubspace(PrincipalSubspace):
    """Leading axes of rows whose total variance is known.

    Attributes
    ----------
    total : float
        The variance along all axes, those that are missing included.
    """

    total: float

    def count_for_share(self, share: float, held_out: Tensor | None = None) -> int:
        """Return how many axes explain a share of the variance; all if they do not."""
        if held_out is not None:
            return super().count_for_share(share, held_out)
        if self.total <= 0:
            return 1
        missing = share * self.total * (1 - 1e-12) - self.variances.cumsum(0)
        return int((missing > 0).sum().clamp(max=len(missing) - 1)) + 1


def principal_subspace(
    values: Any, n_components: int | None = None, weights: Tensor | None = None
) -> PrincipalSubspace:
    """Compute principal axes in double precision.

    Parameters
    ----------
    values : Tensor of shape (n, d), or object with that shape
        Rows, or an object that iterates over parts of them and draws a sample, or that
        multiplies by the covariance of sparse rows.
    n_components : int or None, default=None
        How many axes are needed; None is all. A few of very many are approximated, of
        rows in parts from the sample. Of sparse rows with more than 500 columns there are
        at most 128 axes, and 2¹⁹ numbers in all of them, approximated by all rows.
    weights : Tensor of shape (n,) or None, default=None
        How much each row counts, with mean 1; for rows that are all in memory.

    Returns
    -------
    subspace : PrincipalSubspace
        At least that many axes, or all min(n, d), but for sparse rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules import principal_subspace
    >>> principal_subspace(torch.tensor([[-1.0, 0.0], [1.0, 0.0]])).variances
    tensor([1., 0.], dtype=torch.float64)
    """
    n, d = values.shape
    wanted = min(n, d) if n_components is None else n_components
    if hasattr(values, "times"):
        return _subspace_of_products(values, wanted)
    few = min(n, d) > max(LARGE, 4 * wanted)
    products = getattr(values, "products", None)
    if products is not None and d > LARGE:
        found = products()
        if found is not None:
            return _subspace_of_products(found, wanted)
    if not few and n >= d:
        parts = torch.split(values, PART) if isinstance(values, Tensor) else values
        if weights is None:
            mean = sum(part.double().sum(dim=0) for part in parts) / n
        else:
            mean = _weighted_mean(values, weights)
        scatter = torch.zeros(d, d, dtype=torch.float64, device=values.device)
        for i, part in enumerate(parts):
            centred = part.double() - mean
            if weights is None:
                scatter += centred.T @ centred
            else:
                share = weights[i * PART :][: len(part), None].double()
                scatter += centred.T @ (centred * share)
        covariance, vectors = torch.linalg.eigh(scatter / n)
        variances, axes = covariance.flip(0), vectors.flip(1).T
    else:
        rows = (values if isinstance(values, Tensor) else values.sample()).double()
        n, mean = len(rows), rows.mean(dim=0)
        if weights is not None:
            mean = _weighted_mean(rows, weights)
        centred = rows - mean
        if weights is not None:
            centred = centred * weights.double().sqrt().unsqueeze(1)
        if few and n > wanted:
            # Halko et al., doi:10.1137/090771806; draws from the global generator
            q = min(wanted + 20, n)
            _, scale, right = torch.svd_lowrank(centred, q=q, niter=6)
            axes, variances = right.T, scale.square() / n
        else:
            gram, left = torch.linalg.eigh(centred @ centred.T / n)
            variances = gram.flip(0)
            axes = left.flip(1).T @ centred
            axes = axes / axes.norm(dim=1, keepdim=True).clamp(min=1e-300)
    return PrincipalSubspace(mean, _signed(axes), variances.clamp(min=0.0))


def _signed(axes: Tensor) -> Tensor:
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return axes * torch.where(largest < 0, -1.0, 1.0).to(axes)


def _subspace_of_products(rows: Any, wanted: int) -> PartialSubspace:
    """Iterate a subspace by products with the covariance; draws as torch does."""
    n, d = rows.shape
    k = min(wanted, n, d, MOST_AXES, max(1, AXES_CELLS // d))
    start = torch.randn(d, min(k + SPARE_AXES, n, d), dtype=torch.float64)
    basis = torch.linalg.qr(start)[0]
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(times(rows, basis))[0]
    image = basis.T @ times(rows, basis)
    variances, vectors = torch.linalg.eigh((image + image.T) / 2)
    axes = _signed((basis @ vectors.flip(1)[:, :k]).T)
    spread = variances.flip(0)[:k].clamp(min=0.0)
    subspace = PartialSubspace(torch.from_numpy(rows.mean), axes, spread)
    subspace.total = float(rows.variance.sum())
    return subspace


def times(rows: Any, vectors: Tensor) -> Tensor:
    """Return the covariance matrix of sparse rows times vectors (d, q)."""
    # all but this is computed by torch, on the threads that it is given
    return torch.from_numpy(rows.times(vectors.numpy()))


def _weighted_mean(rows: Tensor, weights: Tensor) -> Tensor:
    return weights.double() @ rows.double() / weights.double().sum()


class SkipConnected(nn.Module):
    """A linear map beside a network: x ↦ W x + b + f(x).

    The network's last layer starts at zero, so training starts from the linear map.

    Parameters
    ----------
    linear : torch.nn.Module
        The linear path.
    network : torch.nn.Sequential
        The non-linear path. A last layer that is tied to an encoder keeps its weights:
        there the first layer, tied to the encoder's last, starts at zero.

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

    def __init__(self, linear: nn.Module, network: nn.Sequential):
        super().__init__()
        self.linear = linear
        self.network = network
        own = (nn.Linear, nn.ConvTranspose1d, nn.ConvTranspose2d)
        last = [layer for layer in network if hasattr(layer, "weight")][-1]
        if isinstance(last, own):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, d_in) to (n, d_out)."""
        with full_precision(x.device):
            # after a network in mixed precision, the code may be of a lower precision
            line = self.linear(x if x.dtype != torch.bfloat16 else x.float())
        return line + self.network(x)  # type: ignore[no-any-return]


def set_to_principal_axes(
    encoder: nn.Linear, decoder: nn.Linear | TiedLinear, subspace: PrincipalSubspace
) -> None:
    """Start two linear maps at the PCA solution.

    The code has unit variance, or PCA's own where the decoder is tied to the encoder.

    Parameters
    ----------
    encoder, decoder : torch.nn.Linear or TiedLinear
        Maps d → k and k → d. Components beyond d, or without variance, keep their
        random encoder weights and a zero decoder; tied ones are zero.
    subspace : PrincipalSubspace
        Of the training rows.
    """
    floor = 1e-10 * float(subspace.variances[0]) + 1e-30
    usable = int((subspace.variances > floor).sum())
    k = min(encoder.out_features, usable)
    axes, spread = subspace.axes[:k], subspace.variances[:k].sqrt().unsqueeze(1)
    with torch.no_grad():
        if isinstance(decoder, TiedLinear):
            encoder.weight.zero_()
            encoder.weight[:k] = axes.to(encoder.weight)
        else:
            encoder.weight[:k] = (axes / spread).to(encoder.weight)
            decoder.weight.zero_()
            decoder.weight[:, :k] = (axes * spread).T.to(decoder.weight)
        encoder.bias.copy_(-(encoder.weight.double() @ subspace.mean))
        decoder.bias.copy_(subspace.mean)
