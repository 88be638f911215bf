"""Where the second view of a row comes from, by name."""

from __future__ import annotations

from collections.abc import Callable

from sklearn_repr.corruptions.pairs import LabelPairs, NeighborPairs, Pairs, TimePairs

__all__ = ["PAIRS", "make_pairs"]

# "row" is the row itself
PAIRS: dict[str, Callable[[int], Pairs] | None] = {
    "row": None,
    "label": lambda n_neighbors: LabelPairs(),
    "neighbors": NeighborPairs,
    "time": TimePairs,
}


def make_pairs(pairs: str, n_neighbors: int) -> Pairs | None:
    """Build pairs from an estimator's parameters.

    Parameters
    ----------
    pairs : str
        A name in `PAIRS`.
    n_neighbors : int
        How many rows are near, for "neighbors" and, each way, "time".

    Returns
    -------
    pairs : Pairs or None
        Not yet fitted; None if both views are made of the same row.

    Examples
    --------
    >>> from sklearn_repr.corruptions.positives import make_pairs
    >>> make_pairs("time", 3).window
    3
    """
    build = PAIRS[pairs]
    return None if build is None else build(n_neighbors)
