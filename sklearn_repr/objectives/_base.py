"""The interface of an objective."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from torch import Tensor, nn

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._checks import check_constant
from sklearn_repr.utils.parameters import HasParameters
from sklearn_repr.utils.registry import Registry

__all__ = ["Objective", "cell_loss", "mean_of_rows", "objective", "penalty"]

# Objectives of two views; losses of a cell; penalties Ω. What is registered here can be
# asked for by its name, in every estimator that has such a parameter.
objective = Registry("objective")
cell_loss = Registry("loss")
penalty = Registry("penalty")


def mean_of_rows(values: Tensor, batch: Batch) -> Tensor:
    """Average over the rows of a batch, as their weights say where they have some.

    Parameters
    ----------
    values : Tensor of shape (m * n, k)
        Something of every row; m copies of the rows stand one behind the other.
    batch : Batch
        The n rows.

    Returns
    -------
    mean : Tensor of shape (k,)
        Its mean.
    """
    if batch.weights is None:
        return values.mean(dim=0)
    weights = batch.weights.repeat(len(values) // len(batch)).unsqueeze(1)
    return (values * weights).sum(dim=0) / weights.sum()


class Objective(HasParameters, nn.Module):
    """Named terms of a loss, neither weighted nor reduced.

    The engine multiplies each term by its weight, averages it over rows (as
    ``Batch.weights`` says, where rows are weighted), adds the terms up and records each.
    An objective is a module so that it may own parameters, such as
    a learned temperature.

    Parameters
    ----------
    weights : mapping of str to float, optional
        Weight per term, not negative; a term that is not listed has weight 1.

    Attributes
    ----------
    needs_fit : bool
        True if `fit` must be called before training.
    settled : bool
        False while the weights of the terms still change, so that losses of different
        epochs cannot be compared.
    comparable : bool
        False if a lower loss is no sign of a better module, because collapse has the
        lowest: then it neither ends training nor chooses weights.
    scatters : bool
        True if the loss of an epoch depends more on what was drawn in it than on the
        module, so that a loss that does not seem to fall is no sign of failure.
    batch_norm_heads : bool
        True if it was made for heads whose hidden layers are normalised over the batch.
    uses_global_generator : bool
        True if the terms draw from torch's global generator.
    needs_input_gradient : bool
        True if the terms differentiate ``Outputs.embedding`` by ``Outputs.inputs``.
    phase : hashable
        A value that changes when the terms are from now on computed in another way, so
        that a recorded step is recorded anew.
    needs_labels : bool
        True if the terms read ``Batch.labels``.
    needs_prediction : bool
        True if the terms read ``Outputs.prediction``.
    needs_target : bool
        True if the terms read ``Outputs.target``.
    """

    needs_fit = False
    settled = True
    comparable = True
    scatters = False
    batch_norm_heads = False
    uses_global_generator = False
    needs_input_gradient = False
    phase: Hashable = None
    needs_labels = False
    needs_prediction = False
    needs_target = False

    def __init__(self, weights: Mapping[str, float] | None = None):
        super().__init__()
        self.weights = self._checked_weights(weights)

    def _checked_weights(self, weights: Mapping[str, float] | None) -> dict[str, float]:
        for name, weight in (weights or {}).items():
            check_constant(self, f"weights[{name!r}]", weight)
        return dict(weights or {})

    def fit(self, outputs: Outputs, target: Batch) -> Objective:
        """Learn what the terms need from what the untrained module says.

        Parameters
        ----------
        outputs : Outputs
            Of the module as it starts, on clean rows.
        target : Batch
            The rows.

        Returns
        -------
        self : Objective
            Itself.
        """
        return self

    def start_epoch(self, epoch: int, n_rows: int) -> None:
        """Prepare for an epoch that begins.

        Parameters
        ----------
        epoch : int
            Counted from 1; 0 is the start, before any training.
        n_rows : int
            Rows that are trained on.
        """

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Compute the terms.

        Parameters
        ----------
        outputs : Outputs
            What the module said about the corrupted rows.
        target : Batch
            The n clean rows, with what is known about their cells.

        Returns
        -------
        terms : dict of str to Tensor
            Each of shape (n,), one value a row, or 0-d, one value a batch.
        """
        raise NotImplementedError

    def forward(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return :meth:`terms`."""
        return self.terms(outputs, target)
