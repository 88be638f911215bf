"""Search by example: binary codes of images by class, and an approximate index.

Every code is learned without labels on one half of the images; the other half searches
it, and rows of the same class are relevant. Before and after an embedding is turned into
bits its mean average precision is printed. The index is of random clusters.

usage: python benchmarks/retrieval.py [DIR_OR_FILE] [--bits 32] [--seeds 0]
           [--rows 100000] [--only NAME ...]

FILE is an .npz file with arrays X, grey images (n, height, width) of bytes, and y; DIR
holds such files. Times are seconds of processor time; the index needs faiss.
"""

from __future__ import annotations

import argparse
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from images import conv
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import FunctionTransformer

from sklearn_repr import (
    AutoencoderTransformer,
    BinaryEmbedder,
    ContrastiveEmbedder,
    EmbeddingIndex,
)
from sklearn_repr.inspection import mean_average_precision, recall_at_k

EMBEDDINGS = {
    "raw": lambda shape, seed: FunctionTransformer(),
    "PCA": lambda shape, seed: PCA(32, random_state=seed),
    "autoencoder": lambda shape, seed: AutoencoderTransformer(
        32, scaling=None, random_state=seed
    ),
    "contrastive": lambda shape, seed: ContrastiveEmbedder(random_state=seed),
    "contrastive, conv": conv,
}


def signs(Z: np.ndarray) -> np.ndarray:
    """Return on which side of the mean each component is."""
    return (Z.mean(axis=0) < Z).astype(np.uint8)


def judge(
    name: str, X: np.ndarray, y: np.ndarray, bits: int, seed: int
) -> dict[str, float]:
    """Return mean average precision, in per cent, and seconds of fitting."""
    rows = X.reshape(len(X), -1).astype(np.float32) / 255
    train, test = train_test_split(
        np.arange(len(X)), train_size=0.5, random_state=seed, stratify=y
    )
    start = time.process_time()
    model = EMBEDDINGS[name](X.shape[1:], seed).fit(rows[train])
    gallery = model.transform(rows[train])
    code = BinaryEmbedder(bits, random_state=seed).fit(gallery)
    took = time.process_time() - start
    queries = model.transform(rows[test])
    reduced = PCA(bits, random_state=seed).fit(gallery)
    candidates = {
        "as it is": (queries, gallery),
        "signs of PCA": tuple(signs(reduced.transform(Z)) for Z in (queries, gallery)),
        "BinaryEmbedder": (code.transform(queries), code.transform(gallery)),
    }
    scores = {
        kind: 100
        * mean_average_precision(ours, y[test], gallery=theirs, y_gallery=y[train])
        for kind, (ours, theirs) in candidates.items()
    }
    binary = candidates["BinaryEmbedder"]
    found = {"gallery": binary[1], "y_gallery": y[train]}
    scores["recall at 1"] = 100 * recall_at_k(binary[0], y[test], **found)
    return {**scores, "seconds": took}


def search(n: int, width: int = 32) -> pd.DataFrame:
    """Compare what the approximate index finds among many rows with the exact one."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, width))
    rows = centres[rng.integers(0, 200, n + 1000)] + rng.normal(size=(n + 1000, width))
    rows, queries = rows[:n].astype(np.float32), rows[n:].astype(np.float32)
    cells: dict[str, Any] = {}
    truth = None
    code = BinaryEmbedder(32, random_state=0).fit(rows[:5000])
    for name, made in {
        "exact": EmbeddingIndex(),
        "hnsw": EmbeddingIndex(index="hnsw"),
        "bits": EmbeddingIndex(code, metric="hamming"),
    }.items():
        start = time.process_time()
        made.fit(rows)
        built = time.process_time()
        found = made.kneighbors(queries, 10, return_distance=False)
        took = time.process_time() - built
        truth = found if truth is None else truth
        agree = [len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)]
        cells[name] = {
            "recall of 10": np.mean(agree),
            "seconds to fit": built - start,
            "ms a query": took,
            "bytes a row": len(pickle.dumps(made)) / n,
        }
    return pd.DataFrame(cells).T


def main() -> None:
    """Judge all embeddings on all files, then the index."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--bits", type=int, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", default=list(EMBEDDINGS))
    args = parser.parse_args()
    files = [] if args.path is None else [args.path]
    if args.path is not None and args.path.is_dir():
        files = sorted(args.path.glob("*.npz"))
    for path in files:
        data = np.load(path)
        cells = {
            name: pd.DataFrame(
                [judge(name, data["X"], data["y"], args.bits, s) for s in args.seeds]
            ).mean()
            for name in args.only
        }
        print(f"{path.stem}: mean average precision, {args.bits} bits, {args.seeds}")
        print(pd.DataFrame(cells).T.round(1).to_string(), "\n", flush=True)
    if args.rows:
        print(f"10 nearest of {args.rows} rows, 1000 queries")
        print(search(args.rows).round(3).to_string())


if __name__ == "__main__":
    main()
