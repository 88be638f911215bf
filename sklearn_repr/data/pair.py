"""Two aligned tables as one tensor."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray

from sklearn_repr._outputs import Batch, Block
from sklearn_repr.data.codec import NumericCodec

__all__ = ["Pair", "PairCodec"]


class Pair(NamedTuple):
    """Two validated tables of as many rows, which belong together row by row."""

    X: Any
    y: Any


class PairCodec:
    """Encode either of two tables by a codec of its own.

    Parameters
    ----------
    first, second : NumericCodec
        Of the two sides, both fitted, of the same dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.data import NumericCodec, Pair, PairCodec
    >>> X, y = np.array([[1.0], [3.0]]), np.array([[8.0], [4.0]])
    >>> codec = PairCodec(NumericCodec().fit(X), NumericCodec().fit(y))
    >>> codec.encode(Pair(X, y)).values
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """

    def __init__(self, first: NumericCodec, second: NumericCodec):
        self.first = first
        self.second = second
        self.dtype = first.dtype
        start, width = first.n_encoded_, second.n_encoded_
        moved = (
            b._replace(start=b.start + start, stop=b.stop + start) for b in second.blocks_
        )
        self.blocks_: tuple[Block, ...] = (*first.blocks_, *moved)
        self.n_encoded_ = start + width

    def scale(self, X: Any) -> NDArray[Any]:
        """Encode rows of the first side; see :class:`NumericCodec`."""
        return self.first.scale(X)

    def encode(self, pair: Pair) -> Batch:
        """Encode both sides, next to each other.

        Parameters
        ----------
        pair : Pair
            Validated tables without missing cells.

        Returns
        -------
        batch : Batch
            The encoded pairs.
        """
        sides = (self.first.scale(pair.X), self.second.scale(pair.y))
        return Batch(torch.cat([torch.from_numpy(side) for side in sides], dim=1))
