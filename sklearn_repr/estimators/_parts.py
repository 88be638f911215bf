"""Objectives and codes from the parameters of the reconstructing estimators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_repr.data import NumericCodec
from sklearn_repr.modules.code import TopK
from sklearn_repr.objectives import (
    ActivityL1,
    Composite,
    Contraction,
    Decorrelation,
    KLSparsity,
    Objective,
    OrthogonalDecoder,
    Reconstruction,
    WeightL1,
)
from sklearn_repr.utils.validation import column_label

__all__ = [
    "PENALTIES",
    "SPARSE",
    "make_code",
    "make_objective",
    "penalty_weights",
    "refuse_outside_unit_interval",
    "resolve_mask_ratio",
]

PENALTIES: dict[str, Callable[[float], Objective] | None] = {
    "l1": lambda target: WeightL1(),
    "activity_l1": lambda target: ActivityL1(),
    "kl_sparsity": KLSparsity,
    "topk": None,  # a property of the code, not a term
    "contractive": lambda target: Contraction(),
    "orthogonal": lambda target: OrthogonalDecoder(),
    "decorrelation": lambda target: Decorrelation(),
}
# what these ask of single units or weights, a turn of the code would undo
SPARSE = {"l1", "activity_l1", "kl_sparsity", "topk"}


def penalty_weights(penalty: Any, weight: Any) -> dict[str, float]:
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
    >>> from sklearn_repr.estimators._parts import penalty_weights
    >>> penalty_weights(["l1", "contractive"], 0.1)
    {'l1': 0.1, 'contractive': 0.1}
    """
    names: Sequence[Any] = (
        []
        if penalty is None
        else [penalty]
        if isinstance(penalty, str)
        else list(penalty)
    )
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


def make_objective(
    loss: str | Callable[[Tensor], Tensor],
    loss_scale: float | str,
    weights: dict[str, float],
    sparsity_target: float,
    codec: NumericCodec,
) -> Objective:
    """Build a reconstruction loss with its penalties."""
    reconstruction = Reconstruction(loss, scale=loss_scale, blocks=codec.blocks_)
    makers = [PENALTIES[name] for name in weights]
    penalties = [make(sparsity_target) for make in makers if make is not None]
    if not penalties:
        return reconstruction
    return Composite([reconstruction, *penalties], weights)


def make_code(
    weights: dict[str, float], sparsity_target: float, n_components: int
) -> nn.Module | None:
    """Build what the code passes through: rates for the divergence, k units for top-k."""
    if "topk" in weights:
        return TopK(max(1, round(sparsity_target * n_components)))
    return nn.Sigmoid() if "kl_sparsity" in weights else None


def refuse_outside_unit_interval(rows: Any, names: Any, who: str) -> None:
    """Raise unless all encoded values lie in [0, 1]."""
    ends = [torch.stack(pool.values.aminmax(dim=0)) for pool in rows.pools(None)]
    lowest = torch.stack(ends).amin(dim=0)[0]
    highest = torch.stack(ends).amax(dim=0)[1]
    bad = ((lowest < 0) | (highest > 1)).nonzero()
    if len(bad):
        column = int(bad[0])
        raise ValueError(
            f"{who} needs values in [0, 1]; column"
            f" {column_label(names, column)} goes from {float(lowest[column]):g} to"
            f" {float(highest[column]):g} after scaling. Set scaling=None and bring the"
            " columns to [0, 1]."
        )


def resolve_mask_ratio(ratio: Any) -> float | tuple[float, float]:
    """Check the parameter `mask_ratio`.

    Parameters
    ----------
    ratio : float or sequence of two
        A share, or a range of shares.

    Returns
    -------
    level : float or (float, float)
        A range only where its ends differ.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> from sklearn_repr.estimators._parts import resolve_mask_ratio
    >>> resolve_mask_ratio([0.5, 0.5])
    0.5
    """
    ends: tuple[Any, ...] = (
        tuple(ratio) if isinstance(ratio, tuple | list) else (ratio, ratio)
    )
    numbers = all(isinstance(end, Real) and math.isfinite(end) for end in ends)
    if len(ends) != 2 or not numbers or not 0 <= ends[0] <= ends[1] < 1:
        raise ValueError(
            "mask_ratio must be a share in [0, 1) or a range (low, high) of such;"
            f" got {ratio!r}."
        )
    return float(ends[0]) if ends[0] == ends[1] else ends
