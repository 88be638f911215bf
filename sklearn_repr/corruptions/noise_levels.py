"""Noise of every strength: what a diffusion model learns to take away."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import Corruption

__all__ = ["NoiseLevels"]

# Shares of ranks that no draw goes beyond: scores between -3.7 and 3.7
OUTERMOST = 1e-4


class NoiseLevels(Corruption):
    r"""Normal noise of a level that every row draws anew, from next to none to all.

    .. math:: \tilde x = x + \sigma \varepsilon, \quad \ln \sigma \sim N(m, s^2),
              \quad \varepsilon \sim N(0, I)

    The levels of a batch are stratified: one of n rows is drawn from every n-th part of
    the distribution. Behind the noisy columns of a row come the clean ones, ln σ and what
    it is conditioned on, for the network and the objective.

    Parameters
    ----------
    mean, deviation : float
        m and s. Where the levels are most dense the network learns most.
    forgotten : float, default=0.1
        Share of the rows of which the network is not told what they are conditioned on,
        NaN, so that it learns the unconditional distribution too.
    edges : Tensor of shape (k, m) or None, default=None
        See :meth:`~sklearn_repr.data.normal_scores.NormalScores.edges`. The first k
        columns are such scores: a value is drawn anew from the scores that it owns, lest
        equal values be points without a density.

    References
    ----------
    Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based
    generative models", NeurIPS 2022, arXiv:2206.00364, table 1.

    Ho and Salimans, "Classifier-free diffusion guidance" (2022), arXiv:2207.12598.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import NoiseLevels
    >>> clean, labels = torch.ones(4, 2), torch.tensor([0, 1, 0, 1])
    >>> generator = torch.Generator().manual_seed(0)
    >>> levels = NoiseLevels(forgotten=0.0).fit(clean)
    >>> seen = levels.of_labelled(clean, generator, labels).values
    >>> seen.shape, seen[:, 2:4].unique(), seen[:, 5]
    (torch.Size([4, 6]), tensor([1.]), tensor([0., 1., 0., 1.]))
    """

    def __init__(
        self,
        mean: float = -1.2,
        deviation: float = 1.2,
        forgotten: float = 0.1,
        edges: Tensor | None = None,
    ):
        self.mean = mean
        self.deviation = deviation
        self.forgotten = forgotten
        self.edges = edges

    def fit(self, values: Tensor) -> NoiseLevels:
        """Turn edges from scores into ranks; see :class:`Corruption`."""
        edges = self.edges
        self.ranks_ = None if edges is None else torch.special.ndtr(edges).to(values)
        return self

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Add noise; see :class:`Corruption`."""
        return self.of_labelled(values, generator, None)

    def of_labelled(
        self, values: Tensor, generator: Generator, labels: Tensor | None
    ) -> Corrupted:
        """Add noise, and say what rows are conditioned on; see :class:`Corruption`."""
        n = len(values)
        options: dict[str, Any] = {"generator": generator, "device": values.device}
        clean = self.drawn_anew(values, generator)
        share = torch.rand(n, dtype=torch.float64, **options)
        strata = (torch.arange(n, device=values.device) + share) / n
        level = self.mean + self.deviation * torch.special.ndtri(strata.clamp(min=1e-9))
        log_level = level.to(values).unsqueeze(1)
        noise = torch.randn(values.shape, dtype=values.dtype, **options)
        parts = [clean + log_level.exp() * noise, clean, log_level]
        if labels is not None:
            forgotten = torch.rand(n, **options) < self.forgotten
            known = labels.to(values.dtype)
            # labels of classes are -1 where they are unknown
            if not labels.is_floating_point():
                forgotten |= labels < 0
            parts.append(known.masked_fill(forgotten, float("nan")).unsqueeze(1))
        return Corrupted(torch.cat(parts, dim=1))

    def drawn_anew(self, values: Tensor, generator: Generator) -> Tensor:
        """Draw the score of every value from those that it owns, of (n, d) rows."""
        if self.ranks_ is None:
            return values
        ranks, width = self.ranks_, len(self.ranks_)
        numbers = values[:, :width].t().contiguous()
        share = torch.special.ndtr(numbers)
        above = torch.searchsorted(ranks, share, right=True)
        above = above.clamp(1, ranks.shape[1] - 1)
        low, high = ranks.gather(1, above - 1), ranks.gather(1, above)
        draws = torch.rand(
            numbers.shape, generator=generator, device=values.device, dtype=values.dtype
        )
        drawn = (low + (high - low) * draws).clamp(OUTERMOST, 1 - OUTERMOST)
        scores = torch.special.ndtri(drawn).t()
        return torch.cat([scores, values[:, width:]], dim=1)
