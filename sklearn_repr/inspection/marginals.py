"""How far the columns of drawn rows, and pairs of them, are from those of real ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse

from sklearn_repr.inspection._alike import Cells, Values, largest, read_alike

__all__ = ["dependence_differences", "marginal_distances"]

# Intervals into which numbers are cut where they are compared with categories
N_INTERVALS = 10


def marginal_distances(real: ArrayLike, synthetic: ArrayLike) -> pd.DataFrame:
    r"""Distance between real and synthetic values, column by column.

    Of numbers the Kolmogorov-Smirnov statistic, of categories the total variation:

    .. math:: \sup_x |F(x) - G(x)|, \qquad \tfrac12 \sum_l |p_l - q_l|

    Missing cells do not count in it; their shares are compared apart.

    Parameters
    ----------
    real, synthetic : array-like or DataFrame of shape (n_samples, n_features)
        Tables of the same columns. Columns of a frame with categories, text or booleans
        are categories.

    Returns
    -------
    distances : DataFrame
        A row for each column: "measure" ("ks" or "total_variation"), "distance", in
        [0, 1], and "missing", by how much the share of missing cells differs. Where one
        of both columns has no values the distance is 1, where both have none it is 0.

    Raises
    ------
    ValueError
        If the columns differ, or one holds what cannot be compared.

    See Also
    --------
    dependence_differences : Of pairs of columns.

    Notes
    -----
    Two samples of the same distribution have no distance of 0. Compare with the distance
    between `real` and other real rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_repr.inspection import marginal_distances
    >>> real = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "city": list("aabb")})
    >>> drawn = pd.DataFrame({"size": [3.0, 4.0, 5.0, None], "city": list("aaaa")})
    >>> marginal_distances(real, drawn)
                  measure  distance  missing
    size               ks       0.5     0.25
    city  total_variation       0.5     0.00
    """
    first, second = read_alike(real=real, synthetic=synthetic)
    found = []
    for j, is_category in enumerate(first.categorical):
        a, b = first.values[:, j], second.values[:, j]
        missing = abs(float(np.isnan(a).mean() - np.isnan(b).mean()))
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        if not (len(a) and len(b)):
            distance = float(len(a) != len(b))
        elif is_category:
            distance = _total_variation(a, b)
        else:
            distance = _kolmogorov_smirnov(a, b)
        found.append(("total_variation" if is_category else "ks", distance, missing))
    # names that are tuples are names
    index = pd.Index(first.names, tupleize_cols=False)
    return pd.DataFrame(found, index=index, columns=["measure", "distance", "missing"])


def _kolmogorov_smirnov(a: Values, b: Values) -> float:
    cells = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(x), cells, side="right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _total_variation(a: Values, b: Values) -> float:
    length = int(max(a.max(), b.max())) + 1
    p, q = (np.bincount(x.astype(np.intp), minlength=length) / len(x) for x in (a, b))
    return float(np.abs(p - q).sum() / 2.0)


def dependence_differences(real: ArrayLike, synthetic: ArrayLike) -> pd.DataFrame:
    r"""How differently pairs of columns depend on each other in real and synthetic rows.

    Of two numbers the difference of Pearson's correlations, of a pair with a category
    the total variation of the contingency tables:

    .. math:: |\rho_{jk} - \hat\rho_{jk}|, \qquad
              \tfrac12 \sum_{l,m} |p_{lm} - \hat p_{lm}|

    Beside a category a number is cut at the deciles of `real`, and missing cells are a
    level of their own.

    Parameters
    ----------
    real, synthetic : array-like or DataFrame of shape (n_samples, n_features)
        Tables of the same columns. Columns of a frame with categories, text or booleans
        are categories.

    Returns
    -------
    differences : DataFrame of shape (n_features, n_features)
        Symmetric, with a diagonal of 0; in [0, 2] for two numbers, in [0, 1] else. A
        number that does not vary has the correlation 0 with all others, and only rows
        count in which both are there.

    Raises
    ------
    ValueError
        If the columns differ, or one holds what cannot be compared.

    See Also
    --------
    marginal_distances : Of single columns.

    Notes
    -----
    Tables of many rare levels differ much between any two samples. Compare with the
    difference between `real` and other real rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.inspection import dependence_differences
    >>> x = np.arange(5.0)
    >>> dependence_differences(np.c_[x, x, x], np.c_[x, x, -x])
         0    1    2
    0  0.0  0.0  2.0
    1  0.0  0.0  2.0
    2  2.0  2.0  0.0
    """
    first, second = read_alike(real=real, synthetic=synthetic)
    category = first.categorical
    differences = np.zeros((len(category), len(category)))
    if category.any():
        differences = _contingency_differences(first, second)
    numbers = np.flatnonzero(~category)
    correlations = [_correlations(cells.values[:, numbers]) for cells in (first, second)]
    differences[np.ix_(numbers, numbers)] = np.abs(correlations[0] - correlations[1])
    np.fill_diagonal(differences, 0.0)
    names = pd.Index(first.names, tupleize_cols=False)
    return pd.DataFrame(differences, index=names, columns=names)


def _correlations(values: Values) -> Values:
    """Return correlations over the rows in which both columns are there."""
    # squares of huge numbers are infinite, those of tiny ones are 0
    frame = pd.DataFrame(values / largest(values))
    with np.errstate(all="ignore"):  # of single rows
        found: Values = np.nan_to_num(frame.corr().to_numpy())
    return found


def _contingency_differences(first: Cells, second: Cells) -> Values:
    """Return the total variation of the contingency tables of all pairs of columns."""
    d = first.values.shape[1]
    codes = [_level_codes(first, second, j) for j in range(d)]
    widths = [int(max(a.max(), b.max())) + 1 for a, b in codes]
    starts = np.cumsum([0, *widths])
    shares = []
    for part in zip(*codes, strict=True):
        columns = np.column_stack(part) + starts[:-1]
        n = len(columns)
        cells = (np.ones(n * d), columns.ravel(), np.arange(0, n * d + 1, d))
        indicators = sparse.csr_array(cells, shape=(n, starts[-1]))
        shares.append(indicators.T @ indicators / n)
    owner = np.repeat(np.arange(d), widths)
    belongs = sparse.csr_array((np.ones(len(owner)), (np.arange(len(owner)), owner)))
    summed = (belongs.T @ abs(shares[0] - shares[1]) @ belongs).toarray()
    # half of each: the total variation, and no difference by the order of adding up
    return np.asarray((summed + summed.T) / 4.0)


def _level_codes(first: Cells, second: Cells, j: int) -> list[np.ndarray]:
    """Return the levels of a column, or intervals of its numbers, 0 for missing cells."""
    parts = [first.values[:, j], second.values[:, j]]
    if not first.categorical[j]:
        known = parts[0][~np.isnan(parts[0])]
        shares = np.arange(1, N_INTERVALS) / N_INTERVALS
        cuts = np.unique(np.quantile(known, shares)) if len(known) else np.zeros(0)
        parts = [
            np.where(np.isnan(x), np.nan, np.searchsorted(cuts, x, side="right"))
            for x in parts
        ]
    return [np.where(np.isnan(x), 0, x + 1).astype(np.intp) for x in parts]
