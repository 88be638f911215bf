"""Losses whose gradients are written by hand, for steps that need no graph at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch
from sklearn_repr.objectives import Composite, NTXent, Objective, Reconstruction

__all__ = ["Losses", "is_squared_error", "losses_by_hand", "own_grad", "parts_of"]

aten = torch.ops.aten
# what torch.nn.functional.normalize divides by at least
SHORTEST = 1e-12

# Maps what the halves of a network returned, and the batch, to "loss" and terms by name
# and to the gradients of what they returned
Losses = Callable[[Sequence[Tensor], Batch], tuple[dict[str, Tensor], list[Tensor]]]


def own_grad(parameter: Tensor) -> Tensor:
    """Return where automatic differentiation leaves a gradient, zeros before it has."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def parts_of(objective: Objective) -> list[Any]:
    """Return the objectives that a composite is made of, or the one that it is."""
    return list(objective.objectives) if type(objective) is Composite else [objective]


def losses_by_hand(objective: Objective, fields: Sequence[str]) -> Losses | None:
    """Return losses with their gradients by hand, None where they are not known.

    Parameters
    ----------
    objective : Objective
        Known are the squared error, NT-Xent of a given temperature, and both together.
    fields : sequence of str
        What :class:`Outputs` calls what the network returns, in order.

    Returns
    -------
    losses : callable or None
        It does what automatic differentiation does, operation by operation. It is for
        batches without missing cells.
    """
    parts = parts_of(objective)
    wanted = ["projection", "reconstruction"][: len(parts)]
    if parts and type(parts[0]) is NTXent:
        if list(fields) != wanted or list(objective.parameters()):
            return None
        if not all(map(_counts_all, parts[1:])):
            return None
        return _Contrast(objective, parts[0])
    if len(parts) == 1 and _counts_all(parts[0]) and not objective.weights:
        return _squared_error
    return None


def _squared_error(
    results: Sequence[Tensor], batch: Batch
) -> tuple[dict[str, Tensor], list[Tensor]]:
    (rebuilt,) = results
    grad = _residual(rebuilt, batch)
    loss = _mean(grad.square().sum(dim=1), len(batch))
    return {"loss": loss, "reconstruction": loss}, [grad.mul_(2 / len(grad))]


class _Contrast:
    r"""NT-Xent of two views, perhaps with the squared error of a reconstruction.

    With unit vectors V of the projections P, similarities :math:`S = V V^\top / \tau`,
    their softmax Q over all others and the positives Y,

    .. math:: \frac{\partial}{\partial S} = \frac{Q - Y}{2 n}, \quad
              \frac{\partial}{\partial V} = \frac1\tau (\partial_S + \partial_S^\top) V,
              \quad \frac{\partial}{\partial p} = \frac{g - v v^\top g}{\|p\|}
    """

    def __init__(self, objective: Objective, contrast: NTXent):
        self.objective = objective
        self.contrast = contrast
        # as large as the similarities: kept by size while the step lasts, no longer
        self.targets: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(
        self, results: Sequence[Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        weights = self.objective.weights
        weight = weights.get("nt_xent", 1.0)
        term, grad = self._contrast(results[0], weight)
        loss, terms, grads = _times(weight, term), {"nt_xent": term}, [grad]
        for rebuilt in results[1:]:
            weight = weights.get("reconstruction", 1.0)
            residual = _residual(rebuilt, batch)
            term = _mean(residual.square().sum(dim=1), len(batch))
            loss, terms["reconstruction"] = loss + _times(weight, term), term
            grads.append(residual.mul_(2 * _share(weight, len(rebuilt), rebuilt.dtype)))
        return {"loss": loss, **terms}, grads

    def _contrast(self, projection: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        temperature, n = self.contrast.temperature, len(projection) // 2
        if n not in self.targets:
            self.targets[n] = _targets(n, weight, projection)
        positive, start = self.targets[n]
        norm = torch.linalg.vector_norm(projection, dim=1, keepdim=True)
        length = norm.clamp_min(SHORTEST)
        views = projection / length
        similarity = torch.mm(views, views.t()).div_(temperature)
        chances = similarity.fill_diagonal_(-torch.inf).log_softmax(dim=1)
        term = _mean(aten.nll_loss_forward.default(chances, positive, None, 0, -1)[0], n)

        to_similarity = aten._log_softmax_backward_data.default(
            start, chances, 1, chances.dtype
        ).div_(temperature)
        to_views = torch.mm(to_similarity, views).add_(torch.mm(to_similarity.t(), views))
        along = (to_views * (views / length)).sum(dim=1, keepdim=True)
        along.mul_(norm >= SHORTEST)  # shorter rows are divided by a constant
        return term, to_views.div_(length).sub_(along * views)


def _residual(rebuilt: Tensor, batch: Batch) -> Tensor:
    values = batch.values
    return (rebuilt.view(-1, *values.shape) - values).view_as(rebuilt)


def _mean(rows: Tensor, n_rows: int) -> Tensor:
    """Average over copies of rows first, as the objective does."""
    return (rows.view(-1, n_rows).mean(dim=0) if len(rows) > n_rows else rows).mean()


@lru_cache(maxsize=8)
def _share(weight: float, n: int, dtype: torch.dtype) -> float:
    """Return weight / n, rounded as torch rounds it."""
    return float(torch.tensor(weight, dtype=dtype) / n)


def _targets(n: int, weight: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the positives of 2n views are, and the gradient that starts there."""
    rows = torch.arange(2 * n, device=like.device)
    positive = (rows + n) % (2 * n)
    start = like.new_zeros(2 * n, 2 * n)
    start[rows, positive] = -_share(weight, 2 * n, like.dtype)
    return positive, start


def _times(weight: float, term: Tensor) -> Tensor:
    return term if weight == 1.0 else weight * term


def _counts_all(objective: Any) -> bool:
    return is_squared_error(objective) and not objective.masked_only


def is_squared_error(objective: Any) -> bool:
    """Tell the one loss of reconstructions whose gradient is by hand as well.

    Parameters
    ----------
    objective : Objective
        Any objective.

    Returns
    -------
    squared : bool
        Whether it is the squared error, of all cells or of masked ones.
    """
    numeric = all(block.kind == "numeric" for block in getattr(objective, "blocks", ()))
    return (
        type(objective) is Reconstruction
        and objective.loss == "squared_error"
        and numeric
    )
