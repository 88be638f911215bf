"""Networks that take noise of a known level away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sklearn_repr._contracts import Outputs
from sklearn_repr.modules.mlp import ACTIVATIONS
from sklearn_repr.modules.target import EMATarget

__all__ = [
    "Condition",
    "Denoiser",
    "GaussianPath",
    "NoiseLevelMLP",
    "Preconditioning",
    "preconditioning",
]

# Frequencies that a noise level is told to the network by
FREQUENCIES = 16


class Preconditioning(NamedTuple):
    """What a network is wrapped in at a noise level; see :func:`preconditioning`."""

    skip: Tensor
    out: Tensor
    into: Tensor
    level: Tensor


def preconditioning(log_level: Tensor, sigma_data: float = 1.0) -> Preconditioning:
    r"""Return what keeps inputs, targets and outputs of a network at variance 1.

    .. math:: D(x; \sigma) = c_\text{skip} x
              + c_\text{out} F(c_\text{in} x, c_\text{noise})

    .. math:: c_\text{skip} = \frac{\sigma_d^2}{\sigma^2 + \sigma_d^2}, \quad
              c_\text{out} = \frac{\sigma \sigma_d}{\sqrt{\sigma^2 + \sigma_d^2}}, \quad
              c_\text{in} = \frac{1}{\sqrt{\sigma^2 + \sigma_d^2}}, \quad
              c_\text{noise} = \tfrac14 \ln \sigma

    Parameters
    ----------
    log_level : Tensor
        ln σ.
    sigma_data : float, default=1.0
        Standard deviation of clean columns.

    Returns
    -------
    factors : Preconditioning
        The skip, output, input and noise factors, of the shape of `log_level`.

    References
    ----------
    Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based
    generative models", NeurIPS 2022, arXiv:2206.00364, table 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.denoiser import preconditioning
    >>> [round(float(c), 3) for c in preconditioning(torch.tensor(0.0))]
    [0.5, 0.707, 0.707, 0.0]
    """
    level = log_level.exp()
    total = level.square() + sigma_data**2
    return Preconditioning(
        sigma_data**2 / total,
        level * sigma_data / total.sqrt(),
        total.rsqrt(),
        log_level / 4,
    )


class GaussianPath(nn.Module):
    r"""F of normal rows with the mean and covariance of given ones, in closed form.

    .. math:: F(y; \sigma) = U \operatorname{diag} \Big( \frac{\sigma (\lambda_i - 1)}
              {\lambda_i + \sigma^2} \Big) U^\top (y - c_\text{in} \mu)
              + c_\text{out} \mu, \quad \Sigma = U \operatorname{diag}(\lambda) U^\top

    Beside a network it is where training starts: the best that a linear map can do. Under
    a condition μ is the mean of the class, or linear in the number, and Σ the covariance
    around it.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
        Clean rows.
    condition : Tensor of shape (n, k) or None, default=None
        What they are conditioned on: indicators of classes, or a number; 0 where nothing
        is known.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.denoiser import GaussianPath
    >>> path = GaussianPath(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    >>> path(torch.ones(1, 2), torch.zeros(1, 1)).round(decimals=3)
    tensor([[ 0., -1.]], dtype=torch.float64)
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor
    moved: Tensor
    axes_within: Tensor
    variances_within: Tensor

    def __init__(self, rows: Tensor, condition: Tensor | None = None):
        super().__init__()
        rows = rows.double()
        mean = rows.mean(dim=0)
        centred = rows - mean
        self.register_buffer("mean", mean)
        self._register("", centred)
        if condition is None:
            return
        told = condition.double()
        known = told.any(dim=1)
        # one more row at the mean, so that a class of few rows stays near it
        square = told.t() @ told + torch.eye(told.shape[1], dtype=told.dtype)
        moved = torch.linalg.solve(square, told.t() @ centred)
        self.register_buffer("moved", moved)
        # where nothing is known, nothing is taken off
        around = centred - told @ moved
        self._register("_within", around[known] if known.any() else around)

    def _register(self, suffix: str, centred: Tensor) -> None:
        covariance = centred.t() @ centred / len(centred)
        variances, axes = torch.linalg.eigh(covariance)
        self.register_buffer(f"axes{suffix}", axes.contiguous())
        self.register_buffer(f"variances{suffix}", variances.clamp(min=0))

    def forward(
        self, y: Tensor, log_level: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """Map scaled noisy rows (n, d) and ln σ (n, 1) to F, (n, d)."""
        free = self._field(y, log_level, self.mean, self.axes, self.variances)
        if condition is None:
            return free
        mean = self.mean + condition @ self.moved
        bound = self._field(y, log_level, mean, self.axes_within, self.variances_within)
        return bound.where((condition != 0).any(dim=1, keepdim=True), free)

    def _field(
        self, y: Tensor, log_level: Tensor, mean: Tensor, axes: Tensor, variances: Tensor
    ) -> Tensor:
        factors, level = preconditioning(log_level), log_level.exp()
        gain = level * (variances - 1) / (variances + level.square())
        along = (y - factors.into * mean) @ axes
        return (along * gain) @ axes.t() + factors.out * mean


class Condition(nn.Module):
    """Tell a network a class or a number; NaN tells it nothing.

    Parameters
    ----------
    n_classes : int
        How many classes; 0 for a number.
    width : int
        Units that are told.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.denoiser import Condition
    >>> told = Condition(3, 8)(torch.tensor([[2.0], [float("nan")]]))
    >>> told.shape, bool(told[1].any())
    (torch.Size([2, 8]), False)
    """

    levels: Tensor

    def __init__(self, n_classes: int, width: int):
        super().__init__()
        self.register_buffer("levels", torch.arange(n_classes), persistent=False)
        self.n_classes = n_classes
        self.told = nn.Linear(n_classes or 2, width, bias=False)
        if n_classes:
            # one entry of a row is 1
            nn.init.normal_(self.told.weight)
        else:
            self.curve = nn.Sequential(nn.SiLU(), nn.Linear(width, width, bias=False))

    def columns(self, condition: Tensor) -> Tensor:
        """Map (n, 1) to indicators of classes, or to a number and 1; rows of NaN to 0."""
        if self.n_classes:
            return (condition == self.levels).to(condition.dtype)
        known = ~condition.isnan()
        number = condition.where(known, torch.zeros_like(condition))
        return torch.cat([number, known.to(condition.dtype)], dim=1)

    def forward(self, condition: Tensor) -> Tensor:
        """Map (n, 1) to (n, width); rows of NaN to 0."""
        told: Tensor = self.told(self.columns(condition))
        return told if self.n_classes else self.curve(told)


class NoiseLevelMLP(nn.Module):
    r"""Residual perceptron that is told the noise level and what to condition on.

    .. math:: h_0 = W x + e(\sigma, y), \quad
              h_{k+1} = h_k + V_k \, a(U_k \, a(h_k)), \quad F = W' a(h_K)

    V and W' start at 0.

    Parameters
    ----------
    n_features : int
        Columns.
    widths : sequence of int
        One width for each of the K blocks: that of its inner layer. The first is that of
        h.
    activation : str, default="silu"
        Name in `ACTIVATIONS`.
    dropout : float, default=0.0
        Probability of dropping a unit of an inner layer.
    n_classes : int or None, default=None
        What rows are conditioned on; see :class:`Condition`. None is nothing.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.denoiser import NoiseLevelMLP
    >>> network = NoiseLevelMLP(3, [16, 16])
    >>> network(torch.ones(2, 3), torch.zeros(2, 1), torch.zeros(2, 0))
    tensor([[0., 0., 0.],
            [0., 0., 0.]], grad_fn=<AddmmBackward0>)
    """

    frequencies: Tensor

    def __init__(
        self,
        n_features: int,
        widths: Sequence[int],
        *,
        activation: str = "silu",
        dropout: float = 0.0,
        n_classes: int | None = None,
    ):
        super().__init__()
        width = widths[0]
        self.enter = nn.Linear(n_features, width)
        self.register_buffer("frequencies", 2 * math.pi * torch.randn(FREQUENCIES))
        self.level = nn.Sequential(
            nn.Linear(2 * FREQUENCIES + 1, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.condition = None if n_classes is None else Condition(n_classes, width)
        make = ACTIVATIONS[activation]
        self.blocks = nn.ModuleList()
        for inner in widths:
            back = nn.Linear(inner, width)
            nn.init.zeros_(back.weight)
            nn.init.zeros_(back.bias)
            layers = [make(), nn.Linear(width, inner), make(), back]
            if dropout:
                layers.insert(3, nn.Dropout(dropout))
            self.blocks.append(nn.Sequential(*layers))
        out = nn.Linear(width, n_features)
        nn.init.zeros_(out.weight)
        nn.init.zeros_(out.bias)
        self.leave = nn.Sequential(make(), out)

    def forward(self, x: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        """Map scaled noisy rows (n, d), ln σ / 4 (n, 1) and conditions to F, (n, d).

        Conditions are (n, 1), NaN where a row has none, or (n, 0) where no row has one.
        """
        angles = level * self.frequencies
        told = self.level(torch.cat([level, angles.cos(), angles.sin()], dim=1))
        if self.condition is not None and condition.shape[1]:
            told = told + self.condition(condition)
        hidden = self.enter(x) + nn.functional.silu(told)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.leave(hidden)  # type: ignore[no-any-return]


class Denoiser(nn.Module):
    r"""The expected clean row given a noisy one: D(x; σ) = E[x₀ | x₀ + σε = x].

    What is trained is `network`; what is used is a moving average of its weights.

    Parameters
    ----------
    network : torch.nn.Module
        Maps scaled rows, a noise level and conditions to F; see :func:`preconditioning`.
    n_features : int
        Columns.
    path : GaussianPath or None, default=None
        What is added to F, and not trained.
    momentum : float, default=0.99
        Of the moving average; see :class:`EMATarget`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.denoiser import Denoiser, NoiseLevelMLP
    >>> denoiser = Denoiser(NoiseLevelMLP(1, [8]), 1)
    >>> seen = torch.tensor([[3.0, 1.0, 0.0]])  # noisy, clean, ln σ
    >>> denoiser(seen).prediction
    tensor([[1.5000]], grad_fn=<AddBackward0>)
    """

    def __init__(
        self,
        network: nn.Module,
        n_features: int,
        path: GaussianPath | None = None,
        momentum: float = 0.99,
    ):
        super().__init__()
        self.network = network
        self.path = path
        self.n_features = n_features
        self.average = EMATarget(network, momentum)

    def forward(self, seen: Tensor) -> Outputs:
        """Denoise rows as :class:`~sklearn_repr.corruptions.NoiseLevels` makes them."""
        d = self.n_features
        noisy, clean, log_level = seen[:, :d], seen[:, d : 2 * d], seen[:, 2 * d][:, None]
        network = self.network if self.training else self.average.module
        found = self._denoised(network, noisy, log_level, seen[:, 2 * d + 1 :])
        return Outputs(found, prediction=found, target=clean, log_noise=2 * log_level)

    def field(self, y: Tensor, log_level: Tensor, condition: Tensor) -> Tensor:
        """Return F, by the average of the weights.

        Parameters
        ----------
        y : Tensor of shape (n, d)
            Noisy rows times the input factor.
        log_level : Tensor of shape (n, 1) or (1, 1)
            ln σ of each, or of all.
        condition : Tensor of shape (n, 0) or (n, 1)
            What they are conditioned on; NaN, and no column, is nothing.

        Returns
        -------
        field : Tensor of shape (n, d)
            What becomes the clean row behind the preconditioning.
        """
        return self._field(self.average.module, y, log_level, condition)

    def _field(
        self, network: nn.Module, y: Tensor, log_level: Tensor, condition: Tensor
    ) -> Tensor:
        found: Tensor = network(y, log_level / 4, condition)
        if self.path is None:
            return found
        told: Any = network.condition
        columns = told.columns(condition) if condition.shape[1] else None
        linear: Tensor = self.path(y, log_level, columns)
        return found + linear

    def _denoised(
        self, network: nn.Module, x: Tensor, log_level: Tensor, condition: Tensor
    ) -> Tensor:
        factors = preconditioning(log_level)
        found = self._field(network, factors.into * x, log_level, condition)
        return factors.skip * x + factors.out * found

    def train(self, mode: bool = True) -> Denoiser:
        """Set the mode if it differs: the engine calls this before every epoch."""
        if self.training != mode:
            super().train(mode)
        return self

    def after_step(self) -> None:
        """Let the average follow."""
        self.average.update()
