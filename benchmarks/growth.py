"""Seconds a row of tables of different lengths, same epochs and batches.

usage: python benchmarks/growth.py [--rows 10000 100000 1000000] [--columns 32]
       [--epochs 4] [--batch 256] [--repeats 3] [--clock wall|cpu]
"""

from __future__ import annotations

import argparse
import statistics
import warnings

import pandas as pd
import torch
from speed import CLOCKS, fit_loop, fit_ours, make_rows

JOBS = {"ours": fit_ours, "loop": fit_loop}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    clock = CLOCKS[options.clock]
    X = make_rows(max(options.rows), options.columns)
    times: dict[tuple[str, int], list[float]] = {}
    fit_ours(X[:1000], options.batch, 1)
    for _ in range(options.repeats):
        for n in options.rows:
            for name, job in JOBS.items():
                start = clock()
                job(X[:n], options.batch, options.epochs)
                per_row = 1e6 * (clock() - start) / (n * options.epochs)
                times.setdefault((name, n), []).append(per_row)
    table: dict[str, dict[str, float]] = {}
    for (name, n), found in times.items():
        table.setdefault(f"{name}, µs a row and epoch", {})[f"{n} rows"] = (
            statistics.median(found)
        )
    print(f"point 6: {options.epochs} epochs, batches of {options.batch}")
    print(pd.DataFrame(table).T.round(2).to_string(), "\n")


if __name__ == "__main__":
    main()
