"""Penalties Ω by name, and their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives.contraction import Contraction
from sklearn_repr.objectives.decorrelation import Decorrelation, OrthogonalDecoder
from sklearn_repr.objectives.sparsity import ActivityL1, KLSparsity, WeightL1

__all__ = ["PENALTIES", "SPARSE", "make_penalties", "penalty_weights"]

PENALTIES: dict[str, Callable[[float], Objective] | None] = {
    "l1": lambda target: WeightL1(),
    "activity_l1": lambda target: ActivityL1(),
    "kl_sparsity": KLSparsity,
    "topk": None,  # a property of the code, not a term
    "contractive": lambda target: Contraction(),
    "orthogonal": lambda target: OrthogonalDecoder(),
    "decorrelation": lambda target: Decorrelation(),
}
# what these ask of single units or weights, a rotation of the code would undo
SPARSE = {"l1", "activity_l1", "kl_sparsity", "topk"}


def penalty_weights(
    penalty: str | Sequence[str] | None, weight: ArrayLike
) -> dict[str, float]:
    """Resolve the parameters `penalty` and `penalty_weight`.

    Parameters
    ----------
    penalty : str, sequence of str or None
        Names in `PENALTIES`.
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
    >>> from sklearn_repr.objectives.penalties import penalty_weights
    >>> penalty_weights(["l1", "contractive"], 0.1)
    {'l1': 0.1, 'contractive': 0.1}
    """
    names = [penalty] if isinstance(penalty, str) else list(penalty or ())
    for name in names:
        if not isinstance(name, str) or name not in PENALTIES:
            raise ValueError(
                f"penalty must hold names in {set(PENALTIES)}; got {name!r}."
            )
    try:
        weights = np.atleast_1d(np.asarray(weight, dtype=float)).ravel().tolist()
    except (TypeError, ValueError):
        raise ValueError(f"penalty_weight must hold numbers; got {weight!r}.") from None
    if len(weights) == 1:
        weights *= len(names)
    if len(weights) != len(names) or len(set(names)) < len(names):
        raise ValueError(
            "penalty_weight must be one number or one for each penalty, and no penalty"
            f" may stand twice; got penalty={penalty!r} and penalty_weight={weight!r}."
        )
    if any(not w >= 0 for w in weights):
        raise ValueError(f"penalty_weight must not be negative; got {weight!r}.")
    return dict(zip(names, weights, strict=True))


def make_penalties(names: Iterable[str], sparsity_target: float) -> list[Objective]:
    """Build the penalties that are terms of a loss.

    Parameters
    ----------
    names : iterable of str
        Names in `PENALTIES`.
    sparsity_target : float
        Mean activation for "kl_sparsity".

    Returns
    -------
    penalties : list of Objective
        In the order given.

    Examples
    --------
    >>> from sklearn_repr.objectives.penalties import make_penalties
    >>> len(make_penalties(["l1", "topk"], 0.05))
    1
    """
    makers = (PENALTIES[name] for name in names)
    return [make(sparsity_target) for make in makers if make is not None]
