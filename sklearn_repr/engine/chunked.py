"""Batches larger than memory allows: the same gradient, a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_repr._outputs import Batch, Outputs

__all__ = ["ChunkedStep", "forward_in_chunks"]


class ChunkedStep:
    """Loss and gradients of a batch, of which one chunk at a time keeps its graph.

    First all chunks are mapped without a graph, the loss of the whole batch is
    differentiated as far as the module's outputs, and then each chunk is mapped once
    more, now with a graph through which its share of that gradient flows back.

    Parameters
    ----------
    net : RepresentationNet
        Its ``chunk_size`` is how many rows (of all views) the module sees at a time. Its
        ``reduce_terms`` makes one loss of the objective's terms.
    zero_grad : callable
        Drops earlier gradients.

    Attributes
    ----------
    outputs : Outputs
        What the module said about the last batch.

    Notes
    -----
    Time is that of one more forward pass. Dropout draws the same in both. Layers that
    look at several rows at once, as batch normalisation does, see a chunk of them.

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
        net, chunks = self.net, torch.split(inputs, self.net.chunk_size)
        states: list[_Draws | None] = []
        with torch.no_grad():
            self.outputs = outputs = _joined(
                [_noting_draws(net, chunk, states) for chunk in chunks]
            )
        leaves = {
            name: value.requires_grad_() for name, value in _tensors(outputs).items()
        }
        self.zero_grad()
        loss, terms = net.reduce_terms(net.criterion_(outputs, batch))
        torch.autograd.backward(loss)
        grads = {n: v.grad for n, v in leaves.items() if v.grad is not None}
        for leaf in leaves.values():
            leaf.requires_grad_(False)
        after = _Draws(inputs.device) if net.replays_draws else None
        pieces = {name: torch.split(g, net.chunk_size) for name, g in grads.items()}
        for i, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
            if state is not None:
                state.restore()
            again = _tensors(net.module_(chunk))
            flowing = [name for name in pieces if again[name].requires_grad]
            torch.autograd.backward(
                [again[name] for name in flowing], [pieces[name][i] for name in flowing]
            )
        if after is not None:
            after.restore()
        return {"loss": loss.detach(), **{k: v.detach() for k, v in terms.items()}}


def forward_in_chunks(module: nn.Module, inputs: Tensor, size: int | None) -> Outputs:
    """Call `module` on at most `size` rows at a time, and join what it says.

    Parameters
    ----------
    module : torch.nn.Module
        Returns Outputs.
    inputs : Tensor of shape (n, d)
        Rows.
    size : int or None
        None means all rows at once.

    Returns
    -------
    outputs : Outputs
        Fields with one entry a row; others are dropped if there are several chunks.
    """
    if size is None or len(inputs) <= size:
        return module(inputs)  # type: ignore[no-any-return]
    return _joined([module(chunk) for chunk in torch.split(inputs, size)])


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


def _noting_draws(net: Any, chunk: Tensor, states: list[_Draws | None]) -> Outputs:
    states.append(_Draws(chunk.device) if net.replays_draws else None)
    return net.module_(chunk)  # type: ignore[no-any-return]


def _tensors(outputs: Outputs) -> dict[str, Tensor]:
    """Return the fields that hold one entry a row."""
    n = len(outputs.embedding)
    values = {field.name: getattr(outputs, field.name) for field in fields(outputs)}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, Tensor) and value.ndim and len(value) == n
    }


def _joined(parts: list[Outputs]) -> Outputs:
    columns = [_tensors(part) for part in parts]
    outputs = Outputs(torch.cat([part.embedding for part in parts]))
    for name in columns[0]:
        setattr(outputs, name, torch.cat([column[name] for column in columns]))
    return outputs
