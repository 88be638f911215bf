"""Batches of rows, and the rows that are held out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from sklearn_repr._contracts import Batch, Rows
from sklearn_repr.data.blocks import RowBlocks
from sklearn_repr.data.scattered import CELLS_OF_A_SAMPLE, LazyRows
from sklearn_repr.utils.randomness import make_generator

__all__ = [
    "BatchIterator",
    "Split",
    "batch_sizes",
    "bounded",
    "evened",
    "hold_out",
    "is_lazy",
    "number_rows",
    "parts_in_memory",
    "products_of",
    "sides_of",
    "usual_batch_size",
]

# Cells of a batch of "auto" size, but at least so many rows
CELLS_PER_BATCH, FEWEST_PER_BATCH = 2**20, 32


def usual_batch_size(n_rows: int) -> int:
    """Return what makes some 20 batches of a table, each of 32 to 256 rows.

    Examples
    --------
    >>> from sklearn_repr.data.batches import usual_batch_size
    >>> usual_batch_size(100), usual_batch_size(2000), usual_batch_size(10**6)
    (32, 128, 256)
    """
    return int(min(256, max(32, 2 ** (n_rows // 20).bit_length())))


def bounded(batch_size: int, n_encoded: int) -> int:
    """Return how many rows of a wide table a batch has that may have `batch_size`.

    Examples
    --------
    >>> from sklearn_repr.data.batches import bounded
    >>> bounded(256, 4096), bounded(256, 20_000)
    (256, 32)
    """
    most: int = 2 ** ((CELLS_PER_BATCH // n_encoded).bit_length() - 1)
    return min(batch_size, max(FEWEST_PER_BATCH, most))


def batch_sizes(n_rows: int, batch_size: int) -> list[int]:
    """Cut `n_rows` into batches; a last batch of one row joins the one before it.

    Examples
    --------
    >>> from sklearn_repr.data.batches import batch_sizes
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
    """Iterate over batches.

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


class Split(NamedTuple):
    """The rows of a training.

    Attributes
    ----------
    rows : Batch or RowBlocks
        All of them, in which pairs are looked up.
    train : Batch or RowBlocks
        Those to train on.
    held_out : Batch, RowBlocks or None
        Those that early stopping looks at.
    """

    rows: Rows
    train: Rows
    held_out: Rows | None

    def to(self, device: torch.device) -> Split:
        """Return the same rows on `device`."""
        rows, train = self.rows.to(device), self.train.to(device)
        held_out = None if self.held_out is None else self.held_out.to(device)
        return Split(rows, train, held_out)


def hold_out(
    rows: Rows, fraction: float, seed: int, min_rows: int = 1
) -> tuple[Rows, Rows | None]:
    """Return rows to train on, and a random share of the rows that is held out.

    Parameters
    ----------
    rows : Batch or RowBlocks
        All rows. Of RowBlocks, blocks of consecutive rows are held out.
    fraction : float
        Share of rows to hold out, rounded down.
    seed : int
        Seed of the shuffle.
    min_rows : int, default=1
        With fewer rows than this to hold out, or left to train on, none are held out.

    Returns
    -------
    train : Batch or RowBlocks
        Rows to train on.
    held_out : Batch, RowBlocks or None
        The others.
    """
    n_held_out = int(fraction * len(rows))
    if min(n_held_out, len(rows) - n_held_out) < min_rows:
        return rows, None
    generator = make_generator(seed)
    if isinstance(rows, RowBlocks):
        blocks, others = rows.hold_out(fraction, generator)
        return blocks.with_mean_weight(), others.with_mean_weight()
    whole = rows.whole()
    order = torch.randperm(len(whole), generator=generator).to(whole.values.device)
    train, held_out = whole.take(order[n_held_out:]), whole.take(order[:n_held_out])
    return train.with_mean_weight(), held_out.with_mean_weight()


def number_rows(rows: Rows) -> Any:
    """Return all rows, each with its number in the table, by which pairs find it."""
    whole: Any = rows.whole()
    if isinstance(whole, LazyRows):
        return whole.numbered()
    return replace(whole, index=torch.arange(len(whole), device=whole.values.device))


def parts_in_memory(
    rows: Rows, limit: int | None = None, of_sparse: int | None = None
) -> Iterator[Batch]:
    """Return rows in memory, a bounded number at a time where they are sparse.

    Parameters
    ----------
    rows : Batch or RowBlocks
        All rows.
    limit : int or None, default=None
        How many at most, evenly spread over all; None is all of them.
    of_sparse : int or None, default=None
        How many of sparse rows, if not as many.

    Returns
    -------
    parts : iterator of Batch
        In order. Of a Batch it is one part, of RowBlocks one for every pool.
    """
    lazy = _lazy(rows)
    if lazy is not None:
        return lazy.parts(of_sparse or limit)
    return rows.pools(None) if limit is None else iter([rows.some(limit)])


def products_of(rows: Rows, limit: int | None = None) -> Any:
    """Return what multiplies by the covariance of sparse rows that are too many cells.

    Parameters
    ----------
    rows : Batch or RowBlocks
        All rows.
    limit : int or None, default=None
        How many are meant at most, evenly spread over all; None is all of them.

    Returns
    -------
    products : Products or None
        None where the rows can be in memory, or a codec does not encode cell by cell.
    """
    lazy = _beyond_a_sample(rows, limit)
    return None if lazy is None else lazy.values.products()


def sides_of(rows: Rows, limit: int) -> tuple[Any, Any] | None:
    """Return both tables of pairs if one is sparse and they are too many cells.

    Parameters
    ----------
    rows : Batch or RowBlocks
        Pairs.
    limit : int
        How many at most, evenly spread over all.

    Returns
    -------
    sides : tuple or None
        Of each table, what multiplies by its covariance, or its rows as a Tensor.
    """
    lazy = _beyond_a_sample(rows, limit)
    return None if lazy is None else lazy.source.sides(lazy.rows)


def is_lazy(rows: Rows) -> bool:
    """Tell rows of a sparse table, which are read when they are needed."""
    return _lazy(rows) is not None


def evened(rows: Rows) -> Any:
    """Return rows of which none weighs more, or a sample of those that are not sparse."""
    lazy = _lazy(rows)
    return rows.sample() if lazy is None else lazy.evened()


def _beyond_a_sample(rows: Rows, limit: int | None) -> LazyRows | None:
    """Return sparse rows, at most `limit`, if they are too many to be in memory."""
    lazy = _lazy(rows)
    if lazy is None:
        return None
    some = lazy.evened() if limit is None else lazy.thinned(limit)
    return some if len(some) * some.width > CELLS_OF_A_SAMPLE else None


def _lazy(rows: Any) -> LazyRows | None:
    if isinstance(rows, RowBlocks):
        return rows.lazy() if rows.source.lazy else None
    return rows if isinstance(rows, LazyRows) else None
