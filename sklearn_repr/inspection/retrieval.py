"""What an embedding is worth for finding one row by another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from sklearn.preprocessing import normalize
from sklearn.utils import check_array, check_consistent_length, check_scalar
from sklearn.utils.validation import column_or_1d

from sklearn_repr.utils.retrieval import top_match_share

__all__ = [
    "mean_average_precision",
    "ndcg_at_k",
    "recall_at_k",
    "retrieval_accuracy",
]

# Distances that are in memory at a time
CELLS_AT_A_TIME = 2**21

Values = NDArray[np.float64]
Counts = NDArray[np.int64]


def retrieval_accuracy(Z1: ArrayLike, Z2: ArrayLike) -> float:
    r"""Share of rows whose partner is the most similar row of the other embedding.

    .. math:: \frac{1}{2n} \sum_i [i = \arg\max_k \cos(u_i, v_k)]
              + [i = \arg\max_k \cos(u_k, v_i)]

    Parameters
    ----------
    Z1, Z2 : array-like of shape (n_samples, n_components)
        Embeddings u and v of two sides, row by row, of the same width.

    Returns
    -------
    score : float
        Top-1 accuracy, averaged over both directions; chance is 1 / n. Among m equally
        similar rows a partner counts 1 / m. The more rows, the harder: compare numbers of
        the same rows.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> from sklearn.cross_decomposition import CCA
    >>> from sklearn.datasets import load_linnerud
    >>> from sklearn_repr.inspection import retrieval_accuracy
    >>> X, Y = load_linnerud(return_X_y=True)
    >>> 0 < retrieval_accuracy(*CCA(2).fit(X, Y).transform(X, Y)) < 1
    True
    """
    first = check_array(Z1, dtype=np.float64, input_name="Z1")
    second = check_array(Z2, dtype=np.float64, input_name="Z2")
    if first.shape != second.shape:
        raise ValueError(
            "Z1 and Z2 must hold the two sides of the same rows; got shapes"
            f" {first.shape} and {second.shape}."
        )
    return top_match_share(first, second)


def recall_at_k(
    Z: ArrayLike,
    y: ArrayLike | None = None,
    *,
    gallery: ArrayLike | None = None,
    y_gallery: ArrayLike | None = None,
    k: int = 1,
    metric: str = "euclidean",
) -> float:
    """Share of queries that find a relevant row among the k nearest ones.

    Parameters
    ----------
    Z : array-like of shape (n_queries, n_components)
        Embeddings of the queries.
    y : array-like of shape (n_queries,) or None, default=None
        Labels: a row is relevant to the queries of its label. None goes by pairs: row i
        of `gallery` is relevant to query i.
    gallery : array-like of shape (n_gallery, n_components) or None, default=None
        Embeddings of the rows to choose from; None takes the other rows of `Z`.
    y_gallery : array-like of shape (n_gallery,) or None, default=None
        Labels of `gallery`; needed where `gallery` and `y` are given.
    k : int, default=1
        How many rows a query finds; at most as many as there are.
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance that ranks rows. Codes of zeros and ones are ranked by "euclidean" as by
        the Hamming distance.

    Returns
    -------
    score : float
        From 0 to 1. Of rows at the same distance any order is as likely as another: the
        score is the mean over all of them. Queries to which no row is relevant do not
        count.

    Raises
    ------
    ValueError
        If shapes or labels do not fit, labels are missing, `k` is out of range, or no
        query has a relevant row.

    Notes
    -----
    Recall@k as in metric learning and in retrieval between images and texts: one
    relevant row is enough. With one relevant row a query it is the share of the
    relevant rows that are found.

    References
    ----------
    Oh Song, Xiang, Jegelka and Savarese, "Deep metric learning via lifted structured
    feature embedding", CVPR 2016, arXiv:1511.06452.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_repr.inspection import recall_at_k
    >>> X, y = load_iris(return_X_y=True)
    >>> recall_at_k(PCA(2).fit_transform(X), y) > 0.9
    True
    """

    def hits(found: Ranked) -> Values:
        """Say how likely a relevant row is among the first k, in any order of ties."""
        start, size, before, relevant = (part[:, k - 1] for part in found)
        none = _log_choose(size - relevant, k - start) - _log_choose(size, k - start)
        return np.where(before > 0, 1.0, 1.0 - np.exp(none))

    return _mean_over_queries(hits, Z, y, gallery, y_gallery, metric, k)


def mean_average_precision(
    Z: ArrayLike,
    y: ArrayLike | None = None,
    *,
    gallery: ArrayLike | None = None,
    y_gallery: ArrayLike | None = None,
    metric: str = "euclidean",
) -> float:
    r"""Mean over queries of the precision at the place of every relevant row.

    .. math:: \frac1q \sum_i \frac{1}{R_i} \sum_{p} [p \text{ relevant}]
              \frac{\text{relevant rows among the first } p}{p}

    with the :math:`R_i` rows that are relevant to query i, and all rows of the gallery
    ranked by their distance.

    Parameters
    ----------
    Z : array-like of shape (n_queries, n_components)
        Embeddings of the queries.
    y : array-like of shape (n_queries,) or None, default=None
        Labels; see :func:`recall_at_k`.
    gallery : array-like of shape (n_gallery, n_components) or None, default=None
        Embeddings of the rows to choose from; None takes the other rows of `Z`.
    y_gallery : array-like of shape (n_gallery,) or None, default=None
        Labels of `gallery`.
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance that ranks rows.

    Returns
    -------
    score : float
        From 0 to 1; rows at the same distance count as in any order. Chance is about the
        share of relevant rows.

    Raises
    ------
    ValueError
        As :func:`recall_at_k`.

    References
    ----------
    McSherry and Najork, "Computing information retrieval performance measures
    efficiently in the presence of tied scores", ECIR 2008,
    doi:10.1007/978-3-540-78646-7_38.

    Examples
    --------
    >>> from sklearn_repr.inspection import mean_average_precision
    >>> mean_average_precision([[0.0], [1.0], [3.0]], ["a", "b", "a"])
    0.5
    """

    def average_precision(found: Ranked) -> Values:
        start, size, before, relevant = found
        place = np.arange(start.shape[1])
        # of the rows at its own distance, those that come first in the mean of all orders
        tied = (place - start) * (relevant - 1) / np.maximum(size - 1, 1)
        gained = relevant / size * (before + tied + 1) / (place + 1)
        return np.asarray(gained.sum(axis=1) / _totals(found))

    return _mean_over_queries(average_precision, Z, y, gallery, y_gallery, metric)


def ndcg_at_k(
    Z: ArrayLike,
    y: ArrayLike | None = None,
    *,
    gallery: ArrayLike | None = None,
    y_gallery: ArrayLike | None = None,
    k: int = 10,
    metric: str = "euclidean",
) -> float:
    r"""Discounted gain of the relevant rows among the k nearest, over the largest one.

    .. math:: \frac{\sum_{p \le k} [p \text{ relevant}] / \log_2(p + 1)}
              {\sum_{p \le \min(k, R)} 1 / \log_2(p + 1)}

    in the mean over queries, with the R rows that are relevant to one.

    Parameters
    ----------
    Z : array-like of shape (n_queries, n_components)
        Embeddings of the queries.
    y : array-like of shape (n_queries,) or None, default=None
        Labels; see :func:`recall_at_k`.
    gallery : array-like of shape (n_gallery, n_components) or None, default=None
        Embeddings of the rows to choose from; None takes the other rows of `Z`.
    y_gallery : array-like of shape (n_gallery,) or None, default=None
        Labels of `gallery`.
    k : int, default=10
        How many rows a query finds; at most as many as there are.
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance that ranks rows.

    Returns
    -------
    score : float
        From 0 to 1; rows at the same distance count as in any order, as in
        :func:`sklearn.metrics.ndcg_score`.

    Raises
    ------
    ValueError
        As :func:`recall_at_k`.

    References
    ----------
    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM
    Transactions on Information Systems 20 (2002), doi:10.1145/582415.582418.

    Examples
    --------
    >>> from sklearn_repr.inspection import ndcg_at_k
    >>> ndcg_at_k([[0.0], [1.0]], gallery=[[0.1], [0.9]], k=1)
    1.0
    """

    def gains(found: Ranked) -> Values:
        discounts = 1.0 / np.log2(np.arange(k) + 2.0)
        gained = (found.relevant[:, :k] / found.size[:, :k]) @ discounts
        best = np.cumsum(discounts)[np.minimum(_totals(found), k) - 1]
        return np.asarray(gained / best)

    return _mean_over_queries(gains, Z, y, gallery, y_gallery, metric, k)


class Ranked(NamedTuple):
    """Of every query and place, the rows at the distance of the row in that place."""

    start: Counts  # place of the first of them
    size: Counts  # how many there are
    before: Counts  # relevant rows that are nearer
    relevant: Counts  # how many of them are relevant


def _totals(found: Ranked) -> Counts:
    return found.before[:, -1] + found.relevant[:, -1]


def _log_choose(n: Counts, k: Counts) -> Values:
    """Return log of n over k; -inf where k is larger than n."""
    rest = n - k
    choices = gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(rest, 0) + 1)
    return np.where(rest < 0, -np.inf, choices)


def _mean_over_queries(
    score: Callable[[Ranked], Values],
    Z: ArrayLike,
    y: ArrayLike | None,
    gallery: ArrayLike | None,
    y_gallery: ArrayLike | None,
    metric: str,
    k: int = 1,
) -> float:
    if metric not in ("euclidean", "cosine"):
        raise ValueError(f"metric must be 'euclidean' or 'cosine'; got {metric!r}.")
    queries = check_array(Z, dtype=np.float64, input_name="Z")
    rows = queries
    if gallery is not None:
        rows = check_array(gallery, dtype=np.float64, input_name="gallery")
        if rows.shape[1] != queries.shape[1]:
            raise ValueError(
                f"Z has {queries.shape[1]} columns and gallery {rows.shape[1]}: both must"
                " come from the same space."
            )
    wanted, offered = _labels(queries, rows, y, gallery is None, y_gallery)
    choices = len(rows) - (gallery is None)
    if not choices:
        raise ValueError("One row of Z has no other to find: give a gallery.")
    check_scalar(k, "k", Integral, min_val=1)
    if k > choices:
        raise ValueError(f"k={k} is more than the {choices} rows that a query can find.")
    total, count = 0.0, 0
    parts = _distances(queries, rows, metric)
    for start, distances, rounding in parts:
        relevant = wanted[start : start + len(distances), np.newaxis] == offered
        if gallery is None:  # a row does not find itself
            own = np.arange(len(distances))
            distances[own, start + own], relevant[own, start + own] = np.inf, False
        some = relevant.any(axis=1)
        if some.any():
            ranked = _rank(distances[some], relevant[some], rounding[some])
            total, count = total + float(score(ranked).sum()), count + int(some.sum())
    if not count:
        why = "is found twice" if gallery is None else "of y is one of y_gallery"
        raise ValueError(f"No query has a relevant row: no label {why}.")
    return total / count


def _labels(
    queries: Values,
    rows: Values,
    y: ArrayLike | None,
    among_themselves: bool,
    y_gallery: ArrayLike | None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what a query wants, and what rows are: a row is relevant if they agree."""
    if y is None and not among_themselves and y_gallery is None:
        if len(queries) != len(rows):
            raise ValueError(
                "Without labels row i of gallery belongs to row i of Z, but there are"
                f" {len(rows)} and {len(queries)} rows. Give y and y_gallery."
            )
        return np.arange(len(queries)), np.arange(len(rows))
    if y is None or (y_gallery is None) != among_themselves:
        raise ValueError(
            "Give y for rows of Z that search each other, gallery for pairs, or gallery,"
            " y and y_gallery."
        )
    wanted = column_or_1d(y)
    offered = wanted if y_gallery is None else column_or_1d(y_gallery)
    check_consistent_length(queries, wanted)
    check_consistent_length(rows, offered)
    for name, labels in (("y", wanted), ("y_gallery", offered)):
        if pd.isna(labels).any():
            raise ValueError(f"{name} has missing labels: leave these rows out.")
    return wanted, offered


def _distances(
    queries: Values, rows: Values, metric: str
) -> Iterator[tuple[int, Values, Values]]:
    """Yield where a part of the queries starts, its distances, and their rounding."""
    if metric == "cosine":
        queries, rows = normalize(queries), normalize(rows)
        squares, own = np.ones(len(rows)), np.ones(len(queries))
    else:
        # differences of large numbers would lose what tells near rows apart; a mean would
        # be drawn away by a few rows far off
        centre = np.median(rows, axis=0)
        queries, rows = queries - centre, rows - centre
        squares, own = (np.square(part).sum(axis=1) for part in (rows, queries))
    size = max(1, CELLS_AT_A_TIME // len(rows))
    for start in range(0, len(queries), size):
        part = slice(start, start + size)
        # half the squared Euclidean distance, which of unit rows is 1 - cosine
        both = own[part, np.newaxis] + squares
        half = both / 2 - queries[part] @ rows.T
        yield start, half, 16 * np.finfo(np.float64).eps * both


def _rank(distances: Values, relevant: NDArray[np.bool_], rounding: Values) -> Ranked:
    """Rank rows by distance; those that differ by rounding are at the same one."""
    order = np.argsort(distances, axis=1)
    ordered = np.take_along_axis(distances, order, axis=1)
    n, place = ordered.shape[1], np.arange(ordered.shape[1])
    rounding = np.take_along_axis(rounding, order, axis=1)
    starts = np.diff(ordered, axis=1, prepend=-np.inf) > rounding
    start = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    ends = np.concatenate([starts[:, 1:], np.ones((len(starts), 1), bool)], axis=1)
    end = np.where(ends, place + 1, n)
    end = np.minimum.accumulate(end[:, ::-1], axis=1)[:, ::-1]
    found = np.zeros((len(order), n + 1), dtype=np.int64)
    np.cumsum(np.take_along_axis(relevant, order, axis=1), axis=1, out=found[:, 1:])
    before = np.take_along_axis(found, start, axis=1)
    return Ranked(
        start, end - start, before, np.take_along_axis(found, end, axis=1) - before
    )
