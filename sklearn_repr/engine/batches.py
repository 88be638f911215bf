"""Batches cut from one contiguous tensor, and the split that is held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from sklearn_repr._contracts import Batch
from sklearn_repr.data.blocks import RowBlocks
from sklearn_repr.utils.randomness import make_generator

__all__ = ["AllRows", "BatchIterator", "ShuffledSplit", "batch_sizes"]


def batch_sizes(n_rows: int, batch_size: int) -> list[int]:
    """Cut `n_rows` into batches; a last batch of one row joins the one before it.

    Examples
    --------
    >>> from sklearn_repr.engine.batches import batch_sizes
    >>> batch_sizes(9, 4)
    [4, 5]
    """
    sizes = [batch_size] * (n_rows // batch_size)
    rest = n_rows % batch_size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


class BatchIterator:
    """Iterate over batches; skorch's ``iterator_train`` and ``iterator_valid``.

    Shuffling gathers rows once an epoch; every batch is then a view.

    Parameters
    ----------
    rows : Batch or RowBlocks
        All rows.
    batch_size : int
        Rows per batch.
    generator : torch.Generator or None, default=None
        CPU generator that shuffles the rows anew in every epoch; None keeps their order.
    """

    def __init__(
        self,
        rows: Batch | RowBlocks,
        batch_size: int,
        generator: torch.Generator | None = None,
    ):
        self.rows = rows
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        sizes = self.rows.pool_sizes()
        return sum(len(batch_sizes(n, self.batch_size)) for n in sizes)

    def __iter__(self) -> Iterator[Batch]:
        for pool in self.rows.pools(self.generator):
            yield from pool.split(batch_sizes(len(pool), self.batch_size))


class AllRows:
    """Judge by all rows, and train on them too; skorch's ``train_split``."""

    def __call__(self, rows: Any) -> tuple[Any, Any]:
        """Return all rows twice."""
        return rows, rows


class ShuffledSplit:
    """Hold out a random share of the rows; skorch's ``train_split``.

    Of RowBlocks it is a share of the blocks, each of consecutive rows.

    Parameters
    ----------
    fraction : float
        Share of rows to hold out, rounded down.
    seed : int
        Seed of the shuffle.
    min_rows : int, default=1
        With fewer rows than this to hold out, or left to train on, none are held out.
    """

    def __init__(self, fraction: float, seed: int, min_rows: int = 1):
        self.fraction = fraction
        self.seed = seed
        self.min_rows = min_rows

    def __call__(self, rows: Any) -> tuple[Any, Any]:
        """Return rows to train on and rows to validate on, or None."""
        n_valid = int(self.fraction * len(rows))
        if min(n_valid, len(rows) - n_valid) < self.min_rows:
            return rows, None
        generator = make_generator(self.seed)
        if isinstance(rows, RowBlocks):
            return rows.hold_out(self.fraction, generator)
        order = torch.randperm(len(rows), generator=generator)
        order = order.to(rows.values.device)
        return rows.take(order[n_valid:]), rows.take(order[:n_valid])
