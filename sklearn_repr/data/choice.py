"""Which columns of a table are categories."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["chosen_columns"]


def chosen_columns(
    given: Any, names: Sequence[Any] | None, kinds: Sequence[str]
) -> NDArray[np.bool_]:
    """Read the parameter `categorical_features`.

    Parameters
    ----------
    given : "from_dtype", array-like of bool, str or int, or None
        The parameter.
    names : sequence or None
        Names of the columns, if they have any.
    kinds : sequence of str
        What each column holds, as :func:`~sklearn_repr.utils.frames.kind_of` says.

    Returns
    -------
    categorical : bool ndarray of shape (n_features,)
        Which columns are categories.

    Raises
    ------
    ValueError
        If it does not fit the table.

    Examples
    --------
    >>> from sklearn_repr.data.choice import chosen_columns
    >>> chosen_columns(["b"], ["a", "b"], ["number", "number"])
    array([False,  True])
    """
    d = len(kinds)
    if given is None:
        return np.zeros(d, dtype=bool)
    if isinstance(given, str):
        if given != "from_dtype":
            raise ValueError(
                "categorical_features must be 'from_dtype', None, a mask, names or"
                f" positions of columns; got {given!r}."
            )
        return np.array([kind == "category" for kind in kinds], dtype=bool)
    chosen = np.asarray(given, dtype=object)
    if chosen.size == 0:
        return np.zeros(d, dtype=bool)
    if chosen.ndim != 1:
        raise ValueError(
            "categorical_features must be one-dimensional; got an array of shape"
            f" {chosen.shape}."
        )
    if all(isinstance(entry, bool | np.bool_) for entry in chosen):
        if len(chosen) != d:
            raise ValueError(
                f"categorical_features is a mask of {len(chosen)} columns, but X has {d}."
            )
        return chosen.astype(bool)
    mask = np.zeros(d, dtype=bool)
    for entry in chosen:
        if isinstance(entry, str):
            places = [j for j, name in enumerate(names or ()) if name == entry]
            if not places:
                raise ValueError(
                    f"categorical_features names the column {entry!r}, which X does"
                    " not have."
                )
            mask[places] = True
        elif isinstance(entry, Integral) and 0 <= int(entry) < d:
            mask[int(entry)] = True
        else:
            raise ValueError(
                "categorical_features must hold names of columns or positions from 0"
                f" to {d - 1}; got {entry!r}."
            )
    return mask
