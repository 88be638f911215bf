"""Modules from an estimator's parameters, a user's own architecture included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from sklearn_repr._contracts import Architecture
from sklearn_repr.modules.autoencoder import Autoencoder
from sklearn_repr.modules.contrastive import ContrastiveNetwork, SelfPredictiveNetwork
from sklearn_repr.modules.convolutional import (
    ConvOptions,
    conv_decoder,
    conv_encoder,
)
from sklearn_repr.modules.linear import (
    PrincipalSubspace,
    SkipConnected,
    set_to_principal_axes,
)
from sklearn_repr.modules.mixing import LatentMixup
from sklearn_repr.modules.mlp import make_mlp
from sklearn_repr.modules.readout import LayerReadout
from sklearn_repr.modules.tied import TiedLinear, tied_mlp
from sklearn_repr.modules.users import EncodeOnly, WithOutputs, probe, require
from sklearn_repr.modules.variational import (
    GaussianEncoder,
    VariationalNetwork,
    set_to_probabilistic_pca,
)
from sklearn_repr.utils.validation import check_input_shape

__all__ = [
    "ArchitectureOptions",
    "make_autoencoder",
    "make_contrastive_network",
    "make_variational_network",
]

# SimSiam's predictor is narrower than the projection by this factor
BOTTLENECK = 4
# Weights of "auto" between a table and the layer beside it
MOST_WEIGHTS = 2**21
# Units of a layer of the encoder that contrasts take
EMBEDDER_UNITS = 256


def narrowed(width: int, n_features: int) -> int:
    """Return the width of a layer beside a table: 2²¹ weights at most, or 32 units.

    Examples
    --------
    >>> from sklearn_repr.modules.factory import narrowed
    >>> narrowed(512, 4096), narrowed(512, 20_000)
    (512, 64)
    """
    most = 1 << max(5, (MOST_WEIGHTS // n_features).bit_length() - 1)
    return min(width, most)


def embedder_sizes(n_features: int) -> tuple[int, int, int]:
    """Return the widths of the encoder of tables that contrasts take."""
    # twice as wide as its rows are the pairs that it sees
    return narrowed(EMBEDDER_UNITS, 2 * n_features), EMBEDDER_UNITS, EMBEDDER_UNITS


@dataclass(frozen=True, slots=True)
class ArchitectureOptions:
    """Settings of the named architectures, as estimators call their parameters."""

    hidden_layer_sizes: str | Sequence[int] = "auto"
    activation: str = "silu"
    dropout: float = 0.0
    layer_norm: bool = False
    input_shape: Sequence[int] | None = None
    kernel_size: int = 3
    stride: int = 2

    def convolutions(self, n_features: int) -> ConvOptions:
        """Resolve the shape of a convolutional network; "auto" channels are 16, 32."""
        auto = isinstance(self.hidden_layer_sizes, str)
        channels = (16, 32) if auto else tuple(self.hidden_layer_sizes)
        if not channels:
            raise ValueError(
                "hidden_layer_sizes=() leaves architecture='conv' without a convolution:"
                " name the channels of at least one."
            )
        return ConvOptions(
            check_input_shape(self.input_shape, n_features),
            channels,  # type: ignore[arg-type]
            self.kernel_size,
            self.stride,
            self.activation,
            self.dropout,
            self.layer_norm,
        )

    def hidden(self, n_features: int) -> tuple[int, ...]:
        """Resolve "auto": twice the input's width, between 64 and 512, then half.

        Layers of more than 4,096 columns are narrower again; see :func:`narrowed`.
        """
        if isinstance(self.hidden_layer_sizes, str):
            width = min(512, max(64, 2 ** (2 * n_features - 1).bit_length()))
            width = narrowed(width, n_features)
            return (width, width // 2)
        return tuple(self.hidden_layer_sizes)

    def build(self, sizes: Sequence[int]) -> nn.Sequential:
        """Build a perceptron of the given widths."""
        return make_mlp(
            sizes,
            activation=self.activation,
            dropout=self.dropout,
            layer_norm=self.layer_norm,
        )


def make_autoencoder(
    architecture: Architecture,
    n_features: int,
    n_components: int,
    options: ArchitectureOptions,
    *,
    linear_skip: bool = True,
    tied_weights: bool = False,
    code: nn.Module | None = None,
    link: nn.Module | None = None,
    subspace: PrincipalSubspace | None = None,
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Build an autoencoder.

    Parameters
    ----------
    architecture : "mlp", "conv" or callable
        A torch module class or function called with keywords `n_features` and
        `n_components`. It returns a module with methods ``encode`` and ``decode``, or a
        pair (encoder, decoder) of modules; what follows is then without effect.
    n_features, n_components : int
        Widths of rows and codes.
    options : ArchitectureOptions
        Shape of the network.
    linear_skip : bool, default=True
        Put a linear path beside encoder and decoder.
    tied_weights : bool, default=False
        Let the decoder's weights be the encoder's, transposed ("mlp" only).
    code, link : torch.nn.Module or None, default=None
        Applied to codes, and to reconstructions.
    subspace : PrincipalSubspace or None, default=None
        Where linear maps start, with `linear_skip` or no hidden layer; None starts at
        random.
    dtype : torch.dtype, default=torch.float32
        Type of the weights.

    Returns
    -------
    module : torch.nn.Module
        With ``encode``, ``decode`` and a forward that returns Outputs.

    Raises
    ------
    TypeError, ValueError
        If a user's architecture lacks a method or returns the wrong shape.

    Examples
    --------
    >>> from sklearn_repr.modules.factory import ArchitectureOptions, make_autoencoder
    >>> make_autoencoder("mlp", 5, 2, ArchitectureOptions(()), linear_skip=False)
    Autoencoder(
      (encoder): Sequential(
        (0): Linear(in_features=5, out_features=2, bias=True)
      )
      (decoder): Sequential(
        (0): Linear(in_features=2, out_features=5, bias=True)
      )
    )
    """
    if tied_weights and architecture != "mlp":
        raise ValueError("tied_weights=True needs architecture='mlp'.")
    if not isinstance(architecture, str):
        if code is not None or link is not None:
            raise ValueError(
                "penalty='topk', penalty='kl_sparsity' and loss='binary_cross_entropy'"
                " need architecture='mlp' or 'conv': they end encoder or decoder by a"
                " layer of their own."
            )
        built = architecture(n_features=n_features, n_components=n_components)
        if isinstance(built, tuple) and len(built) == 2:
            built = Autoencoder(*built)
        elif not isinstance(built, Autoencoder):
            require(built, ("encode", "decode"), "or return a pair (encoder, decoder)")
            built = WithOutputs(built)
        probe(built, built.encode, n_features, n_components, "encode")
        probe(built, built.decode, n_components, n_features, "decode")
        return cast(nn.Module, built)
    hidden = options.hidden(n_features) if architecture == "mlp" else (0,)
    if architecture == "conv":
        encoder = conv_encoder(options.convolutions(n_features), n_components)
        decoder = conv_decoder(options.convolutions(n_features), n_components)
    else:
        encoder = options.build([n_features, *hidden, n_components])
        if tied_weights:
            decoder = tied_mlp(encoder)
        else:
            decoder = options.build([n_components, *reversed(hidden), n_features])
    ends: tuple[nn.Module, nn.Module] = (encoder, decoder)
    maps = (encoder[0], decoder[0]) if not hidden else None
    if hidden and linear_skip:
        forth = nn.Linear(n_features, n_components)
        maps = (
            forth,
            (TiedLinear(forth) if tied_weights else nn.Linear(n_components, n_features)),
        )
        ends = SkipConnected(maps[0], encoder), SkipConnected(maps[1], decoder)
    module = Autoencoder(*ends, code, link).to(dtype)
    if maps is not None and subspace is not None:
        set_to_principal_axes(*maps, subspace)  # type: ignore[arg-type]
        if hidden and tied_weights:
            # a tied network cannot start at zero where its activation does not
            with torch.no_grad():
                path: Any = ends[1]
                start = path.network(torch.zeros(1, n_components, dtype=dtype))
                path.linear.bias -= start[0]
    return module


def make_variational_network(
    architecture: str,
    n_features: int,
    n_components: int,
    options: ArchitectureOptions,
    *,
    linear_skip: bool = True,
    bernoulli: bool = False,
    variance: float | None = None,
    subspace: PrincipalSubspace | None = None,
    dtype: torch.dtype = torch.float32,
) -> VariationalNetwork:
    """Build a variational autoencoder.

    Parameters
    ----------
    architecture : "mlp" or "conv"
        As in :func:`make_autoencoder`.
    n_features, n_components : int
        Widths of rows and codes.
    options : ArchitectureOptions
        Shape of the network.
    linear_skip : bool, default=True
        Put a linear path beside encoder and decoder.
    bernoulli : bool, default=False
        Decode probabilities instead of means.
    variance : float or None, default=None
        Variance of the columns; None learns one.
    subspace : PrincipalSubspace or None, default=None
        Where the linear maps start; None starts at random.
    dtype : torch.dtype, default=torch.float32
        Type of the weights.

    Returns
    -------
    network : VariationalNetwork
        The network.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.factory import ArchitectureOptions
    >>> from sklearn_repr.modules.factory import make_variational_network
    >>> network = make_variational_network("mlp", 5, 2, ArchitectureOptions())
    >>> network(torch.zeros(1, 5)).mean.shape
    torch.Size([1, 2])
    """
    path = None
    decoder: nn.Module
    if architecture == "conv":
        convolutions = options.convolutions(n_features)
        encoder = conv_encoder(convolutions, 2 * n_components)
        decoder = network = conv_decoder(convolutions, n_components)
        linear = not linear_skip
    else:
        hidden = options.hidden(n_features)
        encoder = options.build([n_features, *hidden, 2 * n_components])
        decoder = network = options.build([n_components, *reversed(hidden), n_features])
        linear = not hidden
    if not linear and linear_skip:
        path = nn.Linear(n_features, n_components)
        decoder = SkipConnected(nn.Linear(n_components, n_features), network)
    built = VariationalNetwork(
        GaussianEncoder(encoder, path), decoder, bernoulli, variance
    ).to(dtype)
    if subspace is not None and (path is not None or len(encoder) == 1):
        set_to_probabilistic_pca(built, subspace)
    return built


def make_contrastive_network(
    architecture: Architecture,
    n_features: int,
    n_components: int,
    options: ArchitectureOptions,
    *,
    projection_dim: int,
    reconstructs: bool = False,
    all_layers: bool = False,
    latent_mixup: float = 0.0,
    batch_norm: bool = False,
    predicts: bool = False,
    has_predictor: bool = True,
    momentum: float | None = None,
    n_steps: int | None = None,
) -> ContrastiveNetwork:
    """Build an encoder with a projection head.

    Parameters
    ----------
    architecture : "mlp", "conv" or callable
        As in :func:`make_autoencoder`; a module without ``encode`` is taken to be the
        encoder itself.
    n_features, n_components : int
        Widths of rows and embeddings.
    options : ArchitectureOptions
        Used by "mlp", and its activation by the head.
    projection_dim : int
        Width of the head's hidden layer and output.
    reconstructs : bool, default=False
        Add a linear map from the embedding back to the row.
    all_layers : bool, default=False
        Let ``encode`` read all hidden layers, not the last one ("mlp" only).
    latent_mixup : float, default=0.0
        Largest share by which embeddings are mixed in training; 0 mixes none.
    batch_norm : bool, default=False
        Normalise the heads' hidden layers over the batch.
    predicts : bool, default=False
        Let the projection of one view predict the other's.
    has_predictor : bool, default=True
        Whether predictions pass through a second head, if it `predicts`.
    momentum : float or None, default=None
        Of the moving average that makes the targets, as in BYOL; None takes projections
        for targets, as in SimSiam, and gives the predictor a narrower hidden layer.
    n_steps : int or None, default=None
        Steps after which the momentum is 1.

    Returns
    -------
    module : torch.nn.Module
        With ``encode`` and a forward that returns Outputs.

    Raises
    ------
    TypeError, ValueError
        If a user's architecture is no module or returns the wrong shape.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.factory import ArchitectureOptions
    >>> from sklearn_repr.modules.factory import make_contrastive_network
    >>> options = ArchitectureOptions()
    >>> network = make_contrastive_network("mlp", 5, 3, options, projection_dim=2)
    >>> network.encode(torch.zeros(1, 5)).shape
    torch.Size([1, 3])
    """
    encoder: nn.Module
    readout = None
    if isinstance(architecture, str):
        if architecture == "conv":
            encoder = conv_encoder(options.convolutions(n_features), n_components)
        else:
            hidden = options.hidden(n_features)
            encoder = options.build([n_features, *hidden, n_components])
            if all_layers:
                width = sum(hidden) or n_features
                readout = LayerReadout(width, n_components)
    else:
        encoder = architecture(n_features=n_features, n_components=n_components)
        if isinstance(encoder, tuple):
            encoder = encoder[0]
        if isinstance(encoder, nn.Module) and hasattr(encoder, "encode"):
            encoder = EncodeOnly(encoder)
        require(encoder, (), "")
        probe(encoder, encoder, n_features, n_components, "encode")
    head = make_mlp(
        [n_components, projection_dim, projection_dim],
        activation=options.activation,
        batch_norm=batch_norm,
    )
    decoder = nn.Linear(n_components, n_features) if reconstructs else None
    mixup = LatentMixup(latent_mixup) if latent_mixup > 0 else None
    if not predicts:
        return ContrastiveNetwork(encoder, head, decoder, readout, mixup)
    predictor = None
    if has_predictor:
        narrow = max(projection_dim // BOTTLENECK, 1)
        hidden_dim = narrow if momentum is None else projection_dim
        predictor = make_mlp(
            [projection_dim, hidden_dim, projection_dim],
            activation=options.activation,
            batch_norm=batch_norm,
        )
    return SelfPredictiveNetwork(
        encoder,
        head,
        predictor,
        momentum,
        n_steps,
        decoder=decoder,
        readout=readout,
        mixup=mixup,
    )
