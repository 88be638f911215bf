"""How far rows are from training rows, column by column.

A training row that is the same as the row in question, but for rounding, is left out
once: so a training row's own distance is a leave-one-out distance, without
being told which rows are training rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAME_SHARE", "LocalNeighbours", "SetNeighbours", "soft"]

# Rows handled at a time, which bounds memory
ROWS_PER_CHUNK = 256
# Rows whose distances to all members of sets stay in a core's cache
ROWS_PER_PRODUCT = 64
# Rows that differ by less than this share of their size are the same
SAME_SHARE = 1e-3
# Training rows that are kept to be neighbours, at most
ROWS_KEPT = 10_000
# Rows beyond the nearest whose distances are computed exactly too, since the rough ones
# that choose them are rounded
SPARE_ROWS = 8
# Deviations beyond which a set's distances grow ever more slowly
SOFT_DEVIATIONS = 3.0
# A set holds at most this share of the rows, or few of them would be far from it
SET_SHARE = 1 / 8


def soft(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows in which single far cells do not decide."""
    # in place: fresh memory for every step would cost as much as the steps
    softened: NDArray[np.float64] = np.abs(rows)
    softened /= SOFT_DEVIATIONS
    np.log1p(softened, out=softened)
    softened *= SOFT_DEVIATIONS
    return np.copysign(softened, rows, out=softened)


class SetNeighbours:
    r"""Mean distance to the nearest row of small random sets of training rows.

    Rows are compared by :math:`3 \, \mathrm{sign}(x) \log(1 + |x| / 3)`, which keeps
    single far cells from deciding. Small sets make rows that have few like them far from
    most sets: clustered outliers too, as long as few sets hold one.

    Parameters
    ----------
    n_sets : int, default=64
        Number of sets.
    set_size : int, default=16
        Rows in each, drawn without replacement; at most an eighth of the training rows.

    References
    ----------
    Pang, Ting and Albrecht, "LeSiNN: detecting anomalies by identifying least similar
    nearest neighbours", ICDM Workshops 2015, doi:10.1109/ICDMW.2015.62.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.neighbours import SetNeighbours
    >>> rows = np.zeros((4, 2))
    >>> near = SetNeighbours().fit(rows, np.random.default_rng(0))
    >>> near.distances(np.array([[0.0, 3 * np.e - 3]]))
    array([[0., 3.]])
    """

    def __init__(self, n_sets: int = 64, set_size: int = 16):
        self.n_sets = n_sets
        self.set_size = set_size

    def fit(self, rows: Any, rng: np.random.Generator) -> SetNeighbours:
        """Draw the sets.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features)
            Training rows.
        rng : Generator
            Source of randomness.

        Returns
        -------
        self : SetNeighbours
            Ready to measure.
        """
        size = min(self.set_size, max(1, int(SET_SHARE * len(rows))))
        drawn = [
            rng.choice(len(rows), size, replace=False, shuffle=False)
            for _ in range(self.n_sets)
        ]
        # the first member of every set, then the second: minima run along memory
        self.shape_ = size, self.n_sets
        self._keep(rows, np.transpose(drawn).ravel())
        return self

    def _keep(self, rows: Any, drawn: NDArray[np.intp]) -> None:
        self.rows_: Any = soft(rows[drawn])
        # one product has the members' squared sizes in it
        sizes = np.square(self.rows_).sum(axis=1)
        self.factor_ = np.c_[-2.0 * self.rows_, sizes]

    def sums(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distances, (n,)."""
        found = np.empty(len(rows))
        for i in range(0, len(rows), ROWS_PER_PRODUCT):
            _, near = self._squares(soft(rows[i : i + ROWS_PER_PRODUCT]))
            found[i : i + len(near)] = _mean_root(near)
        return found

    def distances(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shares of each column in the distance, averaged over sets.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_features)
            In proportion to squared differences; their sum is the distance.
        """
        total = np.zeros(rows.shape)
        for i in range(0, len(rows), ROWS_PER_PRODUCT):
            softened = soft(rows[i : i + ROWS_PER_PRODUCT])
            squares, near = self._squares(softened)
            known = np.isfinite(near)
            best = squares.argmin(axis=0) * self.n_sets + np.arange(self.n_sets)[:, None]
            part = total[i : i + len(softened)]
            for members, there in zip(best, known.T, strict=True):
                apart = np.square(softened - self._kept(members))
                part += np.where(there[:, None], _shares(apart), 0.0)
            part /= np.maximum(known.sum(axis=1, keepdims=True), 1)
        return total

    def _kept(self, members: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return rows of sets, softened."""
        return np.asarray(self.rows_[members])

    def _squares(
        self, softened: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return squared distances to members of sets, and the least of every set.

        The former, (size, n_sets, n), lack the squared size of the row, and are infinite
        for the first member that is a twin of it; the latter are of shape (n, n_sets).
        """
        size, lacking = self._products(softened)
        squares = lacking.reshape(*self.shape_, len(softened))
        near = squares.min(axis=0).T.copy()
        near += size[:, None]
        whole = np.square(softened).sum(axis=1)
        limit = (SAME_SHARE * (1.0 + np.sqrt(whole))) ** 2
        row, where = np.nonzero(near <= limit[:, None])
        if len(row):
            twin = (squares[:, where, row] + size[row] <= limit[row]).argmax(axis=0)
            squares[twin, where, row] = np.inf
            near[row, where] = squares[:, where, row].min(axis=0) + size[row]
        return squares, np.maximum(near, 0.0, out=near)

    def _products(
        self, softened: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return squared sizes (n,), and what they lack to distances, (kept, n)."""
        # always as many rows, so that a product does not depend on how many there are
        padded = np.zeros((ROWS_PER_PRODUCT, softened.shape[1] + 1))
        padded[: len(softened), :-1] = softened
        padded[:, -1] = 1.0
        lacking = self.factor_ @ padded.T
        return np.square(softened).sum(axis=1), lacking[:, : len(softened)]


def _mean_root(near: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean distance over the sets that have a member, 0 if none has."""
    known = np.isfinite(near)
    if known.all():
        return np.asarray(np.sqrt(near).mean(axis=1))
    total = np.sqrt(np.where(known, near, 0.0)).sum(axis=1)
    return np.asarray(total / np.maximum(known.sum(axis=1), 1))


class LocalNeighbours:
    r"""Distance to the nearest training rows: to their mean, and to each.

    The geometric mean of two distances: to the mean of the k nearest rows weighted by
    :math:`1/d^2`, and the mean distance to the nearer half of them.

    Parameters
    ----------
    n_neighbors : int, default=10
        k.
    n_kept : int, default=10_000
        Training rows that are kept at most.
    n_chunk : int, default=256
        Rows whose neighbours are looked for at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.neighbours import LocalNeighbours
    >>> rows = np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 99.0]])
    >>> near = LocalNeighbours(2).fit(rows, np.random.default_rng(0))
    >>> near.distances(np.array([[0.0, 4.0]])).sum()  # of 4 to the mean and 5 to each
    np.float64(4.47...)
    """

    def __init__(
        self,
        n_neighbors: int = 10,
        n_kept: int = ROWS_KEPT,
        n_chunk: int = ROWS_PER_CHUNK,
    ):
        self.n_neighbors = n_neighbors
        self.n_kept = n_kept
        self.n_chunk = n_chunk

    def fit(self, rows: Any, rng: np.random.Generator) -> LocalNeighbours:
        """Keep the rows, or a draw of them.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features)
            Training rows.
        rng : Generator
            Source of randomness.

        Returns
        -------
        self : LocalNeighbours
            Ready to measure.
        """
        if len(rows) > self.n_kept:
            rows = rows[rng.choice(len(rows), self.n_kept, replace=False, shuffle=False)]
        self.rows_ = rows[:].copy()
        self.sizes_ = np.square(self.rows_).sum(axis=1)
        return self

    def distances(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shares of each column in the distance.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_features)
            Columns share both distances by their squared differences; the sum over
            columns is the distance.
        """
        parts = [
            self._chunk(rows[i : i + self.n_chunk])
            for i in range(0, len(rows), self.n_chunk)
        ]
        return np.concatenate(parts)

    def sums(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distances, (n,)."""
        return np.asarray(self.distances(rows).sum(axis=1))

    def _chunk(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        k = min(self.n_neighbors + 1, len(self.rows_))
        apart, index = self._nearest(rows, k)
        same = apart[:, 0] <= SAME_SHARE * (1.0 + np.linalg.norm(rows, axis=1))
        # of the k nearest without the twin, or the k - 1 nearest where there is none
        skip = same & (k > 1)
        columns = np.arange(max(k - 1, 1)) + skip[:, None]
        apart = np.take_along_axis(apart, columns, axis=1)
        index = np.take_along_axis(index, columns, axis=1)
        weight = 1.0 / np.maximum(apart / np.maximum(apart[:, :1], 1e-150), 1e-150) ** 2
        weight = np.where(apart[:, :1] > 0, weight, apart == 0)
        mean = (weight[:, :, None] * self.rows_[index]).sum(axis=1)
        to_mean = _shares(np.square(rows - mean / weight.sum(axis=1, keepdims=True)))
        half = -(-index.shape[1] // 2)
        apart_by_column = np.square(rows[:, None, :] - self.rows_[index[:, :half]])
        to_each = _shares(apart_by_column).mean(axis=1)
        sums = [part.sum(axis=1, keepdims=True) for part in (to_mean, to_each)]
        distance = np.sqrt(sums[0]) * np.sqrt(sums[1])
        shares: NDArray[np.float64] = sum(
            0.5 * distance * part / np.where(total > 0, total, 1.0)
            for part, total in zip((to_mean, to_each), sums, strict=True)
        )
        return shares

    def _nearest(self, rows: NDArray[np.float64], k: int) -> tuple[Any, Any]:
        # always as many rows, so that a product does not depend on how many there are
        padded = np.zeros((self.n_chunk, rows.shape[1]))
        padded[: len(rows)] = rows
        rough = (self.sizes_ - 2.0 * (padded @ self.rows_.T))[: len(rows)]
        count = min(k + SPARE_ROWS, len(self.rows_))
        index = np.argpartition(rough, count - 1, axis=1)[:, :count]
        residual = self.rows_[index] - rows[:, None, :]
        apart = np.sqrt(np.square(residual).sum(axis=2))
        order = np.lexsort((index, apart), axis=1)[:, :k]
        return (
            np.take_along_axis(apart, order, axis=1),
            np.take_along_axis(index, order, axis=1),
        )


def _shares(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide squared differences by their root sum, so that they add up to it."""
    size = np.sqrt(squares.sum(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = squares / np.where(size > 0, size, 1.0)
    return shares
