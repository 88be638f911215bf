"""Whether every unit of a code says one thing: metrics against known factors."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas import Series, factorize
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, check_scalar

from sklearn_repr.utils.frames import as_pandas

__all__ = ["DCI", "dci", "factor_vae_score", "mig", "modularity", "sap"]

Values = NDArray[np.float64]
Levels = NDArray[np.intp]

# Trees that say which units of the code a factor is read from
N_TREES = 10


def mig(Z: ArrayLike, factors: ArrayLike, *, n_bins: int = 20) -> float:
    r"""Mutual information gap: the best unit of a factor against the second best.

    .. math:: \frac1K \sum_k \frac{I(z_{(1)}; v_k) - I(z_{(2)}; v_k)}{H(v_k)}

    with the two units of the code that share most information with factor k.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Codes; units are cut into bins of equal width.
    factors : array-like of shape (n_samples, n_factors)
        What the rows were made from, one column a factor, numbers or labels; numbers of
        more than `n_bins` values are cut into bins too.
    n_bins : int, default=20
        Number of bins.

    Returns
    -------
    score : float
        From 0 to 1. It is 1 if one unit tells a factor exactly and no other unit has any
        information on it, for every factor, and near 0 where all units mix all factors
        alike. A code of one unit has no second one, whose information is then 0.

    Raises
    ------
    ValueError
        If the numbers of rows differ, or a factor does not vary.

    References
    ----------
    Chen, Li, Grosse and Duvenaud, "Isolating sources of disentanglement in variational
    autoencoders", NeurIPS 2018, arXiv:1802.04942.

    Examples
    --------
    >>> from itertools import product
    >>> from sklearn_repr.inspection import mig
    >>> factors = list(product([0, 1], [0, 1, 2]))
    >>> round(mig(factors, factors), 6)
    1.0
    >>> round(mig([(a + b, a - b) for a, b in factors], factors), 6)
    0.0
    """
    codes, columns = _checked(Z, factors)
    information, levels = _information(codes, columns, n_bins)
    entropy = np.array([_entropy(np.bincount(factor)) for factor in levels])
    return float(np.mean(_gap(information) / entropy))


def modularity(Z: ArrayLike, factors: ArrayLike, *, n_bins: int = 20) -> float:
    r"""Whether each unit of the code has information on one factor only.

    .. math:: \frac1J \sum_j 1 - \frac{\sum_{k \neq k_j} I(z_j; v_k)^2}
              {(K - 1) I(z_j; v_{k_j})^2}, \qquad k_j = \arg\max_k I(z_j; v_k)

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Codes; units are cut into bins of equal width.
    factors : array-like of shape (n_samples, n_factors)
        At least two factors; see :func:`mig`.
    n_bins : int, default=20
        Number of bins.

    Returns
    -------
    score : float
        From 0 to 1; a unit without information on any factor, a constant one too, counts
        as 0. It does not measure how much information there is, and a factor that several
        units share loses nothing.

    Raises
    ------
    ValueError
        As :func:`mig`, or if there is one factor only.

    References
    ----------
    Ridgeway and Mozer, "Learning deep disentangled embeddings with the F-statistic loss",
    NeurIPS 2018, arXiv:1802.05312.

    Examples
    --------
    >>> from itertools import product
    >>> from sklearn_repr.inspection import modularity
    >>> factors = list(product([0, 1], [0, 1, 2]))
    >>> round(modularity(factors, factors), 6)
    1.0
    """
    codes, columns = _checked(Z, factors, fewest=2)
    information = _information(codes, columns, n_bins)[0]
    # a unit and a factor that are independent share next to nothing, by rounding
    information[information < 1e-12] = 0.0
    squares = np.square(information)
    best = squares.max(axis=1)
    others = (squares.sum(axis=1) - best) / (squares.shape[1] - 1)
    known = best > 0
    return float(np.where(known, 1.0 - others / np.where(known, best, 1.0), 0.0).mean())


def sap(Z: ArrayLike, factors: ArrayLike) -> float:
    r"""Separated attribute predictability: the gap between the two best single units.

    .. math:: \frac1K \sum_k S_{(1)k} - S_{(2)k}

    where :math:`S_{jk}` is the R² of the linear regression of factor k on unit j; of
    labels, the share of the variance of unit j that lies between them.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Codes.
    factors : array-like of shape (n_samples, n_factors)
        What the rows were made from, one column a factor: numbers, or labels as strings,
        booleans or categories.

    Returns
    -------
    score : float
        From 0 to 1, which it is if every factor is a linear function of one unit and
        uncorrelated with all others.

    Raises
    ------
    ValueError
        As :func:`mig`.

    Notes
    -----
    The paper scores labels by the accuracy of a classifier of one unit. That gap is at
    most 1 less the accuracy of chance, and is not used here.

    References
    ----------
    Kumar, Sattigeri and Balakrishnan, "Variational inference of disentangled latent
    concepts from unlabeled observations", ICLR 2018, arXiv:1711.00848.

    Examples
    --------
    >>> from itertools import product
    >>> from sklearn_repr.inspection import sap
    >>> factors = list(product([0, 1], [0, 1, 2]))
    >>> round(sap(factors, factors), 6)
    1.0
    """
    codes, columns = _checked(Z, factors)
    centred = np.where(_varies(codes), codes - codes.mean(axis=0), 0.0)
    total = np.square(centred).sum(axis=0)
    scores = np.zeros((codes.shape[1], len(columns)))
    for k, column in enumerate(columns):
        # one direction of a number, or the means of the levels
        if _is_number(column):
            values = column.to_numpy(np.float64)
            directions = (values - values.mean())[:, np.newaxis]
        else:
            directions = np.eye(column.nunique())[_levels(column)]
        sizes = np.square(directions).sum(axis=0)
        explained = np.square(centred.T @ directions) / sizes
        scores[:, k] = explained.sum(axis=1) / np.where(total > 0, total, 1.0)
    return float(np.mean(_gap(scores)))


class DCI(NamedTuple):
    """Three views of which units of a code factors are read from; see :func:`dci`.

    Parameters
    ----------
    disentanglement : float
        Whether each unit matters to one factor only, from 0 to 1.
    completeness : float
        Whether each factor is read from one unit only, from 0 to 1.
    informativeness : float
        How well held-out factors are predicted, from 0, as by chance, to 1.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(
    Z: ArrayLike,
    factors: ArrayLike,
    *,
    estimators: tuple[Any, Any] | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> DCI:
    r"""Disentanglement, completeness and informativeness of a code.

    A forest predicts each factor from all units; its importances :math:`R_{jk}` of unit j
    for factor k, of sum 1 for every factor, are turned into

    .. math:: D = \sum_j \rho_j \big(1 - H_K(R_{j \cdot} / \textstyle\sum_k R_{jk})\big),
              \qquad
              C = \frac1K \sum_k 1 - H_J(R_{\cdot k})

    with entropies to the base of the number of factors and units and
    :math:`\rho_j = \sum_k R_{jk} / K`.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Codes.
    factors : array-like of shape (n_samples, n_factors)
        At least two factors: numbers, or labels as strings, booleans or categories.
    estimators : (regressor, classifier) or None, default=None
        What predicts numbers and labels and has ``feature_importances_``; cloned. None
        takes random forests.
    random_state : int, RandomState instance or None, default=0
        Seed of the forests, and of the quarter of the rows that is held out.

    Returns
    -------
    scores : DCI
        Named tuple (disentanglement, completeness, informativeness). The last is the mean
        over factors of the R² on held-out rows, or of the share of the errors of always
        naming the most frequent label that is avoided; each at least 0.

    Raises
    ------
    ValueError
        As :func:`mig`, or if there is one factor only.

    References
    ----------
    Eastwood and Williams, "A framework for the quantitative evaluation of disentangled
    representations", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.inspection import dci
    >>> factors = np.random.default_rng(0).integers(0, 4, (400, 2))
    >>> [round(score, 2) for score in dci(factors, factors)]
    [1.0, 1.0, 1.0]
    """
    codes, columns = _checked(Z, factors, fewest=2)
    rng = check_random_state(random_state)
    seed = int(rng.randint(2**31 - 1))
    if estimators is None:
        settings = {"n_estimators": N_TREES, "max_features": None, "random_state": seed}
        estimators = RandomForestRegressor(**settings), RandomForestClassifier(**settings)
    fitted, held_out = train_test_split(
        np.arange(len(codes)), test_size=0.25, random_state=seed
    )
    importances, skills = [], []
    for column in columns:
        number = _is_number(column)
        target = column.to_numpy(np.float64) if number else _levels(column)
        model = clone(estimators[0 if number else 1]).fit(codes[fitted], target[fitted])
        importances.append(model.feature_importances_)
        truth, said = target[held_out], model.predict(codes[held_out])
        if number:
            error, chance = np.square(truth - said).sum(), len(truth) * truth.var()
        else:
            frequent = np.bincount(target[fitted]).argmax()
            error, chance = (truth != said).sum(), (truth != frequent).sum()
        skill = 1.0 - error / chance if chance > 0 else float(error == 0)
        skills.append(max(0.0, skill))
    shares = np.array(importances, dtype=np.float64).T
    total = shares.sum(axis=0)
    # a factor that no unit tells has no importances
    told = total > 0
    shares /= np.where(told, total, 1.0)
    by_unit = shares.sum(axis=1)
    used = by_unit > 0
    spread = _spread(shares[used] / by_unit[used, np.newaxis])
    disentanglement = by_unit[used] @ (1.0 - spread) / max(1, told.sum())
    completeness = np.where(told, 1.0 - _spread(shares.T), 0.0).mean()
    return DCI(float(disentanglement), float(completeness), float(np.mean(skills)))


def factor_vae_score(
    Z: ArrayLike,
    factors: ArrayLike,
    *,
    n_votes: int = 800,
    batch_size: int = 64,
    n_bins: int = 20,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """How often the unit that varies least tells which factor was held fixed.

    Rows are drawn that agree in one factor; the unit whose variance among them is the
    smallest share of its variance over all rows votes for that factor. Half of the votes
    decide which factor each unit stands for, and the score is its accuracy on the others.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Codes; units that do not vary have no vote.
    factors : array-like of shape (n_samples, n_factors)
        At least two factors; see :func:`mig`.
    n_votes : int, default=800
        Votes of each half.
    batch_size : int, default=64
        Rows of a vote, drawn with replacement.
    n_bins : int, default=20
        Numbers of more values are cut into so many bins, within which they agree.
    random_state : int, RandomState instance or None, default=0
        Seed of the draws.

    Returns
    -------
    score : float
        Accuracy from 0 to 1; chance is 1 / n_factors.

    Raises
    ------
    ValueError
        As :func:`mig`, or if there is one factor only, or no unit of the code varies.

    References
    ----------
    Kim and Mnih, "Disentangling by factorising", ICML 2018, arXiv:1802.05983.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.inspection import factor_vae_score
    >>> factors = np.random.default_rng(0).integers(0, 4, (400, 2))
    >>> factor_vae_score(factors, factors)
    1.0
    """
    codes, columns = _checked(Z, factors, fewest=2)
    check_scalar(n_votes, "n_votes", Integral, min_val=1)
    check_scalar(batch_size, "batch_size", Integral, min_val=2)
    codes = codes[:, _varies(codes)]
    if not codes.shape[1]:
        raise ValueError("No unit of Z varies.")
    variance = codes.var(axis=0)
    levels = [_levels(_binned(column, n_bins)) for column in columns]
    rows = [_rows_by_level(factor) for factor in levels]
    rng = check_random_state(random_state)
    votes = np.zeros((2, len(variance), len(levels)))
    for half in votes:
        for _ in range(n_votes):
            k = rng.randint(len(levels))
            # the level of a row drawn at random
            alike = rows[k][levels[k][rng.randint(len(codes))]]
            batch = codes[alike[rng.randint(len(alike), size=batch_size)]]
            half[np.argmin(batch.var(axis=0) / variance), k] += 1
    said = votes[0].argmax(axis=1)
    return float(votes[1][np.arange(len(said)), said].sum() / n_votes)


def _checked(
    Z: ArrayLike, factors: ArrayLike, fewest: int = 1
) -> tuple[Values, list[Series]]:
    """Return codes, and factors as columns of pandas."""
    codes: Values = check_array(Z, dtype=np.float64, input_name="Z")
    table = as_pandas(factors)
    columns = [table.iloc[:, k].infer_objects() for k in range(table.shape[1])]
    if len(table) != len(codes):
        raise ValueError(
            f"Z and factors must hold the same rows; got {len(codes)} and {len(table)}."
        )
    if len(columns) < fewest:
        raise ValueError(f"At least {fewest} factors are needed; got {len(columns)}.")
    for k, column in enumerate(columns):
        if column.isna().any():
            raise ValueError(f"Factor {k} of factors has missing cells.")
        if _is_number(column) and np.isinf(column.to_numpy(np.float64)).any():
            raise ValueError(f"Factor {k} of factors contains infinity.")
        if column.nunique() < 2:
            raise ValueError(f"Factor {k} of factors does not vary: leave it out.")
    return codes, columns


def _is_number(column: Series) -> bool:
    return bool(is_numeric_dtype(column) and not is_bool_dtype(column))


def _varies(codes: Values) -> NDArray[np.bool_]:
    """Tell units that vary; the variance of equal numbers may be above 0 by rounding."""
    return np.asarray(np.ptp(codes, axis=0) > 0)


def _levels(column: Series) -> Levels:
    levels: Levels = factorize(column.to_numpy(), sort=True)[0]
    return levels


def _rows_by_level(factor: Levels) -> list[Levels]:
    order, counts = np.argsort(factor, kind="stable"), np.bincount(factor)
    return np.split(order, np.cumsum(counts)[:-1])


def _binned(column: Series, n_bins: int) -> Series:
    """Return a factor of at most `n_bins` levels, if it is one of numbers."""
    if not _is_number(column) or column.nunique() <= n_bins:
        return column
    return Series(_bins(column.to_numpy(np.float64), n_bins))


def _bins(values: Values, n_bins: int) -> Levels:
    """Cut a column into bins of equal width between its ends."""
    low, width = values.min(), np.ptp(values)
    places = (values - low) / (width if width > 0 else 1.0) * n_bins
    bins: Levels = np.minimum(places.astype(np.intp), n_bins - 1)
    return bins


def _information(
    codes: Values, columns: list[Series], n_bins: int
) -> tuple[Values, list[Levels]]:
    """Return the information of units and factors in nats, and the factors' levels."""
    check_scalar(n_bins, "n_bins", Integral, min_val=2)
    levels = [_levels(_binned(column, n_bins)) for column in columns]
    units = [_bins(unit, n_bins) for unit in codes.T]
    information = np.empty((len(units), len(levels)))
    for j, unit in enumerate(units):
        for k, factor in enumerate(levels):
            joint = np.zeros((n_bins, factor.max() + 1))
            np.add.at(joint, (unit, factor), 1.0)
            apart = _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))
            information[j, k] = max(0.0, apart - _entropy(joint.ravel()))
    return information, levels


def _entropy(counts: NDArray[Any]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _gap(scores: Values) -> Values:
    """Return by how much the best unit is above the second, of every factor."""
    ordered = np.sort(np.vstack([np.zeros(scores.shape[1]), scores]), axis=0)
    return np.asarray(ordered[-1] - ordered[-2])


def _spread(shares: Values) -> Values:
    """Return the entropy of rows of shares, over that of even ones; 0 of a single one."""
    if shares.shape[1] < 2:
        return np.zeros(len(shares))
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return np.asarray(-(shares * logs).sum(axis=1) / np.log(shares.shape[1]))
