"""Frames of a sequence, contexts that see no future, and predictions from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr._contracts import (
    Architecture,
    Outputs,
)
from sklearn_repr.modules.factory import ArchitectureOptions
from sklearn_repr.modules.mlp import ACTIVATIONS

__all__ = [
    "CausalConvolution",
    "FrameEncoder",
    "PredictiveNetwork",
    "frame_ends",
    "make_predictive_network",
]

# Where channels are "auto", convolutions do not stride below this many frames
FEWEST_FRAMES = 4


def frame_ends(length: int, strides: Sequence[int]) -> list[int]:
    """Return the last step that each frame sees, behind convolutions of these strides.

    Parameters
    ----------
    length : int
        Steps of the sequence.
    strides : sequence of int
        Of the convolutions, from the first to the last.

    Returns
    -------
    ends : list of int
        Rising; the last frame ends with the sequence.

    Examples
    --------
    >>> from sklearn_repr.modules.predictive import frame_ends
    >>> frame_ends(9, (2, 2))
    [0, 4, 8]
    """
    ends = list(range(length))
    for stride in strides:
        ends = ends[(len(ends) - 1) % stride :: stride]
    return ends


class CausalConvolution(nn.Module):
    """A strided convolution over steps that never looks ahead.

    Every window ends at the step that it stands for, and the last one at the last step.
    Zeros stand for what lies before the sequence. It is computed as a linear map of
    windows, so that a row's result does not depend on its neighbours in the batch.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels of a step, before and behind.
    kernel_size, stride : int
        Steps in a window, and from one window to the next.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.predictive import CausalConvolution
    >>> CausalConvolution(1, 4, 3, 2)(torch.zeros(2, 9, 1)).shape
    torch.Size([2, 5, 4])
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel_size: int, stride: int
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride
        self.linear = nn.Linear(channels_in * kernel_size, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, steps, channels_in) to (n, ⌈steps / stride⌉, channels_out)."""
        before = self.kernel_size - 1 - (x.shape[1] - 1) % self.stride
        padded = functional.pad(x, (0, 0, before, 0))
        windows = padded.unfold(1, self.kernel_size, self.stride)
        mapped: Tensor = self.linear(windows.flatten(2))
        return mapped


class FrameEncoder(nn.Sequential):
    """Causal convolutions from the steps of a sequence to fewer frames.

    Parameters
    ----------
    n_channels : int
        Channels of a step.
    strides : sequence of int
        Step of every convolution.
    channels : sequence of int
        Channels behind every convolution.
    n_components : int
        Width of a frame.
    options : ArchitectureOptions
        Kernel size, activation, dropout and norm, which is over the channels of a frame:
        one over time would see the future.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.factory import ArchitectureOptions
    >>> from sklearn_repr.modules.predictive import FrameEncoder
    >>> encoder = FrameEncoder(2, (2, 2), (8, 8), 3, ArchitectureOptions())
    >>> encoder(torch.zeros(5, 2, 20)).shape
    torch.Size([5, 3, 5])
    """

    def __init__(
        self,
        n_channels: int,
        strides: Sequence[int],
        channels: Sequence[int],
        n_components: int,
        options: ArchitectureOptions,
    ):
        layers: list[nn.Module] = []
        before = n_channels
        for after, stride in zip(channels, strides, strict=True):
            layers.append(CausalConvolution(before, after, options.kernel_size, stride))
            if options.layer_norm:
                layers.append(nn.LayerNorm(after))
            if options.activation != "identity":
                layers.append(ACTIVATIONS[options.activation]())
            if options.dropout:
                layers.append(nn.Dropout(options.dropout))
            before = after
        super().__init__(*layers, nn.Linear(before, n_components))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, length) to (n, n_components, frames)."""
        steps = x.transpose(1, 2)
        for layer in self:
            steps = layer(steps)
        return steps.transpose(1, 2)


class PredictiveNetwork(nn.Module):
    """Frames, a recurrent context of those so far, and linear predictions of the next.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps (n, channels, length) to (n, n_components, frames).
    input_shape : tuple of int
        (channels, length) of a row.
    n_components : int
        Width of frames and contexts.
    n_steps : int
        How many frames ahead are predicted, each by a matrix of its own.
    output : {"context", "context_mean", "encoder_mean"}
        What the embedding is: the last context, the mean of all, or the mean frame.
    n_frames : int or None, default=None
        Frames of a row, where they are known.

    References
    ----------
    van den Oord, Li and Vinyals, "Representation learning with contrastive predictive
    coding" (2018), arXiv:1807.03748.

    Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation", EMNLP 2014, arXiv:1406.1078 (the gated recurrent unit).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.predictive import PredictiveNetwork
    >>> network = PredictiveNetwork(torch.nn.Identity(), (3, 6), 3, 2, "context")
    >>> network(torch.zeros(4, 18)).prediction.shape
    torch.Size([4, 6, 2, 3])
    """

    def __init__(
        self,
        encoder: nn.Module,
        input_shape: tuple[int, ...],
        n_components: int,
        n_steps: int,
        output: str,
        n_frames: int | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.input_shape = input_shape
        self.output = output
        self.n_steps = n_steps
        self.n_frames = n_frames
        self.recurrence = nn.GRU(n_components, n_components, batch_first=True)
        self.predictor = nn.Linear(n_components, n_steps * n_components, bias=False)

    def frames(self, x: Tensor) -> Tensor:
        """Map flat rows to (n, frames, n_components)."""
        encoded: Tensor = self.encoder(x.view(-1, *self.input_shape))
        return encoded.transpose(1, 2)

    def contexts(self, frames: Tensor) -> Tensor:
        """Return the context at every frame, which knows that frame and those before."""
        if torch.is_grad_enabled():
            contexts: Tensor = self.recurrence(frames)[0]
            return contexts
        return gated_recurrence(self.recurrence, frames)

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to embeddings."""
        frames = self.frames(x)
        if self.output == "encoder_mean":
            return frames.mean(dim=1)
        return self._summary(frames, self.contexts(frames))

    def forward(self, x: Tensor) -> Outputs:
        """Return embedding, frames and predictions."""
        frames = self.frames(x)
        contexts = self.contexts(frames)
        return Outputs(
            embedding=self._summary(frames, contexts),
            prediction=self.predictor(contexts).unflatten(2, (-1, frames.shape[2])),
            frames=frames,
        )

    def _summary(self, frames: Tensor, contexts: Tensor) -> Tensor:
        if self.output == "encoder_mean":
            return frames.mean(dim=1)
        return contexts[:, -1] if self.output == "context" else contexts.mean(dim=1)


def gated_recurrence(unit: nn.GRU, frames: Tensor) -> Tensor:
    """Compute a gated recurrent unit step by step, each row by itself.

    torch's own kernel is faster in training, but a row's last bits depend there on its
    place in the batch.
    """
    into, onward, bias_into, bias_onward = (
        getattr(unit, name)
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    gates = functional.linear(frames, into, bias_into)
    state = frames.new_zeros(len(frames), unit.hidden_size)
    states = []
    for gate in gates.unbind(dim=1):
        own = functional.linear(state, onward, bias_onward)
        reset, update, new = gate.chunk(3, dim=1)
        own_reset, own_update, own_new = own.chunk(3, dim=1)
        update = torch.sigmoid(update + own_update)
        new = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
        state = (1 - update) * new + update * state
        states.append(state)
    return torch.stack(states, dim=1)


def make_predictive_network(
    architecture: Architecture,
    input_shape: tuple[int, ...],
    n_components: int,
    options: ArchitectureOptions,
    *,
    n_steps: int | str,
    output: str,
) -> PredictiveNetwork:
    """Build a predictive network.

    Parameters
    ----------
    architecture : "conv" or callable
        A torch module class or function called with keywords `n_channels` and
        `n_components`; it returns a module from (n, channels, length) to (n,
        n_components, frames).
    input_shape : tuple of int
        (channels, length) of a row.
    n_components : int
        Width of frames and contexts.
    options : ArchitectureOptions
        Shape of the convolutions.
    n_steps : int or "auto"
        Frames ahead to predict; "auto" is half of them, 1 to 4.
    output : str
        See :class:`PredictiveNetwork`.

    Returns
    -------
    network : PredictiveNetwork
        The network, which knows its number of frames.

    Raises
    ------
    TypeError, ValueError
        If a user's architecture is no module or returns the wrong shape, or if a row has
        too few frames for `n_steps`.

    Examples
    --------
    >>> from sklearn_repr.modules.factory import ArchitectureOptions
    >>> from sklearn_repr.modules.predictive import make_predictive_network
    >>> options = ArchitectureOptions()
    >>> make_predictive_network(
    ...     "conv", (1, 40), 8, options, n_steps=2, output="context"
    ... ).n_frames
    10
    """
    encoder: nn.Module
    if isinstance(architecture, str):
        channels, strides = _convolutions(options, input_shape[1])
        encoder = FrameEncoder(input_shape[0], strides, channels, n_components, options)
        n_frames = len(frame_ends(input_shape[1], strides))
    else:
        encoder = architecture(n_channels=input_shape[0], n_components=n_components)
        n_frames = _count_frames(encoder, input_shape, n_components)
    if n_steps == "auto":
        n_steps = min(max(n_frames // 2, 1), 4)
    elif int(n_steps) >= n_frames:
        raise ValueError(
            f"prediction_steps={n_steps} needs at least {int(n_steps) + 1} frames, but"
            f" sequences of length {input_shape[1]} have {n_frames}. Lower"
            " prediction_steps, take a smaller stride or fewer convolutions"
            " (hidden_layer_sizes), or pass longer sequences."
        )
    return PredictiveNetwork(
        encoder, input_shape, n_components, int(n_steps), output, n_frames
    )


def _convolutions(
    options: ArchitectureOptions, length: int
) -> tuple[tuple[int, ...], list[int]]:
    """Return channels and strides of the convolutions."""
    if not isinstance(options.hidden_layer_sizes, str):
        channels = tuple(options.hidden_layer_sizes)
        return channels, [options.stride] * len(channels)
    strides: list[int] = []
    for _ in range(2):
        reached = frame_ends(length, [*strides, options.stride])
        strides.append(options.stride if len(reached) >= FEWEST_FRAMES else 1)
    return (32, 64), strides


def _count_frames(encoder: Any, input_shape: tuple[int, ...], n_components: int) -> int:
    if not isinstance(encoder, nn.Module):
        raise TypeError(
            f"architecture must return a torch.nn.Module; got {type(encoder).__name__}."
        )
    was_training = encoder.training
    encoder.eval()
    first = next(encoder.parameters(), torch.empty(0))
    with torch.no_grad():
        got = encoder(first.new_zeros(2, *input_shape))
    encoder.train(was_training)
    fits = isinstance(got, Tensor) and got.ndim == 3 and got.shape[2] >= 1
    if not fits or got.shape[:2] != (2, n_components):
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise ValueError(
            f"architecture turned sequences of shape (2, {input_shape[0]},"
            f" {input_shape[1]}) into {shape}; expected (2, {n_components}, frames)."
        )
    return int(got.shape[2])
