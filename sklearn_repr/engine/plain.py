"""One gradient step as torch takes it: of a whole batch, or a chunk of rows at a time.

Both leave the gradients of a batch's loss in the parameters, to the same bits where they
hold for the same net, and return the loss and its terms by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.data.batches import batch_sizes
from sklearn_repr.utils.randomness import GlobalDraws

if TYPE_CHECKING:
    from sklearn_repr.engine.net import RepresentationNet

__all__ = ["ChunkedStep", "PlainStep", "detached", "evaluated", "forward_in_chunks"]


class PlainStep:
    """Forward, loss and backward, as torch does them.

    Parameters
    ----------
    net : RepresentationNet
        Initialised.
    zero_grad : callable
        Drops earlier gradients.

    Attributes
    ----------
    outputs : Outputs
        What the module said about the last batch.
    """

    outputs: Outputs
    # whether every weight gets a gradient in every step
    complete = False
    # what must be as it was for the step to serve in another epoch
    relied_on: tuple[object, ...] = ()

    def __init__(self, net: RepresentationNet, zero_grad: Callable[[], object]):
        self.net = net
        self.zero_grad = zero_grad

    def __call__(self, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        loss, terms = self._forward(seen, batch)
        self.zero_grad()
        torch.autograd.backward(loss)
        return detached(loss, terms)

    def evaluate(self, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the same of a batch in evaluation, without gradients."""
        return evaluated(self.net, seen, batch)

    def doubt(self) -> None:
        """Take nothing for granted: a callback may have changed what is computed."""

    def _forward(self, seen: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        self.outputs, loss, terms = self.net.losses(seen, batch)
        return loss, terms


def evaluated(net: RepresentationNet, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Return "loss" and the terms of a batch by name, as a net in evaluation has them."""
    _, loss, terms = net.losses(seen, batch, training=False)
    return detached(loss, terms)


def detached(loss: Tensor, terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return "loss" and the terms by name, without their graphs."""
    return {"loss": loss.detach(), **{k: v.detach() for k, v in terms.items()}}


class ChunkedStep(PlainStep):
    """Loss and gradients of a batch, of which one chunk at a time keeps its graph.

    First all chunks are encoded without a graph, the loss of the whole batch is
    differentiated as far as the embeddings, and then each chunk is encoded once more, now
    with a graph through which its share of that gradient flows back. The net's
    ``chunk_size`` is how many rows (of all views) are encoded at a time; its module maps
    rows by ``encoder`` and embeddings by ``complete``.

    Notes
    -----
    Time is that of one more forward pass of the encoder. Dropout draws the same in both.
    Heads see the whole batch, and may normalise over it; an encoder that does so sees a
    chunk.

    References
    ----------
    Gao, Zhang, Han and Callan, "Scaling deep contrastive learning batch size under memory
    limited setup", RepL4NLP 2021, arXiv:2101.06983 (GradCache).
    """

    def __call__(self, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        net, module = self.net, self.net.module_
        with net.precision(training=True):
            sizes = batch_sizes(len(seen), int(net.chunk_size or len(seen)))
            chunks = torch.split(seen, sizes)
            draws: list[GlobalDraws | None] = []
            embedding, targets = _encoded(net, chunks, draws)
            embedding.requires_grad_()
            self.outputs = module.complete(embedding, targets)
            terms = net.criterion_(self.outputs, batch)
            loss, terms = net.reduce_terms(terms, batch.weights)
            self.zero_grad()
            torch.autograd.backward(loss)
            after = GlobalDraws(seen.device) if net.replays_draws else None
            assert embedding.grad is not None  # noqa: S101 - the loss depends on it
            shares = torch.split(embedding.grad, sizes)
            for chunk, share, drawn in zip(chunks, shares, draws, strict=True):
                if drawn is not None:
                    drawn.restore()
                encoded = module.encoder(chunk)
                if encoded.requires_grad:  # an encoder may be frozen
                    torch.autograd.backward(encoded, share)
            if after is not None:
                after.restore()
        return detached(loss, terms)


def forward_in_chunks(net: RepresentationNet, seen: Tensor) -> Outputs:
    """Call a net's module, whose encoder sees ``net.chunk_size`` rows at a time.

    Parameters
    ----------
    net : RepresentationNet
        Its module is called as it is if ``chunk_size`` is None.
    seen : Tensor of shape (n, d)
        Rows.

    Returns
    -------
    outputs : Outputs
        Without a graph of the encoder if there are chunks.
    """
    if net.chunk_size is None:
        return net.module_(seen)  # type: ignore[no-any-return]
    chunks = torch.split(seen, batch_sizes(len(seen), net.chunk_size))
    return net.module_.complete(*_encoded(net, chunks, []))  # type: ignore[no-any-return]


@torch.no_grad()
def _encoded(
    net: RepresentationNet, chunks: Sequence[Tensor], draws: list[GlobalDraws | None]
) -> tuple[Tensor, Tensor | None]:
    """Encode chunk by chunk, and note in `draws` what the draws of each start from."""
    embeddings, targets = [], []
    for chunk in chunks:
        draws.append(GlobalDraws(chunk.device) if net.replays_draws else None)
        embeddings.append(net.module_.encoder(chunk))
        targets.append(net.module_.targets_of(chunk))
    beside = None if targets[0] is None else torch.cat(targets)
    return torch.cat(embeddings), beside
