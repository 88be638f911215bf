"""How far a reconstruction is from the clean row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Block, Outputs
from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives._checks import check_constant
from sklearn_repr.objectives.categories import TableColumns, all_numbers
from sklearn_repr.objectives.losses import auto_scale, loss_of_cells

__all__ = ["Reconstruction"]


class Reconstruction(Objective):
    r"""Sum over the columns of a loss per cell.

    .. math:: \ell_i = \frac{d}{\sum_j o_{ij}}
              \sum_j o_{ij} \, \rho(\hat x_{ij} - x_{ij})

    with :math:`o_{ij} = 1` where one of the d cells of a row was observed and 0
    elsewhere: missing cells neither raise nor lower the loss of a row. With `masked_only`
    only observed cells that the corruption hid count. A category is one cell, whose loss
    is that of :class:`~sklearn_repr.objectives.categories.CategoryLoss`.

    Parameters
    ----------
    loss : str or callable
        :math:`\rho`, the name of a registered loss; a callable maps residuals to losses,
        cell by cell. "binary_cross_entropy" takes the reconstruction for a probability.
    scale : float or "auto", default=1.0
        Scale of the loss, in encoded units; "auto" takes it from the residuals at the
        start of training, see :func:`~sklearn_repr.objectives.losses.auto_scale`.
    blocks : sequence of Block, default=()
        The codec's blocks; none means that all columns are numeric.
    masked_only : bool, default=False
        Count hidden cells only; needs a corruption that says which it hid.
    weights : mapping of str to float, optional
        See :class:`Objective`.

    Notes
    -----
    Several corrupted copies of a row, one behind the other, are averaged.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import Reconstruction
    >>> outputs = Outputs(torch.zeros(1, 1), reconstruction=torch.tensor([[1.0, 3.0]]))
    >>> Reconstruction("absolute_error").terms(outputs, Batch(torch.zeros(1, 2)))
    {'reconstruction': tensor([4.])}
    """

    def __init__(
        self,
        loss: str | Callable[[Tensor], Tensor] = "squared_error",
        *,
        scale: float | str = 1.0,
        blocks: Sequence[Block] = (),
        masked_only: bool = False,
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__(weights)
        self.loss = loss
        # a user's function may do what a recorded step cannot repeat
        self.recordable = not callable(loss)
        self.needs_fit = scale == "auto"
        if not self.needs_fit:
            check_constant(self, "scale", scale, above=0)
        self.scale = 1.0 if self.needs_fit else float(scale)
        self.blocks = tuple(blocks)
        self.masked_only = masked_only
        self._columns = None if all_numbers(blocks) else TableColumns(blocks)

    def fit(self, outputs: Outputs, target: Batch) -> Reconstruction:
        """Take the scale from the residuals of observed cells; see :class:`Objective`."""
        rebuilt, values, observed = self._aligned(outputs, target)
        if self._columns is not None:
            width = self._columns.n_numbers
            rebuilt, values = rebuilt[:, :width], values[:, :width]
            observed = None if observed is None else observed[:, :width]
        residual = rebuilt - values
        # columns without spread leave no residual, and say nothing about the others'
        varied = values.amax(dim=0) > values.amin(dim=0)
        if observed is not None:
            residual = residual[observed & varied]
        elif varied.any():
            residual = residual[:, varied]
        if isinstance(self.loss, str):
            self.scale = auto_scale(self.loss, residual)
        return self

    def cells(self, outputs: Outputs, target: Batch) -> Tensor:
        """Return the loss of every cell, shape (m · n, d), zero where none is counted.

        Numbers come first, then categories.
        """
        return self._cells(outputs, target)[0]

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row; see :class:`Objective`."""
        cells, counted = self._cells(outputs, target)
        rows = cells.sum(dim=1)
        if counted is not None:
            rows = rows * (cells.shape[1] / counted.sum(dim=1).clamp(min=1))
        if len(rows) > len(target):
            rows = rows.view(-1, len(target)).mean(dim=0)
        return {"reconstruction": rows}

    def _cells(self, outputs: Outputs, target: Batch) -> tuple[Tensor, Tensor | None]:
        """Return the loss of every cell, and which cells count."""
        rebuilt, values, counted = self._aligned(outputs, target)
        if self._columns is None:
            cells = loss_of_cells(self.loss, rebuilt, values, self.scale)
        else:
            width = self._columns.n_numbers
            numbers = loss_of_cells(
                self.loss, rebuilt[:, :width], values[:, :width], self.scale
            )
            cells = self._columns.join(numbers, rebuilt, values)
            counted = None if counted is None else self._columns.of_cells(counted)
        if counted is not None:
            cells = cells.where(counted, torch.zeros_like(cells))
        return cells, counted

    def _aligned(
        self, outputs: Outputs, target: Batch
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the reconstruction, as many clean cells, and which of them count."""
        rebuilt, values, counted = outputs.reconstruction, target.values, target.observed
        if rebuilt is None:
            raise ValueError("Reconstruction needs a module that reconstructs its input.")
        if counted is not None:
            # missing cells may be NaN, which no later selection keeps out of gradients
            values = values.where(counted, torch.zeros_like(values))
        copies = len(rebuilt) // len(values)
        if copies > 1:
            values = values.repeat(copies, 1)
            counted = None if counted is None else counted.repeat(copies, 1)
        if self.masked_only and target.mask is not None:
            counted = target.mask if counted is None else target.mask & counted
        return rebuilt, values, counted
