"""Fit times as ratios to a hand-written torch loop, in one run.

Every contestant trains d-64-32-8-32-64-d with ReLU by Adam at 1e-3 on the same rows, for
the same epochs, in float32. Times are medians of interleaved repeats, after a warm-up.

usage: python benchmarks/speed.py [--rows 20000] [--columns 32] [--epochs 5]
       [--batch 32 256 1024] [--repeats 3] [--threads 1] [--skip pyod skorch]
       [--clock wall|cpu]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import nn

from sklearn_repr import AutoencoderTransformer

HIDDEN, CODE = (64, 32), 8


def make_rows(n: int, d: int) -> np.ndarray:
    """Make standardised float32 rows around an eight-dimensional subspace."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n, 8)) @ rng.normal(size=(8, d))
    rows += 0.1 * rng.normal(size=(n, d))
    return ((rows - rows.mean(0)) / rows.std(0)).astype("float32")


def make_network(d: int) -> nn.Sequential:
    """Make the network that every torch contestant trains."""
    torch.manual_seed(0)
    encoder = [nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()]
    decoder = [nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64), nn.ReLU()]
    return nn.Sequential(*encoder, nn.Linear(32, 8), *decoder, nn.Linear(64, d))


def fit_loop(X: np.ndarray, batch_size: int, epochs: int) -> nn.Module:
    """Train as an expert writes it: one shuffle an epoch, views, fused Adam."""
    network = make_network(X.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    rows = torch.from_numpy(X)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(batch_size):
            optimizer.zero_grad()
            (network(batch) - batch).square().mean().backward()
            optimizer.step()
    return network


def fit_ours(X: np.ndarray, batch_size: int, epochs: int) -> AutoencoderTransformer:
    """Train ours on the same network."""
    return AutoencoderTransformer(
        CODE,
        hidden_layer_sizes=HIDDEN,
        activation="relu",
        linear_skip=False,
        init=None,
        scaling=None,
        batch_size=batch_size,
        max_iter=epochs,
        early_stopping=False,
        n_iter_no_change=10**6,
        tol=0,
        random_state=0,
    ).fit(X)


def fit_mlp(X: np.ndarray, batch_size: int, epochs: int) -> None:
    """Train scikit-learn's perceptron."""
    from sklearn.neural_network import MLPRegressor

    MLPRegressor(
        hidden_layer_sizes=(*HIDDEN, CODE, *HIDDEN[::-1]),
        batch_size=batch_size,
        max_iter=epochs,
        tol=0,
        n_iter_no_change=10**6,
    ).fit(X, X)


def fit_skorch(X: np.ndarray, batch_size: int, epochs: int) -> None:
    """Train with skorch's defaults."""
    from skorch import NeuralNetRegressor

    NeuralNetRegressor(
        make_network(X.shape[1]),
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=epochs,
        batch_size=batch_size,
        train_split=None,
        iterator_train__shuffle=True,
        verbose=0,
    ).fit(X, X)


def fit_pyod(X: np.ndarray, batch_size: int, epochs: int) -> None:
    """Train PyOD's autoencoder."""
    from pyod.models.auto_encoder import AutoEncoder

    AutoEncoder(
        epoch_num=epochs,
        batch_size=batch_size,
        hidden_neuron_list=[*HIDDEN, CODE],
        batch_norm=False,
        dropout_rate=0.0,
        verbose=0,
    ).fit(X)


def ratios(
    jobs: dict[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time jobs in turns and divide their medians by the first job's."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):
        for name, job in jobs.items():
            start = clock()
            job()
            if turn:  # the first turn warms up
                times[name].append(clock() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    base = next(iter(medians.values()))
    return {name: median / base for name, median in medians.items()}


# Processor time is what a machine that others use too leaves nearly alone; it adds up
# over threads
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 256, 1024])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    X = make_rows(options.rows, options.columns)
    contestants = {
        "loop": fit_loop,
        "ours": fit_ours,
        "MLPRegressor": fit_mlp,
        "skorch defaults": fit_skorch,
        "PyOD": fit_pyod,
    }
    table = {}
    for batch_size in options.batch:
        jobs = {
            name: lambda fit=fit, batch_size=batch_size: fit(
                X, batch_size, options.epochs
            )
            for name, fit in contestants.items()
            if name.split()[0].lower() not in map(str.lower, options.skip)
        }
        table[f"batch {batch_size}"] = ratios(
            jobs, options.repeats, CLOCKS[options.clock]
        )
    print(f"point 1: fit, {len(X)} x {X.shape[1]}, ratio to the loop, threads:", end=" ")
    print(options.threads)
    print(pd.DataFrame(table).T.round(2).to_string(), "\n")


if __name__ == "__main__":
    main()
