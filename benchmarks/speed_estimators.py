"""Fit times of every family of estimators as ratios to a hand-written loop, in one run.

Each loop trains the same network by the same loss and corruption as the estimator beside
it: Adam at 1e-3, one shuffle an epoch, views of the shuffled rows, fused steps. Times are
medians of interleaved repeats, after a warm-up.

"by hand" has a loop for each model; "same size" and "defaults" train the estimator's own
module and objective by a plain torch loop, on networks of that size and of their own.

usage: python benchmarks/speed_estimators.py [--rows 20000] [--columns 32] [--epochs 5]
       [--batch 32 256 1024] [--repeats 3] [--clock wall|cpu] [--only masked variational]
       [--families "by hand" "same size" defaults]
"""

from __future__ import annotations

import argparse
import copy
import functools
import itertools
import math
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from speed import CLOCKS, CODE, HIDDEN, make_rows, ratios
from torch import Tensor, nn
from torch.nn import functional

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    ContrastivePredictiveCoder,
    DenoisingAutoencoder,
    JointEmbeddingPredictor,
    MaskedAutoencoder,
    PairedEmbedder,
    VariationalAutoencoder,
)
from sklearn_repr._contracts import Batch
from sklearn_repr.data.batches import batch_sizes
from sklearn_repr.objectives import objective

NOISE = 0.3


def perceptron(*sizes: int) -> nn.Sequential:
    """Make layers with ReLU between them."""
    layers: list[nn.Module] = []
    for width_in, width_out in itertools.pairwise(sizes):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Loop(nn.Module):
    """What an expert writes for a plain autoencoder: a network, and its loss."""

    def __init__(self, d: int, code: int = CODE):
        super().__init__()
        self.encoder = perceptron(d, *HIDDEN, code)
        self.decoder = perceptron(CODE, *HIDDEN[::-1], d)

    def loss(self, x: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return (self.decoder(self.encoder(x)) - x).square().sum(dim=1).mean()


class HuberLoop(Loop):
    """A robust loss."""

    def loss(self, x: Tensor) -> Tensor:
        """Return the loss of a batch."""
        rebuilt = self.decoder(self.encoder(x))
        return functional.huber_loss(rebuilt, x, reduction="none").sum(dim=1).mean()


class DenoisingLoop(Loop):
    """Noise before the encoder."""

    def loss(self, x: Tensor) -> Tensor:
        """Return the loss of a batch."""
        rebuilt = self.decoder(self.encoder(x + NOISE * torch.randn_like(x)))
        return (rebuilt - x).square().sum(dim=1).mean()


class VariationalLoop(Loop):
    """A distribution as the code, and a learned variance of the columns."""

    def __init__(self, d: int):
        super().__init__(d, 2 * CODE)
        self.log_noise = nn.Parameter(torch.zeros(()))

    def loss(self, x: Tensor) -> Tensor:
        """Return the loss of a batch."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        error = (self.decoder(z) - x).square() / self.log_noise.exp()
        rebuilt = 0.5 * (error + self.log_noise + math.log(2 * math.pi)).sum(dim=1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
        return (rebuilt + kl).mean()


class ContrastiveLoop(nn.Module):
    """Two noisy views and a projection head."""

    def __init__(self, d: int):
        super().__init__()
        self.network = nn.Sequential(
            perceptron(d, *HIDDEN, CODE), perceptron(CODE, 32, 32)
        )

    def loss(self, x: Tensor) -> Tensor:
        """Return the loss of a batch."""
        x = x.repeat(2, 1)
        views = functional.normalize(self.network(x + NOISE * torch.randn_like(x)), dim=1)
        similarity = (views @ views.T / 0.5).fill_diagonal_(-torch.inf)
        n = len(views)
        return functional.cross_entropy(similarity, (torch.arange(n) + n // 2) % n)


class MaskedLoop(nn.Module):
    """Hidden cells: values and visibility in, the loss on what was hidden."""

    def __init__(self, d: int):
        super().__init__()
        self.encoder = perceptron(2 * d, *HIDDEN, CODE)
        self.decoder = perceptron(CODE, *HIDDEN[::-1], d)

    def loss(self, x: Tensor) -> Tensor:
        """Return the loss of a batch."""
        hidden = torch.rand_like(x) < NOISE
        seen = torch.cat([x.masked_fill(hidden, 0.0), (~hidden).to(x)], dim=1)
        error = (self.decoder(self.encoder(seen)) - x).square() * hidden
        share = x.shape[1] / hidden.sum(dim=1).clamp(min=1)
        return (error.sum(dim=1) * share).mean()


def fit_loop(make: Callable[[int], nn.Module], X: np.ndarray, size: int, epochs: int):
    """Train by a plain loop."""
    torch.manual_seed(0)
    module = make(X.shape[1])
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    rows = torch.from_numpy(X)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(size):
            optimizer.zero_grad()
            module.loss(batch).backward()
            optimizer.step()


PLAIN = {"linear_skip": False, "init": None}
NOISY = {"corruption": "gaussian", "corruption_level": NOISE}
# SimCLR alone, which is what the loop is
VIEWS = {
    "views": "gaussian",
    "corruption_level": NOISE,
    "projection_dim": 32,
    "readout": "last",
    "scaling": "standard",
    "activation": "silu",
    "layer_norm": False,
    "reconstruction_weight": 0.0,
    "pairs": "row",
    "optimizer": "adam",
    "learning_rate": "constant",
    "max_steps": None,
}
BY_HAND = {
    "autoencoder": (Loop, AutoencoderTransformer(CODE, **PLAIN)),
    "Huber's loss": (HuberLoop, AutoencoderTransformer(CODE, loss="huber", **PLAIN)),
    "denoising": (DenoisingLoop, DenoisingAutoencoder(CODE, **NOISY, **PLAIN)),
    "variational": (VariationalLoop, VariationalAutoencoder(CODE, **PLAIN)),
    "masked": (MaskedLoop, MaskedAutoencoder(CODE, mask_ratio=NOISE, **PLAIN)),
    "contrastive": (ContrastiveLoop, ContrastiveEmbedder(CODE, **VIEWS)),
}
# Networks of the same size: the loop trains the estimator's own module and objective
SAME_SIZE = {
    "activity_l1": AutoencoderTransformer(CODE, penalty="activity_l1", **PLAIN),
    "contractive": AutoencoderTransformer(CODE, penalty="contractive", **PLAIN),
    "decorrelation": AutoencoderTransformer(CODE, penalty="decorrelation", **PLAIN),
    "dropout": AutoencoderTransformer(CODE, dropout=0.1, **PLAIN),
    "layer norm": AutoencoderTransformer(CODE, layer_norm=True, **PLAIN),
    "tied weights": AutoencoderTransformer(CODE, tied_weights=True, **PLAIN),
    "linear path": AutoencoderTransformer(CODE),
    "correntropy": AutoencoderTransformer(CODE, loss="correntropy", **PLAIN),
    "beta_tcvae": VariationalAutoencoder(CODE, objective="beta_tcvae", **PLAIN),
    "posterior path": MaskedAutoencoder(CODE),
    "paired": PairedEmbedder(CODE, init=None),
    **{
        name: ContrastiveEmbedder(CODE, objective=name, **VIEWS)
        for name in objective.names()
        if name != "nt_xent"
    },
}
# The estimators as they are, on networks of their own size
DEFAULTS = {
    "AutoencoderTransformer": AutoencoderTransformer(CODE),
    "ContrastiveEmbedder": ContrastiveEmbedder(pairs="row", max_steps=None),
    "ContrastivePredictiveCoder": ContrastivePredictiveCoder(),
    "JointEmbeddingPredictor": JointEmbeddingPredictor(),
    "PairedEmbedder": PairedEmbedder(),
    "convolution": AutoencoderTransformer(
        CODE, architecture="conv", input_shape=(2, 4, 4)
    ),
}
FAMILIES = {"by hand": BY_HAND, "same size": SAME_SIZE, "defaults": DEFAULTS}


def same_loop(estimator, X: np.ndarray, y: np.ndarray, size: int, epochs: int):
    """Return a plain torch loop over the module and the objective of a fit."""
    fitted = clone(estimator).set_params(max_iter=1, batch_size=size).fit(X, y)
    net, corruption = fitted.net_, fitted._build_corruption()
    labels = torch.from_numpy(y) if net.criterion_.needs_labels else None
    rows = fitted._codec.encode(fitted._validate_training(X, y, reset=False))

    def loop() -> None:
        module, loss = copy.deepcopy((net.module_, net.criterion_))
        module.train()
        loss.train()
        weights = [*module.parameters(), *loss.parameters()]
        optimizer = torch.optim.Adam(weights, lr=1e-3, fused=True)
        generator = torch.Generator().manual_seed(0)
        views = None if corruption is None else corruption.fit(rows.values)
        after_step = getattr(module, "after_step", lambda: None)
        for _ in range(epochs):
            order = torch.randperm(len(X))
            shuffled = Batch(
                rows.values[order], labels=None if labels is None else labels[order]
            )
            for batch in shuffled.split(batch_sizes(len(X), size)):
                seen = batch.values
                if views is not None:
                    seen, batch.mask = views(seen, generator)
                if loss.needs_input_gradient:
                    seen.requires_grad_()
                total = 0.0
                for name, term in loss(module(seen), batch).items():
                    total = total + loss.weights.get(name, 1.0) * term.mean()
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
                after_step()

    return loop


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 256, 1024])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    X = make_rows(options.rows, options.columns)
    for family in options.families:
        table: dict[str, dict[str, float]] = {}
        for size in options.batch:
            for name, entry in FAMILIES[family].items():
                if options.only and name not in options.only:
                    continue
                loop, estimator = entry if family == "by hand" else (None, entry)
                settings = {
                    "scaling": None,
                    "batch_size": size,
                    "max_iter": options.epochs,
                    "early_stopping": False,
                    "random_state": 0,
                }
                if estimator.learning_rate == "constant":
                    settings |= {"n_iter_no_change": 10**6, "tol": 0}
                if family != "defaults":
                    settings |= {"hidden_layer_sizes": HIDDEN, "activation": "relu"}
                estimator.set_params(**settings)
                y = np.arange(len(X)) % 10
                if isinstance(estimator, PairedEmbedder):
                    y = X[:, ::-1].copy()
                by_hand = functools.partial(fit_loop, loop, X, size, options.epochs)
                jobs = {
                    "loop": by_hand
                    if loop is not None
                    else same_loop(estimator, X, y, size, options.epochs),
                    "ours": functools.partial(estimator.fit, X, y),
                }
                found = ratios(jobs, options.repeats, CLOCKS[options.clock])
                table.setdefault(name, {})[f"batch {size}"] = found["ours"]
        print(
            f"{family}: fit, {len(X)} x {X.shape[1]}, ratio to a loop for the same model"
        )
        print(pd.DataFrame(table).T.round(2).to_string(), "\n", flush=True)


if __name__ == "__main__":
    main()
