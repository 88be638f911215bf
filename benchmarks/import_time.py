"""What `import sklearn_repr` adds to `import sklearn`, in processes of their own.

usage: python benchmarks/import_time.py [--repeats 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

CODE = """
import time, sklearn
start = time.perf_counter()
import sklearn_repr
print(time.perf_counter() - start)
"""


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    times = []
    for _ in range(options.repeats):
        command = [sys.executable, "-c", CODE]
        done = subprocess.run(command, check=True, capture_output=True)  # noqa: S603
        times.append(1e3 * float(done.stdout))
    print(
        f"point 7: import sklearn_repr after sklearn: {statistics.median(times):.1f} ms"
    )


if __name__ == "__main__":
    main()
