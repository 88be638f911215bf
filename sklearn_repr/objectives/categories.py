"""The loss of categories: how little probability their level was given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr._contracts import Block

__all__ = ["CategoryLoss", "TableColumns", "all_numbers"]

# A column of nearly one level has next to no entropy to divide by
LEAST_ENTROPY = 0.1
# Log-probability of levels that a column does not have
IMPOSSIBLE = -1e4


class CategoryLoss(nn.Module):
    r"""Cross-entropy of every category, in units of its entropy.

    .. math:: \ell = -\frac1H \sum_k e_k \log q_k, \quad
              q = \mathrm{softmax}(o + g \, u), \quad H = -\sum_k p_k \log p_k

    with the offset o and the gain g of the block, what the network says, u, the
    indicator e of the level, and the shares p of the levels in training. To predict the
    shares costs 1, as to predict the mean of a standardised number does under squared
    error: a column counts once, whatever its number of levels. H is at least 0.1.

    Parameters
    ----------
    blocks : sequence of Block
        The codec's blocks, of which only categories are looked at.
    in_nats : bool, default=False
        Return -log q itself, in nats.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Block
    >>> from sklearn_repr.objectives.categories import CategoryLoss
    >>> even = (0.5, 0.5)
    >>> log_even = (-0.6931, -0.6931)
    >>> block = Block("categorical", 0, 2, even, 0.5**0.5, log_even, (1.0, 1.0), -9.0)
    >>> encoded = torch.tensor([[0.7071, -0.7071]])
    >>> CategoryLoss([block])(torch.zeros(1, 2), encoded).round(decimals=2)
    tensor([[1.]])
    """

    index: Tensor
    last: Tensor
    unit: Tensor
    offset: Tensor
    gain: Tensor
    share: Tensor
    scale: Tensor

    def __init__(self, blocks: Sequence[Block], *, in_nats: bool = False):
        super().__init__()
        blocks = [block for block in blocks if block.kind == "categorical"]
        # one place more than levels, for a level that is none of them
        widest = max(block.stop - block.start for block in blocks) + 1
        self.shape = len(blocks), widest
        rows: dict[str, list[list[float]]] = {
            name: [] for name in ("index", "offset", "gain", "share", "scale")
        }
        units = []
        for block in blocks:
            levels = block.stop - block.start
            rest = widest - levels
            entropy = -sum(p * math.log(p) for p in block.shares if p > 0)
            unit = 1.0 if in_nats else max(entropy, LEAST_ENTROPY)
            units.append(1 / unit)
            # the indicator over the entropy, from an encoded cell: x · s / H + p / H
            rows["index"].append([*range(block.start, block.stop)] + rest * [block.start])
            rows["offset"].append(
                [*block.offset, block.unseen] + (rest - 1) * [IMPOSSIBLE]
            )
            rows["gain"].append([*block.gain] + rest * [0.0])
            rows["share"].append([p / unit for p in block.shares] + rest * [0.0])
            rows["scale"].append(levels * [block.scale / unit] + rest * [0.0])
        last = [[block.stop - block.start] for block in blocks]
        self.register_buffer("last", torch.tensor(last).unsqueeze(0))
        self.register_buffer("unit", torch.tensor(units, dtype=torch.float64))
        self.register_buffer("index", torch.tensor(rows.pop("index")).flatten())
        for name, values in rows.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))

    def forward(self, said: Tensor, values: Tensor) -> Tensor:
        """Return the loss of every category.

        Parameters
        ----------
        said : Tensor of shape (n, n_encoded)
            What the network says.
        values : Tensor of shape (n, n_encoded)
            Encoded cells, none of them NaN.

        Returns
        -------
        loss : Tensor of shape (n, n_categories)
            At least 0.
        """
        if self.scale.dtype != values.dtype:
            self.to(values.dtype)
        target = self._by_category(values) * self.scale + self.share
        logits = self._by_category(said) * self.gain + self.offset
        surprise = -functional.log_softmax(logits, dim=2)
        known = (target * surprise).sum(dim=2)
        # what is left of the indicator is that of an unknown level
        left = (self.unit - target.sum(dim=2)).clamp(min=0)
        return (
            known
            + left * surprise.gather(2, self.last.expand(len(known), -1, -1))[..., 0]
        )

    def _by_category(self, cells: Tensor) -> Tensor:
        return cells.index_select(1, self.index).view(-1, *self.shape)


class TableColumns(nn.Module):
    """Which encoded columns make up which cells of a table: numbers, then categories.

    Parameters
    ----------
    blocks : sequence of Block
        The codec's blocks.
    in_nats : bool, default=False
        See :class:`CategoryLoss`.

    Attributes
    ----------
    n_numbers : int
        How many encoded columns, the first ones, are numbers.
    categories : CategoryLoss or None
        The loss of the others, if there are any.
    """

    first: Tensor

    def __init__(self, blocks: Sequence[Block], *, in_nats: bool = False):
        super().__init__()
        self.n_numbers = sum(b.stop - b.start for b in blocks if b.kind == "numeric")
        starts = [block.start for block in blocks if block.kind == "categorical"]
        self.categories = CategoryLoss(blocks, in_nats=in_nats) if starts else None
        self.register_buffer("first", torch.tensor([*range(self.n_numbers), *starts]))

    def join(self, numbers: Tensor, said: Tensor, values: Tensor) -> Tensor:
        """Put the losses of categories behind those of numbers, (n, d)."""
        if self.categories is None:
            return numbers
        return torch.cat([numbers, self.categories(said, values)], dim=1)

    def of_cells(self, marked: Tensor) -> Tensor:
        """Turn what is said of encoded columns, (n, n_encoded), into (n, d)."""
        return marked.index_select(1, self.first)


def all_numbers(blocks: Sequence[Block]) -> bool:
    """Tell whether every encoded column is a number that a loss looks at."""
    return all(block.kind == "numeric" for block in blocks)
