"""What objectives of two views share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["similarity_of_views", "two_views"]


def two_views(views: Tensor | None, n_rows: int, objective: str) -> tuple[Tensor, Tensor]:
    """Return the first and the second view of every row."""
    if views is None or len(views) != 2 * n_rows:
        raise ValueError(f"{objective} needs the projections of two views of every row.")
    return views[:n_rows], views[n_rows:]


def similarity_of_views(
    first: Tensor, second: Tensor, temperature: float | Tensor
) -> Tensor:
    """Return cosine similarities over τ of all 2N views; -inf of each to itself."""
    views = functional.normalize(torch.cat([first, second]), dim=1)
    similarity = views @ views.T / temperature
    return similarity.fill_diagonal_(-torch.inf)
