"""What rows are drawn by: classes, or numbers."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.utils import check_scalar
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from sklearn_repr._contracts import Labels
from sklearn_repr.utils.labels import encode_labels, known_labels

__all__ = ["Conditions", "to_draw_by"]


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
    >>> conditions = Conditions().learn(["b", "a", None])
    >>> conditions.labels(["b", "a", None]), conditions.encode(["b", "a"])
    (tensor([ 1,  0, -1]), tensor([1., 0.]))
    >>> conditions.learn([0.5, 1.5]).encode([1.5, 1.0])
    tensor([1., 0.])
    """

    def learn(self, y: Labels) -> Conditions:
        """Learn the classes, or mean and deviation of numbers.

        Parameters
        ----------
        y : array-like of shape (n,)
            -1, NaN and None mean that the class of a row is not known, NaN and None that
            its number is not.

        Returns
        -------
        self : Conditions
            What was learned.

        Raises
        ------
        ValueError
            If `y` says nothing, or holds an infinite number.
        """
        values = column_or_1d(y, dtype=None, warn=True)
        numbers = _without_objects(values)
        self.classes_: Any = None
        real = numbers.dtype.kind == "f"
        if real and np.isinf(numbers).any():
            raise ValueError("Input y contains infinity: draw by finite numbers.")
        if real and (numbers % 1 > 0).any():
            numbers = numbers.astype(np.float64)
            self.center_, self.scale_ = np.nanmean(numbers), np.nanstd(numbers) or 1.0
        else:
            labels = encode_labels(y, len(values), "A model of rows given y")
            self.classes_ = np.unique(values[labels.numpy() >= 0])
        return self

    def labels(self, y: Labels) -> Tensor:
        """Encode what is known of the rows of a table.

        Parameters
        ----------
        y : array-like of shape (n,)
            See :meth:`learn`.

        Returns
        -------
        labels : Tensor of shape (n,)
            Numbers of classes, int64, -1 where it is not known; or scaled numbers, NaN
            where they are not known.

        Raises
        ------
        ValueError
            If there is a class that was not learned.
        """
        values = column_or_1d(y, dtype=None)
        if self.classes_ is None:
            return self._scaled(_without_objects(values).astype(np.float64))
        labels = np.full(len(values), -1)
        known = known_labels(values)
        labels[known] = self.encode(values[known]).numpy()
        return torch.from_numpy(labels)

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


def _without_objects(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return numbers among which are None as floats, and all else as it is."""
    return (
        pd.Series(values).infer_objects().to_numpy() if values.dtype == object else values
    )


def to_draw_by(conditions: Conditions | None, n_samples: int | None, y: Labels) -> Tensor:
    """Return what each of some rows is drawn by.

    Parameters
    ----------
    conditions : Conditions or None
        What was learned; None without `y` in `fit`.
    n_samples : int or None
        How many rows. None is as many as `y` has entries, or one.
    y : array-like of shape (n,), scalar or None
        Classes or numbers; None is nothing.

    Returns
    -------
    condition : Tensor of shape (n, 0) or (n, 1)
        As the network is told them.

    Raises
    ------
    ValueError
        If `y` has another length, or holds what rows cannot be drawn by.
    """
    if n_samples is not None:
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
    if y is None:
        return torch.empty(1 if n_samples is None else int(n_samples), 0)
    if conditions is None:
        raise ValueError("y was given, but the model was fitted without y.")
    y = np.atleast_1d(np.asarray(y))
    if n_samples is not None and len(y) == 1:
        y = np.repeat(y, n_samples)
    if n_samples not in (None, len(y)):
        raise ValueError(f"n_samples={n_samples}, but y has {len(y)} entries.")
    return conditions.encode(y).unsqueeze(1)
