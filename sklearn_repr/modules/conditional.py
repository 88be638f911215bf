"""Every cell of a row from all its other cells, in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from sklearn_repr._contracts import Outputs
from sklearn_repr.modules.ensemble import aligned_product
from sklearn_repr.utils.draws import draw_each

__all__ = ["ConditionalEnsemble"]

# Deviations beyond which a residual counts no more when trust is learned
FAR = 3.0
TINY = 1e-9
# Rows whose hidden layers, one for each cell, are in memory when trust is learned
ROWS_AT_A_TIME = 64


class ConditionalEnsemble(nn.Module):
    r"""M networks that expect every cell given the others, beside a linear expectation.

    Cell c of a row x is expected to be

    .. math:: \hat x_c = \Big(x - x R\Big)_c
              + V_c^\top \mathrm{relu}\Big(b + \sum_{k \neq c} W_k^\top x_k\Big)

    The linear part is the mean of a normal distribution given all other cells, and the
    network learns what it misses. The sum over the other cells is the sum over all cells
    minus the cell's own term, so that all d cells cost little more than one.

    Parameters
    ----------
    residual : Tensor of shape (D, D)
        R: the linear residual of all columns is x R.
    cells : int64 Tensor of shape (D,)
        Number of the cell that each column belongs to, from 0 to d - 1.
    unit : Tensor of shape (D,)
        Columns come divided by it, the deviation of their linear residual, in which their
        errors are measured; the hidden layer sees them multiplied by it.
    n_hidden : int
        Width of the hidden layer.
    generators : sequence of Generator
        One for each of the M members, of its weights.

    Attributes
    ----------
    trust : Tensor of shape (D,)
        What the networks say is multiplied by it when rows are scored; see
        :meth:`learn_trust`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.conditional import ConditionalEnsemble
    >>> generators = [torch.Generator().manual_seed(seed) for seed in range(2)]
    >>> linear, cells, unit = torch.eye(3), torch.arange(3), torch.ones(3)
    >>> networks = ConditionalEnsemble(linear, cells, unit, 8, generators)
    >>> networks(torch.ones(2, 5, 3)).reconstruction.shape
    torch.Size([2, 5, 3])
    >>> networks.residuals(torch.ones(5, 3)).shape
    torch.Size([5, 3])
    """

    residual: Tensor
    cells: Tensor
    unit: Tensor
    trust: Tensor

    def __init__(
        self,
        residual: Tensor,
        cells: Tensor,
        unit: Tensor,
        n_hidden: int,
        generators: Sequence[Generator],
    ):
        super().__init__()
        width = len(cells)
        self.n_members = len(generators)
        # columns that are a cell of their own, and those of every other cell
        own = cells.bincount()[cells] == 1
        self.alone = own.nonzero()[:, 0]
        each = [(cells == cell).nonzero()[:, 0] for cell in range(int(cells.max()) + 1)]
        self.together = [columns for columns in each if len(columns) > 1]
        self.register_buffer("residual", residual)
        self.register_buffer("cells", cells)
        self.register_buffer("unit", unit)
        self.register_buffer("trust", torch.ones(width))
        drawn = draw_each(torch.randn, generators, (2 * width + 1, n_hidden))
        scale = width**-0.5
        self.weight = nn.Parameter(scale * drawn[:, :width])
        self.bias = nn.Parameter(0.5 * drawn[:, 2 * width :])
        self.readout = nn.Parameter(0.3 * n_hidden**-0.5 * drawn[:, width : 2 * width])
        self.shift = nn.Parameter(torch.zeros(self.n_members, 1, width))

    def corrections(self, x: Tensor) -> Tensor:
        """Return what the networks add to the linear expectation, (M, n, D)."""
        x = x * self.unit
        hidden = aligned_product(self.bias, x, self.weight)  # (M, n, H)
        if not self.together:
            return self._alone(hidden, x, self.weight, self.readout) + self.shift
        said = torch.zeros_like(x)
        for columns in (self.alone, *self.together):
            mine = x.index_select(2, columns)
            weight = self.weight.index_select(1, columns)
            readout = self.readout.index_select(1, columns)
            if columns is self.alone:
                found = self._alone(hidden, mine, weight, readout)
            else:
                others = torch.relu(aligned_product(hidden, mine, -weight))
                none = x.new_zeros(1, 1, len(columns))
                found = aligned_product(none, others, readout.mT)
            said = said.index_add(2, columns, found)
        return said + self.shift

    def _alone(
        self, hidden: Tensor, x: Tensor, weight: Tensor, readout: Tensor
    ) -> Tensor:
        """Return what is added to cells of a single column each."""
        own = x.unsqueeze(3) * weight.unsqueeze(1)  # (M, n, D, H)
        others = torch.relu(hidden.unsqueeze(2) - own)
        return (others * readout.unsqueeze(1)).sum(dim=3)

    def forward(self, x: Tensor) -> Outputs:
        """Expect every cell of (M, n, D)."""
        linear = torch.matmul(x, self.residual)
        expected = x - linear + self.corrections(x)
        return Outputs(expected, reconstruction=expected, inputs=x)

    def learn_trust(self, x: Tensor, unseen: Tensor) -> None:
        r"""Learn how far the networks are right about rows that they have not seen.

        Per column the factor in [0, 1] by which their corrections, of members that have
        not seen the row, are best multiplied in the least-squares sense. Few rows teach
        networks little but these rows, and the factor is then near 0.

        Parameters
        ----------
        x : Tensor of shape (n, D)
            Training rows.
        unseen : bool Tensor of shape (M, n)
            Which rows each member has not been trained on.
        """
        every = x.expand(self.n_members, *x.shape)
        starts = range(0, len(x), ROWS_AT_A_TIME)
        parts = [self.corrections(every[:, i : i + ROWS_AT_A_TIME]) for i in starts]
        said = torch.cat(parts, dim=1)
        # single far cells do not decide
        missed = torch.matmul(x, self.residual).clamp(-FAR, FAR)
        weight = unseen.unsqueeze(2).to(said.dtype)
        product = (weight * said * missed).sum(dim=(0, 1))
        square = (weight * said.square()).sum(dim=(0, 1))
        self.trust = (product / square.clamp(min=TINY)).clamp(0.0, 1.0)

    def residuals(self, x: Tensor) -> Tensor:
        """Return how far cells of (n, D) are from what is expected of them, (n, D)."""
        said = self.corrections(x.expand(self.n_members, *x.shape)).mean(dim=0)
        none = x.new_zeros(1, 1, x.shape[1])
        linear = aligned_product(none, x.unsqueeze(0), self.residual.unsqueeze(0))[0]
        return linear - self.trust * said
