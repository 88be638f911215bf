"""Peak memory of scoring and fitting tables that are read from a file.

Each row of the tables comes from a process of its own. "resident" is the peak of all
pages of the process, those of the mapped file included, beyond what it was before the
call; "anonymous" the peak of those that are no file's.

With --sparse it fits and scores CSR tables, 1% of whose cells are stored, by every
estimator that takes them: 40,000 x 2,000 and 4,000 x 20,000. The start is after the
imports, the table, and a fit of a small one.

usage: python benchmarks/memory.py [--gib 4] [--folder DIR] [--columns 8]
       [--rows 100000 1000000 10000000]
       [--jobs transform reconstruction_error detector detector_fit]
       python benchmarks/memory.py --sparse [NAME ...] [--set '{"max_iter": 2}']
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone

SPARSE = (40_000, 2_000), (4_000, 20_000)
WIDE = 32


def write_table(path: Path, n: int, d: int) -> None:
    """Write float32 rows around a four-dimensional subspace."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(4, d)).astype("float32")
    with path.open("wb") as file:
        for start in range(0, n, 2**18):
            size = (min(2**18, n - start), 4)
            rows = rng.standard_normal(size, "float32") @ axes
            rows += 0.1 * rng.standard_normal(rows.shape, "float32")
            rows.tofile(file)


def read_status() -> dict[str, float]:
    """Return resident and anonymous memory of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {
        name: int(values[key].split()[0]) / 1024
        for name, key in (("resident", "VmRSS"), ("anonymous", "RssAnon"))
    }


class Peak(threading.Thread):
    """Looks at memory every few milliseconds."""

    def __enter__(self) -> Peak:
        self.before = read_status()
        self.peak = dict(self.before)
        self.over = threading.Event()
        self.start()
        return self

    def run(self) -> None:
        """Take the maximum until it is over."""
        while not self.over.wait(0.003):
            for name, value in read_status().items():
                self.peak[name] = max(self.peak[name], value)

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def work(job: str, path: str, n: int, d: int) -> None:
    """Do one job in this process and print its figures."""
    from sklearn_repr import AutoencoderTransformer, ReconstructionOutlierDetector

    warnings.simplefilter("ignore")
    X = np.memmap(path, np.float32, "r", shape=(n, d))
    some = np.array(X[:2000])
    options = {"max_iter": 1, "random_state": 0}
    if job == "fit":
        AutoencoderTransformer(4, **options).fit(some)
        call = AutoencoderTransformer(4, batch_size=256, **options).fit
    elif job == "detector":
        call = ReconstructionOutlierDetector(random_state=0).fit(some).score_samples
    elif job == "detector_fit":
        call = ReconstructionOutlierDetector(random_state=0).fit
    else:
        call = getattr(AutoencoderTransformer(4, **options).fit(some), job)
    call(some)
    start = time.perf_counter()
    with Peak() as memory:
        result = call(X)
    seconds = time.perf_counter() - start
    own = result.nbytes / 2**20 if isinstance(result, np.ndarray) else 0.0
    beyond = {k: memory.peak[k] - memory.before[k] for k in memory.peak}
    total = {f"{k} in all": v for k, v in memory.peak.items()}
    figures = {"seconds": seconds, "result": own, **beyond, **total}
    print(json.dumps(figures), file=sys.stdout)


def sparse_table(n: int, d: int) -> Any:
    """Return counts of ten topics, of which 1% are not zero."""
    rng = np.random.default_rng(0)
    count = n * d // 100
    rows, topic = rng.integers(n, size=count), rng.integers(10, size=n)
    # half of a row's columns are of its topic's tenth
    columns = rng.integers(d, size=count)
    own = rng.random(count) < 0.5
    columns[own] = columns[own] % (d // 10) + topic[rows[own]] * (d // 10)
    cells = 1.0 + rng.poisson(1.0, size=count)
    return sparse.csr_matrix((cells, (rows, columns)), shape=(n, d))


def work_sparse(name: str, options: str, n: int, d: int) -> None:
    """Fit and score a sparse table in this process and print the figures."""
    import sklearn_repr

    warnings.simplefilter("ignore")
    paired = name == "PairedEmbedder"
    estimator = getattr(sklearn_repr, name)(random_state=0)
    known = estimator.get_params()
    given = json.loads(options)
    estimator.set_params(**{k: v for k, v in given.items() if k in known})
    X, small = sparse_table(n, d), sparse_table(300, 200)
    sides = ((small, small), (X, X[:, :50])) if paired else ((small,), (X,))
    method = "transform" if hasattr(estimator, "transform") else "score_samples"
    getattr(clone(estimator).fit(*sides[0]), method)(small)
    start, seconds = time.perf_counter(), {}
    with Peak() as memory:
        estimator.fit(*sides[1])
        seconds["fit s"] = time.perf_counter() - start
        fitted = memory.peak["anonymous"]
        result = getattr(estimator, method)(X)
    total = time.perf_counter() - start
    figures = {
        "fit MiB": fitted - memory.before["anonymous"],
        "all MiB": memory.peak["anonymous"] - memory.before["anonymous"],
        "result": result.nbytes / 2**20,
        **seconds,
        "all s": total,
        "epochs": getattr(estimator, "n_iter_", float("nan")),
        "width": getattr(estimator, "n_components_", float("nan")),
    }
    print(json.dumps(figures), file=sys.stdout)


def measure_sparse(names: list[str], options: str) -> pd.DataFrame:
    """Fit and score every sparse table by every estimator."""
    from sklearn.utils import get_tags

    from sklearn_repr.utils.discovery import all_estimators

    found = [k for k, v in all_estimators() if get_tags(v()).input_tags.sparse]
    table = {}
    for name in names or found:
        for n, d in SPARSE:
            label = f"{name}, {n} x {d}"
            try:
                table[label] = in_a_process("--sparse-job", name, options, str(n), str(d))
            except subprocess.CalledProcessError as error:
                print(label, error.stderr.decode().splitlines()[-1])
            else:
                print(
                    label, {k: round(v, 1) for k, v in table[label].items()}, flush=True
                )
    return pd.DataFrame(table).T


def measure(job: str, path: Path, n: int, d: int) -> dict[str, float]:
    """Do one job in a process of its own."""
    return in_a_process("--job", job, str(path), str(n), str(d))


def in_a_process(*arguments: str) -> dict[str, float]:
    """Run this file with other arguments and return the figures that it prints."""
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603 - this file itself
        command, check=True, capture_output=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--rows", type=int, nargs="*", default=[10**5, 10**6, 10**7])
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument(
        "--jobs", nargs="+", default=["transform", "reconstruction_error"]
    )
    parser.add_argument("--sparse", nargs="*", metavar="NAME")
    parser.add_argument("--set", default="{}", help="parameters, as JSON")
    parser.add_argument("--job", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--sparse-job", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job, path, n, d = options.job
        work(job, path, int(n), int(d))
        return
    if options.sparse_job:
        name, given, n, d = options.sparse_job
        work_sparse(name, given, int(n), int(d))
        return
    if options.sparse is not None:
        print(measure_sparse(options.sparse, options.set).round(1).to_string())
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "table"
        d, table = options.columns, {}
        for n in options.rows:
            write_table(path, n, d)
            for job in options.jobs:
                table[f"{job}, {n} rows"] = measure(job, path, n, d)
        if table:
            print(f"point 3: MiB for rows of {d} columns from a file")
            print(pd.DataFrame(table).T.round(1).to_string(), "\n")
        if options.gib:
            n = int(options.gib * 2**30) // (4 * WIDE)
            write_table(path, n, WIDE)
            found = measure("fit", path, n, WIDE)
            size = n * WIDE * 4 / 2**20
            print(
                f"point 6: MiB while fitting {n} x {WIDE} from a file of {size:.0f} MiB"
            )
            print(pd.DataFrame({"fit": found}).T.round(1).to_string())
            print(f"peak resident / size: {found['resident in all'] / size:.3f}")


if __name__ == "__main__":
    main()
