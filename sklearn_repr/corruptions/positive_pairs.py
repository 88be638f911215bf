"""Positive pairs: which rows are positives of which, before they are corrupted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Batch
from sklearn_repr.utils.parameters import HasParameters
from sklearn_repr.utils.registry import Registry

__all__ = ["LabelPairs", "NeighborPairs", "Pairs", "TimePairs", "make_pairs", "pairs"]

# kinds of positive pairs by name
pairs = Registry("pairs")

# how many rows' distances to all others are held in memory at a time
ROWS_PER_CHUNK = 512
# neighbours are looked for among at most so many rows, so that time grows no faster than
# the table
MAX_CANDIDATE_ROWS = 20_000


class Pairs(HasParameters):
    """Draw a positive for every row, uniformly from that row's candidates.

    Candidates are training rows only, for the rows that are held out as well. A row
    without candidates is its own positive.

    Notes
    -----
    A subclass defines `_candidates`. All candidates of a row are consecutive in one pool;
    the row itself may be among them, and is never drawn.

    References
    ----------
    Schneider, Lee and Mathis, "Learnable latent embeddings for joint behavioural and
    neural analysis", Nature 617 (2023), arXiv:2204.00673: the distribution of positives
    does not depend on the loss.
    """

    def fit(self, rows: Batch, train: Batch) -> Pairs:
        """Find every row's candidates.

        Parameters
        ----------
        rows : Batch
            The whole table.
        train : Batch
            The rows of it that may be candidates, with their ``index`` in it.

        Returns
        -------
        self : Pairs
            Itself.
        """
        assert train.index is not None  # noqa: S101 - the engine numbers the rows
        self.values_ = rows.values
        pool, self.start_, count, own = self._candidates(rows, train.index)
        self.pool_ = pool if len(pool) else train.index[:1]
        inside = own >= 0
        self.others_ = count - inside.long()
        # the position of the row itself, which is skipped, or one past the last
        self.own_ = torch.where(inside, own, count)
        return self

    def draw(self, batch: Batch, generator: Generator) -> Tensor:
        """Return the values of one positive for each row of the batch.

        Parameters
        ----------
        batch : Batch
            Rows of the table that `fit` saw, with their ``index`` in it.
        generator : Generator
            Source of randomness, on the device of the values.

        Returns
        -------
        partners : Tensor of shape (n, d)
            Clean encoded rows.
        """
        assert batch.index is not None  # noqa: S101 - the engine numbers the rows
        index = batch.index
        start, others, own = (
            part.index_select(0, index) for part in (self.start_, self.others_, self.own_)
        )
        draws = torch.rand(
            len(index), generator=generator, device=index.device, dtype=torch.float64
        )
        pick = torch.minimum((draws * others).long(), others - 1)
        place = (start + pick + (pick >= own)).clamp_(0, len(self.pool_) - 1)
        found = self.pool_.index_select(0, place)
        partners = torch.where(others > 0, found, index)
        return self.values_.index_select(0, partners)

    def _candidates(
        self, rows: Batch, train: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the pool and each row's start in it, number of candidates and position.

        The last is the position of the row itself among its candidates, -1 if it is none
        of them.
        """
        raise NotImplementedError


@pairs("label")
class LabelPairs(Pairs):
    """Positives are the other rows of the same class.

    Unlabelled rows, and the only row of a class, are their own positives.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch
    >>> from sklearn_repr.corruptions import LabelPairs
    >>> labels, index = torch.tensor([0, 1, 0, -1]), torch.arange(4)
    >>> rows = Batch(10.0 * index.unsqueeze(1), labels=labels, index=index)
    >>> LabelPairs().fit(rows, rows).draw(rows, torch.Generator()).flatten()
    tensor([20., 10.,  0., 30.])
    """

    def _candidates(
        self, rows: Batch, train: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if rows.labels is None:
            raise ValueError("LabelPairs needs labels.")
        known = train[rows.labels[train] >= 0]
        classes, order = rows.labels[known].sort(stable=True)
        pool = known[order]
        start = torch.searchsorted(classes, rows.labels)
        stop = torch.searchsorted(classes, rows.labels, right=True)
        own = torch.full_like(start, -1)
        own[pool] = torch.arange(len(pool), device=pool.device) - start[pool]
        return pool, start, stop - start, own


@pairs("time")
class TimePairs(Pairs):
    """Positives are rows at most `n_neighbors` rows before or after; rows are in order.

    Parameters
    ----------
    n_neighbors : int
        How many rows are near in time.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch
    >>> from sklearn_repr.corruptions import TimePairs
    >>> index = torch.arange(2)
    >>> rows = Batch(10.0 * index.unsqueeze(1), index=index)
    >>> TimePairs(1).fit(rows, rows).draw(rows, torch.Generator()).flatten()
    tensor([10.,  0.])
    """

    def __init__(self, n_neighbors: int):
        self.n_neighbors = n_neighbors

    def _candidates(
        self, rows: Batch, train: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pool = train.sort().values
        now = torch.arange(len(rows), device=pool.device)
        start = torch.searchsorted(pool, now - self.n_neighbors)
        stop = torch.searchsorted(pool, now + self.n_neighbors, right=True)
        own = torch.full_like(start, -1)
        own[pool] = torch.arange(len(pool), device=pool.device) - start[pool]
        return pool, start, stop - start, own


@pairs("neighbors")
class NeighborPairs(Pairs):
    """Positives are the nearest rows of the encoded table, by Euclidean distance.

    Parameters
    ----------
    n_neighbors : int
        How many, not counting the row itself.

    Notes
    -----
    Of a table of more than 20,000 rows, only every k-th is a candidate, for the
    smallest k that leaves no more than that.

    References
    ----------
    Dwibedi et al., "With a little help from my friends: nearest-neighbor contrastive
    learning of visual representations", ICCV 2021, arXiv:2104.14548 (in the embedding).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch
    >>> from sklearn_repr.corruptions import NeighborPairs
    >>> index = torch.arange(4)
    >>> rows = Batch(torch.tensor([[0.0], [1.0], [9.0], [7.0]]), index=index)
    >>> NeighborPairs(1).fit(rows, rows).draw(rows, torch.Generator()).flatten()
    tensor([1., 0., 7., 9.])
    """

    def __init__(self, n_neighbors: int):
        self.n_neighbors = n_neighbors

    def _candidates(
        self, rows: Batch, train: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        train = train[:: -(-len(train) // MAX_CANDIDATE_ROWS)]
        n, k = len(rows), min(self.n_neighbors, len(train) - 1)
        pool = train[nearest(rows.values, train, k)].flatten()
        count = torch.full((n,), k, device=train.device)
        return (
            pool,
            k * torch.arange(n, device=train.device),
            count,
            count.new_full((n,), -1),
        )


def nearest(values: Any, among: Tensor, k: int) -> Tensor:
    """Return the positions in `among` of each row's k nearest other rows.

    Parameters
    ----------
    values : Tensor of shape (n, d), or sparse rows that find their neighbours
        Rows.
    among : int64 Tensor of shape (m,)
        Numbers of the rows that may be neighbours.
    k : int
        Less than m.

    Returns
    -------
    places : int64 Tensor of shape (n, k)
        Positions in `among`, nearest first.
    """
    if not isinstance(values, Tensor):  # sparse rows find their neighbours themselves
        return values.nearest(among, k)  # type: ignore[no-any-return]
    # squared distances are rounded least near the origin
    centred = values - values.mean(dim=0)
    others = centred[among]
    lengths = others.square().sum(dim=1)
    place = torch.full((len(values),), -1, device=among.device)
    place[among] = torch.arange(len(among), device=among.device)
    found = []
    for start in range(0, len(values), ROWS_PER_CHUNK):
        part = slice(start, start + ROWS_PER_CHUNK)
        # the row's own squared length is left out: it does not change the order
        distance = torch.addmm(lengths, centred[part], others.T, alpha=-2)
        own = place[part]
        inside = own >= 0
        distance[inside.nonzero().squeeze(1), own[inside]] = torch.inf
        found.append(distance.topk(k, dim=1, largest=False).indices)
    return torch.cat(found)


def make_pairs(name: str, **constants: object) -> Pairs:
    """Build a kind of positive pairs from its name.

    Parameters
    ----------
    name : str
        A name of the registry `pairs`.
    **constants : dict
        Parameters of the class of that name; None stands for its default.

    Returns
    -------
    pairs : Pairs
        Not yet fitted.

    Raises
    ------
    ValueError
        If the name is unknown, or does not take one of the constants.

    Examples
    --------
    >>> from sklearn_repr.corruptions import make_pairs
    >>> make_pairs("time", n_neighbors=3).n_neighbors
    3
    """
    return pairs.make(name, "pairs", **constants)  # type: ignore[no-any-return]
