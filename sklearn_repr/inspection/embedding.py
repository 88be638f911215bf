"""What an embedding is worth, from arrays alone: PCA can be judged by it too."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import (
    ArrayLike,
    NDArray,
)
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length, check_scalar
from sklearn.utils.validation import column_or_1d

__all__ = [
    "alignment",
    "effective_rank",
    "infonce_bound",
    "knn_probe_score",
    "linear_probe_score",
    "uniformity",
]

# Rows whose pairwise distances are held in memory at a time
CHUNK = 1024


def alignment(Z1: ArrayLike, Z2: ArrayLike, *, power: float = 2.0) -> float:
    r"""Mean distance between the unit embeddings of positive pairs; 0 is best.

    .. math:: \frac1n \sum_i \| z_i - z'_i \|^\alpha, \qquad \|z_i\| = \|z'_i\| = 1

    Parameters
    ----------
    Z1, Z2 : array-like of shape (n_samples, n_components)
        Embeddings of the two views, row by row; scaled to unit length here. Rows of
        zeros stay zero.
    power : float, default=2.0
        :math:`\alpha`.

    Returns
    -------
    score : float
        At least 0; with the default power at most 4.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Wang and Isola, "Understanding contrastive representation learning through alignment
    and uniformity on the hypersphere", ICML 2020, arXiv:2005.10242.

    Examples
    --------
    >>> from sklearn_repr.inspection import alignment
    >>> alignment([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [0.0, -1.0]])
    2.0
    """
    first, second = _unit_rows(Z1, "Z1"), _unit_rows(Z2, "Z2")
    if first.shape != second.shape:
        raise ValueError(
            "Z1 and Z2 must hold the same rows in two views; got shapes"
            f" {first.shape} and {second.shape}."
        )
    distances = np.linalg.norm(first - second, axis=1)
    return float(np.mean(distances**power))


def uniformity(Z: ArrayLike, *, t: float = 2.0) -> float:
    r"""Spread of unit embeddings over the sphere; the lower, the more even.

    .. math:: \log \frac{2}{n (n - 1)} \sum_{i < j} e^{-t \|z_i - z_j\|^2}

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Embeddings, at least two rows; scaled to unit length here.
    t : float, default=2.0
        How fast distance stops to count.

    Returns
    -------
    score : float
        0 if all embeddings are the same, at least -4 t.

    References
    ----------
    Wang and Isola, "Understanding contrastive representation learning through alignment
    and uniformity on the hypersphere", ICML 2020, arXiv:2005.10242.

    Examples
    --------
    >>> from sklearn_repr.inspection import uniformity
    >>> uniformity([[1.0, 0.0], [-1.0, 0.0]])
    -8.0
    """
    rows = _unit_rows(Z, "Z", ensure_min_samples=2)
    n = len(rows)
    sums = []
    for start in range(0, n, CHUNK):
        part = rows[start : start + CHUNK]
        squares = np.clip(2.0 - 2.0 * part @ rows.T, 0.0, None)
        index = np.arange(len(part))
        exponents = -t * squares
        exponents[index, start + index] = -np.inf  # a row and itself are no pair
        sums.append(logsumexp(exponents))
    return float(logsumexp(sums) - np.log(n * (n - 1)))


def effective_rank(Z: ArrayLike) -> float:
    r"""Return how many directions an embedding uses: the entropy of its spectrum.

    .. math:: \exp\Big(-\sum_k p_k \log p_k\Big), \qquad
              p_k = \sigma_k / \textstyle\sum_l \sigma_l

    with the singular values :math:`\sigma_k` of the centred embedding.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Embeddings.

    Returns
    -------
    score : float
        Between 1 and the number of components; 0 if all rows are the same. A low number
        for a wide embedding is dimensional collapse.

    References
    ----------
    Garrido, Balestriero, Najman and LeCun, "RankMe: assessing the downstream performance
    of pretrained self-supervised representations by their rank", ICML 2023,
    arXiv:2210.02885.

    Roy and Vetterli, "The effective rank: a measure of effective dimensionality",
    EUSIPCO 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.inspection import effective_rank
    >>> round(effective_rank(np.eye(4)), 3)
    3.0
    """
    rows = check_array(Z, dtype=np.float64, input_name="Z")
    centred = rows - rows.mean(axis=0)
    spectrum = np.linalg.svd(centred, compute_uv=False)
    rounding = np.finfo(np.float64).eps * max(rows.shape) * np.abs(rows).max()
    spectrum = spectrum[spectrum > rounding * np.sqrt(rows.shape[0])]
    if not len(spectrum):
        return 0.0
    share = spectrum / spectrum.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def infonce_bound(scores: ArrayLike) -> float:
    r"""Lower bound on the mutual information of pairs, in nats, from N × N scores.

    .. math:: \frac1N \sum_i \log \frac{e^{f(x_i, y_i)}}
              {\frac1N \sum_j e^{f(x_i, y_j)}} \le \log N

    Parameters
    ----------
    scores : array-like of shape (n_pairs, n_pairs)
        The critic's value f of every x with every y, partners on the diagonal; for
        embeddings, their similarities divided by the temperature.

    Returns
    -------
    bound : float
        At most log N, however strongly the partners depend on each other. In expectation
        at most their mutual information, which it approaches with many pairs if
        f = log p(y | x) - log p(y), up to a function of x.

    Raises
    ------
    ValueError
        If `scores` is not square.

    References
    ----------
    van den Oord, Li and Vinyals, "Representation learning with contrastive predictive
    coding" (2018), arXiv:1807.03748.

    Poole, Ozair, van den Oord, Alemi and Tucker, "On variational bounds of mutual
    information", ICML 2019, arXiv:1905.06922.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.inspection import infonce_bound
    >>> round(infonce_bound(100 * np.eye(8)), 4)  # log(8)
    2.0794
    """
    critic: NDArray[np.float64] = check_array(
        scores, dtype=np.float64, input_name="scores"
    )
    n, width = critic.shape
    if n != width:
        raise ValueError(
            f"scores must be square, partners on the diagonal; got shape {critic.shape}."
        )
    return float(np.mean(np.diag(critic) - logsumexp(critic, axis=1)) + np.log(n))


def linear_probe_score(
    Z: ArrayLike,
    y: ArrayLike,
    *,
    cv: int = 5,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """Accuracy of a linear classifier on a frozen embedding, cross-validated.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Embeddings; standardised on the training folds.
    y : array-like of shape (n_samples,)
        Classes.
    cv : int, default=5
        Number of stratified folds.
    random_state : int, RandomState instance or None, default=0
        Seed of the folds.

    Returns
    -------
    score : float
        Mean accuracy on the held-out folds, of a logistic regression.

    Raises
    ------
    ValueError
        If a class has fewer rows than there are folds, or there is one class only.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_repr.inspection import linear_probe_score
    >>> X, y = load_iris(return_X_y=True)
    >>> linear_probe_score(PCA(2).fit_transform(X), y) > 0.9
    True
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return _probe(probe, Z, y, cv, random_state)


def knn_probe_score(
    Z: ArrayLike,
    y: ArrayLike,
    *,
    n_neighbors: int = 5,
    cv: int = 5,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """Accuracy of nearest neighbours in a frozen embedding, cross-validated.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Embeddings, compared as they are.
    y : array-like of shape (n_samples,)
        Classes.
    n_neighbors : int, default=5
        Neighbours that vote.
    cv : int, default=5
        Number of stratified folds.
    random_state : int, RandomState instance or None, default=0
        Seed of the folds.

    Returns
    -------
    score : float
        Mean accuracy on the held-out folds.

    Raises
    ------
    ValueError
        If a class has fewer rows than there are folds, there is one class only, or a
        training fold has fewer rows than `n_neighbors`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_repr.inspection import knn_probe_score
    >>> X, y = load_iris(return_X_y=True)
    >>> knn_probe_score(PCA(2).fit_transform(X), y) > 0.9
    True
    """
    check_scalar(n_neighbors, "n_neighbors", Integral, min_val=1)
    return _probe(KNeighborsClassifier(n_neighbors), Z, y, cv, random_state)


def _probe(
    probe: Any,
    Z: ArrayLike,
    y: ArrayLike,
    cv: int,
    random_state: int | np.random.RandomState | None,
) -> float:
    check_scalar(cv, "cv", Integral, min_val=2)
    rows, labels = check_array(Z, dtype=np.float64, input_name="Z"), column_or_1d(y)
    check_consistent_length(rows, labels)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < cv:
        rare = classes[counts.argmin()]
        raise ValueError(
            f"y has {counts.min()} rows of class {rare!r}, fewer than cv={cv} folds:"
            " lower cv or drop the class."
        )
    if len(classes) < 2:
        raise ValueError(f"y holds one class, {classes[0]!r}, which no probe can fail.")
    fewest = len(rows) - -(-len(rows) // cv)
    if isinstance(probe, KNeighborsClassifier) and probe.n_neighbors > fewest:
        raise ValueError(
            f"n_neighbors={probe.n_neighbors} is more than the {fewest} rows to train on:"
            " lower n_neighbors or raise cv."
        )
    folds = StratifiedKFold(cv, shuffle=True, random_state=random_state)
    return float(cross_val_score(probe, rows, labels, cv=folds).mean())


def _unit_rows(
    Z: ArrayLike, name: str, ensure_min_samples: int = 1
) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = check_array(
        Z, dtype=np.float64, input_name=name, ensure_min_samples=ensure_min_samples
    )
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
