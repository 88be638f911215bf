"""Modules as inference uses them: nothing kept for gradients, rows alone bit-equal."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr.modules.autoencoder import Autoencoder
from sklearn_repr.modules.contrastive import ContrastiveNetwork, SelfPredictiveNetwork
from sklearn_repr.modules.fused import FusedPerceptron, Map, fuse
from sklearn_repr.modules.masked import MaskedNetwork, MaskInputs
from sklearn_repr.modules.variational import GaussianEncoder, VariationalNetwork
from sklearn_repr.utils.hooks import is_watched

__all__ = [
    "ALIGNMENT",
    "CONTAINERS",
    "FEWEST",
    "FrozenPerceptron",
    "freeze",
    "is_frozen",
    "rows_together",
]

# Matrix kernels take another path for rows that do not start on such a boundary
ALIGNMENT = 8
# ... and for results that are narrower than this
NARROW = 16
# Rows below which a matrix product takes hardly less time
FEWEST = 64
# modules whose forward is known to call each of their parts once
CONTAINERS = (
    Autoencoder,
    ContrastiveNetwork,
    SelfPredictiveNetwork,
    VariationalNetwork,
    GaussianEncoder,
    MaskedNetwork,
    MaskInputs,
)


class FrozenPerceptron(nn.Module):
    """A perceptron for rows that need no gradient.

    The inner dimension of every map is padded with zeros to a whole alignment.
    Otherwise the matrix kernel adds up a row in an order that depends on where in the
    chunk the row stands, and its last bits with it. Narrow results are computed beside
    columns of zeros, because the kernel takes twice the time for 8 columns as for 16;
    their last bits may differ from those of the layer itself.

    Parameters
    ----------
    perceptron : FusedPerceptron
        Its weights are shared, or copied where they must be padded.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules.frozen import FrozenPerceptron
    >>> from sklearn_repr.modules.fused import fuse
    >>> layer = nn.Linear(3, 2)
    >>> x = torch.ones(1, 3)
    >>> bool(torch.allclose(FrozenPerceptron(fuse(layer))(x), layer(x)))
    True
    """

    def __init__(self, perceptron: FusedPerceptron):
        super().__init__()
        self.perceptron = perceptron

    @cached_property
    def steps(self) -> list[tuple[Callable[[Tensor], Tensor], Map]]:
        """The layers; made when they are first needed, for many an encoder is alone."""
        return [(_affine(layer), layer) for layer in self.perceptron.layers]

    @cached_property
    def path(self) -> Callable[[Tensor], Tensor] | None:
        """The linear path."""
        path = self.perceptron.path
        return None if path is None else _affine(path)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, d_in) to (n, d_out)."""
        h = x
        for affine, layer in self.steps:
            h = affine(h)
            if layer.norm is not None:
                h = layer.norm.forward(h)[0]
            if layer.activation is not None:
                h = layer.activation.overwrite(h)
        return h if self.path is None else self.path(x).add_(h)

    # a frozen module has no hooks to look for
    __call__ = forward

    def agrees(self, few: int, many: int) -> bool:
        """Tell whether a row has the same bits among `few` rows as among `many`."""
        path = self.perceptron.path
        maps = [*self.perceptron.layers, *([] if path is None else [path])]
        return all(
            _agrees(*_padded(layer.weight.shape), layer.bias.dtype, few, many)
            for layer in maps
        )


@cache
def _agrees(width: int, inner: int, dtype: torch.dtype, few: int, many: int) -> bool:
    # kernels choose the order of their sums by shapes alone: random numbers show it
    generator = torch.Generator().manual_seed(0)
    sizes = (width,), (many, inner), (inner, width)
    bias, rows, weight = (torch.randn(n, generator=generator, dtype=dtype) for n in sizes)
    weight = weight.t().contiguous().t()
    whole = torch.addmm(bias, rows, weight)
    parts = ((rows[i : i + few], whole[i : i + few]) for i in (0, many - few))
    return all(torch.equal(torch.addmm(bias, x.clone(), weight), y) for x, y in parts)


def _padded(shape: Sequence[int]) -> tuple[int, int]:
    """Return the width and inner dimension that a layer is computed with."""
    width, inner = shape
    return NARROW if 4 < width < NARROW else width, inner + -inner % ALIGNMENT


def _affine(layer: Map) -> Callable[[Tensor], Tensor]:
    weight, bias = layer.weight, layer.bias
    width, inner = weight.shape
    wide, long = _padded(weight.shape)
    beside, missing = wide - width, long - inner
    if missing or beside:
        weight = functional.pad(weight, (0, missing, 0, beside))
        bias = functional.pad(bias, (0, beside))
    transposed = weight.contiguous().t()

    def affine(x: Tensor) -> Tensor:
        if missing:
            x = functional.pad(x, (0, missing))
        y = torch.addmm(bias, x, transposed)
        return y[:, :width] if beside else y

    return affine


class _FrozenVariational(VariationalNetwork):
    """Posterior means by themselves: what makes log-variances is left out."""

    means: FrozenPerceptron

    def encode(self, x: Tensor) -> Tensor:
        return self.means(x)


def _means(encoder: nn.Module) -> FrozenPerceptron | None:
    """Return the means of a Gaussian encoder as one perceptron, None if not known."""
    if type(encoder) is not GaussianEncoder:
        return None
    network = fuse(encoder.network, watched=False)
    linear = None if encoder.linear is None else fuse(encoder.linear, watched=False)
    if network is None or (linear is None) != (encoder.linear is None):
        return None
    last = network.layers[-1]
    weight, bias = last.weight, last.bias
    half = len(bias) // 2
    weight = weight[:half]
    network.layers[-1] = last._replace(
        weight=weight, transposed=weight.t(), bias=bias[:half]
    )
    network.path = None if linear is None else linear.layers[0]
    return FrozenPerceptron(network)


def freeze(module: nn.Module) -> nn.Module:
    """Return a twin of `module` for inference, which shares its weights.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; it stays as it is.

    Returns
    -------
    twin : torch.nn.Module
        A module of the same type whose known perceptrons are frozen; `module` itself
        where nothing is known, or somebody listens.
    """
    return module if is_watched(module) else _freeze(module)


def _freeze(module: nn.Module) -> nn.Module:
    if type(module) in CONTAINERS:
        twin: Any = copy.copy(module)
        # a readout asks the encoder for its layers one by one
        whole = "encoder" if getattr(module, "readout", None) is not None else ""
        twin._modules = {
            name: part if part is None or name == whole else _freeze(part)
            for name, part in module._modules.items()
        }
        if type(module) is VariationalNetwork:
            means = _means(module.encoder)
            if means is not None:
                twin.__class__, twin._modules["means"] = _FrozenVariational, means
        return twin  # type: ignore[no-any-return]
    perceptron = fuse(module, watched=False)
    return module if perceptron is None else FrozenPerceptron(perceptron)


def is_frozen(module: nn.Module) -> bool:
    """Tell whether no part of `module` but frozen ones holds a linear map."""
    known = (FrozenPerceptron, _FrozenVariational, nn.Sigmoid, *CONTAINERS)
    return all(type(part) in known for part in module.modules())


def rows_together(module: nn.Module, n_rows: int, chunk: int) -> int:
    """Return how many rows a frozen module maps together, so that bits stay the same.

    Parameters
    ----------
    module : torch.nn.Module
        A frozen one.
    n_rows : int
        How many rows there are.
    chunk : int
        How many it maps together where there are more.

    Returns
    -------
    size : int
        The next power of two, at least 64, where that gives every row the bits that it
        has in a chunk; else `chunk`.
    """
    few = max(FEWEST, 1 << (n_rows - 1).bit_length())
    frozen = (part for part in module.modules() if type(part) is FrozenPerceptron)
    if few < chunk and all(part.agrees(few, chunk) for part in frozen):
        return few
    return chunk
