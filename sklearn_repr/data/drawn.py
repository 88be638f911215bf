"""Encoded rows that were drawn, back to a table: levels and holes included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_repr._contracts import Array
from sklearn_repr.data.codec import NumericCodec
from sklearn_repr.data.table import Codec

__all__ = ["decode_drawn"]


def decode_drawn(codec: Codec, encoded: Array) -> NDArray[np.float64]:
    """Return the table whose encoding is nearest to rows that were drawn.

    What a network says of a category is read as logits elsewhere
    (:class:`~sklearn_repr.data.table.TableCodec`); here a row is a point among those that
    encode the levels.

    Parameters
    ----------
    codec : NumericCodec or TableCodec
        Fitted.
    encoded : ndarray of shape (n_samples, n_encoded_)
        Rows.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), float64
        Numbers in original units, and numbers of levels; NaN where a cell is missing,
        if the codec tells those: a number whose indicator says so, and a category that
        is nearer to 0, which encodes a missing cell, than to any level.
    """
    X = codec.decode(encoded)
    if isinstance(codec, NumericCodec):
        return X
    blocks = [block for block in codec.blocks_ if block.kind == "categorical"]
    for j, block in zip(codec.categories_, blocks, strict=True):
        cells = encoded[:, block.start : block.stop]
        shares = np.asarray(block.shares)
        # half the squared distance to a level is that to 0 less this
        points = (np.eye(len(shares)) - shares) / block.scale
        nearness = cells @ points.T - np.square(points).sum(axis=1) / 2
        nearness[:, shares == 0] = -np.inf
        X[:, j] = nearness.argmax(axis=1)
        if len(shares) == codec.n_codes[j]:
            # behind the one level comes that of missing cells
            X[X[:, j] == 1, j] = np.nan
        elif codec.hole_levels and codec.holed_levels_[int(j)]:
            X[nearness.max(axis=1) < 0, j] = np.nan
    if len(codec.holed_):
        said = encoded[:, -len(codec.holed_) :]
        # halfway between the two values of the indicator
        middle = (0.5 - codec.missing_share_) / codec.missing_scale_
        missing = said > middle
        numbers = codec.numeric_[codec.holed_]
        X[:, numbers] = np.where(missing, np.nan, X[:, numbers])
    return X
