"""Labels of rows, of which some may be unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from sklearn_repr._contracts import Labels

__all__ = ["encode_labels"]


def encode_labels(y: Labels, n_rows: int, who: str) -> Tensor:
    """Give every class of `y` a number; some entries may be unknown.

    Parameters
    ----------
    y : array-like of shape (n_rows,) or None
        Labels of any type. -1, NaN and None mean that a row is not labelled.
    n_rows : int
        Number of rows of the table.
    who : str
        What needs the labels, for the message.

    Returns
    -------
    labels : int64 Tensor of shape (n_rows,)
        Classes in sorted order from 0; -1 where there is no label.

    Raises
    ------
    ValueError
        If `y` is missing, has another length, holds no label at all or real numbers.

    Examples
    --------
    >>> from sklearn_repr.utils.labels import encode_labels
    >>> encode_labels(["b", "a", None], 3, "this").tolist()
    [1, 0, -1]
    """
    if y is None:
        raise ValueError(
            f"{who} requires y to be passed, but the target y is None. Pass the labels as"
            " fit(X, y); a row whose label is -1 or NaN counts as unlabelled."
        )
    values = column_or_1d(y, dtype=None, warn=True)
    if len(values) != n_rows:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: X has"
            f" {n_rows} rows and y has {len(values)}."
        )
    known = ~np.asarray(pd.isna(values))
    if values.dtype.kind in "iufO":
        known[known] = np.asarray(values[known] != -1, dtype=bool)
    if not known.any():
        raise ValueError(f"{who} needs labels, but y holds none: all are -1 or NaN.")
    check_classification_targets(values[known].tolist())
    labels = np.full(n_rows, -1)
    labels[known] = np.unique(values[known], return_inverse=True)[1]
    return torch.from_numpy(labels)
