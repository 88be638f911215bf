"""Top-1 retrieval of held-out partners: PairedEmbedder beside CCA, on halves of images.

Rows are images, cut into an upper and a lower half; a fifth is held out. CCA is given the
number of components that is best for it on the held-out images themselves.

usage: python benchmarks/pairs.py [images.npz ...] [--splits 5]
A file holds X, whose rows are square images of one channel.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.cross_decomposition import CCA
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_repr import PairedEmbedder
from sklearn_repr.inspection import retrieval_accuracy

COMPONENTS = (2, 4, 8, 12, 16, 20, 24, 32, 48, 64)


def halves(images):
    """Cut rows of square images into upper and lower halves, with their shape."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    side = round(rows.shape[1] ** 0.5)
    cut = side // 2 * side
    return rows[:, :cut], rows[:, cut:], (1, side // 2, side), (1, side - side // 2, side)


def best_cca(X, Y, a, b):
    """Return CCA's accuracy at its best number of components, and that number."""
    # columns without variance are none of CCA's business
    X, Y = X[:, X[a].std(axis=0) > 0], Y[:, Y[a].std(axis=0) > 0]
    widest = min(X.shape[1], Y.shape[1])
    scores = {}
    for k in (k for k in COMPONENTS if k <= widest):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cca = CCA(k, max_iter=200).fit(X[a], Y[a])
        scores[k] = retrieval_accuracy(*cca.transform(X[b], Y[b]))
    best = max(scores, key=scores.get)
    return scores[best], best


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--splits", type=int, default=5)
    args = parser.parse_args()
    data = {"digits": load_digits().data}
    data.update({path.stem: np.load(path)["X"] for path in args.files})
    rows = []
    for name, images in data.items():
        X, Y, x_shape, y_shape = halves(images)
        for seed in range(args.splits):
            a, b = train_test_split(np.arange(len(X)), test_size=0.2, random_state=seed)
            accuracy, k = best_cca(X, Y, a, b)
            rows.append((name, seed, "CCA, best", accuracy, np.nan, k))
            models = {
                "default": PairedEmbedder(random_state=seed),
                "linear": PairedEmbedder(hidden_layer_sizes=(), random_state=seed),
                "init=None": PairedEmbedder(init=None, random_state=seed),
                "conv": PairedEmbedder(
                    architecture="conv",
                    input_shape=x_shape,
                    y_input_shape=y_shape,
                    random_state=seed,
                ),
            }
            for model, embedder in models.items():
                start = time.perf_counter()
                embedder.fit(X[a], Y[a])
                seconds = time.perf_counter() - start
                score = embedder.score(X[b], Y[b])
                rows.append((name, seed, model, score, seconds, embedder.n_components_))
    columns = ["data", "split", "model", "top1", "seconds", "components"]
    table = pd.DataFrame(rows, columns=columns)
    by = table.groupby(["data", "model"], sort=False)
    shown = by[["top1", "seconds", "components"]].mean()
    shown.insert(1, "sd", by["top1"].std())
    print(shown.round(3).to_string())


if __name__ == "__main__":
    main()
