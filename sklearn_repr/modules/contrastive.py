"""Encoder and heads: a projection, and perhaps a prediction of a target."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn

from sklearn_repr._contracts import Outputs
from sklearn_repr.modules.mixing import LatentMixup
from sklearn_repr.modules.readout import LayerReadout, hidden_layers
from sklearn_repr.modules.target import EMATarget
from sklearn_repr.utils.randomness import local_torch_seed

__all__ = ["ContrastiveNetwork", "SelfPredictiveNetwork"]

ROWS_AT_A_TIME = 512


class ContrastiveNetwork(nn.Module):
    """An encoder, and heads that only the losses see.

    `forward` is in two steps, the encoder and what follows, so that large batches can go
    through the encoder a chunk at a time.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps (n, n_encoded) to (n, n_components).
    head : torch.nn.Module
        Maps (n, n_components) to (n, projection_dim).
    decoder : torch.nn.Module or None, default=None
        Maps (n, n_components) to (n, n_encoded), for a loss that wants the rows back.
    readout : LayerReadout or None, default=None
        What `encode` returns of the encoder's layers; None is the last one. The encoder
        is then a perceptron.
    mixup : LatentMixup or None, default=None
        Applied to embeddings before the head.

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

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        decoder: nn.Module | None = None,
        readout: LayerReadout | None = None,
        mixup: LatentMixup | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.decoder = decoder
        self.readout = readout
        self.mixup = mixup

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to embeddings."""
        if self.readout is not None:
            return self.readout(self.layers(x))  # type: ignore[no-any-return]
        return self.encoder(x)  # type: ignore[no-any-return]

    def layers(self, x: Tensor) -> list[Tensor]:
        """Return the signed roots of all hidden layers, from which a readout is made."""
        return hidden_layers(self.encoder, x)

    @torch.no_grad()
    def fit_readout(self, values: Iterable[Tensor]) -> None:
        """Fit the readout to parts of rows, of which few are in memory at a time."""
        few = chain.from_iterable(torch.split(part, ROWS_AT_A_TIME) for part in values)
        parts, readout = map(self.layers, few), cast(LayerReadout, self.readout)
        # a few axes of very many are approximated by random projections
        with local_torch_seed(0):
            readout.fit([torch.cat(blocks) for blocks in zip(*parts, strict=True)])

    def forward(self, x: Tensor) -> Outputs:
        """Return the last layer, and the outputs of the heads.

        Losses see the last layer of the encoder; the readout is fitted after training.
        """
        return self.complete(self.encoder(x), self.targets_of(x))

    def targets_of(self, x: Tensor) -> Tensor | None:
        """Return what else `complete` needs of the rows, without gradient."""
        return None

    def complete(self, embedding: Tensor, targets: Tensor | None) -> Outputs:
        """Apply the heads to embeddings."""
        mixed = embedding if self.mixup is None else self.mixup(embedding)
        return Outputs(
            embedding=embedding,
            projection=self.head(mixed),
            reconstruction=None if self.decoder is None else self.decoder(embedding),
        )


class SelfPredictiveNetwork(ContrastiveNetwork):
    """An encoder whose projection of one view predicts a target from the other view.

    Parameters
    ----------
    encoder, head : torch.nn.Module
        As in :class:`ContrastiveNetwork`.
    predictor : torch.nn.Module or None, default=None
        Maps projections to predictions; None uses projections as predictions.
    momentum : float or None, default=None
        The target is the projection of a moving average of encoder and head, an
        :class:`EMATarget` with this momentum. None takes the projection itself, without
        gradient.
    n_steps : int or None, default=None
        Steps after which the momentum is 1.
    **parts : dict
        The other parts of a :class:`ContrastiveNetwork`.

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
        **parts: Any,
    ):
        super().__init__(encoder, head, **parts)
        self.predictor = predictor
        self.target: EMATarget | None = None
        self.target_head: EMATarget | None = None
        if momentum is not None:
            self.target = EMATarget(encoder, momentum, n_steps)
            self.target_head = EMATarget(head, momentum, n_steps)

    def targets_of(self, x: Tensor) -> Tensor | None:
        """Return the target's embedding."""
        return None if self.target is None else self.target(x)

    def complete(self, embedding: Tensor, targets: Tensor | None) -> Outputs:
        """Return embedding, projection, prediction and target."""
        outputs = super().complete(embedding, targets)
        projection = outputs.projection
        assert projection is not None  # noqa: S101 - there is a head
        outputs.prediction = projection
        if self.predictor is not None:
            outputs.prediction = self.predictor(projection)
        outputs.target = projection.detach()
        if self.target_head is not None:
            outputs.target = self.target_head(targets)
        return outputs

    def after_step(self) -> None:
        """Let the target follow; the engine calls this after every step."""
        for target in (self.target, self.target_head):
            if target is not None:
                target.update()
