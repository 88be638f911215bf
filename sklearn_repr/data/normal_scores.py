"""Columns as normal scores of their ranks, and back to values that were seen."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from sklearn_repr._contracts import Array

__all__ = ["NormalScores"]

# Values of a column that are kept apart
MOST_VALUES = 10_000


class NormalScores:
    r"""Every column by the normal scores of its ranks, ties sharing their mean rank.

    .. math:: e(x) = \Phi^{-1} \Bigl( \frac{F(x^-) + F(x)}{2} \Bigr)

    with F the share of training values that are at most x. A value owns the ranks between
    F(x⁻) and F(x): whatever falls there is decoded to it. A column of few values, or one
    of which half the cells are zero, is so decoded to the values it had, in their shares.
    If all values of a column differ, those between two are decoded to what lies between,
    to a whole number where all of them are.

    Notes
    -----
    Of a column with more than 10,000 distinct values, as many are kept, evenly spread
    among them, and a column in which no two are equal is as if it had been sampled.

    References
    ----------
    Conover and Iman, "Rank transformations as a bridge between parametric and
    nonparametric statistics", The American Statistician 35 (1981),
    doi:10.1080/00031305.1981.10479327.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.data.normal_scores import NormalScores
    >>> X = np.array([[0.0], [0.0], [0.0], [5.0], [9.0], [9.0]])
    >>> scores = NormalScores().fit(X)
    >>> scores.transform(X[2:5]).round(2).ravel()
    array([-0.67,  0.21,  0.97])
    >>> scores.inverse_transform(np.array([[-3.0], [-0.1], [0.3], [0.5]])).ravel()
    array([0., 0., 5., 9.])
    """

    def fit(self, X: Array) -> NormalScores:
        """Learn the ranks of every column.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Training rows; missing cells are NaN.

        Returns
        -------
        self : NormalScores
            The fitted transformation.
        """
        self.columns_ = [_Ranks(column[~np.isnan(column)]) for column in X.T]
        return self

    def transform(self, X: Array) -> NDArray[np.float64]:
        """Encode rows.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows; missing cells stay NaN.

        Returns
        -------
        encoded : ndarray of shape (n_samples, n_features)
            The scores; ranks are interpolated between values, and those of values beyond
            all others are theirs.
        """
        encoded = np.empty(X.shape)
        for j, ranks in enumerate(self.columns_):
            encoded[:, j] = ndtri(np.interp(X[:, j], ranks.values, ranks.centres))
        return encoded

    def inverse_transform(self, encoded: Array) -> NDArray[np.float64]:
        """Return the values that own the scores.

        Parameters
        ----------
        encoded : ndarray of shape (n_samples, n_features)
            Scores.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows in original units, within the range of the training values.
        """
        X = np.empty(encoded.shape)
        for j, ranks in enumerate(self.columns_):
            X[:, j] = ranks.values_at(ndtr(encoded[:, j]))
        return X

    def edges(self) -> Tensor:
        """Return the scores that part the ranks of values.

        Returns
        -------
        edges : Tensor of shape (n_features, m), float64
            Increasing in every row, from -inf to as many inf as are needed to fill it.
        """
        width = max(len(ranks.edges) for ranks in self.columns_)
        edges = np.ones((len(self.columns_), width))
        for row, ranks in zip(edges, self.columns_, strict=True):
            row[: len(ranks.edges)] = ranks.edges
        return torch.from_numpy(ndtri(edges))


class _Ranks:
    """Distinct values of a column, and where the ranks of each begin and end, in [0, 1].

    Parameters
    ----------
    column : ndarray of shape (n,)
        Observed values.
    """

    def __init__(self, column: Array):
        values, counts = np.unique(column, return_counts=True)
        self.tied = len(values) < len(column)
        self.whole = bool((values == np.round(values)).all())
        ends = np.r_[0, np.cumsum(counts)] / len(column)
        if len(values) > MOST_VALUES:
            bounds = np.linspace(0, len(values), MOST_VALUES + 1).round().astype(int)
            ends = ends[bounds]
            values = values[(bounds[:-1] + bounds[1:] - 1) // 2]
        self.values = values.astype(np.float64)
        self.edges = ends
        self.centres = (ends[:-1] + ends[1:]) / 2

    def values_at(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the quantiles of the column."""
        if self.tied:
            owner = np.searchsorted(self.edges, shares, side="right") - 1
            return np.asarray(self.values[owner.clip(0, len(self.values) - 1)])
        found = np.asarray(np.interp(shares, self.centres, self.values))
        return found.round() if self.whole else found
