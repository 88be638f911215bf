"""Encoder and heads: a projection, and perhaps a prediction of a target."""

from __future__ import annotations

from torch import Tensor, nn

from sklearn_repr._outputs import Outputs
from sklearn_repr.modules.target import EMATarget

__all__ = ["ContrastiveNetwork", "SelfPredictiveNetwork"]


class ContrastiveNetwork(nn.Module):
    """An encoder, and a projection head that only the contrastive loss sees.

    `forward` is in two steps, the encoder and what follows, so that large batches can go
    through the encoder a chunk at a time.

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
        """Return embedding, projection and what else there is."""
        return self.complete(self.encode(x), self.aside(x))

    def aside(self, x: Tensor) -> Tensor | None:
        """Return what else `complete` needs of the rows, without gradient."""
        return None

    def complete(self, embedding: Tensor, aside: Tensor | None) -> Outputs:
        """Return what the heads make of embeddings."""
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
        self.target_head: EMATarget | None = None
        if momentum is not None:
            self.target = EMATarget(encoder, momentum, n_steps)
            self.target_head = EMATarget(head, momentum, n_steps)

    def aside(self, x: Tensor) -> Tensor | None:
        """Return the target's embedding."""
        return None if self.target is None else self.target(x)

    def complete(self, embedding: Tensor, aside: Tensor | None) -> Outputs:
        """Return embedding, projection, prediction and target."""
        projection = prediction = self.head(embedding)
        if self.predictor is not None:
            prediction = self.predictor(projection)
        target = projection.detach()
        if self.target_head is not None:
            target = self.target_head(aside)
        return Outputs(
            embedding, projection=projection, prediction=prediction, target=target
        )

    def after_step(self) -> None:
        """Let the target follow; the engine calls this after every step."""
        for target in (self.target, self.target_head):
            if target is not None:
                target.update()
