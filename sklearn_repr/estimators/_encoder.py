"""The encoder of a predictor: one that was fitted is kept, another is fitted."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, has_fit_parameter
from torch import Tensor, nn

from sklearn_repr._contracts import Array, Rows, Table
from sklearn_repr.corruptions import make_views
from sklearn_repr.corruptions.views import TwoViews
from sklearn_repr.data.blocks import encode_table
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.estimators._learned import moments
from sklearn_repr.utils.fitted import is_fitted
from sklearn_repr.utils.frames import is_frame
from sklearn_repr.utils.randomness import Seeds, seeded_clone
from sklearn_repr.utils.sampling import rows_at

__all__ = [
    "FittedEncoder",
    "as_they_are",
    "fitted_encoder",
    "is_trainable",
    "unwrapped",
]


def unwrapped(encoder: Any) -> Any:
    """Return what a FrozenEstimator holds, anything else as it is."""
    return encoder.estimator if isinstance(encoder, FrozenEstimator) else encoder


def own_columns(encoder: Any, X: Table) -> list[str] | None:
    """Return which columns of a frame a fitted encoder takes, None for all as they are.

    Raises
    ------
    ValueError
        If the frame lacks some of them.
    """
    names = getattr(encoder, "feature_names_in_", None)
    if names is None or not is_frame(X) or list(X.columns) == list(names):
        return None
    missing = [name for name in names if name not in set(X.columns)]
    if missing:
        raise ValueError(
            f"encoder was fitted on columns that X lacks: {missing}. Pass a table that"
            f" has all of {list(names)}, in any order and among others."
        )
    return list(names)


def as_they_are(module: nn.Module, codes: Tensor) -> Tensor:
    """Return codes, where nothing maps rows to them any more."""
    return codes


def is_trainable(encoder: Any) -> bool:
    """Tell estimators of this package that train a network."""
    return isinstance(unwrapped(encoder), BaseRepresentation)


class FittedEncoder(NamedTuple):
    """A fitted encoder, and which columns of a table it takes.

    Attributes
    ----------
    estimator : estimator
        With `transform`.
    columns : list of str or None
        Names of columns of a frame, None for all as they are.
    """

    estimator: Any
    columns: list[str] | None = None

    def selected(self, X: Table) -> Table:
        """Return the columns that are taken."""
        return X if self.columns is None else X[self.columns]

    def codes(self, X: Table) -> Array:
        """Map rows to their codes."""
        codes = self.estimator.transform(self.selected(X))
        who = f"encoder={self.estimator!r}"
        if sparse.issparse(codes):
            raise ValueError(
                f"{who} returns a sparse matrix; codes are dense. Reduce them, for"
                " example by TruncatedSVD behind it in a Pipeline."
            )
        codes = np.asarray(codes)
        if codes.ndim != 2 or codes.dtype.kind not in "fiub":
            raise ValueError(f"{who} must map rows to numbers, in two dimensions.")
        if not np.isfinite(codes).all():
            raise ValueError(
                f"{who} returns NaN or infinity. Fill missing cells before it, or use an"
                " encoder that takes them."
            )
        return codes

    def moments(self, codes: Array) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of codes; 1 where one is constant."""
        # networks compute in single precision, and the last of several axes may be noise
        return moments(codes, 1e-6 if is_trainable(self.estimator) else 1e-12)

    def two_views(self) -> TwoViews:
        """Return what makes two views of a row: the encoder's own way, or swaps."""
        own = self.estimator
        views = own._option("views", "swap")
        level = "auto" if views == "swap" else own._option("corruption_level", "auto")
        pair = TwoViews(make_views(views, level, input_shape=own._row_shape()))
        if own._codec.columns_ is not None:
            pair.group(torch.from_numpy(own._codec.columns_))
        return pair

    def rows(self, X: Table) -> Rows:
        """Return encoded rows, as the network of an encoder of ours sees them."""
        own = self.estimator
        rows: Rows = encode_table(
            own._codec, own._validate(self.selected(X), reset=False)
        )
        return rows


def fitted_encoder(
    given: Any,
    X: Table,
    y: Array,
    known: Array,
    weights: Array | None,
    seeds: Seeds,
    mode: str,
) -> FittedEncoder:
    """Return an encoder that is fitted: the one given if it is, else a clone.

    Parameters
    ----------
    given : estimator
        Perhaps in a FrozenEstimator.
    X : table of shape (n_samples, n_features)
        All rows.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        For encoders that need labels.
    known : bool ndarray of shape (n_samples,)
        Which rows have one.
    weights : ndarray of shape (n_samples,) or None
        For encoders that take weights.
    seeds : Seeds
        For encoders without a seed of their own.
    mode : {"probe", "fine_tune", "end_to_end"}
        A fitted encoder that will be tuned is a copy; under "end_to_end" a network
        stays at its random start.

    Returns
    -------
    encoder : FittedEncoder
        Fitted.
    """
    own = unwrapped(given)
    frozen = own is not given
    if frozen:
        check_is_fitted(own)
    # what needs no fit learns the columns of the table nevertheless
    if get_tags(own).requires_fit and is_fitted(own):
        if mode == "end_to_end":
            raise ValueError(
                "mode='end_to_end' trains the encoder from a random start, but encoder is"
                " fitted. Set mode='fine_tune', or pass sklearn.base.clone(encoder)."
            )
        kept = own if frozen and mode == "probe" else copy.deepcopy(own)
        return FittedEncoder(kept, own_columns(own, X))
    if hasattr(own, "transform_y"):
        raise ValueError(
            f"encoder={own!r} learns from two tables: fit it on both, and pass it in a"
            " sklearn.frozen.FrozenEstimator."
        )
    own = seeded_clone(own, seeds)
    labels = y if get_tags(own).target_tags.required else None
    if labels is not None and not is_trainable(own):
        X, labels = rows_at(X, np.flatnonzero(known)), y[known]
        weights = None if weights is None else weights[known]
    options: dict[str, Any] = {}
    if weights is not None and has_fit_parameter(own, "sample_weight"):
        options["sample_weight"] = weights
    if mode == "end_to_end":
        own._trains = False
    return FittedEncoder(own.fit(X, labels, **options))
