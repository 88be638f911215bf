"""Many fits in a row, and a grid search on two processes.

usage: python benchmarks/many_fits.py [--fits 20] [--rows 2000] [--columns 20]

Without psutil joblib collects garbage in every worker once a second: 0.2 s where torch is
loaded.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch
from sklearn.model_selection import GridSearchCV
from speed import make_rows

import sklearn_repr
from sklearn_repr import AutoencoderTransformer


def resident() -> float:
    """Return resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    X = make_rows(options.rows, options.columns)
    table = {}
    for name in sklearn_repr.__all__:
        found = getattr(sklearn_repr, name)
        if not hasattr(found, "transform") or "max_iter" not in found().get_params():
            continue
        found(max_iter=10, random_state=0).fit(X, X)
        memory, times = [], []
        for i in range(options.fits):
            start = time.process_time()
            found(max_iter=10, random_state=i, early_stopping=False).fit(X, X)
            times.append(time.process_time() - start)
            memory.append(resident())
        ends = [statistics.median(part) for part in (times[:3], times[-3:])]
        table[name] = {
            "last / first": times[-1] / times[0],
            "last three / first three": ends[1] / ends[0],
            # what the allocator keeps for itself comes and goes from fit to fit
            "MiB more": statistics.median(memory[-5:]) - statistics.median(memory[:5]),
        }
    print(f"point 5: {options.fits} fits in a row, processor time")
    print(pd.DataFrame(table).T.round(2).to_string(), "\n")

    grid = {"n_components": [2, 4, 8, 16], "alpha": [0.0, 1e-3]}
    model = AutoencoderTransformer(max_iter=60, n_iter_no_change=60, random_state=0)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(4):
        for n_jobs, times in seconds.items():
            start = time.perf_counter()
            GridSearchCV(model, grid, cv=4, n_jobs=n_jobs, refit=False).fit(X)
            if turn:  # the first starts the processes
                times.append(time.perf_counter() - start)
    one, two = map(statistics.median, seconds.values())
    print(f"point 5: grid search, n_jobs=1 {one:.2f} s, n_jobs=2 {two:.2f} s,", end=" ")
    psutil = "with" if find_spec("psutil") else "without"
    print(f"ratio {one / two:.2f} ({psutil} psutil)\n")


if __name__ == "__main__":
    main()
