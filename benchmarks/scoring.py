"""Scoring of many rows as a multiple of the bare forward pass, and of one row.

The bare pass is the same module on chunks of 8192 rows in inference mode, without checks,
scaling or a place for the results. Rows are float32.

With --detector it times the outlier detector beside IsolationForest instead, both fitted
to 5,000 of the rows; --threads and the bare pass have no part in it.

usage: python benchmarks/scoring.py [--rows 1000000] [--columns 32] [--threads 1 2]
       [--repeats 3] [--clock wall|cpu]
       python benchmarks/scoring.py --detector --rows 100000 --columns 20
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import IsolationForest
from speed import CLOCKS, CODE, HIDDEN, make_rows, ratios

from sklearn_repr import (
    AutoencoderTransformer,
    ReconstructionOutlierDetector,
    VariationalAutoencoder,
)

OPTIONS = {
    "hidden_layer_sizes": HIDDEN,
    "activation": "relu",
    "linear_skip": False,
    "init": None,
    "max_iter": 1,
    "random_state": 0,
}


def milliseconds(call, repeats: int = 300) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def compare_detectors(X: np.ndarray, repeats: int, clock) -> None:
    """Print microseconds a row of detectors, and those of IsolationForest."""
    detectors = {
        "IsolationForest": IsolationForest(random_state=0),
        "ours": ReconstructionOutlierDetector(random_state=0),
        "ours, novelty": ReconstructionOutlierDetector(novelty=True, random_state=0),
    }
    times: dict[str, list[float]] = {name: [] for name in detectors}
    for detector in detectors.values():
        detector.fit(X[:5000]).score_samples(X[:5000])
    for _ in range(repeats):
        for name, detector in detectors.items():
            start = clock()
            detector.score_samples(X)
            times[name].append(1e6 * (clock() - start) / len(X))
    table = pd.DataFrame({"microseconds a row": pd.DataFrame(times).median()})
    table["ratio"] = table.iloc[:, 0] / table.iloc[0, 0]
    print(f"scores of {X.shape[0]} x {X.shape[1]}, one thread")
    print(table.round(2).to_string(), "\n")


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--detector", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    some = make_rows(20_000, options.columns)
    X = np.tile(some, (-(-options.rows // len(some)), 1))[: options.rows]
    if options.detector:
        torch.set_num_threads(1)
        compare_detectors(X, options.repeats, CLOCKS[options.clock])
        return
    rows = torch.from_numpy(X)
    single: dict[str, dict[str, float]] = {}
    table: dict[str, dict[str, float]] = {}
    for scaling in (None, "standard"):
        model = AutoencoderTransformer(CODE, scaling=scaling, **OPTIONS).fit(some)
        bound = VariationalAutoencoder(CODE, scaling=scaling, **OPTIONS).fit(some)
        module, other = model.net_.module_, bound.net_.module_

        def bare(function) -> None:
            with torch.inference_mode():
                for part in rows.split(8192):
                    function(part)

        def error(x, module=module):
            return (module.decode(module.encode(x)) - x).square().sum(dim=1)

        pairs = {
            "transform": (module.encode, model.transform),
            "reconstruction_error": (error, model.reconstruction_error),
            "transform, variational": (other.encode, bound.transform),
        }
        for name, (function, ours) in pairs.items():
            for threads in options.threads:
                torch.set_num_threads(threads)
                jobs = {"bare": lambda f=function: bare(f), "ours": lambda f=ours: f(X)}
                found = ratios(jobs, options.repeats, CLOCKS[options.clock])["ours"]
                table.setdefault(f"{name}, scaling={scaling}", {})[
                    f"{threads} threads"
                ] = found
            torch.set_num_threads(1)
            with torch.inference_mode():
                alone = milliseconds(lambda f=function: f(rows[:1]))
            ours_alone = milliseconds(lambda f=ours: f(X[:1]))
            single[f"{name}, scaling={scaling}"] = {"bare": alone, "ours": ours_alone}
    print(f"point 3: {X.shape[0]} x {X.shape[1]}, ratio to the bare forward pass")
    print(pd.DataFrame(table).T.round(2).to_string(), "\n")
    print("point 3: one row, milliseconds")
    print(pd.DataFrame(single).T.round(3).to_string(), "\n")


if __name__ == "__main__":
    main()
