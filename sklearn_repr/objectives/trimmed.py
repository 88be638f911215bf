"""A reconstruction loss from which the worst rows of every batch are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives._checks import check_constant
from sklearn_repr.objectives.losses import loss_of_cells

__all__ = ["TrimmedReconstruction"]


class TrimmedReconstruction(Objective):
    r"""Mean loss over the rows of a batch that are rebuilt best, summed over members.

    Of the n rows of member m, those count whose loss :math:`\ell_{mi} = \sum_j
    \rho(\hat x_{mij} - x_{mij})` is, relative to what their noise explains, among the
    :math:`\lfloor n (1 - t) \rfloor` smallest:

    .. math:: L = \sum_m \frac{\sum_i k_{mi} \ell_{mi}}{\sum_i k_{mi}}, \qquad
              k_{mi} = 1 \text{ where } \ell_{mi} \frac{1 + \sigma_{mi}^2}{\sigma_{mi}^2}
              \text{ is small}

    So outliers among the training rows do not teach the networks to rebuild them. The
    sum over members leaves each member the gradient that it has alone.

    Parameters
    ----------
    trimmed : float, default=0.0
        Share t of the rows that are left out, in [0, 1).
    full_epochs : int, default=0
        Epochs at the start in which all rows count: before anything is learned, large
        losses say nothing of a row.
    loss : str or callable, default="squared_error"
        :math:`\rho`, the name of a registered loss of residuals, or a callable.
    scale : float, default=1.0
        Scale of a robust loss.
    weights : mapping of str to float, optional
        See :class:`Objective`.

    Attributes
    ----------
    phase : {"full", "trimmed"}
        Which form the loss has; changed by :meth:`start_epoch` alone.

    Notes
    -----
    The logarithm of :math:`\sigma` is read from the column that the module was given
    beside those of the target; without such a column losses are compared as they are.

    References
    ----------
    Rousseeuw, "Least median of squares regression", JASA 79 (1984),
    doi:10.1080/01621459.1984.10477105 (least trimmed squares).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives.trimmed import TrimmedReconstruction
    >>> rebuilt = torch.tensor([[[1.0], [2.0], [9.0]]])
    >>> outputs = Outputs(rebuilt, reconstruction=rebuilt, inputs=rebuilt)
    >>> objective = TrimmedReconstruction(0.3)
    >>> objective.start_epoch(1, 3)
    >>> objective(outputs, Batch(torch.zeros(1, 3, 1)))
    {'reconstruction': tensor(2.5000)}
    """

    # the loss changes its form, so that its start and its end cannot be compared
    comparable = False

    def __init__(
        self,
        trimmed: float = 0.0,
        *,
        full_epochs: int = 0,
        loss: str | Callable[[Tensor], Tensor] = "squared_error",
        scale: float = 1.0,
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__(weights)
        check_constant(self, "trimmed", trimmed, below=1)
        check_constant(self, "scale", scale, above=0)
        self.trimmed = trimmed
        self.full_epochs = full_epochs
        self.loss = loss
        # a user's function may do what a recorded step cannot repeat
        self.recordable = not callable(loss)
        self.scale = scale
        self.phase = "full"

    def start_epoch(self, epoch: int, n_rows: int) -> None:
        """Begin to trim once the first epochs are over; see :class:`Objective`."""
        trims = self.trimmed > 0 and epoch > self.full_epochs
        self.phase = "trimmed" if trims else "full"

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of the batch, 0-d; see :class:`Objective`."""
        rebuilt, seen = outputs.reconstruction, outputs.inputs
        if rebuilt is None or seen is None:
            raise ValueError(
                "TrimmedReconstruction needs a module that gives back its inputs and"
                " their reconstruction."
            )
        cells = loss_of_cells(self.loss, rebuilt, target.values, self.scale)
        rows = cells.sum(dim=2)  # (M, n)
        if self.phase == "full":
            return {"reconstruction": rows.mean(dim=1).sum()}
        compared = rows.detach()
        width = rebuilt.shape[2]
        if seen.shape[2] > width:
            variance = seen[:, :, width].exp().square()
            compared = compared * (1 + variance) / variance
        count = max(1, int(rows.shape[1] * (1 - self.trimmed)))
        largest = compared.kthvalue(count, dim=1, keepdim=True).values  # (M, 1)
        keep = compared <= largest
        return {"reconstruction": ((rows * keep).sum(dim=1) / keep.sum(dim=1)).sum()}
