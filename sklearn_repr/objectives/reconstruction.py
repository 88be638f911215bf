"""How far a reconstruction is from the clean row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sklearn_repr._outputs import Batch, Block, Outputs
from sklearn_repr.objectives._base import Objective

__all__ = ["LOSSES", "Reconstruction", "absolute_error", "huber", "squared_error"]


def squared_error(residual: Tensor, scale: float) -> Tensor:
    """Return r², cell by cell; `scale` plays no part."""
    return residual.square()


def absolute_error(residual: Tensor, scale: float) -> Tensor:
    """Return abs(r), cell by cell; `scale` plays no part."""
    return residual.abs()


def huber(residual: Tensor, scale: float) -> Tensor:
    """Return r²/2 where abs(r) <= scale and scale · (abs(r) - scale/2) beyond."""
    size = residual.abs()
    inside = size.clamp(max=scale)
    return inside * (size - 0.5 * inside)


LOSSES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
}


class Reconstruction(Objective):
    r"""Sum over the columns of a loss per cell.

    .. math:: \ell_i = \sum_j o_{ij} \, \rho(\hat x_{ij} - x_{ij})

    with :math:`o_{ij} = 1` where a cell was observed and 0 elsewhere.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "huber"} or callable
        :math:`\rho`; a callable maps residuals to losses, cell by cell.
    scale : float, default=1.0
        Where "huber" turns from square to straight, in encoded units.
    blocks : sequence of Block, default=()
        The codec's blocks; none means that all columns are numeric.
    weights : mapping of str to float, optional
        See :class:`Objective`.

    Raises
    ------
    ValueError
        If a block has a kind that no loss is known for.

    Notes
    -----
    Several corrupted copies of a row, one behind the other, are averaged.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._outputs import Batch, Outputs
    >>> from sklearn_repr.objectives import Reconstruction
    >>> outputs = Outputs(torch.zeros(1, 1), reconstruction=torch.tensor([[1.0, 3.0]]))
    >>> Reconstruction("absolute_error").terms(outputs, Batch(torch.zeros(1, 2)))
    {'reconstruction': tensor([4.])}
    """

    def __init__(
        self,
        loss: str | Callable[[Tensor], Tensor] = "squared_error",
        *,
        scale: float = 1.0,
        blocks: Sequence[Block] = (),
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__(weights)
        self.loss = loss
        self.scale = scale
        self.blocks = tuple(blocks)
        unknown = sorted({block.kind for block in self.blocks} - {"numeric"})
        if unknown:
            raise ValueError(f"Reconstruction knows no loss for blocks of kind {unknown}")

    def cells(self, outputs: Outputs, target: Batch) -> Tensor:
        """Return the loss of every cell, shape (m · n, d), unobserved cells zero."""
        if outputs.reconstruction is None:
            raise ValueError("Reconstruction needs a module that reconstructs its input.")
        values, observed = target.values, target.observed
        copies = len(outputs.reconstruction) // len(values)
        if copies > 1:
            values = values.repeat(copies, 1)
            observed = None if observed is None else observed.repeat(copies, 1)
        residual = outputs.reconstruction - values
        if callable(self.loss):
            cells = self.loss(residual)
            if cells.shape != residual.shape:
                raise ValueError(
                    "A loss given as a callable must return one value per cell, shape"
                    f" {tuple(residual.shape)}; got {tuple(cells.shape)}."
                )
        else:
            cells = LOSSES[self.loss](residual, self.scale)
        return (
            cells if observed is None else cells.where(observed, torch.zeros_like(cells))
        )

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row; see :class:`Objective`."""
        rows = self.cells(outputs, target).sum(dim=1)
        if len(rows) > len(target):
            rows = rows.view(-1, len(target)).mean(dim=0)
        return {"reconstruction": rows}
