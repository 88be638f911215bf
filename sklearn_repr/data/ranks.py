"""Standardised ranks of columns, and their mean with standardised values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_repr._contracts import Array

__all__ = ["RankBlend"]

# Values of a column whose ranks are kept; between them ranks are interpolated
MOST_KNOTS = 1000


class RankBlend:
    r"""Mean of a column's standardised value and its standardised rank.

    .. math:: e(x) = \tfrac12 \Bigl( \frac{x - \bar x}{s}
              + \frac{r(x) - \bar r}{s_r} \Bigr)

    with r the rank among the training values, ties sharing their mean rank. The value
    keeps distances, the rank keeps apart what an outlier or a skewed column presses
    together. e increases strictly, so it can be undone.

    Parameters
    ----------
    center, scale : ndarray of shape (n_features,)
        Location and spread of the columns.

    Notes
    -----
    Between training values the rank is interpolated; beyond them it stays at its first or
    last, and the value alone goes on. Of a column with more than 1000 distinct values,
    1000 are kept, evenly spread among them.

    References
    ----------
    Conover and Iman, "Rank transformations as a bridge between parametric and
    nonparametric statistics", The American Statistician 35 (1981),
    doi:10.1080/00031305.1981.10479327.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.data.ranks import RankBlend
    >>> X = np.array([[0.0], [1.0], [2.0], [97.0]])
    >>> blend = RankBlend(X.mean(axis=0), X.std(axis=0)).fit(X)
    >>> blend.transform(X).round(2).ravel()
    array([-0.97, -0.51, -0.05,  1.54])
    """

    def __init__(self, center: Array, scale: Array):
        self.center = center
        self.scale = scale

    def fit(self, X: Array) -> RankBlend:
        """Learn the ranks of every column.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Training rows; missing cells are NaN.

        Returns
        -------
        self : RankBlend
            The fitted transformation.
        """
        self.knots_ = [_standard_ranks(column[~np.isnan(column)]) for column in X.T]
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
            The means.
        """
        encoded: NDArray[np.float64] = (X - self.center) / self.scale
        for j, (values, ranks) in enumerate(self.knots_):
            encoded[:, j] += np.interp(X[:, j], values, ranks)
        return encoded / 2

    def inverse_transform(self, encoded: Array) -> NDArray[np.float64]:
        """Return the values whose encodings these are.

        Parameters
        ----------
        encoded : ndarray of shape (n_samples, n_features)
            Encoded rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows in original units.
        """
        X = np.empty(encoded.shape)
        for j, (values, ranks) in enumerate(self.knots_):
            means = ((values - self.center[j]) / self.scale[j] + ranks) / 2
            column = encoded[:, j]
            X[:, j] = np.interp(column, means, values)
            beyond = np.minimum(column - means[0], 0) + np.maximum(column - means[-1], 0)
            X[:, j] += 2 * self.scale[j] * beyond
        return X


def _standard_ranks(
    column: Array,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distinct values, and their mean ranks with mean 0 and variance 1."""
    values, counts = np.unique(column, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    ranks -= (len(column) + 1) / 2
    spread = np.sqrt(counts @ ranks**2 / len(column))
    ranks /= spread if spread > 0 else 1.0
    if len(values) > MOST_KNOTS:
        kept = np.linspace(0, len(values) - 1, MOST_KNOTS).round().astype(int)
        values, ranks = values[kept], ranks[kept]
    return values.astype(np.float64), ranks
