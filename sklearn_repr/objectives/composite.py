"""Several objectives at once: a loss and its penalties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective

__all__ = ["Composite"]


class Composite(Objective):
    """The terms of several objectives, side by side.

    Parameters
    ----------
    objectives : sequence of Objective
        No two may have a term of the same name.
    weights : mapping of str to float, optional
        Weight per term; see :class:`Objective`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import ActivityL1, Composite, Reconstruction
    >>> x = torch.ones(1, 2)
    >>> both = Composite([Reconstruction(), ActivityL1()], {"activity_l1": 0.1})
    >>> sorted(both.terms(Outputs(x, reconstruction=x), Batch(x)))
    ['activity_l1', 'reconstruction']
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__(weights)
        self.objectives = nn.ModuleList(objectives)
        self.needs_fit = any(part.needs_fit for part in objectives)
        self.uses_global_generator = any(
            part.uses_global_generator for part in objectives
        )
        self.needs_input_gradient = any(part.needs_input_gradient for part in objectives)
        self.comparable = all(part.comparable for part in objectives)
        self.batch_norm_heads = any(part.batch_norm_heads for part in objectives)
        self.needs_labels = any(part.needs_labels for part in objectives)
        self.needs_prediction = any(part.needs_prediction for part in objectives)
        self.needs_target = any(part.needs_target for part in objectives)

    def fit(self, outputs: Outputs, target: Batch) -> Composite:
        """Fit every part; see :class:`Objective`."""
        for part in self.objectives:
            part.fit(outputs, target)  # type: ignore[operator]
        return self

    def start_epoch(self, epoch: int, n_rows: int) -> None:
        """Tell every part; see :class:`Objective`."""
        for part in self.objectives:
            part.start_epoch(epoch, n_rows)  # type: ignore[operator]
        self.settled = all(part.settled for part in self.objectives)
        self.phase = tuple(part.phase for part in self.objectives)

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the terms of all parts; see :class:`Objective`."""
        merged: dict[str, Tensor] = {}
        for part in self.objectives:
            terms = part.terms(outputs, target)  # type: ignore[operator]
            twice = merged.keys() & terms.keys()
            if twice:
                raise ValueError(
                    f"Two objectives have a term {min(twice)!r}, of which one would be"
                    " lost: leave one of them out."
                )
            merged.update(terms)
        return merged
