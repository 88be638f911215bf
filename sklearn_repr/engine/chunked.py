"""Batches larger than memory allows: the same gradient, a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.engine.batches import batch_sizes

__all__ = ["ChunkedStep", "forward_in_chunks"]


class ChunkedStep:
    """Loss and gradients of a batch, of which one chunk at a time keeps its graph.

    First all chunks are encoded without a graph, the loss of the whole batch is
    differentiated as far as the embeddings, and then each chunk is encoded once more, now
    with a graph through which its share of that gradient flows back.

    Parameters
    ----------
    net : RepresentationNet
        Its ``chunk_size`` is how many rows (of all views) are encoded at a time. Its
        module maps rows by ``encoder`` and embeddings by ``complete``, and its
        ``reduce_terms`` makes one loss of the objective's terms.
    zero_grad : callable
        Drops earlier gradients.

    Attributes
    ----------
    outputs : Outputs
        What the module said about the last batch.

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

    outputs: Outputs

    def __init__(self, net: Any, zero_grad: Callable[[], Any]):
        self.net = net
        self.zero_grad = zero_grad

    def __call__(self, inputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        net, module = self.net, self.net.module_
        sizes = batch_sizes(len(inputs), net.chunk_size)
        chunks = torch.split(inputs, sizes)
        states: list[_Draws | None] = []
        embedding, aside = _encoded(net, chunks, states)
        embedding.requires_grad_()
        self.outputs = module.complete(embedding, aside)
        loss, terms = net.reduce_terms(net.criterion_(self.outputs, batch))
        self.zero_grad()
        torch.autograd.backward(loss)
        after = _Draws(inputs.device) if net.replays_draws else None
        assert embedding.grad is not None  # noqa: S101 - the loss depends on it
        shares = torch.split(embedding.grad, sizes)
        for chunk, share, state in zip(chunks, shares, states, strict=True):
            if state is not None:
                state.restore()
            encoded = module.encoder(chunk)
            if encoded.requires_grad:  # an encoder may be frozen
                torch.autograd.backward(encoded, share)
        if after is not None:
            after.restore()
        return {"loss": loss.detach(), **{k: v.detach() for k, v in terms.items()}}


def forward_in_chunks(net: Any, inputs: Tensor) -> Outputs:
    """Call a net's module, whose encoder sees ``net.chunk_size`` rows at a time.

    Parameters
    ----------
    net : RepresentationNet
        Its module is called as it is if ``chunk_size`` is None.
    inputs : Tensor of shape (n, d)
        Rows.

    Returns
    -------
    outputs : Outputs
        Without a graph of the encoder if there are chunks.
    """
    if net.chunk_size is None:
        return net.module_(inputs)  # type: ignore[no-any-return]
    chunks = torch.split(inputs, batch_sizes(len(inputs), net.chunk_size))
    return net.module_.complete(*_encoded(net, chunks, []))  # type: ignore[no-any-return]


@torch.no_grad()
def _encoded(
    net: Any, chunks: tuple[Tensor, ...], states: list[_Draws | None]
) -> tuple[Tensor, Tensor | None]:
    """Encode chunk by chunk, and note in `states` what the draws of each start from."""
    embeddings, asides = [], []
    for chunk in chunks:
        states.append(_Draws(chunk.device) if net.replays_draws else None)
        embeddings.append(net.module_.encoder(chunk))
        asides.append(net.module_.aside(chunk))
    beside = None if asides[0] is None else torch.cat(asides)
    return torch.cat(embeddings), beside


class _Draws:
    """The state of torch's global generators, of the CPU and of a device."""

    def __init__(self, device: torch.device):
        self.cpu = torch.get_rng_state()
        self.device = device if device.type == "cuda" else None
        if self.device is not None:
            self.cuda = torch.cuda.get_rng_state(self.device)

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.device is not None:
            torch.cuda.set_rng_state(self.cuda, self.device)
