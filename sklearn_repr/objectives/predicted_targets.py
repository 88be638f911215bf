"""What a prediction costs where its target is known: of classes and of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective

__all__ = ["PredictedClasses", "PredictedNumbers"]


class PredictedClasses(Objective):
    r"""Cross-entropy of classes, on rows whose class is known.

    .. math:: \ell_i = -\frac{1}{m} \sum_{v=1}^m \sum_k t_{ik} \log p^{(v)}_{ik}

    with p the softmax of what a module predicts of the m copies of row i, and t the
    probabilities that its target gives to the classes.

    Parameters
    ----------
    consistency : bool, default=False
        Add the term "consistency": the variance of the probabilities over the copies of a
        row, summed over classes. Rows whose class is not known have it too.
    weights : mapping of str to float, optional
        See :class:`Objective`.

    References
    ----------
    Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017,
    arXiv:1610.02242 (consistency, Π-model).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives.predicted_targets import PredictedClasses
    >>> logits = Outputs(torch.zeros(2, 3), prediction=torch.zeros(2, 4))
    >>> known = torch.tensor([[0.0, 1.0, 0.0, 0.0], [float("nan")] * 4])
    >>> PredictedClasses().terms(logits, Batch(torch.zeros(2, 5), labels=known))
    {'cross_entropy': tensor([1.3863, 0.0000])}
    """

    needs_labels = needs_prediction = True

    def __init__(
        self, consistency: bool = False, weights: Mapping[str, float] | None = None
    ):
        super().__init__(weights)
        self.consistency = consistency

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the losses of every row; see :class:`Objective`."""
        predicted, known = _copies_and_targets(outputs, target)
        log_p = predicted.log_softmax(dim=2)
        cross = (known.nan_to_num() * -log_p).sum(dim=2).mean(dim=0)  # (n,)
        terms = {"cross_entropy": cross}
        if self.consistency:
            terms["consistency"] = _variance(log_p.exp())
        return terms


class PredictedNumbers(Objective):
    r"""Squared error of numbers, where they are known.

    Parameters
    ----------
    consistency : bool, default=False
        Add the term "consistency": the variance of predictions over the copies of a row,
        summed over numbers. Rows of which no number is known have it too.
    penalties : sequence of float, default=()
        Add the term "ridge" where there are any: for each number its penalty times the
        squared norm of the weights of a linear head.
    weights : mapping of str to float, optional
        See :class:`Objective`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives.predicted_targets import PredictedNumbers
    >>> outputs = Outputs(torch.zeros(2, 3), prediction=torch.ones(2, 2))
    >>> known = torch.tensor([[0.0, 3.0], [2.0, float("nan")]])
    >>> PredictedNumbers().terms(outputs, Batch(torch.zeros(2, 5), labels=known))
    {'squared_error': tensor([5., 1.])}
    """

    needs_labels = needs_prediction = True
    penalties: Tensor

    def __init__(
        self,
        consistency: bool = False,
        penalties: Sequence[float] = (),
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__(weights)
        self.consistency = consistency
        self.register_buffer("penalties", torch.tensor(penalties))

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the losses of every row; see :class:`Objective`."""
        predicted, known = _copies_and_targets(outputs, target)
        # the unknown is left out before it is subtracted: NaN would reach the gradient
        missing = known.isnan()
        apart = (predicted - known.nan_to_num()).masked_fill(missing, 0.0)
        terms = {"squared_error": apart.square().sum(dim=2).mean(dim=0)}  # (n,)
        if self.consistency:
            terms["consistency"] = _variance(predicted)
        if len(self.penalties) and outputs.weights is not None:
            norms = outputs.weights["head"].square().sum(dim=1)  # (k,)
            terms["ridge"] = (self.penalties * norms).sum()
        return terms


def _copies_and_targets(outputs: Outputs, target: Batch) -> tuple[Tensor, Tensor]:
    """Return predictions of the copies of rows, (m, n, k), and what is known of rows."""
    if outputs.prediction is None or target.labels is None:
        raise ValueError("Errors of a prediction need a prediction and targets.")
    k = target.labels.shape[1]
    return outputs.prediction.view(-1, len(target), k), target.labels


def _variance(copies: Tensor) -> Tensor:
    """Return the variance over copies (m, n, k), summed over k."""
    return torch.var(copies, dim=0, correction=0).sum(dim=1)
