"""Numeric tables to one contiguous tensor and back to original units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler
from torch import Tensor

from sklearn_repr._contracts import Array, Batch, Block, Names, Table, in_proportion
from sklearn_repr.data.normal_scores import NormalScores
from sklearn_repr.data.ranks import RankBlend
from sklearn_repr.utils.patches import patch_numbers
from sklearn_repr.utils.sampling import rows_at, spread_places
from sklearn_repr.utils.validation import column_label, parts_of

__all__ = ["NumericCodec", "as_batch", "dense"]

# A column whose spread is below this share of its size holds rounding noise only.
NEAR_CONSTANT = 1e-6
# Cells whose mean and variance are taken at a time
CELLS_AT_A_TIME = 2**20
# Scales and centres that single precision can compute with
SINGLE = 1e-30, 1e30
# Cells that quantiles are taken from at most, and rows that they are always taken from
CELLS_FOR_QUANTILES = 2**24
FEWEST_ROWS = 10_000
# Quantiles of a column, and how many all columns of a sparse table have together
MOST_QUANTILES, FEWEST_QUANTILES = 1000, 100
SPARSE_QUANTILES = 2**22


class NumericCodec:
    """Encode a numeric table as a tensor whose columns are comparable.

    Parameters
    ----------
    scaling : {"standard", "robust", "quantile", "value_and_rank", "normal_scores"} or \
            None, default="standard"
        Scikit-learn's scaler of that name; "quantile" maps to a normal distribution.
        "value_and_rank" is the mean of standardised value and standardised rank.
        "normal_scores" maps to a normal distribution too, and back to values that were
        seen. None only casts.
    dtype : {"float32", "float64"}, default="float32"
        Type of the tensor.
    seed : int, default=0
        Seed of the subsample from which "quantile" takes its quantiles.
    input_name : str, default="X"
        What messages call the table.
    fill : bool, default=False
        Encode missing cells as 0, the mean; False leaves them NaN.

    Attributes
    ----------
    blocks_ : tuple of Block
        Which encoded columns belong together and how each block is to be read. This is
        how an objective learns of categories; a numeric table is a single block.
    n_encoded_, n_numbers_ : int
        Number of encoded columns, all of which are numbers.
    columns_ : None
        Number of the table's column of each encoded column, where these differ.
    categories_ : tuple
        Columns that are categories: none.

    Notes
    -----
    Columns that are constant, or constant but for rounding noise, are centred and keep
    scale 1. A column whose interquartile range is zero though it varies (a zero-inflated
    one) has no robust scale and falls back to its standard deviation. Missing cells are
    NaN before and after; they enter no location and no scale. Means and variances are of
    all rows; the quantiles of tables of more than 2²⁴ cells are those of a sample of as
    many cells, but at least 10,000 rows, that is spread over the table. A sparse table of
    more than 4,194 columns has fewer than 1,000 quantiles a column, at least 100.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.data import NumericCodec
    >>> X = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> codec = NumericCodec().fit(X)
    >>> codec.encode(X).values
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    >>> codec.decode(codec.encode(X).values)
    array([[1., 5.],
           [3., 5.]])
    """

    # whether a cell is encoded by its value and column alone
    encodes_cells = True

    def __init__(
        self,
        scaling: str | None = "standard",
        dtype: str = "float32",
        seed: int = 0,
        input_name: str = "X",
        *,
        fill: bool = False,
    ):
        self.scaling = scaling
        self.dtype = np.dtype(dtype)
        self.seed = seed
        self.input_name = input_name
        self.fill = fill

    def fit(
        self, X: Table, names: Names = None, weights: Array | None = None
    ) -> NumericCodec:
        """Learn location and scale of every column.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
            A validated table.
        names : sequence of str or None, default=None
            Names of the columns, for messages.
        weights : ndarray of shape (n_samples,) or None, default=None
            How much each row counts. Means and variances are weighted; quantiles are
            those of rows drawn in proportion.

        Returns
        -------
        self : NumericCodec
            The fitted codec.

        Raises
        ------
        ValueError
            If a column has no observed cell.
        """
        self.names_ = names
        self.columns_, self.categories_ = None, ()
        self.n_encoded_ = self.n_numbers_ = X.shape[1]
        self.blocks_ = (Block("numeric", 0, self.n_encoded_),)
        self.curve_: QuantileTransformer | RankBlend | NormalScores | None = None
        self.center_, self.scale_ = np.zeros(X.shape[1]), np.ones(X.shape[1])
        standard = StandardScaler()
        low, high = np.full((2, X.shape[1]), np.nan)
        start = 0
        for part in parts_of(X, CELLS_AT_A_TIME):
            rows = dense(part)
            low = np.fmin(low, np.fmin.reduce(rows, axis=0))
            high = np.fmax(high, np.fmax.reduce(rows, axis=0))
            if self.scaling is not None:
                # a column without an observed cell in this part has no mean yet
                with np.errstate(invalid="ignore"):
                    share = None if weights is None else weights[start:][: len(rows)]
                    standard.partial_fit(_doubles(rows), sample_weight=share)
            start += len(rows)
        empty = np.isnan(high)
        if empty.any():
            raise ValueError(
                f"Column {column_label(names, int(empty.argmax()))} of"
                f" {self.input_name} holds no observed value. Drop the column."
            )
        size = np.maximum(np.abs(low), np.abs(high))
        if self.scaling is None:
            self.constant_ = high <= low + NEAR_CONSTANT * size
            return self
        spread = np.sqrt(standard.var_)
        self.constant_ = (standard.scale_ == 1.0) & (spread != 1.0)
        self.constant_ |= (spread <= NEAR_CONSTANT * size) & (spread < 1.0)
        # a mean of large equal numbers is rounded by far more than a deviation
        self.center_ = np.where(low == high, low, standard.mean_)
        self.scale_ = np.where(self.constant_, 1.0, standard.scale_)
        if self.scaling == "robust":
            for columns, rows in self._stretches(X, weights):
                robust = RobustScaler().fit(rows)
                width = np.subtract(*np.nanpercentile(rows, [75, 25], axis=0))
                usable = ~self.constant_[columns] & (
                    width > NEAR_CONSTANT * size[columns]
                )
                center, scale = self.center_[columns], self.scale_[columns]
                self.center_[columns] = np.where(usable, robust.center_, center)
                # scikit-learn has no scale for a width of less than some 2e-15
                self.scale_[columns] = np.where(usable, width, scale)
        elif self.scaling == "quantile":
            curves = [self._quantiles(rows, X) for _, rows in self._stretches(X, weights)]
            self.curve_ = curve = curves[0]
            curve.quantiles_ = np.concatenate([c.quantiles_ for c in curves], axis=1)
            curve.n_features_in_ = X.shape[1]
        elif self.scaling == "value_and_rank":
            self.curve_ = blend = RankBlend(self.center_, self.scale_)
            knots = [blend.fit(rows).knots_ for _, rows in self._stretches(X, weights)]
            blend.knots_ = [column for columns in knots for column in columns]
        elif self.scaling == "normal_scores":
            self.curve_ = scores = NormalScores()
            ranks = [scores.fit(r).columns_ for _, r in self._stretches(X, weights)]
            scores.columns_ = [column for columns in ranks for column in columns]
        self.single_ = self._in_single_precision()
        return self

    def _stretches(
        self, X: Table, weights: Array | None
    ) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Yield the rows that quantiles are taken from, of sparse ones some columns."""
        rows = self._some(X, weights)
        if not sparse.issparse(rows):
            yield slice(None), _doubles(rows)
            return
        rows, step = rows.tocsc(), max(1, CELLS_AT_A_TIME // rows.shape[0])
        for start in range(0, rows.shape[1], step):
            columns = slice(start, start + step)
            yield columns, _doubles(rows[:, columns])

    def _quantiles(self, rows: NDArray[np.float64], X: Table) -> QuantileTransformer:
        count = min(MOST_QUANTILES, len(rows))
        if sparse.issparse(X):
            count = min(count, max(FEWEST_QUANTILES, SPARSE_QUANTILES // X.shape[1]))
        return QuantileTransformer(
            n_quantiles=count, output_distribution="normal", random_state=self.seed
        ).fit(rows)

    def _some(self, X: Table, weights: Array | None) -> Table:
        """Return the rows that quantiles are taken from: one of each stretch of X."""
        n_rows, count = X.shape[0], max(FEWEST_ROWS, CELLS_FOR_QUANTILES // X.shape[1])
        if weights is not None:
            count = min(count, max(FEWEST_ROWS, n_rows))
            chosen = in_proportion(torch.from_numpy(weights), count).numpy()
            chosen = chosen.clip(max=n_rows - 1)
        elif n_rows <= count:
            return X
        else:
            rng = np.random.default_rng(self.seed)
            chosen = spread_places(n_rows, count, rng)
        rows = rows_at(X, chosen)
        return rows if sparse.issparse(X) else dense(rows)

    def scale(self, X: Table, out: Array | None = None) -> Array:
        """Encode rows as a NumPy array; row by row the same, whatever comes with it.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
            Validated rows.
        out : ndarray of shape (n_samples, n_encoded_) or None, default=None
            Where to put the result; None makes a new array.

        Returns
        -------
        encoded : ndarray of shape (n_samples, n_encoded_)
            New contiguous array of the codec's dtype.

        Raises
        ------
        ValueError
            If a scaled value is beyond the dtype.
        """
        X = X if sparse.issparse(X) else np.asarray(X)
        encoded = np.empty(X.shape, self.dtype) if out is None else out
        self.convert(X, encoded)
        cells = encoded.ravel(order="K")
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(np.dot(cells, cells))
        if suspicious:
            self.refuse_infinite(encoded, X)
        return encoded

    def convert(self, X: Table, out: Array) -> Array:
        """Encode rows without a look at the result; see :meth:`scale`."""
        if sparse.issparse(X) and X.shape[0] > 1:
            start = 0
            for part in parts_of(X):
                self.convert(dense(part), out[start : start + part.shape[0]])
                start += part.shape[0]
            return out
        X = dense(X)
        if self.scaling is None:
            with np.errstate(over="ignore"):
                np.copyto(out, X, casting="same_kind")
        elif self.single_ is not None and X.dtype == np.float32:
            # torch broadcasts several times as fast as NumPy, and warns of nothing
            first, rest, scale = self.single_
            if not (X.flags.c_contiguous and X.flags.writeable):
                np.copyto(out, X)
                X = out
            encoded = torch.sub(torch.from_numpy(X), first, out=torch.from_numpy(out))
            (encoded if rest is None else encoded.sub_(rest)).div_(scale)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                scaled = np.subtract(X, self.center_)
                np.divide(scaled, self.scale_, out=scaled)
                if self.curve_ is not None:
                    curved = self.curve_.transform(X.astype(np.float64, copy=False))
                    scaled = np.where(self.constant_, scaled, curved)
                np.copyto(out, scaled, casting="same_kind")
        return out

    def refuse_infinite(self, encoded: Array, X: Table) -> None:
        """Raise if an encoded value is beyond the dtype; missing cells may be there."""
        if np.isinf(encoded).any():
            row, column = np.argwhere(np.isinf(encoded))[0]
            raise ValueError(
                f"Input {self.input_name} contains a value too large for"
                f" dtype('{self.dtype}') after scaling: {X[row, column]:g} in column"
                f" {column_label(self.names_, column)}. Clip the column, or choose"
                " scaling='quantile'."
            )

    def _in_single_precision(self) -> tuple[Tensor, Tensor | None, Tensor] | None:
        """Return centre, what it lacks, and scale; None where these do not fit.

        Conversions to double precision and back take most of the time of scaling. The
        centre is taken off in two parts, which is exact where values are close to it;
        what is left has the error of single precision. The second part is left out where
        it is below that error, which it is unless a mean is several times its scale.
        """
        low, high = SINGLE
        inside = (self.scale_ > low) & (self.scale_ < high) & (abs(self.center_) < high)
        if self.curve_ is not None or self.dtype != np.float32 or not inside.all():
            return None
        first = self.center_.astype(np.float32)
        rest = self.center_ - first
        matters = (abs(rest) > np.finfo(np.float32).eps * self.scale_).any()
        return (
            torch.from_numpy(first),
            torch.from_numpy(rest.astype(np.float32)) if matters else None,
            torch.from_numpy(self.scale_.astype(np.float32)),
        )

    def is_identity(self, X: Table) -> bool:
        """Tell whether rows of `X` are encoded as they are, and can be lent to torch."""
        if self.scaling is not None or not isinstance(X, np.ndarray):
            return False
        flags = X.flags
        return X.dtype == self.dtype and flags.c_contiguous and flags.writeable

    def keeps_bad_cells(self, X: Table) -> bool:
        """Tell whether rows of `X` with cells that are not finite cannot look harmless.

        Nobody needs to look at them before they are encoded, then.
        """
        return isinstance(X, np.ndarray) and X.dtype == self.dtype and self.curve_ is None

    def encode(self, X: Table) -> Batch:
        """Encode rows as tensors.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
            Validated rows.

        Returns
        -------
        batch : Batch
            Contiguous values, NaN where a cell is missing; ``observed`` is None if none
            is.
        """
        return as_batch(torch.from_numpy(self.scale(X)), fill=self.fill)

    def encoded_names(self) -> Names:
        """Return the name of the column that each encoded column belongs to, if any."""
        return self.names_

    def patches(self, shape: Sequence[int] | None, size: int) -> NDArray[np.int64]:
        """Return the number of the patch that every encoded column belongs to.

        Parameters
        ----------
        shape : sequence of int or None
            What a row is, if it is an image or a sequence.
        size : int
            Side of a patch; see :func:`~sklearn_repr.utils.patches.patch_numbers`.

        Returns
        -------
        patches : int ndarray of shape (n_encoded_,)
            A number for each.
        """
        return patch_numbers(self.n_encoded_, shape, size)

    def log_scales(self) -> NDArray[np.float64]:
        """Return the logarithm of what every column of the table was divided by."""
        return np.asarray(np.log(self.scale_))

    def decode(self, encoded: Table, chances: Array | None = None) -> NDArray[np.float64]:
        """Turn encoded rows back into original units.

        Parameters
        ----------
        encoded : array-like or Tensor of shape (n_samples, n_encoded_)
            Encoded rows.
        chances : ndarray of shape (n_samples, n_encoded_) or None, default=None
            By which levels of categories are drawn; ignored.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            The rows in the units of the table that `fit` saw. With "quantile" they stay
            within the range that `fit` saw.
        """
        encoded = np.asarray(encoded, dtype=np.float64)
        X: NDArray[np.float64] = encoded * self.scale_ + self.center_
        if self.curve_ is not None:
            curved = self.curve_.inverse_transform(encoded)
            # normal scores, whatever they are, are those of the one value
            keeps = self.constant_ & (self.scaling != "normal_scores")
            X = np.where(keeps, X, curved)
        return X

    def squared_errors(self, X: Table, encoded: Array) -> NDArray[np.float64]:
        """Return the squared errors of rebuilt cells, in original units.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
            Rows.
        encoded : ndarray of shape (n_samples, n_encoded_)
            What a network says of them.

        Returns
        -------
        errors : ndarray of shape (n_samples, n_features)
            NaN where a cell is missing.
        """
        return np.square(dense(X) - self.decode(encoded))


def as_batch(values: Tensor, *, fill: bool, labels: Tensor | None = None) -> Batch:
    """Return encoded rows, and where cells were observed; missing ones are 0 if asked."""
    # several times as fast as to look at every cell
    if not values.sum().isnan():
        return Batch(values, labels=labels)
    missing = values.isnan()
    if not missing.any():  # infinities of both signs
        return Batch(values, labels=labels)
    if fill:
        values = values.masked_fill_(missing, 0.0)
    return Batch(values, ~missing, labels=labels)


def _doubles(X: Table) -> NDArray[np.float64]:
    # one memory layout, for sums depend on the order of their terms
    return np.ascontiguousarray(dense(X), dtype=np.float64)


def dense(X: Table) -> Array:
    """Return rows as an array."""
    return np.asarray(X.toarray() if sparse.issparse(X) else X)
