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
    """Predict hidden tokens from the code of the context and from where they stand.

    A perceptron that is given nothing of the context but its code, the token that
    gathers: what columns share has to be in there, and noise of single ones need not.

    Parameters
    ----------
    count : int
        Number of patches.
    width : int
        Of the tokens; hidden layers are twice as wide.
    activation : callable, default=torch.nn.SiLU
        Makes the activations.
    dropout : float, default=0.0
        Probability of dropping a hidden unit.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.jepa import TokenPredictor
    >>> TokenPredictor(3, 16)(torch.zeros(1, 16)).shape
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
        self.enter = nn.Linear(width, 2 * width)
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
        """Map (n, w) codes to (n, t, w) predictions, one for every patch."""
        asked = self.enter(code).unsqueeze(1) * self.gain + self.position
        return self.network(asked)  # type: ignore[no-any-return]


def standardised(tokens: Tensor) -> Tensor:
    r"""Centre tokens over the rows and divide them by their spread, position by position.

    .. math:: \tilde s_{it} = \frac{s_{it} - \bar s_t}{\sigma_t + 0.001}, \qquad
              \sigma_t^2 = \frac{1}{n w} \sum_{i} \|s_{it} - \bar s_t\|^2

    Most of a token says where it stands; what is left says what stands there.

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
    # rounding is no spread, of tokens that a norm has scaled
    return centred / (spread + 1e-3)


class JointEmbeddingNetwork(nn.Module):
    r"""A context encoder, its moving average, and a predictor from one to the other.

    The embedding of a row is made of the moving average's tokens side by side and of the
    encoder's code, both of the whole row: two blocks of equal total variance, on their
    principal axes.

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
        count, width = len(predictor.position), predictor.enter.in_features
        size = (count + 1) * width
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("axes", torch.zeros(n_components, size))
        # measures of the embedding before training, by which a collapse is noticed
        self.register_buffer("at_start", torch.zeros(2), persistent=False)

    def whole(self, x: Tensor) -> Tensor:
        """Map whole rows to the target's tokens and the code, side by side."""
        tokens: Tensor = self.target(x)
        return torch.cat([tokens[:, 1:].flatten(1), self.encoder(x)[:, 0]], dim=1)

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
            The code of what is visible; predictions, and targets, standardised over the
            rows, NaN where the context sees the token itself.
        """
        x, clean = views.chunk(2, dim=1)
        hidden = x[:, self.encoder.tokens.first].isnan()
        code = self.encoder(x)[:, 0]
        target = standardised(self.target(clean)[:, 1:])
        target = target.masked_fill(~hidden.unsqueeze(2), float("nan"))
        return Outputs(code, prediction=self.predictor(code), target=target, inputs=x)

    def after_step(self) -> None:
        """Let the target follow."""
        self.target.update()

    @torch.no_grad()
    def tokens_of(self, values: Tensor) -> Tensor:
        """Return what :meth:`whole` makes of some rows, a few at a time."""
        return torch.cat([self.whole(part) for part in torch.split(values, CHUNK)])

    @torch.no_grad()
    def find_axes(self, values: Tensor) -> None:
        """Set the principal axes to those of some rows' tokens and codes.

        Parameters
        ----------
        values : Tensor of shape (n, d)
            Whole rows.
        """
        wanted = len(self.axes)
        found = self.tokens_of(values)
        scale = self._block_scale(found)
        mean, axes, variances = principal_subspace(found * scale, wanted)
        usable = variances[:wanted] > 1e-10 * float(variances[0]) + 1e-30
        axes = axes[:wanted] * usable.unsqueeze(1)
        self.mean.copy_(mean / scale)
        self.axes.zero_()
        self.axes[: len(axes)] = (axes * scale).to(self.axes)

    def _block_scale(self, found: Tensor) -> Tensor:
        """Return factors that give the code the total variance of the tokens."""
        width = self.predictor.enter.in_features
        variances = found.double().var(dim=0, correction=0)
        tokens, code = variances[:-width].sum(), variances[-width:].sum()
        scale = torch.ones_like(variances)
        if tokens > 0 and code > 1e-12 * tokens:
            scale[-width:] = (tokens / code).sqrt()
        return scale


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
