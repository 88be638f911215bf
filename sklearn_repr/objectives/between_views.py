"""Objectives that look at two views of every row, by name."""

from __future__ import annotations

import copy
from collections.abc import Callable

from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives.align_uniform import AlignUniform
from sklearn_repr.objectives.barlow_twins import BarlowTwins
from sklearn_repr.objectives.byol import BYOL
from sklearn_repr.objectives.contrastive import NTXent
from sklearn_repr.objectives.simsiam import SimSiam
from sklearn_repr.objectives.supcon import SupCon
from sklearn_repr.objectives.triplet import Triplet
from sklearn_repr.objectives.vicreg import VICReg

__all__ = ["OBJECTIVES", "make_view_objective"]

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "align_uniform": AlignUniform,
    "barlow_twins": BarlowTwins,
    "byol": BYOL,
    "nt_xent": NTXent,
    "simsiam": SimSiam,
    "supcon": SupCon,
    "triplet": Triplet,
    "vicreg": VICReg,
}


def make_view_objective(
    objective: str | Objective, temperature: float, learn_temperature: bool
) -> Objective:
    """Build an objective from an estimator's parameters.

    Parameters
    ----------
    objective : str or Objective
        A name in `OBJECTIVES`, or an instance, which is copied.
    temperature : float
        Of "nt_xent" and "supcon".
    learn_temperature : bool
        Of "nt_xent".

    Returns
    -------
    objective : Objective
        One that training may change.

    Examples
    --------
    >>> from sklearn_repr.objectives.between_views import make_view_objective
    >>> make_view_objective("supcon", 0.2, False).temperature
    0.2
    """
    if isinstance(objective, Objective):
        return copy.deepcopy(objective)
    if objective == "nt_xent":
        return NTXent(temperature, learn_temperature)
    if objective == "supcon":
        return SupCon(temperature)
    return OBJECTIVES[objective]()
