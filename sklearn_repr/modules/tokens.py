"""A small transformer over the cells, patches or windows of a row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr._contracts import Array

__all__ = ["TokenBlock", "TokenEncoder"]

# Width of an attention head
HEAD = 16


class TokenBlock(nn.Module):
    """Self-attention and a perceptron, each behind a norm and beside a skip.

    Parameters
    ----------
    width : int
        Width of the tokens, a multiple of 16, the width of a head.
    activation : torch.nn.Module
        Of the perceptron.
    dropout : float
        Probability of dropping what either adds.
    """

    def __init__(self, width: int, activation: nn.Module, dropout: float):
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.network = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            activation,
            nn.Linear(2 * width, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attended: Tensor | None = None) -> Tensor:
        """Map (n, t, width) to the same shape; some tokens may be attended to by none.

        Parameters
        ----------
        x : Tensor of shape (n, t, width)
            Tokens.
        attended : bool Tensor of shape (n, 1, 1, t) or None, default=None
            Which tokens are attended to; None means all.
        """
        n, tokens, width = x.shape
        heads = self.attention(self.before_attention(x))
        heads = heads.view(n, tokens, 3, width // HEAD, HEAD)
        query, key, value = (part.transpose(1, 2) for part in heads.unbind(2))
        mixed = functional.scaled_dot_product_attention(query, key, value, attended)
        mixed = mixed.transpose(1, 2).reshape(n, tokens, width)
        x = x + self.dropout(self.mix(mixed))
        return x + self.dropout(self.network(x))  # type: ignore[no-any-return]


class TokenEncoder(nn.Module):
    """Map rows with hidden cells to a code by attention among their patches.

    A token is made of the cells of a patch, zero where hidden, and of which are visible;
    every patch has its own gain and position. One or more further tokens gather a code.

    Parameters
    ----------
    patches : ndarray of shape (d,)
        Number of the patch of each column, from 0.
    n_components : int or None
        Width of the code; None leaves tokens as they are, without a head.
    width : int, default=64
        Width of the tokens, a multiple of 16, the width of a head.
    depth : int, default=2
        Number of blocks.
    activation : callable, default=torch.nn.SiLU
        Makes the blocks' activation.
    dropout : float, default=0.0
        Probability of dropping what a block adds.
    gatherers : int, default=1
        Number of tokens that gather.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017, arXiv:1706.03762.

    Gorishniy et al., "Revisiting deep learning models for tabular data", NeurIPS 2021,
    arXiv:2106.11959.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_repr.modules.tokens import TokenEncoder
    >>> encoder = TokenEncoder(np.array([0, 0, 1, 1]), 2)
    >>> encoder(torch.zeros(3, 4), torch.ones(3, 4)).shape
    torch.Size([3, 2])
    """

    index: Tensor
    first: Tensor

    def __init__(
        self,
        patches: Array,
        n_components: int | None,
        *,
        width: int = 64,
        depth: int = 2,
        activation: Callable[[], nn.Module] = nn.SiLU,
        dropout: float = 0.0,
        gatherers: int = 1,
    ):
        super().__init__()
        if width % HEAD or depth < 1:
            raise ValueError(
                "architecture='transformer' needs hidden_layer_sizes of one or more equal"
                f" widths, a multiple of {HEAD}; got width {width} and {depth} blocks."
            )
        numbers = torch.as_tensor(patches)
        count = int(numbers.max()) + 1
        members = [(numbers == p).nonzero()[:, 0] for p in range(count)]
        size = max(map(len, members))
        # smaller patches are filled up by a column that is never visible
        padded = numbers.new_full((count, size), len(numbers))
        for p, columns in enumerate(members):
            padded[p, : len(columns)] = columns
        self.register_buffer("index", padded.flatten(), persistent=False)
        # hidden are whole patches: any one of their columns tells
        self.register_buffer(
            "first", torch.stack([columns[0] for columns in members]), persistent=False
        )
        self.patches = count
        self.embed = nn.Linear(2 * size, width)
        self.gain = nn.Parameter(1 + 0.5 * torch.randn(count, width))
        self.position = nn.Parameter(0.5 * torch.randn(count, width))
        self.gather = nn.Parameter(0.5 * torch.randn(1, gatherers, width))
        self.blocks = nn.Sequential(
            *(TokenBlock(width, activation(), dropout) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.head: nn.Module = nn.Identity()
        if n_components is not None:
            self.head = nn.Linear(width, n_components)

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Map (n, d) cells, zero where hidden, and their visibility to (n, k)."""
        return self.head(self.tokens(x, visible)[:, 0])  # type: ignore[no-any-return]

    def tokens(self, x: Tensor, visible: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Return the tokens that gather, and one for every patch.

        Parameters
        ----------
        x, visible : Tensor of shape (n, d)
            Cells, zero where hidden, and their visibility.
        hidden : bool Tensor of shape (n, t) or None, default=None
            Patches that no other token attends to; None attends to all.

        Returns
        -------
        tokens : Tensor of shape (n, gatherers + t, width)
            Behind all blocks and a norm.
        """
        attended = None
        if hidden is not None:
            attended = functional.pad(~hidden, (self.gather.shape[1], 0), value=True)
            attended = attended[:, None, None, :]
        cells = functional.pad(x, (0, 1))[:, self.index].view(len(x), self.patches, -1)
        shown = functional.pad(visible, (0, 1))[:, self.index].view(cells.shape)
        tokens = self.embed(torch.cat([cells, shown], dim=2)) * self.gain + self.position
        tokens = torch.cat([self.gather.expand(len(x), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens, attended)
        return self.norm(tokens)  # type: ignore[no-any-return]
