"""InfoNCE of predicted futures, the loss of contrastive predictive coding."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives._checks import check_constant

__all__ = ["PredictiveInfoNCE", "predictive_info_nce"]


def predictive_info_nce(
    prediction: Tensor, frames: Tensor, offset: int, negatives: str = "rows"
) -> Tensor:
    r"""InfoNCE of frames that were predicted `offset` frames ahead.

    .. math:: \ell_i = \frac{1}{S} \sum_{t=1}^{S} -\log
              \frac{\exp(p_{it}^\top z_{i, t+k})}
              {\sum_{z \in \mathcal{C}_{it}} \exp(p_{it}^\top z)}

    with k = `offset` and S = T - k. The candidates :math:`\mathcal{C}_{it}` are the frame
    itself and its negatives: the same time in the other rows, all other times of the
    same row, or both.

    Parameters
    ----------
    prediction : Tensor of shape (n, T, d)
        What is predicted at each time; the last `offset` times are not judged.
    frames : Tensor of shape (n, T, d)
        What there is to be predicted.
    offset : int
        k, from 0 to T - 1.
    negatives : {"rows", "times", "both"}, default="rows"
        Which frames each prediction must be told from.

    Returns
    -------
    loss : Tensor of shape (n,)
        At indifferent predictions log n for "rows", log T for "times" and
        log(n + T - 1) for "both". Log of the number of candidates, less the loss, bounds
        the mutual information of context and future from below.

    References
    ----------
    van den Oord, Li and Vinyals, "Representation learning with contrastive predictive
    coding" (2018), arXiv:1807.03748, equations 3 and 4.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.predictive_info_nce import predictive_info_nce
    >>> predictive_info_nce(torch.zeros(2, 3, 4), torch.ones(2, 3, 4), 1)  # log 2
    tensor([0.6931, 0.6931])
    """
    n, times, _ = frames.shape
    judged = times - offset
    # (times, rows, d): one product of all rows with all rows a time
    told = prediction[:, :judged].transpose(0, 1)
    future = frames[:, offset:].transpose(0, 1)
    own = (told * future).sum(dim=2)
    candidates = []
    if negatives != "times":
        candidates.append(told @ future.transpose(1, 2))
    if negatives != "rows":
        along = torch.einsum("tid,iud->tiu", told, frames)
        if negatives == "both":  # the frame itself is among the rows already
            place = torch.arange(offset, times, device=frames.device)
            along = along.scatter(2, place.view(-1, 1, 1).expand(-1, n, 1), -torch.inf)
        candidates.append(along)
    return (torch.cat(candidates, dim=2).logsumexp(dim=2) - own).mean(dim=0)


class PredictiveInfoNCE(Objective):
    """One term of InfoNCE for every step ahead; the loss is their mean.

    Parameters
    ----------
    n_steps : int
        How many steps ahead are predicted.
    first : int, default=1
        The nearest of them. 0 asks for the frame that the context has just seen.
    negatives : {"rows", "times", "both"}, default="rows"
        See :func:`predictive_info_nce`.
    weights : mapping of str to float, optional
        See :class:`Objective`; equal weights by default.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import PredictiveInfoNCE
    >>> frames = torch.ones(2, 3, 4)
    >>> outputs = Outputs(frames[:, 0], prediction=torch.ones(2, 3, 2, 4), frames=frames)
    >>> PredictiveInfoNCE(2).terms(outputs, Batch(torch.zeros(2, 6)))
    {'info_nce_1': tensor([0.6931, 0.6931]), 'info_nce_2': tensor([0.6931, 0.6931])}
    """

    def __init__(
        self,
        n_steps: int,
        first: int = 1,
        negatives: str = "rows",
        weights: Mapping[str, float] | None = None,
    ):
        check_constant(self, "n_steps", n_steps, least=1, whole=True)
        check_constant(self, "first", first, least=0, whole=True)
        self.offsets = range(first, first + n_steps)
        self.negatives = negatives
        equal = {f"info_nce_{offset}": 1 / n_steps for offset in self.offsets}
        super().__init__(equal if weights is None else weights)

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row and step; see :class:`Objective`."""
        told, frames = outputs.prediction, outputs.frames
        if told is None or frames is None:
            raise ValueError("PredictiveInfoNCE needs frames and predictions of them.")
        return {
            f"info_nce_{offset}": predictive_info_nce(
                told[:, :, i], frames, offset, self.negatives
            )
            for i, offset in enumerate(self.offsets)
        }
