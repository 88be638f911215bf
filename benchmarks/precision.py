"""Mixed precision: ranking of reconstruction errors, and time, beside float32.

Where the machine does not compute in bfloat16 itself, dtype="bfloat16" is float32;
"emulated" makes it train in mixed precision all the same.

usage: python benchmarks/precision.py [--epochs 30] [--repeats 3] [--clock wall|cpu]
"""

from __future__ import annotations

import argparse
import warnings
from contextlib import contextmanager

import pandas as pd
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_digits
from speed import CLOCKS, make_rows, ratios

from sklearn_repr import (
    AutoencoderTransformer,
    DenoisingAutoencoder,
    VariationalAutoencoder,
)
from sklearn_repr.engine import training
from sklearn_repr.utils.devices import computes_in_bfloat16


@contextmanager
def emulated():
    """Pretend that the machine computes in bfloat16."""
    training.computes_in_bfloat16 = lambda device: True
    try:
        yield
    finally:
        training.computes_in_bfloat16 = computes_in_bfloat16


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    tables = {
        "synthetic": make_rows(3000, 20),
        "cancer": load_breast_cancer().data,
        "digits": load_digits().data,
    }
    result = {}
    for name, X in tables.items():
        for cls in (AutoencoderTransformer, DenoisingAutoencoder, VariationalAutoencoder):
            plain = cls(4, random_state=0, max_iter=options.epochs)
            mixed = cls(4, random_state=0, max_iter=options.epochs, dtype="bfloat16")

            def fit_emulated(mixed=mixed, X=X):
                with emulated():
                    mixed.fit(X)

            jobs = {"plain": lambda plain=plain, X=X: plain.fit(X), "mixed": fit_emulated}
            time = ratios(jobs, options.repeats, CLOCKS[options.clock])["mixed"]
            errors = [m.reconstruction_error(X) for m in (plain, mixed)]
            result[f"{name}, {cls.__name__}"] = {
                "Spearman, emulated": spearmanr(*errors).statistic,
                "time, emulated": time,
            }
    native = computes_in_bfloat16(torch.device("cpu"))
    print(f"point 8: bfloat16 beside float32; computed by this machine: {native}")
    print(pd.DataFrame(result).T.round(5).to_string(), "\n")


if __name__ == "__main__":
    main()
