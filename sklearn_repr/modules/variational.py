"""Networks whose code is a distribution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sklearn_repr._contracts import Outputs
from sklearn_repr.modules.linear import PrincipalSubspace
from sklearn_repr.utils.devices import full_precision

__all__ = ["GaussianEncoder", "VariationalNetwork"]

# log-variances are kept within what single precision can exponentiate and square
BOUND = 15.0


class GaussianEncoder(nn.Module):
    """Mean and log-variance of a normal posterior with independent units.

    Parameters
    ----------
    network : torch.nn.Sequential
        Maps (n, d) to (n, 2 k): means, then log-variances; its last layer must be linear.
    linear : torch.nn.Linear or None
        A path from (n, d) to (n, k) beside it, added to the means.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules.variational import GaussianEncoder
    >>> encoder = GaussianEncoder(nn.Sequential(nn.Linear(5, 4)), nn.Linear(5, 2))
    >>> [part.shape for part in encoder(torch.zeros(3, 5))]
    [torch.Size([3, 2]), torch.Size([3, 2])]
    """

    def __init__(self, network: nn.Sequential, linear: nn.Linear | None):
        super().__init__()
        self.network = network
        self.linear = linear

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances."""
        # moments are not narrowed by mixed precision
        mean, log_variance = self.network(x).to(x.dtype).chunk(2, dim=1)
        if self.linear is not None:
            with full_precision(x.device):
                mean = mean + self.linear(x)
        return mean, log_variance.clamp(-BOUND, BOUND)


class VariationalNetwork(nn.Module):
    """Encoder to a distribution, a draw from it, and a decoder.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps rows to means and log-variances.
    decoder : torch.nn.Module
        Maps (n, k) to (n, d): means of normal, or logits of Bernoulli columns.
    bernoulli : bool
        Whether the columns are Bernoulli.
    variance : float or None
        Variance of normal columns; None learns one for all columns.

    References
    ----------
    Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules.variational import GaussianEncoder, VariationalNetwork
    >>> encoder = GaussianEncoder(nn.Sequential(nn.Linear(5, 4)), None)
    >>> network = VariationalNetwork(encoder, nn.Linear(2, 5), False, None)
    >>> network.encode(torch.zeros(3, 5)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        bernoulli: bool,
        variance: float | None,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.bernoulli = bernoulli
        start = torch.tensor(1.0 if variance is None else variance).log()
        self.log_noise = nn.Parameter(start, requires_grad=variance is None)
        if bernoulli:
            self.log_noise.requires_grad_(False)

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to posterior means."""
        mean: Tensor = self.encoder(x)[0]
        return mean

    def decode(self, z: Tensor) -> Tensor:
        """Map codes to the means of the columns."""
        columns: Tensor = self.decoder(z)
        return columns.sigmoid() if self.bernoulli else columns

    def forward(self, x: Tensor) -> Outputs:
        """Return a draw from the posterior, its moments and its reconstruction."""
        mean, log_variance = self.encoder(x)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return Outputs(
            embedding=z,
            reconstruction=self.decoder(z),
            mean=mean,
            log_variance=log_variance,
            log_noise=self.log_noise,
        )


def set_to_probabilistic_pca(
    network: VariationalNetwork, subspace: PrincipalSubspace
) -> None:
    r"""Start linear maps at probabilistic PCA, the optimum of a linear model.

    With eigenvalues :math:`\lambda_k` and noise :math:`\sigma^2`, the mean of those
    discarded, the decoder is :math:`U (\Lambda - \sigma^2)^{1/2}` and the posterior has
    mean :math:`(\Lambda - \sigma^2)^{1/2} \Lambda^{-1} U^\top (x - \mu)` and variances
    :math:`\sigma^2 / \lambda_k`.

    Parameters
    ----------
    network : VariationalNetwork
        With a linear path in encoder and decoder, or without hidden layers.
    subspace : PrincipalSubspace
        Of the training rows.

    References
    ----------
    Tipping and Bishop, "Probabilistic principal component analysis", JRSS B 61 (1999),
    doi:10.1111/1467-9868.00196.

    Lucas et al., "Don't blame the ELBO! A linear VAE perspective on posterior
    collapse", NeurIPS 2019, arXiv:1911.02469.
    """
    encoder: Any = network.encoder
    decoder: Any = network.decoder
    last = encoder.network[-1]
    forth = last if encoder.linear is None else encoder.linear
    back = decoder.linear if hasattr(decoder, "linear") else decoder[0]
    d, k = subspace.mean.shape[0], last.out_features // 2
    variances, axes = subspace.variances, subspace.axes
    m = min(k, len(variances))
    with torch.no_grad():
        if network.log_noise.requires_grad:
            total = getattr(subspace, "total", variances.sum())
            rest = total - variances[:m].sum()
            noise = rest / max(d - m, 1)
            noise = noise.clamp(min=1e-4 * float(variances[0]) + 1e-12)
            network.log_noise.copy_(noise.log())
        noise = network.log_noise.double().exp()
        spread = variances[:m].clamp(min=1e-12)
        gain = (spread - noise).clamp(min=0).sqrt()
        for parameter in last.parameters():
            parameter.zero_()
        weight = (gain / spread).unsqueeze(1) * axes[:m]
        forth.weight[:m] = weight.to(forth.weight)
        forth.weight[m:k] = 0.0
        forth.bias[:m] = -(weight @ subspace.mean).to(forth.bias)
        forth.bias[m:k] = 0.0
        posterior = (noise / spread).clamp(max=1.0).log()
        last.bias[k : k + m] = posterior.to(last.bias)
        back.weight.zero_()
        back.weight[:, :m] = (axes[:m].T * gain).to(back.weight)
        back.bias.copy_(subspace.mean)
