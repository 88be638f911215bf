"""The rows that a head learns from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from torch import Tensor

from sklearn_repr._contracts import Array, Table
from sklearn_repr.utils.frames import as_pandas, is_frame, refuse_lazy
from sklearn_repr.utils.sampling import rows_at

__all__ = ["Learned", "as_table", "known_rows", "looked_at", "moments", "spread_share"]

# Unlabelled rows that are looked at beside the labelled ones, evenly spread over all
MOST_UNLABELLED = 10_000


class Learned(NamedTuple):
    """What a head is learned from: rows, what is known of them, and how much each counts.

    Attributes
    ----------
    X : table of shape (n, n_features)
        Rows as the encoder takes them.
    codes : float64 ndarray of shape (n, n_components)
        Their codes before any tuning.
    targets : float64 ndarray of shape (n, k)
        What is to be predicted, NaN where it is unknown.
    weights : float64 ndarray of shape (n,)
        How much each row counts.
    """

    X: Table
    codes: Array
    targets: Array
    weights: Array

    def take(self, index: NDArray[np.intp]) -> Learned:
        """Return some of the rows."""
        return Learned(rows_at(self.X, index), *(part[index] for part in self[1:]))

    def known(self) -> NDArray[np.bool_]:
        """Tell rows of which a target is known."""
        return known_rows(self.targets)

    def labelled(self) -> Learned:
        """Return these rows."""
        return self.take(np.flatnonzero(self.known()))

    def held_out(
        self, keys: Array, fraction: float, seed: int, *, each_kept: bool
    ) -> tuple[Learned, Learned | None]:
        """Return all rows but a share of the labelled ones, and that share.

        With `each_kept` no key is held out of every row that has it.
        """
        known = np.flatnonzero(self.known())
        chosen = spread_share(keys[known], fraction, seed)
        aside = known[chosen]
        if each_kept:
            aside = aside[np.isin(keys[aside], keys[known[~chosen]])]
        if not len(aside):
            return self, None
        rest = np.setdiff1d(np.arange(len(self.weights)), aside)
        return self.take(rest), self.take(aside)

    def tensors(self, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return standardised codes, targets and weights."""
        codes = (torch.from_numpy(self.codes) - mean) / scale
        return codes, torch.from_numpy(self.targets), torch.from_numpy(self.weights)


def as_table(X: Table, estimator: BaseEstimator) -> Table:
    """Return frames as they are, everything else as an array or a CSR matrix."""
    refuse_lazy(X)
    if is_frame(X):
        return as_pandas(X) if type(X).__module__.startswith("pyarrow") else X
    return check_array(
        X, accept_sparse="csr", dtype=None, ensure_all_finite=False, estimator=estimator
    )


def known_rows(targets: Array) -> NDArray[np.bool_]:
    """Tell rows of which a target is known."""
    return np.asarray(~np.isnan(targets).all(axis=1))


def looked_at(known: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the numbers of labelled rows, and of others evenly spread over all."""
    others = np.flatnonzero(~known)
    some = others[:: max(1, -(-len(others) // MOST_UNLABELLED))]
    return np.sort(np.concatenate([np.flatnonzero(known), some]))


def moments(codes: Array, share: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of codes; 1 where one is next to constant.

    That is where it varies by rounding, or by less than a `share` of what the one that
    varies most does.
    """
    values = torch.from_numpy(codes)
    scale = values.std(dim=0, correction=0)
    least = 1e-7 * values.abs().amax(dim=0).clamp(min=1e-30)
    least = torch.maximum(least, share * scale.max())
    return values.mean(dim=0), scale.masked_fill(scale <= least, 1.0)


def spread_share(keys: Array, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose a share of rows at random, but evenly over the order of their keys.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.estimators._learned import spread_share
    >>> keys = np.repeat([0, 1], 4)
    >>> keys[spread_share(keys, 0.5, 0)].tolist()
    [0, 0, 1, 1]
    """
    shuffled = np.random.default_rng(seed).permutation(len(keys))
    order = shuffled[np.argsort(keys[shuffled], kind="stable")]
    steps = np.floor(fraction * np.arange(len(keys) + 1))
    chosen = np.zeros(len(keys), dtype=bool)
    chosen[order[np.diff(steps) > 0]] = True
    return chosen
