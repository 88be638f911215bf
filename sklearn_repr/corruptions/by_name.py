"""Corruptions, views and pairs from an estimator's parameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from torch import Tensor

from sklearn_repr.corruptions._base import Corruption, Level, UserCorruption
from sklearn_repr.corruptions._base import corruption as corruptions
from sklearn_repr.corruptions.pairs import Pairs, pairing
from sklearn_repr.corruptions.views import Composed

__all__ = ["make_corruption", "make_pairs", "make_views"]


def make_corruption(
    corruption: str | Callable[[Tensor], Tensor] | Any,
    level: Level | str,
    parameter: str = "corruption",
    input_shape: Sequence[int] | None = None,
) -> Corruption:
    """Build a corruption from an estimator's parameters.

    Parameters
    ----------
    corruption : str, callable or Corruption
        A registered name, or a function from encoded rows to corrupted rows.
    level : float, (float, float) or "auto"
        Strength: what the class of that name calls `level`. A range is drawn from per
        row; "auto" is the name's default.
    parameter : str, default="corruption"
        What the estimator calls the parameter, for the message.
    input_shape : sequence of int or None, default=None
        Shape of a row that is an image or a sequence.

    Returns
    -------
    corruption : Corruption
        Not yet fitted.

    Raises
    ------
    ValueError
        If the name is unknown, the level is no number or range, is above 1 where it is a
        share, or if `input_shape` is missing where it is needed.

    Examples
    --------
    >>> from sklearn_repr.corruptions import make_corruption
    >>> make_corruption("swap", 0.1).level
    0.1
    """
    if isinstance(corruption, Corruption):
        return copy.deepcopy(corruption)  # fitting it must not change the parameter
    if not isinstance(corruption, str):
        return UserCorruption(corruption)
    entry = corruptions[corruption]
    if isinstance(level, str) and level == "auto":
        level = entry.metadata["default_level"]
    ends: Any = tuple(level) if isinstance(level, tuple | list) else (level, level)
    numbers = all(isinstance(end, Real) and math.isfinite(end) for end in ends)
    if len(ends) != 2 or not numbers or not 0 <= ends[0] <= ends[1]:
        raise ValueError(
            "corruption_level must be a number >= 0 or a range (low, high) of such;"
            f" got {level!r}."
        )
    if entry.metadata.get("share") and ends[1] > 1:
        raise ValueError(
            f"corruption_level={level!r} is not a share: with"
            f" {parameter}={corruption!r} it must be between 0 and 1."
        )
    drawn: Level = ends[0] if ends[0] == ends[1] else ends
    if not entry.takes("input_shape"):
        made: Corruption = entry.make(drawn)
        return made
    if input_shape is None:
        shapes = " or ".join(entry.make.shapes.values())  # type: ignore[attr-defined]
        raise ValueError(f"{parameter}={corruption!r} needs input_shape={shapes}.")
    shaped: Corruption = entry.make(drawn, input_shape)
    return shaped


def make_views(
    views: Any,
    level: Level | str = "auto",
    *,
    parameter: str = "views",
    input_shape: Sequence[int] | None = None,
) -> Corruption:
    """Build one corruption from a name, a callable or a list of such.

    Parameters
    ----------
    views : str, callable, Corruption or sequence
        See :func:`make_corruption`. The entries of a sequence act in their order; each is
        one of these, or a pair (name, level).
    level : float, (float, float) or "auto", default="auto"
        Level of every name that brings none of its own.
    parameter : str, default="views"
        What the estimator calls the parameter, for the message.
    input_shape : sequence of int or None, default=None
        Shape of a row that is an image or a sequence.

    Returns
    -------
    corruption : Corruption
        Not yet fitted.

    Raises
    ------
    ValueError
        As :func:`make_corruption` does, and if the list is empty or an entry is none of
        these.

    Examples
    --------
    >>> from sklearn_repr.corruptions import make_views
    >>> views = make_views(["crop", ("rotation", 5)], input_shape=(1, 8, 8))
    >>> [view.level for view in views.corruptions]
    [0.6, 5]
    """
    if isinstance(views, str) or callable(views):
        return make_corruption(views, level, parameter, input_shape)
    entries = list(views)
    if not entries:
        raise ValueError(f"{parameter}={views!r} holds no view: name at least one.")
    parts = []
    for entry in entries:
        name, own = entry, level
        if isinstance(entry, tuple | list) and len(entry) == 2:
            name, own = entry
        if not (isinstance(name, str) or callable(name)):
            raise ValueError(
                f"{parameter} must hold names, pairs (name, level), callables or"
                f" corruptions; got {entry!r}."
            )
        parts.append(make_corruption(name, own, parameter, input_shape))
    return parts[0] if len(parts) == 1 else Composed(parts)


def make_pairs(name: str, n_neighbors: int) -> Pairs | None:
    """Build pairs from an estimator's parameters.

    Parameters
    ----------
    name : str
        A registered name, or "row".
    n_neighbors : int
        How many rows are near, for those that ask.

    Returns
    -------
    pairs : Pairs or None
        Not yet fitted; None if both views are made of the same row.

    Examples
    --------
    >>> from sklearn_repr.corruptions import make_pairs
    >>> make_pairs("time", 3).n_neighbors
    3
    """
    if name == "row":
        return None
    entry = pairing[name]
    given = {"n_neighbors": n_neighbors} if entry.takes("n_neighbors") else {}
    made: Pairs = entry.make(**given)
    return made
