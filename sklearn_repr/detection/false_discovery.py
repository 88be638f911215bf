"""Which of many p-values are small enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sklearn_repr.detection._checks import check_scores, check_share

__all__ = ["benjamini_hochberg"]


def benjamini_hochberg(
    p_values: NDArray[np.float64], fdr: float = 0.1
) -> NDArray[np.bool_]:
    r"""Select rows such that few of the selected ones are false alarms.

    With the m p-values sorted, the k smallest are selected, where

    .. math:: k = \max\{ i: p_{(i)}\, m / i \le q \}

    The expected share of inliers among the selected rows is at most q times the share of
    inliers among all rows, if p-values are independent or positively dependent, as
    split-conformal ones are that share a calibration set (Bates et al.).

    Conformal p-values are at least 1/(n + 1) with n calibration rows: to select k of m
    rows, n + 1 must be at least m / (k q).

    Parameters
    ----------
    p_values : ndarray of shape (n_samples,)
        Numbers in [0, 1], small for outliers.
    fdr : float, default=0.1
        The false-discovery rate q, in (0, 1).

    Returns
    -------
    selected : ndarray of bool of shape (n_samples,)
        True for outliers. Rows with equal p-values are selected together or not at all.

    References
    ----------
    Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B
    57 (1995), doi:10.1111/j.2517-6161.1995.tb02031.x; Bates, Candès, Lei, Romano and
    Sesia, "Testing for outliers with conformal p-values", Ann. Statist. 51 (2023),
    doi:10.1214/22-AOS2244.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import benjamini_hochberg
    >>> benjamini_hochberg(np.array([0.01, 0.6, 0.04, 0.9]), fdr=0.1)
    array([ True, False,  True, False])
    """
    p_values = check_scores(p_values, "p_values", empty=True)
    fdr = check_share(fdr, "fdr")
    if ((p_values < 0.0) | (p_values > 1.0)).any():
        raise ValueError("p_values must be in [0, 1].")
    ordered = np.sort(p_values)
    n_rows = len(ordered)
    adjusted = ordered * (n_rows / np.arange(1, n_rows + 1))
    passed = np.flatnonzero(adjusted <= fdr)
    if not len(passed):
        return np.zeros(n_rows, dtype=np.bool_)
    selected: NDArray[np.bool_] = p_values <= ordered[passed[-1]]
    return selected
