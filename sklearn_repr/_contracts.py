"""The containers that corruptions, modules, objectives and the engine hand each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


class Block(NamedTuple):
    r"""Encoded columns that belong together: one numeric stretch, one category.

    The K columns of a category hold :math:`(e_k - p_k) / s`, with e the indicator of the
    row's level, p the shares of the levels in training and
    :math:`s^2 = 1 - \sum_k p_k^2`: together they have the variance 1, as a standardised
    number has. What a network says of them, u, is read as the probabilities
    softmax(offset + gain · u), which for u = 0 are the shares, next to a small one for
    levels that training did not see.

    Attributes
    ----------
    kind : "numeric", "categorical", "unseen" or "indicator"
        What the columns hold; it selects the loss, and the last two have none.
    start, stop : int
        First encoded column and one past the last.
    shares : tuple of float
        p, of a category.
    scale : float
        s, of a category.
    offset, gain : tuple of float
        From what a network says to log-probabilities, but for a constant.
    unseen : float
        The same for a level that is none of the K, whatever the network says.
    """

    kind: str
    start: int
    stop: int
    shares: tuple[float, ...] = ()
    scale: float = 1.0
    offset: tuple[float, ...] = ()
    gain: tuple[float, ...] = ()
    unseen: float = 0.0


def _rows(tensor: Tensor, index: Tensor | slice) -> Tensor:
    # several times as fast as indexing
    return tensor[index] if isinstance(index, slice) else tensor.index_select(0, index)


# Rows that stand for weighted ones: so many say a weight to one part in some thousands
FEWEST_DRAWN = 10_000


def in_proportion(weights: Tensor, count: int) -> Tensor:
    """Return numbers of `count` rows, each as often as its weight says, but for rounding.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import in_proportion
    >>> in_proportion(torch.tensor([1.0, 2.5, 0.5]), 8)
    tensor([0, 0, 1, 1, 1, 1, 1, 2])
    """
    ends = weights.double().cumsum(0)
    places = torch.arange(count, dtype=torch.float64, device=ends.device) + 0.5
    return torch.searchsorted(ends, places * (ends[-1] / count)).clamp(max=len(ends) - 1)


@dataclass(slots=True)
class Batch:
    """Encoded rows, and what an objective may need to know about their cells.

    Attributes
    ----------
    values : Tensor of shape (n, n_encoded)
        Clean encoded cells; NaN where a cell was not observed.
    observed : bool Tensor of shape (n, n_encoded) or None
        True where a cell was observed; None means everywhere. Unobserved cells never
        enter a loss.
    mask : bool Tensor of shape (n, n_encoded) or None
        True where the corruption replaced a cell; None when it does not say.
    labels : int64 Tensor of shape (n,), Tensor of shape (n, k) or None
        Index of each row's class, -1 where it is unknown; or k numbers that are to be
        predicted, NaN where they are unknown. None without labels.
    index : int64 Tensor of shape (n,) or None
        Number of each row in the table; filled where pairs are drawn.
    partners : Tensor of shape (n, n_encoded) or None
        Clean encoded cells of each row's positive, where that is another row.
    weights : Tensor of shape (n,) or None
        How much each row counts, with mean 1 over all rows; None if all count alike.
    """

    values: Tensor
    observed: Tensor | None = None
    mask: Tensor | None = None
    labels: Tensor | None = None
    index: Tensor | None = None
    partners: Tensor | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def take(self, index: Tensor | slice) -> Batch:
        """Return the rows at `index`, of every field."""
        return self._map(lambda part: _rows(part, index))

    def to(self, device: torch.device | str) -> Batch:
        """Return the same rows on `device`."""
        return self._map(lambda part: part.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        parts = (getattr(self, field.name) for field in fields(self))
        return Batch(*(None if part is None else function(part) for part in parts))  # type: ignore[arg-type]

    def some(self, limit: int) -> Batch:
        """Return at most `limit` rows, evenly spread over all.

        Of weighted rows exactly so many, each as often as its weight says, so that who
        looks at them need not know of weights.
        """
        if self.weights is not None:
            drawn = self.take(in_proportion(self.weights, limit))
            drawn.weights = None
            return drawn
        return self.take(slice(None, None, -(-len(self) // limit)))

    def sample(self) -> Batch:
        """Return as many rows as are needed to learn simple things: all of a Batch.

        Weighted rows stand there as often as their weights say; see :meth:`some`.
        """
        return self if self.weights is None else self.some(max(len(self), FEWEST_DRAWN))

    def with_mean_weight(self) -> Batch:
        """Return the same rows, with weights whose mean is 1."""
        if self.weights is None:
            return self
        return replace(self, weights=self.weights / self.weights.mean())

    def whole(self) -> Batch:
        """Return all rows at once."""
        return self

    def pool_sizes(self) -> list[int]:
        """Return how many rows are shuffled together."""
        return [len(self)]

    def pools(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Yield all rows at once, shuffled if there is a generator."""
        if generator is None:
            yield self
        else:
            order = torch.randperm(len(self), generator=generator)
            yield self.take(order.to(self.values.device))

    def split(self, sizes: list[int]) -> list[Batch]:
        """Cut into consecutive batches of the given sizes, without copying."""
        parts = (getattr(self, field.name) for field in fields(self))
        none = [None] * len(sizes)
        columns = [none if part is None else torch.split(part, sizes) for part in parts]
        return [Batch(*cut) for cut in zip(*columns, strict=True)]


class Corrupted(NamedTuple):
    """What a corruption returns.

    Attributes
    ----------
    values : Tensor of shape (m * n, n_encoded)
        m corrupted copies of n rows, copy after copy.
    mask : bool Tensor of the same shape or None
        True where a cell was replaced; None for corruptions that touch every cell.
    """

    values: Tensor
    mask: Tensor | None = None


@dataclass(slots=True)
class Outputs:
    """Everything a module may say about its input; a module fills what it has.

    Attributes
    ----------
    embedding : Tensor of shape (n, n_components)
        The representation.
    reconstruction : Tensor of shape (n, n_encoded) or None
        The decoded representation.
    projection : Tensor of shape (n, projection_dim) or None
        The representation behind a projection head, where a contrastive loss looks.
    prediction : Tensor of shape (n, projection_dim) or None
        What a predictor makes of the projection, to be compared with `target`; of
        sequences (n, n_frames, steps ahead, n_components), for later `frames`.
    target : Tensor of shape (n, projection_dim) or None
        What is to be predicted; no gradient flows into it.
    frames : Tensor of shape (n, n_frames, n_components) or None
        The representation of every stretch of a sequence.
    inputs : Tensor of shape (n, n_encoded) or None
        The rows as the encoder saw them.
    directions : list of Tensor or None
        The first linear maps of the decoder, whose columns are the directions in which
        the units of the code act.
    weights : dict of str to Tensor or None
        Weight matrices by name, for penalties on them; a tied one is listed once.
    slope : Tensor of shape (n, n_components) or None
        Derivative of the code's activation, where the encoder is a single layer.
    mean, log_variance : Tensor of shape (n, n_components) or None
        Moments of the posterior, of which `embedding` is then a draw.
    log_noise : Tensor, 0-d or of shape (n, 1), or None
        Log-variance of the columns around the reconstruction; of a diffusion model that
        of the noise which it takes away.
    log_scale : 0-d Tensor or None
        Logarithm of the inverse temperature, which multiplies similarities.
    """

    embedding: Tensor
    reconstruction: Tensor | None = None
    projection: Tensor | None = None
    prediction: Tensor | None = None
    target: Tensor | None = None
    frames: Tensor | None = None
    inputs: Tensor | None = None
    weights: dict[str, Tensor] | None = None
    directions: list[Tensor] | None = None
    slope: Tensor | None = None
    mean: Tensor | None = None
    log_variance: Tensor | None = None
    log_noise: Tensor | None = None
    log_scale: Tensor | None = None


# -- what the rooms ask of each other ----------------------------------------------------


class Rows(Protocol):
    """Encoded rows, in memory or not: a Batch, RowBlocks, the batches of an ensemble."""

    labels: Tensor | None
    weights: Tensor | None

    def __len__(self) -> int: ...

    @property
    def values(self) -> Any:
        """The cells, (n, n_encoded), or something with their shape, dtype and device."""

    def to(self, device: torch.device | str) -> Rows:
        """Return the same rows on `device`."""

    def whole(self) -> Batch:
        """Return all rows at once."""

    def sample(self) -> Batch:
        """Return as many rows as are needed to learn simple things."""

    def some(self, limit: int) -> Batch:
        """Return at most `limit` rows, evenly spread over all; never weighted."""

    def with_mean_weight(self) -> Rows:
        """Return the same rows, with weights whose mean is 1."""

    def pool_sizes(self) -> list[int]:
        """Return how many rows are shuffled together."""

    def pools(self, generator: torch.Generator | None) -> Iterator[Batch]:
        """Yield rows that are shuffled together, shuffled if there is a generator."""


class CorruptionLike(Protocol):
    """Rows (n, d) in, m corrupted copies (m * n, d) out."""

    uses_global_generator: bool

    def fit(self, values: Tensor) -> object:
        """Learn what is needed of the training rows, (n, d)."""

    def __call__(self, values: Tensor, generator: torch.Generator) -> Corrupted:
        """Return the corrupted rows and, where it applies, which cells were replaced."""

    def of_labelled(
        self, values: Tensor, generator: torch.Generator, labels: Tensor | None
    ) -> Corrupted:
        """Return the same of rows with labels, for those that look at them."""


class PairsLike(Protocol):
    """Where a second row for every row comes from."""

    def fit(self, rows: Batch, train: Batch) -> object:
        """Find candidates among the training rows, for all rows of the table."""

    def draw(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return one partner for every row, (n, d)."""


class Step(Protocol):
    """One gradient step."""

    def __call__(self, seen: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Leave gradients in the parameters; return "loss" and its terms by name."""


# -- scikit-learn's untyped edges: what users pass in, and get back ----------------------

# array-like, DataFrame or sparse matrix of shape (n_samples, n_columns)
Table: TypeAlias = Any
# array-like of shape (n_samples,), or None
Labels: TypeAlias = Any
# array-like of shape (n_samples,), not negative, or None
Weights: TypeAlias = Any
# float32 or float64, whichever the input was
Array: TypeAlias = NDArray[Any]
# of columns; None where they have none
Names: TypeAlias = Sequence[str] | NDArray[np.str_] | None
RandomState: TypeAlias = int | np.random.RandomState | None
# what `_parameter_constraints` says of each parameter
Constraints: TypeAlias = dict[str, list[Any]]
# the name of an architecture, or what builds a user's own
Architecture: TypeAlias = str | Callable[..., torch.nn.Module]
# the name of an optimiser, a torch class, or a function of parameter groups and `lr`
Optimizer: TypeAlias = str | Callable[..., torch.optim.Optimizer]
# skorch callbacks, or pairs (name, callback)
Callbacks: TypeAlias = Sequence[object] | None
# "from_dtype", or which columns: names, numbers or a mask
Categorical: TypeAlias = str | ArrayLike | None
# "auto", one width, or array-like of widths
LayerSizes: TypeAlias = ArrayLike
# channels, then height and width, or length
InputShape: TypeAlias = Sequence[int] | None
# a share or strength, or a range to draw it from
LevelOrRange: TypeAlias = float | tuple[float, float]
