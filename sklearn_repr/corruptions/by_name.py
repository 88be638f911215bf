"""Corruptions from an estimator's parameters: names, callables, instances and lists."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from torch import Tensor

from sklearn_repr.corruptions._base import (
    SHAPES,
    Corruption,
    Level,
    UserCorruption,
    check_level,
)
from sklearn_repr.corruptions._base import corruption as registered
from sklearn_repr.corruptions.views import Composed

__all__ = ["make_corruption", "make_views"]


def make_corruption(
    corruption: str | Callable[[Tensor], Tensor] | Corruption,
    level: Level | str,
    parameter: str = "corruption",
    input_shape: Sequence[int] | None = None,
) -> Corruption:
    """Build a corruption from an estimator's parameters.

    Parameters
    ----------
    corruption : str, callable or Corruption
        A name of the registry `corruption`, a function from encoded rows to corrupted
        rows, or an instance, which is copied.
    level : float, (float, float) or "auto"
        Strength: what the class of that name calls `level`. Every row draws its own
        from a range; "auto" is the default level of that name.
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
    entry = registered[corruption]
    named = f"{parameter}={corruption!r}"
    if isinstance(level, str) and level == "auto":
        level = entry.metadata["default_level"]
    share = bool(entry.metadata.get("share"))
    level = check_level(level, share, named, "corruption_level")
    needs = entry.metadata.get("needs")
    if needs is None:
        return entry.make(level)  # type: ignore[no-any-return]
    if input_shape is None:
        shapes = " or ".join(SHAPES[needs].values())
        raise ValueError(f"{named} needs input_shape={shapes}.")
    return entry.make(level, input_shape)  # type: ignore[no-any-return]


def make_views(
    views: str | Callable[[Tensor], Tensor] | Corruption | Sequence[object],
    level: Level | str = "auto",
    *,
    parameter: str = "views",
    input_shape: Sequence[int] | None = None,
) -> Corruption:
    """Build one corruption from a name, a callable or a list of such.

    Parameters
    ----------
    views : str, callable, Corruption or sequence
        See :func:`make_corruption`. The entries of a sequence are applied in order; each
        is one of these, or a pair (name, level).
    level : float, (float, float) or "auto", default="auto"
        Level of every name that is given without one.
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
