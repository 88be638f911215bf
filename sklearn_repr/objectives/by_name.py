"""Objectives and penalties from an estimator's parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sklearn_repr.objectives._base import Objective, objective, penalty

__all__ = ["make_objective", "make_penalties", "penalty_weights"]


def make_objective(given: str | Objective, **constants: object) -> Objective:
    """Build an objective from an estimator's parameters.

    Parameters
    ----------
    given : str or Objective
        A registered name, or an instance, which is copied.
    **constants : dict
        What the objective's ``__init__`` is given; None is its own default.

    Returns
    -------
    objective : Objective
        One that training may change.

    Raises
    ------
    ValueError
        If a constant is given that the objective does not take, or beside an instance.

    Examples
    --------
    >>> from sklearn_repr.objectives import make_objective
    >>> make_objective("supcon", temperature=0.2).temperature
    0.2
    """
    if isinstance(given, str):
        made: Objective = objective.make(given, "objective", **constants)
        return made
    explicit = [name for name, value in constants.items() if value is not None]
    if explicit:
        first, name = explicit[0], type(given).__name__
        raise ValueError(
            f"{first}={constants[first]!r} has no effect with an objective that was built"
            f" already: give it to {name}, or leave {first} at its default."
        )
    return copy.deepcopy(given)


def penalty_weights(
    names: str | Sequence[str] | None, weight: ArrayLike
) -> dict[str, float]:
    """Resolve the parameters `penalty` and `penalty_weight`.

    Parameters
    ----------
    names : str, sequence of str or None
        Registered names.
    weight : float or sequence of float
        One for all, or one each.

    Returns
    -------
    weights : dict of str to float
        Weight by name, in the order given.

    Raises
    ------
    ValueError
        If a name is unknown or stands twice, or the numbers of names and weights differ.

    Examples
    --------
    >>> from sklearn_repr.objectives.by_name import penalty_weights
    >>> penalty_weights(["l1", "contractive"], 0.1)
    {'l1': 0.1, 'contractive': 0.1}
    """
    listed = [names] if isinstance(names, str) else list(names or ())
    for name in listed:
        penalty[name]
    try:
        weights = np.atleast_1d(np.asarray(weight, dtype=float)).ravel().tolist()
    except (TypeError, ValueError):
        raise ValueError(f"penalty_weight must hold numbers; got {weight!r}.") from None
    if len(weights) == 1:
        weights *= len(listed)
    if len(weights) != len(listed) or len(set(listed)) < len(listed):
        raise ValueError(
            "penalty_weight must be one number or one for each penalty, and no penalty"
            f" may stand twice; got penalty={names!r} and penalty_weight={weight!r}."
        )
    if any(not w >= 0 for w in weights):
        raise ValueError(f"penalty_weight must not be negative; got {weight!r}.")
    return dict(zip(listed, weights, strict=True))


def make_penalties(names: Iterable[str], sparsity_target: float) -> list[Objective]:
    """Build the penalties that are terms of a loss.

    Parameters
    ----------
    names : iterable of str
        Registered names.
    sparsity_target : float
        The `target` of those that take one.

    Returns
    -------
    penalties : list of Objective
        In the order given.

    Examples
    --------
    >>> from sklearn_repr.objectives.by_name import make_penalties
    >>> len(make_penalties(["l1", "topk"], 0.05))
    1
    """
    made = []
    for name in names:
        entry = penalty[name]
        given = {"target": sparsity_target} if entry.takes("target") else {}
        made.append(entry.make(**given))
    return [part for part in made if part is not None]


@penalty("topk", sparse=True, code="top_k")
def _no_term() -> None:
    """Make no term: that only the largest units stay is a property of the code."""
