"""Strided convolutions down to a code, and transposed convolutions back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from torch import nn

from sklearn_repr.modules.mlp import ACTIVATIONS

__all__ = ["ConvOptions", "conv_decoder", "conv_encoder"]

CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}

# Units of the dense layer between convolutions and code: without it, a narrow code would
# have to place every feature by a linear map
DENSE = 256


@dataclass(frozen=True, slots=True)
class ConvOptions:
    """The shape of a convolutional network.

    Attributes
    ----------
    input_shape : tuple of int
        (channels, height, width) or (channels, length) of a row.
    channels : tuple of int
        Channels behind each convolution.
    kernel_size, stride : int
        Of every convolution; padding is kernel_size // 2.
    activation : str
        Name in `ACTIVATIONS`, behind every layer but the last.
    dropout : float
        Probability of dropping a value behind an activation.
    layer_norm : bool
        Normalise every row before each activation.
    """

    input_shape: tuple[int, ...]
    channels: tuple[int, ...] = (16, 32)
    kernel_size: int = 3
    stride: int = 2
    activation: str = "silu"
    dropout: float = 0.0
    layer_norm: bool = False

    def sizes(self) -> list[tuple[int, ...]]:
        """Return the spatial size before and behind every convolution.

        Examples
        --------
        >>> from sklearn_repr.modules.convolutional import ConvOptions
        >>> ConvOptions((1, 28, 28)).sizes()
        [(28, 28), (14, 14), (7, 7)]
        """
        sizes = [self.input_shape[1:]]
        border = 2 * (self.kernel_size // 2) - self.kernel_size
        for _ in self.channels:
            sizes.append(tuple((n + border) // self.stride + 1 for n in sizes[-1]))
        return sizes

    def behind(self, n_channels: int) -> list[nn.Module]:
        """Return what stands behind a layer: norm, activation, dropout."""
        layers: list[nn.Module] = []
        if self.layer_norm:
            layers.append(nn.GroupNorm(1, n_channels))
        if self.activation != "identity":
            layers.append(ACTIVATIONS[self.activation]())
        if self.dropout:
            layers.append(nn.Dropout(self.dropout))
        return layers


def conv_encoder(options: ConvOptions, n_components: int) -> nn.Sequential:
    """Build an encoder of flat rows.

    Parameters
    ----------
    options : ConvOptions
        Its shape.
    n_components : int
        Width of the code.

    Returns
    -------
    encoder : torch.nn.Sequential
        Maps (n, prod(input_shape)) to (n, n_components); the last layer is linear.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.convolutional import ConvOptions, conv_encoder
    >>> conv_encoder(ConvOptions((1, 9, 7)), 4)(torch.zeros(2, 63)).shape
    torch.Size([2, 4])
    """
    shape = options.input_shape
    convolution: Callable[..., nn.Module] = CONVOLUTIONS[len(shape) - 1]
    layers: list[nn.Module] = [nn.Unflatten(1, shape)]
    for before, after in pairwise((shape[0], *options.channels)):
        layers.append(
            convolution(
                before,
                after,
                options.kernel_size,
                stride=options.stride,
                padding=options.kernel_size // 2,
            )
        )
        layers += options.behind(after)
    width = options.channels[-1] * prod(options.sizes()[-1])
    layers += [nn.Flatten(), nn.Linear(width, DENSE), *options.behind(DENSE)]
    return nn.Sequential(*layers, nn.Linear(DENSE, n_components))


def conv_decoder(options: ConvOptions, n_components: int) -> nn.Sequential:
    """Build a decoder to flat rows: the encoder's sizes, backwards.

    A transposed convolution of stride s reaches s sizes; ``output_padding`` chooses the
    one that the encoder came from, so that odd sizes come back exactly.

    Parameters
    ----------
    options : ConvOptions
        Its shape.
    n_components : int
        Width of the code.

    Returns
    -------
    decoder : torch.nn.Sequential
        Maps (n, n_components) to (n, prod(input_shape)); the first layer is linear.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning",
    arXiv:1603.07285.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.convolutional import ConvOptions, conv_decoder
    >>> conv_decoder(ConvOptions((1, 9, 7)), 4)(torch.zeros(2, 4)).shape
    torch.Size([2, 63])
    """
    shape, sizes, kernel = options.input_shape, options.sizes(), options.kernel_size
    transposed: Callable[..., nn.Module] = TRANSPOSED[len(shape) - 1]
    last = options.channels[-1]
    layers: list[nn.Module] = [nn.Linear(n_components, DENSE), *options.behind(DENSE)]
    layers += [nn.Linear(DENSE, last * prod(sizes[-1]))]
    layers += [nn.Unflatten(1, (last, *sizes[-1])), *options.behind(last)]
    channels = (*reversed(options.channels), shape[0])
    for i, (before, after) in enumerate(pairwise(channels)):
        small, large = sizes[-1 - i], sizes[-2 - i]
        reached = [(n - 1) * options.stride - 2 * (kernel // 2) + kernel for n in small]
        layers.append(
            transposed(
                before,
                after,
                kernel,
                stride=options.stride,
                padding=kernel // 2,
                output_padding=tuple(n - m for n, m in zip(large, reached, strict=True)),
            )
        )
        if i < len(channels) - 2:
            layers += options.behind(after)
    return nn.Sequential(*layers, nn.Flatten())
