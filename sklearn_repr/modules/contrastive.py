"""Encoder and heads: a projection, and perhaps a prediction of a target."""

from __future__ import annotations

from torch import Tensor, nn

from sklearn_repr._outputs import Outputs
from sklearn_repr.modules.target import EMATarget

__all__ = ["ContrastiveNetwork", "SelfPredictiveNetwork"]


class ContrastiveNetwork(nn.Module):
    """An encoder, and a projection head that only the contrastive loss sees.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps (n, n_encoded) to (n, n_components).
    head : torch.nn.Module
        Maps (n, n_components) to (n, projection_dim).

    References
    ----------
    Chen et al., "A simple framework for contrastive learning of visual
    representations", ICML 2020, arXiv:2002.05709.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules import ContrastiveNetwork
    >>> network = ContrastiveNetwork(nn.Linear(5, 3), nn.Linear(3, 2))
    >>> network(torch.zeros(1, 5)).projection.shape
    torch.Size([1, 2])
    """

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.head = head

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to embeddings."""
        return self.encoder(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Outputs:
        """Return embedding and projection."""
        embedding = self.encode(x)
        return Outputs(embedding=embedding, projection=self.head(embedding))


class SelfPredictiveNetwork(ContrastiveNetwork):
    """An encoder whose projection of one view predicts a target made of the other.

    Parameters
    ----------
    encoder, head : torch.nn.Module
        As in :class:`ContrastiveNetwork`.
    predictor : torch.nn.Module or None, default=None
        Maps projections to predictions; None takes projections for predictions.
    momentum : float or None, default=None
        The target is the projection of a moving average of encoder and head, an
        :class:`EMATarget` with this momentum. None takes the projection itself, without
        gradient.
    n_steps : int or None, default=None
        Steps after which the momentum is 1.

    References
    ----------
    Grill et al., "Bootstrap your own latent: a new approach to self-supervised learning",
    NeurIPS 2020, arXiv:2006.07733.

    Chen and He, "Exploring simple siamese representation learning", CVPR 2021,
    arXiv:2011.10566 (without a moving average).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules import SelfPredictiveNetwork
    >>> parts = nn.Linear(5, 3), nn.Linear(3, 2), nn.Linear(2, 2)
    >>> network = SelfPredictiveNetwork(*parts, momentum=0.99)
    >>> outputs = network(torch.zeros(1, 5))
    >>> outputs.prediction.requires_grad, outputs.target.requires_grad
    (True, False)
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        predictor: nn.Module | None = None,
        momentum: float | None = None,
        n_steps: int | None = None,
    ):
        super().__init__(encoder, head)
        self.predictor = predictor
        self.target: EMATarget | None = None
        if momentum is not None:
            self.target = EMATarget(nn.Sequential(encoder, head), momentum, n_steps)

    def forward(self, x: Tensor) -> Outputs:
        """Return embedding, projection, prediction and target."""
        outputs = super().forward(x)
        projection = outputs.projection
        assert projection is not None  # noqa: S101 - there is a head
        outputs.prediction = projection
        if self.predictor is not None:
            outputs.prediction = self.predictor(projection)
        outputs.target = projection.detach() if self.target is None else self.target(x)
        return outputs

    def after_step(self) -> None:
        """Let the target follow; the engine calls this after every step."""
        if self.target is not None:
            self.target.update()
