"""Batches for the members of an ensemble, each drawn from a member's own rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Batch
from sklearn_repr.utils.draws import draw_each

__all__ = ["MemberBatches", "SeenRows", "indexed"]


def indexed(rows: Any) -> Any:
    """Return rows in memory as a float32 Tensor, others as what is indexed like one."""
    if isinstance(rows, np.ndarray):
        return torch.from_numpy(rows.astype(np.float32))
    return SeenRows(rows)


class SeenRows:
    """Rows that are read when they are needed, indexed like a tensor.

    Parameters
    ----------
    rows : object
        Returns rows by an array of their numbers, and has the shape of all.
    """

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, rows: Any):
        self.rows = rows
        self.shape = torch.Size(rows.shape)

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: Any) -> SeenRows:
        """Return the same rows: networks are trained on the CPU."""
        return self

    def __getitem__(self, index: Tensor) -> Tensor:
        found = self.rows[index.flatten().numpy()].astype(np.float32)
        return torch.from_numpy(found).view(*index.shape, -1)


class MemberBatches:
    """Rows with the interface of a Batch, drawn anew for every member and step.

    A batch holds (M, n, d) values: the rows of M members stacked, in place of n rows.
    Each member draws with replacement, from its own generator and from rows of its own,
    so that no member depends on which others are trained with it.

    Parameters
    ----------
    values : Tensor of shape (n_samples, d), or object that is indexed like one
        Encoded rows.
    generators : sequence of Generator
        One for each of the M members, on the CPU.
    batch_size : int
        Rows that each member draws for a step.
    n_batches : int
        Steps of an epoch.
    rows_per_member : int or None, default=None
        Rows that a member ever sees, drawn without replacement, but at most half of all.
        None shows every member all rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.data.members import MemberBatches
    >>> generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    >>> rows = MemberBatches(torch.zeros(50, 2), generators, batch_size=8, n_batches=4)
    >>> [batch.values.shape for batch in rows.pools(None)]
    [torch.Size([50, 2])]
    >>> [tuple(batch.values.shape) for batch in rows.pools(torch.Generator())]
    [(3, 8, 2), (3, 8, 2), (3, 8, 2), (3, 8, 2)]
    """

    labels: Tensor | None = None
    weights: Tensor | None = None

    def __init__(
        self,
        values: Any,
        generators: Sequence[Generator],
        batch_size: int,
        n_batches: int,
        rows_per_member: int | None = None,
    ):
        self.values = values
        self.generators = generators
        self.batch_size = batch_size
        self.n_batches = n_batches
        # numbers of rows, (M, rows of a member); None where every member sees all
        self.subsets: Tensor | None = None
        if rows_per_member is not None:
            size = min(rows_per_member, max(1, len(values) // 2))
            self.subsets = draw_each(torch.randperm, generators, len(values))[:, :size]

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: torch.device | str) -> MemberBatches:
        """Return the same rows on `device`."""
        self.values = self.values.to(device)
        return self

    def with_mean_weight(self) -> MemberBatches:
        """Return the same rows, which have no weights."""
        return self

    def whole(self) -> Batch:
        """Return all rows at once, as a table."""
        return Batch(self.values)

    def sample(self) -> Batch:
        """Return as many rows as are needed to learn simple things: all of them."""
        return self.whole()

    def some(self, limit: int) -> Batch:
        """Return at most `limit` rows, evenly spread over all."""
        return self.whole().some(limit)

    def pool_sizes(self) -> list[int]:
        """Return the length of each batch: one entry for each member."""
        return [len(self.generators)] * self.n_batches

    def pools(self, generator: Generator | None) -> Iterator[Batch]:
        """Yield the batches of an epoch; without a generator, the table itself.

        Members draw from their own generators; the one given only says that rows are to
        be drawn.
        """
        if generator is None:
            yield self.whole()
            return
        for _ in range(self.n_batches):
            yield Batch(self.values[self._draw()])

    def _draw(self) -> Tensor:
        """Return numbers of rows, shape (M, batch_size)."""
        count = len(self.values) if self.subsets is None else self.subsets.shape[1]
        drawn = draw_each(torch.randint, self.generators, count, (self.batch_size,))
        return drawn if self.subsets is None else self.subsets.gather(1, drawn)
