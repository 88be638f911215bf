"""Thresholds on scores that are high for normal rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["mad_threshold", "quantile_threshold"]

# Standard deviation of a normal distribution over its median absolute deviation
MAD_TO_SD = 1.4826


def quantile_threshold(scores: NDArray[np.float64], contamination: float) -> float:
    """Return the score below which a share of the training rows lies.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Training scores, high for normal rows.
    contamination : float
        Share of rows to flag, in (0, 0.5].

    Returns
    -------
    threshold : float
        Rows strictly below are outliers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import quantile_threshold
    >>> scores = np.arange(10.0)
    >>> int((scores < quantile_threshold(scores, 0.2)).sum())
    2
    """
    return float(np.percentile(scores, 100.0 * contamination))


def mad_threshold(scores: NDArray[np.float64], deviations: float = 3.0) -> float:
    r"""Return the median minus some robust standard deviations.

    .. math:: \tau = m - k \cdot 1.4826 \cdot \mathrm{median}_i |s_i - m|

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Training scores, high for normal rows.
    deviations : float, default=3.0
        k.

    Returns
    -------
    threshold : float
        Rows strictly below are outliers.

    References
    ----------
    Leys et al., "Detecting outliers: do not use standard deviation around the mean, use
    absolute deviation around the median", J. Exp. Soc. Psych. 49 (2013),
    doi:10.1016/j.jesp.2013.03.013.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection import mad_threshold
    >>> mad_threshold(np.array([-1.0, 0.0, 1.0]), deviations=1.0)
    -1.4826
    """
    median = np.median(scores)
    spread = MAD_TO_SD * np.median(np.abs(scores - median))
    return float(median - deviations * spread)
