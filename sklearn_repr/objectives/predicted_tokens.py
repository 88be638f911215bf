"""I-JEPA: predict the embedding of what is hidden, not its cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives.vicreg import variance_hinge

__all__ = ["EMBEDDING_LOSSES", "JointEmbedding", "hidden_tokens_loss"]

EMBEDDING_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "smooth_l1": lambda r: functional.smooth_l1_loss(
        r, torch.zeros_like(r), reduction="none"
    ),
    "squared_error": torch.square,
}


def hidden_tokens_loss(
    prediction: Tensor, target: Tensor, loss: str = "smooth_l1"
) -> Tensor:
    r"""Mean loss of a row's predicted tokens.

    .. math:: \ell_i = \frac{1}{|m_i| \, w} \sum_{t \in m_i} \sum_j
              \rho(\hat s_{itj} - s_{itj})

    with the tokens :math:`m_i` that were hidden in row i. ρ is the square, or smooth L1:
    :math:`r^2 / 2` where :math:`|r| < 1`, else :math:`|r| - 1/2`.

    Parameters
    ----------
    prediction : Tensor of shape (n, t, w)
        What the predictor says of every token.
    target : Tensor of shape (n, t, w)
        The tokens, NaN where they are not to be predicted; no gradient flows into them.
    loss : {"smooth_l1", "squared_error"}, default="smooth_l1"
        ρ.

    Returns
    -------
    loss : Tensor of shape (n,)
        0 for a row without hidden tokens.

    References
    ----------
    Assran et al., "Self-supervised learning from images with a joint-embedding predictive
    architecture", CVPR 2023, arXiv:2301.08243. The paper has squared distances, its code
    smooth L1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.predicted_tokens import hidden_tokens_loss
    >>> target = torch.tensor([[[0.0, 1.0], [float("nan"), float("nan")]]])
    >>> hidden_tokens_loss(torch.ones(1, 2, 2), target)
    tensor([0.2500])
    """
    asked = ~target.isnan()
    # NaN must not reach a gradient
    residual = (prediction - target.detach()).masked_fill(~asked, 0.0)
    losses = EMBEDDING_LOSSES[loss](residual).flatten(1).sum(dim=1)
    return losses / asked.flatten(1).sum(dim=1).clamp(min=1)


class JointEmbedding(Objective):
    """Prediction of hidden tokens, and a guard against collapse.

    Parameters
    ----------
    loss : {"smooth_l1", "squared_error"}, default="smooth_l1"
        See :func:`hidden_tokens_loss`.
    variance_weight : float, default=0.0
        Weight of the term "variance": how far the columns of ``Outputs.embedding`` fall
        short of unit spread, as in VICReg.
    weights : mapping of str to float, optional
        See :class:`Objective`.

    References
    ----------
    Assran et al., "Self-supervised learning from images with a joint-embedding predictive
    architecture", CVPR 2023, arXiv:2301.08243.

    Bardes, Ponce and LeCun, "VICReg: variance-invariance-covariance regularization for
    self-supervised learning", ICLR 2022, arXiv:2105.04906, equation 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import JointEmbedding
    >>> tokens = torch.zeros(2, 3, 4)
    >>> outputs = Outputs(torch.zeros(2, 4), prediction=tokens, target=tokens + 1)
    >>> JointEmbedding().terms(outputs, Batch(torch.zeros(2, 3)))
    {'prediction': tensor([0.5000, 0.5000])}
    """

    # collapse has the lowest loss
    comparable = False
    needs_prediction = True
    needs_target = True

    def __init__(
        self,
        loss: str = "smooth_l1",
        variance_weight: float = 0.0,
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__({"variance": variance_weight, **(weights or {})})
        self.loss = loss

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the terms; see :class:`Objective`."""
        if outputs.prediction is None or outputs.target is None:
            raise ValueError("JointEmbedding needs predicted tokens and their targets.")
        loss = hidden_tokens_loss(outputs.prediction, outputs.target, self.loss)
        terms = {"prediction": loss}
        if self.weights["variance"]:
            terms["variance"] = variance_hinge(outputs.embedding)
        return terms
