"""Rows that a trained denoiser draws, a chunk at a time: the same ones in any number."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sklearn_repr._contracts import Array
from sklearn_repr.engine.diffusion import Field, to_noise, to_rows
from sklearn_repr.modules.denoiser import Denoiser
from sklearn_repr.utils.devices import single_thread
from sklearn_repr.utils.randomness import make_generator

__all__ = ["CHUNK", "Sampler", "guided"]

# Rows that are drawn at a time, by a generator of their own
CHUNK = 1024


def guided(denoiser: Denoiser, condition: Tensor, guidance: float) -> Field:
    r"""Return the field that leads to rows under a condition.

    .. math:: F = F_\emptyset + g (F_y - F_\emptyset)

    Parameters
    ----------
    denoiser : Denoiser
        Trained.
    condition : Tensor of shape (n, 0) or (n, 1)
        What rows are drawn by.
    guidance : float
        g: 0 ignores the condition, 1 draws from the conditional distribution, and more
        moves rows away from what does not meet it.

    Returns
    -------
    field : callable
        See :mod:`sklearn_repr.engine.diffusion`.
    """
    nothing = condition[:, :0]
    network = denoiser.field
    if not condition.shape[1] or guidance == 0:
        return lambda y, level: network(y, level, nothing)
    if guidance == 1:
        return lambda y, level: network(y, level, condition)

    def field(y: Tensor, level: Tensor) -> Tensor:
        without = network(y, level, nothing)
        return without + guidance * (network(y, level, condition) - without)

    return field


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draw encoded rows by a trained denoiser.

    Attributes
    ----------
    denoiser : Denoiser
        Trained.
    n_steps : int
        Of the sampler.
    guidance, churn : float
        See :func:`guided` and :func:`~sklearn_repr.engine.diffusion.to_rows`.
    dtype : torch.dtype
        Of the computation.
    device : torch.device
        Where it is done.
    """

    denoiser: Denoiser
    n_steps: int
    guidance: float
    churn: float
    dtype: torch.dtype
    device: torch.device

    def draw(self, start: int, condition: Tensor, seed: int) -> Array:
        """Draw rows, each by its number and the seed alone.

        Parameters
        ----------
        start : int
            Number of the first row, a multiple of ``CHUNK``.
        condition : Tensor of shape (n, 0) or (n, 1)
            What each row is drawn by.
        seed : int
            Of all rows.

        Returns
        -------
        rows : ndarray of shape (n, d)
            Encoded.
        """

        def chunk(first: int, condition: Tensor) -> Tensor:
            number = (start + first) // CHUNK
            sequence = np.random.SeedSequence([seed, number])
            generator = make_generator(int(sequence.generate_state(1)[0]))
            width = self.denoiser.n_features
            noise = torch.randn(CHUNK, width, generator=generator).to(self.dtype)
            field = guided(self.denoiser, condition, self.guidance)
            return to_rows(
                field,
                noise.to(self.device),
                self.n_steps,
                churn=self.churn,
                generator=generator,
            )

        return self._in_chunks(chunk, condition)

    def follow(self, rows: Tensor, *, backwards: bool = False) -> Array:
        """Map noise to rows, or rows to noise, unconditionally and without churn."""

        def chunk(first: int, rows: Tensor) -> Tensor:
            field = guided(self.denoiser, rows[:, :0], 0.0)
            way = to_noise if backwards else to_rows
            return way(field, rows, self.n_steps)

        return self._in_chunks(chunk, rows)

    def _in_chunks(
        self, function: Callable[[int, Tensor], Tensor], rows: Tensor
    ) -> Array:
        """Apply a function to chunks of rows, all padded to the same size."""
        n = len(rows)
        found = np.empty((n, self.denoiser.n_features), str(self.dtype).split(".")[1])

        def work(first: int) -> None:
            part = rows[first : first + CHUNK].to(self.device, self.dtype)
            count = len(part)
            part = torch.nn.functional.pad(part, (0, 0, 0, CHUNK - count))
            with torch.inference_mode(), single_thread():
                found[first : first + count] = function(first, part)[:count].cpu().numpy()

        starts = range(0, n, CHUNK)
        threads = min(torch.get_num_threads(), len(starts))
        if threads <= 1:
            for first in starts:
                work(first)
        else:
            with single_thread(), ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, starts))
        return found
