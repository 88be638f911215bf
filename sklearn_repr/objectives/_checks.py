"""Checks of the constants of objectives, which users may build themselves."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

__all__ = ["check_constant"]


def check_constant(
    owner: object,
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float = 0.0,
    below: float = math.inf,
    whole: bool = False,
) -> Any:
    """Refuse a constant of an objective that is no finite number of a range.

    Parameters
    ----------
    owner : Objective
        Whose class the message names.
    name : str
        Of the parameter.
    value : object
        What was given.
    above : float or None, default=None
        What the number must be greater than; None asks for `least`.
    least : float, default=0.0
        Smallest number that will do.
    below : float, default=inf
        What the number must be smaller than.
    whole : bool, default=False
        Ask for an integer.

    Returns
    -------
    value : object
        The same.

    Raises
    ------
    ValueError
        If it will not do.

    Examples
    --------
    >>> from sklearn_repr.objectives._checks import check_constant
    >>> check_constant(object(), "margin", 0.5)
    0.5
    """
    kind = Integral if whole else Real
    inside = isinstance(value, kind) and not isinstance(value, bool)
    if inside:
        number = float(value)
        inside = number >= least if above is None else number > above
        inside = inside and number < below  # false for NaN, and for infinity
    if inside:
        return value
    bounds = f"of at least {least:g}" if above is None else f"above {above:g}"
    if below < math.inf:
        bounds += f" and below {below:g}"
    noun = "an integer" if whole else "a finite number"
    raise ValueError(
        f"{type(owner).__name__} got {name}={value!r}. Set {name} to {noun} {bounds}."
    )
