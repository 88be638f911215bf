"""Modules as inference uses them: nothing kept for gradients, rows alone bit-equal."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr.modules.autoencoder import Autoencoder
from sklearn_repr.modules.contrastive import ContrastiveNetwork, SelfPredictiveNetwork
from sklearn_repr.modules.fused import FusedPerceptron, Map, fuse, is_watched
from sklearn_repr.modules.masked import MaskedNetwork, MaskInputs
from sklearn_repr.modules.variational import GaussianEncoder, VariationalNetwork

__all__ = ["ALIGNMENT", "CONTAINERS", "FrozenPerceptron", "freeze", "is_frozen"]

# Matrix kernels take another path for rows that do not start on such a boundary
ALIGNMENT = 8
# ... and for results that are narrower than this
NARROW = 16
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
    def maps(self) -> list[tuple[_Affine, Map]]:
        """The layers; made when they are first needed, for many an encoder is alone."""
        return [(_Affine(layer), layer) for layer in self.perceptron.layers]

    @cached_property
    def path(self) -> _Affine | None:
        """The linear path."""
        path = self.perceptron.path
        return None if path is None else _Affine(path)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, d_in) to (n, d_out)."""
        h = x
        for affine, layer in self.maps:
            h = affine(h)
            if layer.norm is not None:
                h = layer.norm.forward(h)[0]
            if layer.activation is not None:
                h = layer.activation.overwrite(h)
        return h if self.path is None else self.path(x).add_(h)


class _Affine:
    def __init__(self, layer: Map):
        weight, bias = layer.weight, layer.bias
        self.width, inner = weight.shape
        self.missing = -inner % ALIGNMENT
        beside = NARROW - self.width if 4 < self.width < NARROW else 0
        if self.missing or beside:
            weight = functional.pad(weight, (0, self.missing, 0, beside))
            bias = functional.pad(bias, (0, beside))
        self.transposed = weight.contiguous().t()
        self.bias = bias
        self.cut = beside > 0

    def __call__(self, x: Tensor) -> Tensor:
        if self.missing:
            x = functional.pad(x, (0, self.missing))
        y = torch.addmm(self.bias, x, self.transposed)
        return y[:, : self.width] if self.cut else y


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
        return twin  # type: ignore[no-any-return]
    perceptron = fuse(module, watched=False)
    return module if perceptron is None else FrozenPerceptron(perceptron)


def is_frozen(module: nn.Module) -> bool:
    """Tell whether no part of `module` but frozen ones holds a linear map."""
    known = (FrozenPerceptron, nn.Sigmoid, *CONTAINERS)
    return all(type(part) in known for part in module.modules())
