"""A user's own architecture: checked, and given the methods that are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sklearn_repr.modules.autoencoder import Autoencoder

__all__ = ["EncodeOnly", "WithOutputs", "probe", "require"]


class WithOutputs(Autoencoder):
    """A user's module that encodes and decodes by methods of its own.

    Parameters
    ----------
    module : torch.nn.Module
        With methods ``encode`` and ``decode``.
    """

    def __init__(self, module: nn.Module):
        nn.Module.__init__(self)
        self.module = module
        self.encoder = self.decoder = self.code = None  # type: ignore[assignment]

    def encode(self, x: Tensor) -> Tensor:
        """Map rows to codes."""
        return self.module.encode(x)  # type: ignore[no-any-return,operator]

    def decode(self, z: Tensor) -> Tensor:
        """Map codes to rows."""
        return self.module.decode(z)  # type: ignore[no-any-return,operator]


class EncodeOnly(nn.Module):
    """The encoder of a user's module.

    Parameters
    ----------
    module : torch.nn.Module
        With a method ``encode``.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to codes."""
        return self.module.encode(x)  # type: ignore[no-any-return,operator]


def require(built: object, methods: Sequence[str], otherwise: str) -> None:
    """Raise unless a user's architecture built a module with these methods."""
    missing = [name for name in methods if not hasattr(built, name)]
    if not isinstance(built, nn.Module) or missing:
        wanted = "".join(f" with a method {name}" for name in missing)
        raise TypeError(
            f"architecture must return a torch.nn.Module{wanted} {otherwise}".strip()
            + f"; got {type(built).__name__}."
        )


def probe(
    module: nn.Module,
    function: Callable[[Tensor], object],
    width_in: int,
    width_out: int,
    what: str,
) -> None:
    """Raise unless a user's function maps rows of one width to rows of the other."""
    was_training = module.training
    module.eval()
    first = next(module.parameters(), torch.empty(0))
    with torch.no_grad():
        got = function(first.new_zeros(2, width_in))
    module.train(was_training)
    if not isinstance(got, Tensor) or got.shape != (2, width_out):
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise ValueError(
            f"architecture: {what} turned rows of shape (2, {width_in}) into {shape};"
            f" expected (2, {width_out})."
        )
