"""Means of losses over the batches of an epoch, in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Means"]

# Batches whose losses are kept as tensors, for reading one takes time
KEPT = 4096


class Means:
    """Means over rows of what batches say.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.engine.means import Means
    >>> means = Means()
    >>> means.add({"loss": torch.tensor(1.0)}, 3)
    >>> means.add({"loss": torch.tensor(5.0)}, 1)
    >>> means.read()
    {'loss': 2.0}
    """

    def __init__(self) -> None:
        self.collected: dict[str, list[Tensor]] = {}
        self.sizes: list[int] = []
        self.sums: dict[str, float] = {}
        self.n_rows = 0

    def add(self, losses: dict[str, Tensor], n_rows: int) -> None:
        """Take up the losses of a batch."""
        for name, value in losses.items():
            self.collected.setdefault(name, []).append(value)
        self.sizes.append(n_rows)
        if len(self.sizes) == KEPT:
            self._fold()

    def _fold(self) -> None:
        sizes = torch.tensor(self.sizes, dtype=torch.float64)
        values = torch.stack([v for values in self.collected.values() for v in values])
        totals = values.double().cpu().view(-1, len(sizes)) @ sizes
        for name, total in zip(self.collected, totals.tolist(), strict=True):
            self.sums[name] = self.sums.get(name, 0.0) + total
        self.n_rows += sum(self.sizes)
        self.collected, self.sizes = {}, []

    def read(self) -> dict[str, float]:
        """Return the means by name."""
        if self.sizes:
            self._fold()
        return {name: total / self.n_rows for name, total in self.sums.items()}
