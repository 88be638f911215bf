"""What happens to a batch before the module sees it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Batch, CorruptionLike, PairsLike
from sklearn_repr.data.batches import Split
from sklearn_repr.utils.randomness import local_torch_seed, make_generator

__all__ = ["Inputs"]


class Inputs(NamedTuple):
    """What happens to a batch before the module sees it: pairs and corruption, fitted.

    Attributes
    ----------
    corruption : Corruption or None
        Turns clean rows into what the module sees.
    pairs : Pairs or None
        Draws a positive for every row, which is then corrupted like the row itself.
    """

    corruption: CorruptionLike | None = None
    pairs: PairsLike | None = None

    @classmethod
    def fitted(
        cls, corruption: CorruptionLike | None, pairs: PairsLike | None, split: Split
    ) -> Inputs:
        """Let both learn from the training rows."""
        if pairs is not None:
            pairs.fit(split.rows.whole(), split.train.whole())
        if corruption is not None:
            corruption.fit(split.train.sample().values)
        return cls(corruption, pairs)

    def of(self, batch: Batch, generator: Generator) -> tuple[Tensor, Batch]:
        """Return what the module sees of a batch, and the batch with what was done.

        Parameters
        ----------
        batch : Batch
            Clean rows.
        generator : Generator
            Source of randomness.

        Returns
        -------
        values : Tensor of shape (m * n, d)
            Copies of the n rows, one after the other; with pairs, rows and then partners.
        batch : Batch
            The same rows; `mask` and `partners` say what was masked and drawn.
        """
        values, mask, partners = batch.values, batch.mask, batch.partners
        if self.pairs is not None:
            partners = self.pairs.draw(batch, generator)
            values = torch.cat([values, partners])
        if self.corruption is not None:
            labels = batch.labels
            values, mask = self.corruption.of_labelled(values, generator, labels)
        # by position: `replace` takes as long as a small product of matrices
        rest = batch.labels, batch.index, partners, batch.weights
        return values, Batch(batch.values, batch.observed, mask, *rest)

    def fixed(
        self, seed: int, device: torch.device | str, *, seeded: bool = False
    ) -> tuple[Generator, AbstractContextManager[None]]:
        """Return what makes the draws always the same: a generator, and a context.

        Parameters
        ----------
        seed : int
            Seed of both.
        device : torch.device or str
            Where the values are.
        seeded : bool, default=False
            Something else draws from torch's global generator too.

        Returns
        -------
        generator : Generator
            To draw from.
        context : context manager
            In which torch's global generator is seeded, where anything draws from it.
        """
        draws = self.corruption is not None and self.corruption.uses_global_generator
        context = local_torch_seed(seed) if draws or seeded else nullcontext()
        return make_generator(seed, device), context
