"""Tables of numbers and categories to one contiguous tensor and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import softmax

from sklearn_repr._contracts import Array, Batch, Block, Names, Table, Weights
from sklearn_repr.data.codec import NumericCodec, as_batch, dense
from sklearn_repr.data.columns import Columns
from sklearn_repr.utils.validation import has_holes

__all__ = ["Codec", "TableCodec", "choose_codec"]

# Variance of the columns that say where a number is missing: small, so that principal
# axes are those of the table, and yet a network can read it
INDICATOR_VARIANCE = 0.1
# A level that `fit` did not see has the probability of this many rows
UNSEEN_ROWS = 0.5
# Levels rarer than this are not trusted to grow with what a network says of them as
# much as their share alone would ask for
TRUSTED_SHARE = 0.1


class TableCodec:
    """Encode numbers as :class:`NumericCodec` does, and categories as blocks behind them.

    A level becomes the indicator of its number, centred and divided by one scale a
    column, so that a category has the variance of a standardised number whatever its
    number of levels; see :class:`~sklearn_repr._contracts.Block`.

    Parameters
    ----------
    numbers : NumericCodec
        For the numeric columns; fitted here. It says whether missing cells are filled
        with 0, the mean, or stay NaN, for modules that look for holes themselves.
    n_codes : sequence of int
        For every column how many numbers its levels have, the last for unknown ones; 0
        for numeric columns.
    indicators : bool, default=True
        Say in further columns where numbers are missing, for every numeric column of
        which cells are missing in `fit`. No loss looks at these. A missing category
        needs none: filled, it differs from all levels.
    unseen : bool, default=False
        Give levels that `fit` did not see a column of their own, one a category, for who
        adds up squared errors: without it an unknown level, which is none of the others,
        is closer to what is expected than any known one.
    hole_levels : bool, default=False
        Let missing cells of a category that has one level only, from which they would
        not differ, be another level of it.

    Attributes
    ----------
    blocks_ : tuple of Block
        The numeric columns, if there are any, one block a category, unseen levels, and
        the indicators.
    columns_ : int ndarray of shape (n_encoded_,)
        Number of the column of the table that each encoded column belongs to.
    n_encoded_ : int
        Number of encoded columns.
    n_numbers_ : int
        How many of them, the first ones, are numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.data import NumericCodec
    >>> from sklearn_repr.data.table import TableCodec
    >>> X = np.array([[1.0, 0.0], [3.0, 1.0]])  # a number, a category of two levels
    >>> codec = TableCodec(NumericCodec(), [0, 3]).fit(X)
    >>> codec.encode(X).values.round(decimals=2)
    tensor([[-1.0000,  0.7100, -0.7100],
            [ 1.0000, -0.7100,  0.7100]])
    >>> codec.decode(codec.encode(X).values)
    array([[1., 0.],
           [3., 1.]])
    """

    encodes_cells = False

    def __init__(
        self,
        numbers: NumericCodec,
        n_codes: Sequence[int],
        *,
        indicators: bool = True,
        unseen: bool = False,
        hole_levels: bool = False,
    ):
        self.numbers = numbers
        self.n_codes = np.asarray(n_codes)
        self.fill = numbers.fill
        self.indicators = indicators
        self.unseen = unseen
        self.hole_levels = hole_levels
        self.scaling = numbers.scaling
        self.dtype = numbers.dtype

    def fit(self, X: Array, names: Names = None, weights: Weights = None) -> TableCodec:
        """Learn the scales of numbers and the shares of levels.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Numbers, and numbers of levels.
        names : sequence of str or None, default=None
            Names of the columns, for messages.
        weights : ndarray of shape (n_samples,) or None, default=None
            How much each row counts; None lets all count alike.

        Returns
        -------
        self : TableCodec
            The fitted codec.

        Raises
        ------
        ValueError
            If a column has no observed cell.
        """
        self.names_ = names
        self.n_features_ = X.shape[1]
        self.numeric_ = np.flatnonzero(self.n_codes == 0)
        self.categories_ = np.flatnonzero(self.n_codes)
        labels = None if names is None else [str(names[int(j)]) for j in self.numeric_]
        blocks: list[Block] = []
        constant = np.zeros(0, bool)
        if len(self.numeric_):
            self.numbers.fit(X[:, self.numeric_], labels, weights)
            blocks.extend(self.numbers.blocks_)
            constant = self.numbers.constant_
        stop = len(self.numeric_)
        columns = [*self.numeric_.tolist()]
        self.tables_: list[Array] = []
        self.holed_levels_: dict[int, bool] = {}
        for j in self.categories_:
            codes, n_levels = X[:, j], int(self.n_codes[j]) - 1
            self.holed_levels_[int(j)] = holed = bool(np.isnan(codes).any())
            alone = holed and self.hole_levels and n_levels == 1
            if alone:
                codes, n_levels = np.where(np.isnan(codes), n_levels, codes), n_levels + 1
            counts = _counts(codes, n_levels, weights)
            block = _block(counts, stop)
            stop = block.stop
            blocks.append(block)
            columns.extend([int(j)] * len(counts))
            table = _encoded_levels(block, self.dtype)
            if alone:
                # an unknown level still comes before a missing cell
                table = table[[0, 2, 1]]
            self.tables_.append(table)
            constant = np.append(constant, np.full(len(counts), (counts > 0).sum() < 2))
        if self.unseen and len(self.categories_):
            blocks.append(Block("unseen", stop, stop + len(self.categories_)))
            stop = blocks[-1].stop
            columns.extend(self.categories_.tolist())
            constant = np.append(constant, np.ones(len(self.categories_), bool))
        missing = np.zeros(0)
        if len(self.numeric_):
            holes = np.isnan(X[:, self.numeric_])
            missing = np.average(holes, axis=0, weights=weights)
        self.holed_ = np.flatnonzero((missing > 0) & self.indicators)
        if len(self.holed_):
            blocks.append(Block("indicator", stop, stop + len(self.holed_)))
            stop = blocks[-1].stop
            share = missing[self.holed_]
            self.missing_share_ = share
            # nowhere more than one: a column is never missing altogether
            self.missing_scale_ = np.sqrt(share * (1 - share) / INDICATOR_VARIANCE)
            columns.extend(self.numeric_[self.holed_].tolist())
            constant = np.append(constant, np.zeros(len(self.holed_), bool))
        self.blocks_ = tuple(blocks)
        self.columns_ = np.array(columns)
        self.n_encoded_, self.n_numbers_ = stop, len(self.numeric_)
        self.constant_ = constant
        return self

    def encoded_names(self) -> list[str]:
        """Return the name of the column that each encoded column belongs to."""
        names = self.names_
        return [str(j) if names is None else str(names[int(j)]) for j in self.columns_]

    def patches(self, shape: Sequence[int] | None, size: int) -> NDArray[np.int64]:
        """Return the column of the table that every encoded column belongs to.

        Rows that are images or sequences, which have a `shape`, are not encoded here.
        """
        return self.columns_

    def log_scales(self) -> NDArray[np.float64]:
        """Return the logarithm of what every number was divided by, 0 for categories."""
        scales = np.zeros(self.n_features_)
        if len(self.numeric_):
            scales[self.numeric_] = self.numbers.log_scales()
        return scales

    def scale(self, X: Array, out: Array | None = None) -> Array:
        """Encode rows as a NumPy array; see :meth:`NumericCodec.scale`."""
        encoded = (
            np.empty((X.shape[0], self.n_encoded_), self.dtype) if out is None else out
        )
        self.convert(X, encoded)
        self.refuse_infinite(encoded, X)
        return encoded

    def convert(self, X: Array, out: Array) -> Array:
        """Encode rows without a look at the result; see :meth:`scale`."""
        X = dense(X)
        width = len(self.numeric_)
        if width:
            numbers = np.empty((len(X), width), self.dtype)
            out[:, :width] = self.numbers.convert(X[:, self.numeric_], numbers)
        if len(self.holed_):
            missing = np.isnan(X[:, self.numeric_[self.holed_]])
            start = self.n_encoded_ - len(self.holed_)
            out[:, start:] = (missing - self.missing_share_) / self.missing_scale_
        categories = [block for block in self.blocks_ if block.kind == "categorical"]
        for i, (j, block, table) in enumerate(
            zip(self.categories_, categories, self.tables_, strict=True)
        ):
            codes = X[:, j]
            if self.unseen:
                # as the indicator of a level whose share is 0
                unknown = (codes == len(table) - 2) / block.scale
                out[:, categories[-1].stop + i] = np.where(
                    np.isnan(codes), codes, unknown
                )
            # the last entry of the table is a missing cell
            index = np.where(np.isnan(codes), len(table) - 1, codes).astype(np.intp)
            out[:, block.start : block.stop] = table[index]
        return out

    def refuse_infinite(self, encoded: Array, X: Table) -> None:
        """Raise if an encoded number is beyond the dtype."""
        width = len(self.numeric_)
        if width:
            self.numbers.refuse_infinite(encoded[:, :width], dense(X)[:, self.numeric_])

    def is_identity(self, X: Table) -> bool:
        """Tell whether rows are encoded as they are; categories never are."""
        return False

    def keeps_bad_cells(self, X: Table) -> bool:
        """Tell whether bad cells cannot look harmless once encoded."""
        return True

    def encode(self, X: Array) -> Batch:
        """Encode rows as tensors; see :meth:`NumericCodec.encode`."""
        return as_batch(torch.from_numpy(self.scale(X)), fill=self.fill)

    def decode(self, encoded: Table, chances: Array | None = None) -> NDArray[np.float64]:
        """Turn encoded rows, or what a network says of them, back.

        Parameters
        ----------
        encoded : array-like or Tensor of shape (n_samples, n_encoded_)
            Encoded rows.
        chances : ndarray of shape (n_samples, n_encoded_) or None, default=None
            Draws from [0, 1), by which levels are drawn with their probabilities.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            Numbers in original units, and the number of the most probable level, or of
            one that is drawn.
        """
        encoded = np.asarray(encoded, dtype=np.float64)
        X = np.empty((len(encoded), self.n_features_))
        width = len(self.numeric_)
        if width:
            X[:, self.numeric_] = self.numbers.decode(encoded[:, :width])
        for j, logits in zip(self.categories_, self.logits(encoded), strict=True):
            if chances is None:
                X[:, j] = logits.argmax(axis=1)
            else:
                upto = softmax(logits, axis=1).cumsum(axis=1)
                # rounding may leave the last sum below 1
                drawn = (chances[:, [j]] * upto[:, -1:] >= upto).sum(axis=1)
                X[:, j] = drawn.clip(max=logits.shape[1] - 1)
        return X

    def squared_errors(self, X: Array, encoded: Array) -> NDArray[np.float64]:
        """Compare rows with what a network says of them.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows.
        encoded : ndarray of shape (n_samples, n_encoded_)
            What a network says of them.

        Returns
        -------
        errors : ndarray of shape (n_samples, n_features)
            Squared errors of numbers in original units, and those of the probabilities
            of levels, added up, against the indicator of the level that is there; NaN
            where a cell is missing.
        """
        errors = np.empty(X.shape)
        width = len(self.numeric_)
        if width:
            rebuilt = self.numbers.decode(encoded[:, :width])
            errors[:, self.numeric_] = np.square(X[:, self.numeric_] - rebuilt)
        blocks = [block for block in self.blocks_ if block.kind == "categorical"]
        for j, block, logits in zip(
            self.categories_, blocks, self.logits(encoded), strict=True
        ):
            # one more probability, that of a level which `fit` did not see
            unseen = np.full((len(logits), 1), block.unseen)
            chances = softmax(np.hstack([logits, unseen]), axis=1)
            known = ~np.isnan(X[:, j])
            level = np.where(known, X[:, j], 0).astype(np.intp)
            own = np.take_along_axis(chances, level[:, None], axis=1)[:, 0]
            errors[:, j] = np.square(chances).sum(axis=1) + 1 - 2 * own
            errors[~known, j] = np.nan
        return errors

    def logits(self, encoded: Array) -> list[NDArray[np.float64]]:
        """Return log-probabilities, but for a constant, of every category's levels."""
        return [
            np.asarray(b.offset) + np.asarray(b.gain) * encoded[:, b.start : b.stop]
            for b in self.blocks_
            if b.kind == "categorical"
        ]


# of a table of numbers, or of numbers and categories
Codec = NumericCodec | TableCodec


def choose_codec(
    numbers: NumericCodec,
    columns: Columns | None,
    X: Table,
    *,
    shaped: bool = False,
    unseen: bool = False,
) -> Codec:
    """Return the codec of a table, not yet fitted.

    Parameters
    ----------
    numbers : NumericCodec
        For the numeric columns.
    columns : Columns or None
        What read the table, if it has categories.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        Validated rows.
    shaped : bool, default=False
        Whether rows are images or sequences, which have no further columns.
    unseen : bool, default=False
        See :class:`TableCodec`.

    Returns
    -------
    codec : NumericCodec or TableCodec
        `numbers` itself where there are neither categories nor holes to be told of.

    Raises
    ------
    ValueError
        If an image or a sequence has categories.
    """
    if columns is None:
        tells = numbers.fill and not shaped and not sparse.issparse(X) and has_holes(X)
        return TableCodec(numbers, [0] * X.shape[1]) if tells else numbers
    if shaped:
        raise ValueError(
            "input_shape says that a row is an image or a sequence, but column"
            f" {columns.label(columns.first())} is a category."
        )
    codes = columns.n_codes_
    return TableCodec(numbers, codes, indicators=numbers.fill, unseen=unseen)


def _counts(codes: Array, n_levels: int, weights: Weights) -> NDArray[np.float64]:
    known = ~np.isnan(codes)
    weights = None if weights is None else np.asarray(weights)[known]
    counts = np.bincount(codes[known].astype(np.intp), weights, minlength=n_levels)
    return counts.astype(np.float64)


def _block(counts: NDArray[np.float64], start: int) -> Block:
    shares = counts / (counts.sum() or 1.0)
    smoothed = np.maximum(counts, UNSEEN_ROWS)
    smoothed, unseen = smoothed / smoothed.sum(), UNSEEN_ROWS / smoothed.sum()
    # a column of one level has no scale, as a constant number
    scale = float(np.sqrt(1 - np.square(shares).sum())) or 1.0
    # exact for weak evidence where a level is common; large enough that what encodes a
    # rare level is read as that level
    slope = np.maximum(1 / np.maximum(smoothed, TRUSTED_SHARE), 2 - 2 * np.log(smoothed))
    return Block(
        "categorical",
        start,
        start + len(counts),
        tuple(shares.tolist()),
        scale,
        tuple(np.log(smoothed).tolist()),
        tuple((scale * slope).tolist()),
        float(np.log(unseen)),
    )


def _encoded_levels(block: Block, dtype: np.dtype) -> Array:
    """Return what encodes every level, then an unknown one, then a missing cell."""
    n_levels = len(block.shares)
    table = np.full((n_levels + 2, n_levels), np.nan)
    # an unknown level is none of the others
    table[:-1] = (np.eye(n_levels + 1, n_levels) - np.asarray(block.shares)) / block.scale
    return table.astype(dtype)
