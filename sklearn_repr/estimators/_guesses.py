"""What unlabelled rows probably are, from their codes and the labelled rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from sklearn_repr._contracts import Array
from sklearn_repr.estimators._learned import known_rows

__all__ = ["confident", "propagated", "shares"]

# Neighbours of a row in the graph, how much of its targets a row takes from them, and how
# often they are passed on
NEIGHBORS = 10
PASSED_ON = 0.9
STEPS = 100
# Rounds of pseudo-labels, and the probability from which on one is believed
ROUNDS = 5
BELIEVED = 0.95


def propagated(codes: Array, targets: Array, weights: Array) -> NDArray[np.float64]:
    r"""Pass targets on from row to row of a graph of nearest neighbours.

    .. math:: F = D^{-1/2} \sum_t (\alpha S)^t Y, \qquad S = D^{-1/2} W D^{-1/2}

    with Y the known targets, W the weights of neighbours, which fall with the distance
    over what is usual around either row, and D their sums.

    Parameters
    ----------
    codes : float64 ndarray of shape (n, d)
        Rows.
    targets : float64 ndarray of shape (n, k)
        Probabilities of classes; NaN in rows of which they are unknown.
    weights : float64 ndarray of shape (n,)
        How much every known row counts.

    Returns
    -------
    guesses : float64 ndarray of shape (n, k)
        Probabilities of classes of all rows.

    References
    ----------
    Zhou, Bousquet, Lal, Weston and Schölkopf, "Learning with local and global
    consistency", NeurIPS 2003.

    Zelnik-Manor and Perona, "Self-tuning spectral clustering", NeurIPS 2004 (weights).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.estimators._guesses import propagated
    >>> codes = np.r_[np.arange(5.0), np.arange(100.0, 105.0)].reshape(-1, 1)
    >>> targets = np.full((10, 2), np.nan)
    >>> targets[[0, 9]] = np.eye(2)
    >>> propagated(codes, targets, np.ones(10)).argmax(axis=1)
    array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    n = len(codes)
    search = NearestNeighbors(n_neighbors=min(NEIGHBORS, n - 1)).fit(codes)
    apart, near = search.kneighbors()
    reach = np.maximum(apart[:, -1], 1e-9)
    weight = np.exp(-np.square(apart) / (reach[:, None] * reach[near]))
    places = np.repeat(np.arange(n), near.shape[1]), near.ravel()
    graph = sparse.csr_array((weight.ravel(), places), shape=(n, n))
    graph = (graph + graph.T) / 2
    root = 1 / np.sqrt(np.maximum(graph.sum(axis=1), 1e-9))
    passing = sparse.csr_array(graph.multiply(root[:, None]).multiply(root))
    known = known_rows(targets)
    given = np.where(known[:, None], targets, 0.0) * weights[:, None]
    found = given
    for _ in range(STEPS):
        found = PASSED_ON * (passing @ found) + given
    return shares(found * root[:, None])


def shares(values: Array) -> NDArray[np.float64]:
    """Divide rows by their sums, after a floor that lets rows of zeros be even."""
    floored = np.maximum(values, 1e-12)
    found: NDArray[np.float64] = floored / floored.sum(axis=1, keepdims=True)
    return found


def confident(
    fit: Callable[[NDArray[np.bool_], Array], Array], targets: Array
) -> NDArray[np.float64]:
    """Believe a classifier where it is sure, and let it learn from that, some times over.

    Parameters
    ----------
    fit : callable
        Maps which rows to learn from, and their targets, to probabilities of all rows.
    targets : ndarray of shape (n, k)
        Probabilities of classes; NaN in rows of which they are unknown.

    Returns
    -------
    guesses : float64 ndarray of shape (n, k)
        The same with zeros and ones where the classifier is sure.

    References
    ----------
    Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep
    neural networks", ICML workshop 2013.
    """
    unknown = ~known_rows(targets)
    guesses = np.array(targets, dtype=np.float64)
    for _ in range(ROUNDS):
        known = known_rows(guesses)
        p = fit(known, guesses[known])
        believed = unknown & (p.max(axis=1) >= BELIEVED)
        if not (believed & ~known).any():
            break
        guesses[unknown] = np.nan
        guesses[believed] = np.eye(p.shape[1])[p[believed].argmax(axis=1)]
    return guesses
