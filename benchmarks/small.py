"""Fits of a small table as multiples of MLPRegressor's, in one run.

200 rows x 10 columns, every estimator with its defaults but for the epochs, which are
the same for all, beside `MLPRegressor` with as many hidden units, batches of 32 and the
same share of held-out rows. The default contrastive network is several times as large;
one of the perceptron's size stands beside it. A first fit of each is not counted: those
that are find its recordings, as folds of a search do.

usage: python benchmarks/small.py [--rows 200] [--columns 10] [--epochs 100] [--repeats 3]
       [--clock wall|cpu]
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.neural_network import MLPRegressor
from speed import CLOCKS, make_rows, ratios

import sklearn_repr


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    X = make_rows(options.rows, options.columns)
    same = {
        "batch_size": 32,
        "max_iter": options.epochs,
        "early_stopping": True,
        "n_iter_no_change": 10**6,
    }
    perceptron = MLPRegressor(hidden_layer_sizes=(64, 32, 64), **same)
    jobs = {"MLPRegressor": lambda: perceptron.fit(X, X)}
    for name in sklearn_repr.__all__:
        found = getattr(sklearn_repr, name)
        if not hasattr(found, "fit") or not hasattr(found, "transform"):
            continue
        if "max_iter" in found().get_params():
            estimator = found(**same)
            if estimator.learning_rate != "constant":  # all epochs are run anyway
                estimator.set_params(n_iter_no_change=10)
            jobs[name] = lambda estimator=estimator: estimator.fit(np.array(X), X)
    equal = sklearn_repr.ContrastiveEmbedder(
        32, hidden_layer_sizes=(64, 32), readout="last", **same
    ).set_params(n_iter_no_change=10)
    jobs["Contrastive, 64-32"] = lambda: equal.fit(X)
    found = ratios(jobs, options.repeats, CLOCKS[options.clock])
    print(f"point 2: fit, {X.shape[0]} x {X.shape[1]}, {options.epochs} epochs,", end=" ")
    print("ratio to MLPRegressor")
    print(pd.DataFrame({"ratio": found}).T.round(2).to_string(), "\n")


if __name__ == "__main__":
    main()
