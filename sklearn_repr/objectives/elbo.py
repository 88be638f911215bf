"""The evidence lower bound, and what its divergence is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_repr._contracts import Batch, Block, Outputs
from sklearn_repr.objectives._base import Objective, mean_of_rows
from sklearn_repr.objectives._checks import check_constant
from sklearn_repr.objectives.categories import TableColumns, all_numbers

__all__ = [
    "ELBO",
    "TotalCorrelation",
    "density_bound",
    "gaussian_kl",
    "log_likelihood",
    "log_normal",
    "total_correlation_parts",
]

LOG_2PI = math.log(2 * math.pi)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Divergence of independent normals from the standard normal, unit by unit.

    .. math:: \frac12 (\mu^2 + \sigma^2 - 1 - \log \sigma^2)

    Parameters
    ----------
    mean, log_variance : Tensor of shape (n, k)
        Moments.

    Returns
    -------
    kl : Tensor of shape (n, k)
        Not negative.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.elbo import gaussian_kl
    >>> gaussian_kl(torch.ones(1, 1), torch.zeros(1, 1))
    tensor([[0.5000]])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def log_normal(x: Tensor, mean: Tensor | float, log_variance: Tensor | float) -> Tensor:
    """Return the log-density of independent normals, cell by cell."""
    log_variance = torch.as_tensor(log_variance).to(x)
    return -0.5 * ((x - mean).square() / log_variance.exp() + log_variance + LOG_2PI)


def log_likelihood(
    columns: Tensor,
    values: Tensor,
    log_noise: Tensor,
    bernoulli: bool,
    observed: Tensor | None = None,
    table: TableColumns | None = None,
) -> Tensor:
    """Return the log-likelihood of the observed cells of rows given decoded columns.

    Parameters
    ----------
    columns : Tensor of shape (..., d)
        Means, or logits of Bernoulli columns.
    values : Tensor of shape (..., d)
        Rows.
    log_noise : Tensor
        Log-variance of normal columns.
    bernoulli : bool
        Whether the columns are Bernoulli.
    observed : bool Tensor of shape (n, d) or None, default=None
        Where cells were observed; None means everywhere.
    table : TableColumns or None, default=None
        Which columns make up categories, in nats; None means that there are none.

    Returns
    -------
    log_likelihood : Tensor of shape (...)
        Summed over the cells of a row.
    """
    said, known = columns, values
    if table is not None:
        said, known = columns[..., : table.n_numbers], values[..., : table.n_numbers]
    if bernoulli:
        entropy = functional.binary_cross_entropy_with_logits
        cells = -entropy(said, known.expand_as(said), reduction="none")
    else:
        cells = log_normal(known, said, log_noise)
    if table is not None:
        cells = -table.join(-cells, columns, values)
    if observed is not None:
        observed = observed if table is None else table.of_cells(observed)
        cells = cells.where(observed, torch.zeros_like(cells))
    return cells.sum(dim=-1)


class ELBO(Objective):
    r"""Negative evidence lower bound, in two terms.

    .. math:: -\log p(x | z) + \beta \sum_k \mathrm{KL}(q(z_k | x) \| N(0, 1)), \quad
              z \sim q(z | x)

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the divergence.
    warm_up : int, default=0
        Epochs over which the weight grows from 0 to `beta` in training. Validation
        always uses `beta`, so that epochs can be compared.
    free_bits : float, default=0.0
        Nats a unit that cost nothing: its mean divergence over the batch counts only
        above them.
    bernoulli : bool, default=False
        Whether the columns are Bernoulli.
    blocks : sequence of Block, default=()
        The codec's blocks; none means that all columns are numeric. p(x|z) of a category
        is that of its level; missing cells have no part in p(x|z).

    References
    ----------
    Higgins et al., "beta-VAE", ICLR 2017. Kingma et al., "Improved variational
    inference with inverse autoregressive flow", NeurIPS 2016, arXiv:1606.04934 (free
    bits).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives.elbo import ELBO
    >>> zero = torch.zeros(1, 1)
    >>> outputs = Outputs(zero, zero, mean=zero, log_variance=zero, log_noise=zero[0])
    >>> terms = ELBO().terms(outputs, Batch(zero))
    >>> {name: round(float(term), 3) for name, term in terms.items()}
    {'reconstruction': 0.919, 'kl': 0.0}
    """

    uses_global_generator = True

    def __init__(
        self,
        beta: float = 1.0,
        *,
        warm_up: int = 0,
        free_bits: float = 0.0,
        bernoulli: bool = False,
        blocks: Sequence[Block] = (),
    ):
        super().__init__()
        self.blocks = tuple(blocks)
        self.table = None if all_numbers(blocks) else TableColumns(blocks, in_nats=True)
        self.beta = check_constant(self, "beta", beta)
        self.warm_up = check_constant(self, "warm_up", warm_up, whole=True)
        self.free_bits = check_constant(self, "free_bits", free_bits)
        self.bernoulli = bernoulli
        self.final_weights = {"kl": beta}
        self.share = 1.0

    def start_epoch(self, epoch: int, n_rows: int) -> None:
        """Let the divergence's weight grow; see :class:`Objective`."""
        self.n_rows = n_rows
        self.share = min(1.0, epoch / (self.warm_up + 1)) if self.warm_up else 1.0
        self.settled = self.share == 1.0
        self.weights = {k: self.share * w for k, w in self.final_weights.items()}

    def train(self, mode: bool = True) -> ELBO:
        """Use the growing weight in training, the final one elsewhere."""
        share = self.share if mode else 1.0
        self.weights = {k: share * w for k, w in self.final_weights.items()}
        super().train(mode)
        return self

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return both terms of every row; see :class:`Objective`."""
        mean, log_variance, log_noise = _moments(outputs)
        rebuilt = -log_likelihood(
            _columns(outputs),
            target.values,
            log_noise,
            self.bernoulli,
            target.observed,
            self.table,
        )
        return {
            "reconstruction": rebuilt,
            **self.divergence(outputs.embedding, mean, log_variance, target),
        }

    def divergence(
        self, z: Tensor, mean: Tensor, log_variance: Tensor, target: Batch
    ) -> dict[str, Tensor]:
        """Return the terms that keep the posterior near the prior."""
        kl = gaussian_kl(mean, log_variance)
        if not self.free_bits:
            return {"kl": kl.sum(dim=1)}
        return {"kl": mean_of_rows(kl, target).clamp(min=self.free_bits).sum()}


def total_correlation_parts(
    z: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    n_rows: int,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Split the sampled divergence into three, by minibatch-weighted sampling.

    .. math:: \log \frac{q(z|x)}{p(z)} = \log \frac{q(z|x)}{q(z)}
              + \log \frac{q(z)}{\prod_k q(z_k)} + \sum_k \log \frac{q(z_k)}{p(z_k)}

    Parameters
    ----------
    z, mean, log_variance : Tensor of shape (m, k)
        Draws, and the moments of the posteriors that they come from.
    n_rows : int
        Rows of the training data, of which the m are a batch.
    weights : Tensor of shape (m,) or None, default=None
        How much each row counts, with mean 1 over the training data.

    Returns
    -------
    mutual_information, total_correlation, dimension_kl : Tensor of shape (m,)
        Their sum is log q(z|x) - log p(z).

    References
    ----------
    Chen et al., "Isolating sources of disentanglement in variational autoencoders",
    NeurIPS 2018, arXiv:1802.04942, equations 2 and S5.
    """
    m = len(z)
    scale = math.log(m * max(n_rows, 1))
    own = log_normal(z, mean, log_variance).sum(dim=1)
    pairs = log_normal(z.unsqueeze(1), mean.unsqueeze(0), log_variance.unsqueeze(0))
    if weights is not None:
        # q(z) is a mixture, to which a row adds as much as it weighs
        share = weights.log()
        joint = (pairs.sum(dim=2) + share).logsumexp(dim=1) - scale
        pairs = pairs + share.unsqueeze(1)
    else:
        joint = pairs.sum(dim=2).logsumexp(dim=1) - scale
    product = (pairs.logsumexp(dim=1) - scale).sum(dim=1)
    prior = log_normal(z, 0.0, 0.0).sum(dim=1)
    return own - joint, joint - product, product - prior


class TotalCorrelation(ELBO):
    """β-TCVAE: the bound with β on the total correlation alone.

    Parameters are those of :class:`ELBO`, without `free_bits`; see
    :func:`total_correlation_parts`.
    """

    def __init__(
        self,
        beta: float = 1.0,
        *,
        warm_up: int = 0,
        bernoulli: bool = False,
        blocks: Sequence[Block] = (),
    ):
        super().__init__(beta, warm_up=warm_up, bernoulli=bernoulli, blocks=blocks)
        self.final_weights = {
            "mutual_information": 1.0,
            "total_correlation": beta,
            "dimension_kl": 1.0,
        }
        self.n_rows = 1

    def divergence(
        self, z: Tensor, mean: Tensor, log_variance: Tensor, target: Batch
    ) -> dict[str, Tensor]:
        """Return the three parts of every row."""
        names = ("mutual_information", "total_correlation", "dimension_kl")
        parts = total_correlation_parts(
            z, mean, log_variance, self.n_rows, target.weights
        )
        return dict(zip(names, parts, strict=True))


def _columns(outputs: Outputs) -> Tensor:
    if outputs.reconstruction is None:
        raise ValueError("The bound needs a module that decodes its draw.")
    return outputs.reconstruction


def _moments(outputs: Outputs) -> tuple[Tensor, Tensor, Tensor]:
    mean, log_variance, log_noise = outputs.mean, outputs.log_variance, outputs.log_noise
    if mean is None or log_variance is None or log_noise is None:
        raise ValueError("The bound needs a module whose code is a distribution.")
    return mean, log_variance, log_noise


def density_bound(
    likelihood: Callable[[Tensor], Tensor],
    mean: Tensor,
    log_variance: Tensor,
    draws: Iterable[Tensor],
    *,
    weighted: bool,
) -> Tensor:
    """Bound log p(x) of every row from below.

    Parameters
    ----------
    likelihood : callable
        Maps a code of every row, (n, k), to log p(x|z), (n,).
    mean, log_variance : Tensor of shape (n, k)
        Moments of the posterior q(z|x).
    draws : iterable of Tensor of shape (n, k) or (k,)
        Standard normal.
    weighted : bool
        Return the importance-weighted bound instead of the evidence lower bound.

    Returns
    -------
    bound : Tensor of shape (n,)
        In nats.

    References
    ----------
    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016,
    arXiv:1509.00519.
    """
    deviation, parts = (0.5 * log_variance).exp(), []
    for draw in draws:
        z = mean + deviation * draw
        part = likelihood(z)
        if weighted:  # log p(x|z) + log p(z) - log q(z|x)
            prior = log_normal(z, 0.0, 0.0)
            part = part + (prior - log_normal(z, mean, log_variance)).sum(dim=1)
        parts.append(part)
    if weighted:
        return torch.stack(parts).logsumexp(dim=0) - math.log(len(parts))
    expected = torch.stack(parts).mean(dim=0)
    return expected - gaussian_kl(mean, log_variance).sum(dim=1)
