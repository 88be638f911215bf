"""Linear probes of frozen embeddings of grey images: raw pixels, PCA, ours, in one run.

Every embedding is fitted without labels on all training images; a logistic regression on
standardised columns then learns from a few labelled ones and is judged on the others.

usage: python benchmarks/images.py DIR_OR_FILE [--seeds 0] [--train 4000] [--labels 1000]
           [--only NAME ...]

FILE is an .npz file with arrays X, grey images (n, height, width) of bytes, and y; DIR
holds such files. Times are seconds of processor time.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_repr import ContrastiveEmbedder


def conv(shape: tuple[int, int], seed: int, **settings: Any) -> ContrastiveEmbedder:
    """Build the recommended embedder of grey images in [0, 1]."""
    common = {
        "architecture": "conv",
        "input_shape": (1, *shape),
        "scaling": None,
        "views": ["crop", "rotation"],
        "random_state": seed,
    }
    return ContrastiveEmbedder(**{**common, **settings})


def untrained(shape: tuple[int, int], seed: int) -> ContrastiveEmbedder:
    """Build the same network, with the weights that it starts from."""
    return conv(shape, seed, max_iter=1, learning_rate_init=1e-12)


EMBEDDINGS = {
    "raw": lambda shape, seed: FunctionTransformer(),
    "PCA(64)": lambda shape, seed: PCA(64, random_state=seed),
    "random conv": untrained,
    "nt_xent": conv,
    "vicreg": lambda shape, seed: conv(
        shape, seed, objective="vicreg", projection_dim=256, reconstruction_weight=0.0
    ),
}


def judge(
    name: str, X: np.ndarray, y: np.ndarray, args: argparse.Namespace, seed: int
) -> tuple[float, float]:
    """Return accuracy in per cent and processor seconds of fitting the embedding."""
    rows = X.reshape(len(X), -1).astype(np.float32) / 255
    train, test = train_test_split(
        np.arange(len(X)), train_size=args.train, random_state=seed, stratify=y
    )
    model = EMBEDDINGS[name](X.shape[1:], seed)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the untrained network learns nothing
        model.fit(rows[train])
    took = time.process_time() - start
    labelled = train[: args.labels]
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(model.transform(rows[labelled]), y[labelled])
    return 100 * probe.score(model.transform(rows[test]), y[test]), took


def main() -> None:
    """Judge all embeddings on all files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--only", nargs="+", default=list(EMBEDDINGS))
    args = parser.parse_args()
    files = sorted(args.path.glob("*.npz")) if args.path.is_dir() else [args.path]
    for path in files:
        data = np.load(path)
        cells = {}
        for name in args.only:
            results = [judge(name, data["X"], data["y"], args, s) for s in args.seeds]
            accuracy, took = np.array(results).T
            cells[name] = {
                "accuracy": accuracy.mean(),
                "lowest": accuracy.min(),
                "seconds": took.mean(),
            }
        print(f"{path.stem}: {args.train} images, {args.labels} labels, {args.seeds}")
        print(pd.DataFrame(cells).T.round(1).to_string(), flush=True)


if __name__ == "__main__":
    main()
