"""What unlabelled rows probably are, from their codes and the labelled rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from sklearn_repr._contracts import Array

__all__ = ["confident", "propagated"]

# Neighbours of a row in the graph, how much of its targets a row takes from them, and how
# often they are passed on
NEIGHBORS = 10
PASSED_ON = 0.9
STEPS = 100
# Rounds of pseudo-labels, and the probability from which on one is believed
ROUNDS = 5
BELIEVED = 0.95


def propagated(codes: Array, targets: Array) -> NDArray[np.float64]:
    r"""Pass targets on from row to row of a graph of nearest neighbours.

    .. math:: F = \sum_t (\alpha S)^t Y, \qquad S = D^{-1/2} W D^{-1/2}

    with Y the known targets, W the weights of neighbours, larger the nearer they are, and
    D their sums. What reaches a row is divided by how much of every target there is, and
    then by its sum.

    Parameters
    ----------
    codes : ndarray of shape (n, n_components)
        Codes, standardised.
    targets : ndarray of shape (n, k)
        Probabilities of classes; NaN in rows of which they are unknown.

    Returns
    -------
    guesses : float64 ndarray of shape (n, k)
        Probabilities for all rows; those that are known as they are.

    References
    ----------
    Zhou, Bousquet, Lal, Weston and Schölkopf, "Learning with local and global
    consistency", NeurIPS 2003. Zhu, Ghahramani and Lafferty, "Semi-supervised learning
    using Gaussian fields and harmonic functions", ICML 2003 (class mass).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.estimators._guesses import propagated
    >>> codes = np.r_[np.arange(5), np.arange(100, 105)].reshape(-1, 1)
    >>> targets = np.full((10, 2), np.nan)
    >>> targets[[0, 9]] = np.eye(2)
    >>> propagated(codes, targets).argmax(axis=1)
    array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    known = ~np.isnan(targets).any(axis=1)
    passing = _graph(codes)
    given = np.where(known[:, None], targets, 0.0)
    found = given
    for _ in range(STEPS):
        found = PASSED_ON * (passing @ found) + given
    found = found / np.maximum(found.sum(axis=0), 1e-300)
    total = found.sum(axis=1, keepdims=True)
    even = np.full_like(found, 1.0 / found.shape[1])
    guesses = np.divide(found, total, out=even, where=total > 0)
    guesses[known] = targets[known]
    return guesses


def _graph(codes: Array) -> sparse.csr_array:
    """Return the symmetrically normalised weights of neighbours."""
    n = len(codes)
    count = min(NEIGHBORS, n - 1)
    search = NearestNeighbors(n_neighbors=count).fit(codes)
    apart, near = search.kneighbors()
    reach = np.maximum(apart[:, -1], 1e-12)
    weights = np.exp(-np.square(apart) / (reach[:, None] * reach[near]))
    places = np.repeat(np.arange(n), count), near.ravel()
    graph = sparse.csr_array((weights.ravel(), places), shape=(n, n))
    graph = (graph + graph.T) / 2
    root = 1 / np.sqrt(np.maximum(graph.sum(axis=1), 1e-12))
    return sparse.csr_array(graph.multiply(root[:, None]).multiply(root))


def confident(
    fit: Callable[[Array, Array], Callable[[Array], Array]],
    codes: Array,
    targets: Array,
) -> NDArray[np.float64]:
    """Believe a classifier where it is sure, and let it learn from that, some times over.

    Parameters
    ----------
    fit : callable
        Maps codes and targets to what maps codes to probabilities.
    codes : ndarray of shape (n, n_components)
        Codes.
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
    unknown = np.isnan(targets).any(axis=1)
    guesses = np.array(targets, dtype=np.float64)
    for _ in range(ROUNDS):
        known = ~np.isnan(guesses).any(axis=1)
        p = fit(codes[known], guesses[known])(codes)
        believed = unknown & (p.max(axis=1) >= BELIEVED)
        if not (believed & ~known).any():
            break
        guesses[unknown] = np.nan
        guesses[believed] = np.eye(p.shape[1])[p[believed].argmax(axis=1)]
    return guesses
