"""Denoising networks without bottleneck, the reconstructor of the default detector."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from sklearn_repr.engine import infer
from sklearn_repr.engine.ensemble import train_steps
from sklearn_repr.modules.batched import BatchedMLP
from sklearn_repr.utils.randomness import make_generator

__all__ = ["CleanNetworks", "ContaminatedNetworks", "NoiseNetworks"]

# Training rows by which errors are made comparable
ROWS_TO_NORMALISE_BY = 20_000
# Rows a forward pass takes at a time
CHUNK = 256

Generators = Sequence[Generator]


class NoiseNetworks:
    """Members trained together on rows of comparable columns; no bottleneck.

    Parameters
    ----------
    seeds : sequence of int
        One for every network, of its weights, batches and noise. A network is the same
        whichever others are trained with it, but for rounding.
    n_steps : int
        Steps of training.
    verbose : int, default=0
        1 draws a progress bar.
    """

    hidden: int
    batch_size: int
    lowest: float
    highest: float
    learning_rate = 1e-2
    label = "ReconstructionOutlierDetector"

    def __init__(self, seeds: Sequence[int], n_steps: int, verbose: int = 0):
        self.seeds = seeds
        self.n_steps = n_steps
        self.verbose = verbose

    def fit(self, rows: NDArray[np.float64]) -> NoiseNetworks:
        """Train on rows of shape (n, d) and learn how large errors are on them."""
        self.fit_errors(rows)
        return self

    def fit_errors(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fit, and return the errors of the rows."""
        generators = [make_generator(int(seed)) for seed in self.seeds]
        values = torch.from_numpy(rows.astype(np.float32))
        self.network_ = self._make_network(rows.shape[1], generators)
        pools = self._pools(len(rows), generators)

        def loss(step: int) -> Tensor:
            return self._loss(self._draw(values, pools, generators), step, generators)

        train_steps(
            self.network_,
            loss,
            self.n_steps,
            learning_rate=self.learning_rate,
            label=self.label,
            verbose=self.verbose,
        )
        return self._normalise(rows, generators)

    def errors(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far every cell is from its reconstruction, shape (n, d)."""
        raise NotImplementedError

    def expected(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the reconstruction, shape (n, d)."""
        raise NotImplementedError

    def _make_network(self, width: int, generators: Generators) -> BatchedMLP:
        raise NotImplementedError

    def _loss(self, x: Tensor, step: int, generators: Generators) -> Tensor:
        """Return the sum over members, so that none changes another's gradient."""
        raise NotImplementedError

    def _normalise(
        self, rows: NDArray[np.float64], generators: Generators
    ) -> NDArray[np.float64]:
        """Learn what errors are compared with, and return those of the rows."""
        return self.errors(rows)

    def _pools(self, n_rows: int, generators: Generators) -> Tensor | None:
        """Draw the rows that each member sees, shape (M, pool); None is all of them."""
        return None

    def _draw(
        self, values: Tensor, pools: Tensor | None, generators: Generators
    ) -> Tensor:
        count = len(values) if pools is None else pools.shape[1]
        drawn = _drawn(torch.randint, generators, count, (self.batch_size,))
        return values[drawn if pools is None else pools.gather(1, drawn)]

    def _levels(self, generators: Generators) -> Tensor:
        """Draw the logarithm of a noise level for every row of a batch."""
        low, high = math.log(self.lowest), math.log(self.highest)
        return low + (high - low) * _drawn(torch.rand, generators, (self.batch_size, 1))

    def _infer(self, function: Any, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        found = infer(
            function,
            lambda part: torch.from_numpy(part.astype(np.float32)),
            rows,
            "cpu",
            chunk=CHUNK,
        )
        return found.astype(np.float64)


def _drawn(
    draw: Callable[..., Tensor], generators: Generators, *arguments: Any
) -> Tensor:
    """Stack what every member draws from its own generator."""
    return torch.stack([draw(*arguments, generator=g) for g in generators])


class ContaminatedNetworks(NoiseNetworks):
    r"""Networks for training rows with outliers among them.

    Every network sees a pool of its own, 256 rows or half of them: few enough that a
    group of outliers is small in most pools, and that networks disagree on rows that have
    few like them. It is told the noise level σ, log-uniform in [0.1, 3]: from
    :math:`((x + \sigma \varepsilon) / \sqrt{1 + \sigma^2}, \log \sigma)` it predicts x.
    Once a tenth of the steps are over, the tenth of every batch with the largest loss,
    relative to :math:`\sigma^2 / (1 + \sigma^2)`, is left out: outliers, if there are.
    An error is the absolute error under fixed noise of four levels, over the column's
    mean error in training, over the training rows' median; the mean over levels.
    """

    hidden, batch_size = 128, 64
    lowest, highest = 0.1, 3.0
    levels = (0.1, 0.3, 1.0, 3.0)
    trimmed = 0.1
    pool = 256
    # added to a column's mean error, so that constant columns do not decide
    floor = 0.05

    def _make_network(self, width: int, generators: Generators) -> BatchedMLP:
        return BatchedMLP([width + 1, self.hidden, self.hidden, width], generators)

    def _pools(self, n_rows: int, generators: Generators) -> Tensor:
        size = min(self.pool, max(1, n_rows // 2))
        return _drawn(torch.randperm, generators, n_rows)[:, :size]

    def _loss(self, x: Tensor, step: int, generators: Generators) -> Tensor:
        level = self._levels(generators)
        noise = _drawn(torch.randn, generators, x.shape[1:])
        rows = self._rebuild(x, level, noise).sub(x).square().sum(dim=2)
        if step < self.trimmed * self.n_steps:
            return rows.mean(dim=1).sum()
        variance = level.exp().square().squeeze(2)
        relative = rows.detach() * (1 + variance) / variance
        count = int(self.batch_size * (1 - self.trimmed))
        keep = relative <= relative.kthvalue(count, dim=1, keepdim=True).values
        return ((rows * keep).sum(dim=1) / keep.sum(dim=1)).sum()

    def _rebuild(self, x: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        deviation = level.exp()
        noisy = (x + deviation * noise) / (1 + deviation.square()).sqrt()
        level = level.expand(*noisy.shape[:2], 1)
        rebuilt: Tensor = self.network_(torch.cat([noisy, level], dim=2))
        return rebuilt

    def _normalise(
        self, rows: NDArray[np.float64], generators: Generators
    ) -> NDArray[np.float64]:
        some = rows[:: -(-len(rows) // ROWS_TO_NORMALISE_BY)]
        shape = (len(self.levels), 1, rows.shape[1])
        self.noise_ = _drawn(torch.randn, generators, shape).transpose(0, 1)
        raw = self._raw_errors(some)
        self.usual_ = raw.mean(axis=0) + self.floor
        sums = (raw / self.usual_).sum(axis=2)
        self.medians_ = np.median(sums, axis=0)[:, None] + np.finfo(np.float64).tiny
        return self._compared(raw) if len(some) == len(rows) else self.errors(rows)

    def _compared(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        errors: NDArray[np.float64] = (raw / self.usual_ / self.medians_).mean(axis=1)
        return errors

    def _raw_errors(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return absolute errors of shape (n, levels, d)."""

        def errors(x: Tensor) -> Tensor:
            parts = [(part - x).abs() for part in self._at_levels(x)]
            return torch.stack([part.mean(dim=0) for part in parts], dim=1)

        return self._infer(errors, rows)

    def _at_levels(self, x: Tensor) -> list[Tensor]:
        return [
            self._rebuild(x, torch.full((1, 1, 1), math.log(level)), noise)
            for level, noise in zip(self.levels, self.noise_, strict=True)
        ]

    def errors(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return normalised errors; see :class:`NoiseNetworks`."""
        parts = [
            self._compared(self._raw_errors(part))
            for part in np.array_split(rows, -(-len(rows) // ROWS_TO_NORMALISE_BY))
        ]
        return np.concatenate(parts)

    def expected(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean reconstruction; see :class:`NoiseNetworks`."""

        def rebuilt(x: Tensor) -> Tensor:
            # under little noise even abnormal cells are rebuilt as they are
            loud = zip(self._at_levels(x), self.levels, strict=True)
            parts = [part for part, level in loud if level >= 1]
            return torch.stack(parts).mean(dim=(0, 1))

        return self._infer(rebuilt, rows)


class CleanNetworks(NoiseNetworks):
    """Networks for training rows without outliers.

    They are not told the noise, whose level is log-uniform in [0.03, 1] and which falls
    on a random share of the cells. An error is the absolute error without noise.
    """

    hidden, batch_size = 128, 128
    lowest, highest = 0.03, 1.0

    def _make_network(self, width: int, generators: Generators) -> BatchedMLP:
        return BatchedMLP([width, self.hidden, self.hidden, width], generators)

    def _loss(self, x: Tensor, step: int, generators: Generators) -> Tensor:
        shape = x.shape[1:]
        noise = self._levels(generators).exp() * _drawn(torch.randn, generators, shape)
        share = _drawn(torch.rand, generators, (self.batch_size, 1))
        hit = _drawn(torch.rand, generators, shape) < share
        residual: Tensor = self.network_(x + noise * hit) - x
        return residual.square().sum(dim=2).mean(dim=1).sum()

    def errors(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return absolute errors; see :class:`NoiseNetworks`."""
        return self._infer(
            lambda x: (self._rebuild(x) - x).abs().mean(dim=0),
            rows,
        )

    def expected(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean reconstruction; see :class:`NoiseNetworks`."""
        return self._infer(lambda x: self._rebuild(x).mean(dim=0), rows)

    def _rebuild(self, x: Tensor) -> Tensor:
        rebuilt: Tensor = self.network_(x.expand(len(self.seeds), *x.shape))
        return rebuilt
