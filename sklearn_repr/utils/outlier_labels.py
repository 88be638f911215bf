"""Which rows labels call outliers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["outliers_by_label"]


def outliers_by_label(
    labels: NDArray[Any], outlier_label: int | None = None
) -> NDArray[np.bool_]:
    """Tell outliers from inliers, by either convention.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        1 or True for outliers and 0 or False for inliers; or -1 for outliers and 1 for
        inliers, as ``predict`` returns them.
    outlier_label : {1, -1} or None, default=None
        Which label says outlier. None infers it: 1 if there is a 0, and -1 otherwise;
        only ones are inliers then, unless they are Booleans.

    Returns
    -------
    outlier : bool ndarray of shape (n_samples,)
        Which rows are outliers.

    Raises
    ------
    ValueError
        If the labels follow neither convention, or not the one given.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.utils.outlier_labels import outliers_by_label
    >>> outliers_by_label(np.array([0, 1])), outliers_by_label(np.array([1, -1]))
    (array([False,  True]), array([False,  True]))
    """
    if outlier_label not in (None, 1, -1):
        raise ValueError(f"outlier_label must be 1, -1 or None, got {outlier_label!r}.")
    found = set(np.unique(labels).tolist())
    given = "" if outlier_label is None else f" with outlier_label {outlier_label}"
    if outlier_label is None:
        outlier_label = 1 if 0 in found or labels.dtype == np.bool_ else -1
    allowed = {0, 1} if outlier_label == 1 else {-1, 1}
    if not found <= allowed:
        raise ValueError(
            "y must hold 0 (inlier) and 1 (outlier), or 1 (inlier) and -1 (outlier);"
            f" got labels {sorted(found, key=str)[:5]}{given}."
        )
    outlier: NDArray[np.bool_] = labels == outlier_label
    return outlier
