"""A joint-embedding predictive architecture over the tokens of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr._outputs import Outputs
from sklearn_repr.modules.linear import principal_subspace
from sklearn_repr.modules.target import EMATarget
from sklearn_repr.modules.tokens import TokenBlock, TokenEncoder

__all__ = [
    "ContextEncoder",
    "JointEmbeddingNetwork",
    "TokenPredictor",
    "make_joint_embedding_network",
]

# rows whose tokens are computed at a time
CHUNK = 512


class ContextEncoder(nn.Module):
    """Tokens of what is visible of a row; hidden cells, NaN, take no part.

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
    >>> encoder(torch.zeros(2, 3)).shape
    torch.Size([2, 4, 16])
    """

    def __init__(self, tokens: TokenEncoder):
        super().__init__()
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, d) to (n, 1 + t, w): a token that gathers, and one for every patch.

        What stands at a hidden patch is of no meaning.
        """
        hidden = x.isnan()
        cells = x.masked_fill(hidden, 0.0)
        return self.tokens.tokens(cells, (~hidden).to(x), hidden[:, self.tokens.first])


class TokenPredictor(nn.Module):
    """Predict hidden tokens from those of the context and from where they stand.

    Parameters
    ----------
    count : int
        Number of patches.
    width : int
        Of the tokens.
    activation : callable, default=torch.nn.SiLU
        Makes the block's activation.
    dropout : float, default=0.0
        Probability of dropping what the block adds.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.jepa import TokenPredictor
    >>> hidden = torch.tensor([[True, False, True]])
    >>> TokenPredictor(3, 16)(torch.zeros(1, 4, 16), hidden).shape
    torch.Size([1, 3, 16])
    """

    def __init__(
        self,
        count: int,
        width: int,
        activation: Callable[[], nn.Module] = nn.SiLU,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.enter = nn.Linear(width, width)
        self.asked = nn.Parameter(0.5 * torch.randn(width))
        self.position = nn.Parameter(0.5 * torch.randn(count, width))
        self.block = TokenBlock(width, activation(), dropout)
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, width)

    def forward(self, context: Tensor, hidden: Tensor) -> Tensor:
        """Map (n, 1 + t, w) tokens and (n, t) to (n, t, w) predictions."""
        known = self.enter(context)
        tokens = torch.where(hidden.unsqueeze(2), self.asked, known[:, 1:])
        tokens = torch.cat([known[:, :1], tokens + self.position], dim=1)
        return self.leave(self.norm(self.block(tokens)[:, 1:]))  # type: ignore[no-any-return]


class JointEmbeddingNetwork(nn.Module):
    r"""A context encoder, its moving average, and a predictor from one to the other.

    The embedding of a row is that of the moving average, which sees all of it: its
    tokens side by side, on their principal axes.

    Parameters
    ----------
    encoder : ContextEncoder
        Learns from what is visible.
    predictor : TokenPredictor
        Maps its tokens to those of the target.
    n_components : int
        Width of the embedding.
    momentum : float
        Of the target; see :class:`EMATarget`.
    n_steps : int or None, default=None
        Steps over which it rises to 1.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_repr.modules.jepa import *
    >>> from sklearn_repr.modules.tokens import TokenEncoder
    >>> encoder = ContextEncoder(TokenEncoder(np.arange(3), None, width=16))
    >>> network = JointEmbeddingNetwork(encoder, TokenPredictor(3, 16), 2, 0.99)
    >>> hidden = torch.tensor([[float("nan"), 1.0, 2.0]])
    >>> outputs = network(torch.cat([hidden, torch.ones(1, 3)], dim=1))
    >>> outputs.target.isnan().all(dim=2)
    tensor([[False,  True,  True]])
    """

    mean: Tensor
    axes: Tensor
    at_start: Tensor

    def __init__(
        self,
        encoder: ContextEncoder,
        predictor: TokenPredictor,
        n_components: int,
        momentum: float,
        n_steps: int | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        self.target = EMATarget(encoder, momentum, n_steps)
        size = predictor.position.numel()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("axes", torch.zeros(n_components, size))
        # measures of the embedding before training, by which a collapse is noticed
        self.register_buffer("at_start", torch.zeros(2), persistent=False)

    def whole(self, x: Tensor) -> Tensor:
        """Map whole rows to the target's tokens side by side, (n, t * w)."""
        tokens: Tensor = self.target(x)
        return tokens[:, 1:].flatten(1)

    def encode(self, x: Tensor) -> Tensor:
        """Map whole rows to embeddings."""
        return functional.linear(self.whole(x) - self.mean, self.axes)

    def forward(self, views: Tensor) -> Outputs:
        """Return predictions of what the first half of the columns hides.

        Parameters
        ----------
        views : Tensor of shape (n, 2 d)
            Rows with hidden cells, NaN, beside the same rows as they are.

        Returns
        -------
        outputs : Outputs
            The mean of the visible tokens; predictions, and targets, normalised over
            their entries, NaN where the context sees the token itself.
        """
        x, clean = views.chunk(2, dim=1)
        hidden = x[:, self.encoder.tokens.first].isnan()
        context = self.encoder(x)
        seen = (~hidden).to(x).unsqueeze(2)
        pooled = (context[:, 1:] * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1)
        target = self.target(clean)[:, 1:]
        target = functional.layer_norm(target, target.shape[-1:])
        target = target.masked_fill(~hidden.unsqueeze(2), float("nan"))
        return Outputs(
            pooled, prediction=self.predictor(context, hidden), target=target, inputs=x
        )

    def after_step(self) -> None:
        """Let the target follow."""
        self.target.update()

    @torch.no_grad()
    def tokens_of(self, values: Tensor) -> Tensor:
        """Return what :meth:`whole` makes of some rows, a few at a time."""
        return torch.cat([self.whole(part) for part in torch.split(values, CHUNK)])

    @torch.no_grad()
    def find_axes(self, values: Tensor) -> None:
        """Set the principal axes to those of some rows' tokens.

        Parameters
        ----------
        values : Tensor of shape (n, d)
            Whole rows.
        """
        wanted = len(self.axes)
        mean, axes, variances = principal_subspace(self.tokens_of(values), wanted)
        usable = variances[:wanted] > 1e-10 * float(variances[0]) + 1e-30
        axes = axes[:wanted] * usable.unsqueeze(1)
        self.mean.copy_(mean)
        self.axes.zero_()
        self.axes[: len(axes)] = axes.to(self.axes)


def make_joint_embedding_network(
    patches: Any,
    n_components: int,
    *,
    width: int,
    depth: int,
    activation: Callable[[], nn.Module],
    dropout: float,
    momentum: float,
    n_steps: int | None,
) -> JointEmbeddingNetwork:
    """Build the network; see :class:`TokenEncoder` and :class:`JointEmbeddingNetwork`."""
    tokens = TokenEncoder(
        patches, None, width=width, depth=depth, activation=activation, dropout=dropout
    )
    predictor = TokenPredictor(tokens.patches, width, activation, dropout)
    return JointEmbeddingNetwork(
        ContextEncoder(tokens), predictor, n_components, momentum, n_steps
    )
