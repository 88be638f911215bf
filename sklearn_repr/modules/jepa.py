"""A joint-embedding predictive architecture over the tokens of a row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sklearn_repr._contracts import (
    Array,
    Outputs,
)
from sklearn_repr.modules.readout import LayerReadout
from sklearn_repr.modules.target import EMATarget
from sklearn_repr.modules.tokens import TokenEncoder

__all__ = [
    "ContextEncoder",
    "JointEmbeddingNetwork",
    "TokenPredictor",
    "make_joint_embedding_network",
    "standardised",
]

# rows whose tokens are computed at a time
CHUNK = 512
# number of gathering tokens, which side by side are the code; at most one a patch
GATHERERS = 4


class ContextEncoder(nn.Module):
    """Encode the visible patches of a row as tokens; cells that are NaN are hidden.

    Parameters
    ----------
    tokens : TokenEncoder
        Without a head.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_repr.modules.jepa import ContextEncoder
    >>> from sklearn_repr.modules.tokens import TokenEncoder
    >>> encoder = ContextEncoder(TokenEncoder(np.arange(3), None, width=16))
    >>> code, tokens = encoder(torch.zeros(2, 3))
    >>> code.shape, tokens.shape
    (torch.Size([2, 16]), torch.Size([2, 3, 16]))
    """

    def __init__(self, tokens: TokenEncoder):
        super().__init__()
        self.tokens = tokens

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (n, d) to codes, (n, c), and a token for every patch, (n, t, w).

        The code is made of the gathering tokens, side by side. The tokens of hidden
        patches have no meaning.
        """
        hidden = x.isnan()
        cells = x.masked_fill(hidden, 0.0)
        shown = (~hidden).to(x)
        tokens = self.tokens.tokens(cells, shown, hidden[:, self.tokens.first])
        count = self.tokens.gather.shape[1]
        return tokens[:, :count].flatten(1), tokens[:, count:]


class TokenPredictor(nn.Module):
    """Predict hidden tokens from the code of the context and from their positions.

    Of the context, the perceptron sees the code alone: it must hold what columns share,
    and need not hold the noise of single columns.

    Parameters
    ----------
    count : int
        Number of patches.
    width : int
        Of the tokens; hidden layers are twice as wide.
    code : int
        Width of the code.
    activation : callable, default=torch.nn.SiLU
        Makes the activations.
    dropout : float, default=0.0
        Probability of dropping a hidden unit.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.jepa import TokenPredictor
    >>> TokenPredictor(3, 16, 32)(torch.zeros(1, 32)).shape
    torch.Size([1, 3, 16])
    """

    def __init__(
        self,
        count: int,
        width: int,
        code: int,
        activation: Callable[[], nn.Module] = nn.SiLU,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.enter = nn.Linear(code, 2 * width)
        self.gain = nn.Parameter(1 + 0.5 * torch.randn(count, 2 * width))
        self.position = nn.Parameter(0.5 * torch.randn(count, 2 * width))
        self.network = nn.Sequential(
            activation(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, 2 * width),
            activation(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, code: Tensor) -> Tensor:
        """Map (n, c) codes to (n, t, w) predictions, one for every patch."""
        asked = self.enter(code).unsqueeze(1) * self.gain + self.position
        return self.network(asked)  # type: ignore[no-any-return]


def standardised(tokens: Tensor) -> Tensor:
    r"""Centre tokens over the rows and divide them by their spread, position by position.

    .. math:: \tilde s_{it} = \frac{s_{it} - \bar s_t}{\sigma_t + 0.001}, \qquad
              \sigma_t^2 = \frac{1}{n w} \sum_{i} \|s_{it} - \bar s_t\|^2

    Most of a token encodes its position, which centring removes; the cells remain.

    Parameters
    ----------
    tokens : Tensor of shape (n, t, w)
        Tokens of a batch.

    Returns
    -------
    standardised : Tensor of shape (n, t, w)
        Zero where rows do not differ.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.jepa import standardised
    >>> standardised(torch.tensor([[[5.0, 0.0]], [[7.0, 0.0]]]))[:, 0, 0]
    tensor([-1.4122,  1.4122])
    """
    centred = tokens - tokens.mean(dim=0)
    spread = centred.square().mean(dim=(0, 2)).sqrt().unsqueeze(1)
    # spreads far below 0.001 are rounding, since a norm has scaled the tokens
    return centred / (spread + 1e-3)


class JointEmbeddingNetwork(nn.Module):
    r"""A context encoder, its moving average, and a predictor from one to the other.

    The embedding of a row is made of three blocks of equal total variance: the row,
    its tokens by the moving average, and its code by the encoder.

    Parameters
    ----------
    encoder : ContextEncoder
        Learns from what is visible.
    predictor : TokenPredictor
        Maps its codes to the target's tokens.
    readout : LayerReadout
        Makes an embedding of what :meth:`layers` returns.
    momentum : float
        Of the target; see :class:`EMATarget`.
    n_steps : int or None, default=None
        Steps over which it rises to 1.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sklearn_repr.modules.jepa import make_joint_embedding_network
    >>> network = make_joint_embedding_network(range(3), 2, width=16, momentum=0.99)
    >>> hidden = torch.tensor([[float("nan"), 1.0, 2.0]])
    >>> outputs = network(torch.cat([hidden, torch.ones(1, 3)], dim=1))
    >>> outputs.target.isnan().all(dim=2)
    tensor([[False,  True,  True]])
    """

    at_start: Tensor

    def __init__(
        self,
        encoder: ContextEncoder,
        predictor: TokenPredictor,
        readout: LayerReadout,
        momentum: float,
        n_steps: int | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        self.target = EMATarget(encoder, momentum, n_steps)
        self.readout = readout
        # measures of the embedding before training, to notice a collapse by
        self.register_buffer("at_start", torch.zeros(2), persistent=False)

    def layers(self, x: Tensor) -> list[Tensor]:
        """Return whole rows, the target's tokens of them side by side, and codes."""
        _, tokens = self.target(x)
        code, _ = self.encoder(x)
        return [x, tokens.flatten(1), code]

    def encode(self, x: Tensor) -> Tensor:
        """Map whole rows to embeddings."""
        return self.readout(self.layers(x))  # type: ignore[no-any-return]

    def forward(self, views: Tensor) -> Outputs:
        """Return predictions of what the first half of the columns hides.

        Parameters
        ----------
        views : Tensor of shape (n, 2 d)
            Rows with hidden cells, NaN, beside the same rows as they are.

        Returns
        -------
        outputs : Outputs
            The code of what is visible; predictions, and targets, standardised over the
            rows, NaN where the context sees the token itself.
        """
        x, clean = views.chunk(2, dim=1)
        hidden = x[:, self.encoder.tokens.first].isnan()
        code, _ = self.encoder(x)
        target = standardised(self.target(clean)[1])
        target = target.masked_fill(~hidden.unsqueeze(2), float("nan"))
        return Outputs(code, prediction=self.predictor(code), target=target, inputs=x)

    def train(self, mode: bool = True) -> JointEmbeddingNetwork:
        """Set the mode if it differs: the engine calls this before every epoch."""
        if self.training != mode:
            super().train(mode)
        return self

    def after_step(self) -> None:
        """Let the target follow."""
        self.target.update()

    @torch.no_grad()
    def layers_of(self, values: Tensor) -> list[Tensor]:
        """Return :meth:`layers` of many rows, computed a chunk of rows at a time."""
        parts = [self.layers(part) for part in torch.split(values, CHUNK)]
        return [torch.cat(blocks) for blocks in zip(*parts, strict=True)]


def make_joint_embedding_network(
    patches: Array,
    n_components: int,
    *,
    width: int,
    depth: int = 2,
    activation: Callable[[], nn.Module] = nn.SiLU,
    dropout: float = 0.0,
    momentum: float,
    n_steps: int | None = None,
) -> JointEmbeddingNetwork:
    """Build the network; see :class:`TokenEncoder` and :class:`JointEmbeddingNetwork`.

    A code is four tokens side by side, or as many as there are patches if there are less.
    """
    gatherers = min(GATHERERS, int(max(patches)) + 1)
    tokens = TokenEncoder(
        patches,
        None,
        width=width,
        depth=depth,
        activation=activation,
        dropout=dropout,
        gatherers=gatherers,
    )
    code = gatherers * width
    predictor = TokenPredictor(tokens.patches, width, code, activation, dropout)
    size = len(patches) + tokens.patches * width + code
    readout = LayerReadout(size, n_components)
    return JointEmbeddingNetwork(
        ContextEncoder(tokens), predictor, readout, momentum, n_steps
    )
