"""Two aligned tables as one tensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sklearn_repr._contracts import Array, Batch, Block, Table
from sklearn_repr.data.codec import as_batch
from sklearn_repr.data.table import Codec
from sklearn_repr.utils.mapped import forget

__all__ = ["Pair", "PairCodec"]


@dataclass(frozen=True)
class Pair:
    """Two validated tables of as many rows, which belong together row by row.

    It has the shape of both side by side, and rows of it are a pair.
    """

    X: Table
    y: Table

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of columns of both."""
        return self.X.shape[0], self.X.shape[1] + self.y.shape[1]

    def __getitem__(self, rows: Table) -> Pair:
        return Pair(self.X[rows], self.y[rows])


class PairCodec:
    """Encode either of two tables by a codec of its own.

    Parameters
    ----------
    first, second : NumericCodec or TableCodec
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

    def __init__(self, first: Codec, second: Codec):
        self.first = first
        self.second = second
        self.dtype = first.dtype
        self.fill = first.fill
        start, width = first.n_encoded_, second.n_encoded_
        moved = (
            b._replace(start=b.start + start, stop=b.stop + start) for b in second.blocks_
        )
        self.blocks_: tuple[Block, ...] = (*first.blocks_, *moved)
        self.n_encoded_ = start + width

    def encoded_names(self) -> list[str]:
        """Return names of encoded columns that say which side they are of."""
        found = []
        for side, codec in (("X", self.first), ("y", self.second)):
            names = codec.encoded_names()
            if names is None:
                names = [str(j) for j in range(codec.n_encoded_)]
            found += [f"{side}: {name}" for name in names]
        return found

    def scale(self, pair: Pair, out: Array | None = None) -> Array:
        """Encode both sides, next to each other, as a NumPy array.

        Parameters
        ----------
        pair : Pair
            Validated tables.
        out : ndarray of shape (n_samples, n_encoded_) or None, default=None
            Where to put the result; None makes a new array.

        Returns
        -------
        encoded : ndarray of shape (n_samples, n_encoded_)
            Contiguous rows.
        """
        if out is None:
            out = np.empty((pair.shape[0], self.n_encoded_), self.dtype)
        out[:, : self.first.n_encoded_] = self.first.scale(pair.X)
        out[:, self.first.n_encoded_ :] = self.second.scale(pair.y)
        for side in (pair.X, pair.y):
            forget(side)
        return out

    def encode(self, pair: Pair) -> Batch:
        """Encode both sides as one tensor; see :meth:`scale`."""
        return as_batch(torch.from_numpy(self.scale(pair)), fill=self.fill)
