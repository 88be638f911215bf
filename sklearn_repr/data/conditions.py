"""What rows are drawn by: classes, or numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from sklearn_repr._contracts import Labels
from sklearn_repr.utils.labels import encode_labels

__all__ = ["Conditions"]


class Conditions:
    """Classes or numbers of rows, as a network is told them.

    Real numbers, some of which are not whole, are numbers; everything else is classes.

    Attributes
    ----------
    classes_ : ndarray or None
        The classes in order; None of numbers.

    Examples
    --------
    >>> from sklearn_repr.data.conditions import Conditions
    >>> conditions = Conditions()
    >>> conditions.learn(["b", "a", None], 3), conditions.encode(["b", "a"])
    (tensor([ 1,  0, -1]), tensor([1., 0.]))
    >>> conditions.learn([0.5, 1.5], 2).tolist(), conditions.encode([1.5, 1.0]).tolist()
    ([-1.0, 1.0], [1.0, 0.0])
    """

    def learn(self, y: Labels, n_rows: int) -> Tensor:
        """Learn the classes, or mean and deviation of numbers, and encode all rows.

        Parameters
        ----------
        y : array-like of shape (n_rows,)
            -1, NaN and None mean that the class of a row is not known, NaN that its
            number is not.
        n_rows : int
            Number of rows of the table.

        Returns
        -------
        labels : Tensor of shape (n_rows,)
            Numbers of classes, int64, -1 where it is not known; or scaled numbers, NaN
            where they are not known.

        Raises
        ------
        ValueError
            If `y` has another length or says nothing.
        """
        values = column_or_1d(y, dtype=None, warn=True)
        self.classes_: Any = None
        if values.dtype.kind == "f" and (values % 1 > 0).any():
            if len(values) != n_rows:
                encode_labels(values.round(), n_rows, "")
            if np.isinf(values).any():
                raise ValueError("Input y contains infinity: draw by finite numbers.")
            values = values.astype(np.float64)
            self.center_, self.scale_ = np.nanmean(values), np.nanstd(values) or 1.0
            return self._scaled(values)
        labels = encode_labels(y, n_rows, "A model of rows given y")
        self.classes_ = np.unique(values[labels.numpy() >= 0])
        return labels

    @property
    def n_classes(self) -> int:
        """How many classes there are; 0 of numbers."""
        return 0 if self.classes_ is None else len(self.classes_)

    def encode(self, y: Labels) -> Tensor:
        """Return classes or numbers to draw by as the network is told them, float32.

        Parameters
        ----------
        y : array-like of shape (n,)
            Classes that `fit` saw, or finite numbers.

        Returns
        -------
        condition : Tensor of shape (n,)
            Numbers of classes, or scaled numbers.

        Raises
        ------
        ValueError
            If there is no such class.
        """
        values = column_or_1d(y, dtype=None)
        if self.classes_ is None:
            numbers = np.asarray(values, dtype=np.float64)
            if not np.isfinite(numbers).all():
                raise ValueError("y must hold finite numbers to draw rows by.")
            return self._scaled(numbers).float()
        places = pd.Index(self.classes_).get_indexer(pd.Index(values))
        if (places < 0).any():
            raise ValueError(
                f"y holds {values[places < 0].tolist()[0]!r}, a class that fit saw no row"
                f" of; there are {', '.join(map(repr, self.classes_.tolist()))}."
            )
        return torch.from_numpy(places).float()

    def _scaled(self, numbers: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy((numbers - self.center_) / self.scale_)
