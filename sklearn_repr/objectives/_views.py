"""What objectives of two views share."""

from __future__ import annotations

from torch import Tensor

__all__ = ["two_views"]


def two_views(views: Tensor | None, n_rows: int, objective: str) -> tuple[Tensor, Tensor]:
    """Return the first and the second view of every row."""
    if views is None or len(views) != 2 * n_rows:
        raise ValueError(f"{objective} needs the projections of two views of every row.")
    return views[:n_rows], views[n_rows:]
