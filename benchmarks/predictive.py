"""Embeddings of JointEmbeddingPredictor judged by frozen probes, beside simpler ones.

Everything is fitted without labels on 80% of the rows and judged on the others: logistic
regression and 3 nearest neighbours with 5 labels a class (mean of draws), logistic
regression and 5 neighbours with all labels. Embeddings are centred and scaled as a whole,
which leaves their shape alone: pixels and principal components are at their best so.

usage: python benchmarks/predictive.py [FILE_OR_DIR ...] [--rows 2000] [--seeds 0]
           [--models raw,PCA,untrained,ours] [--only DATA,...] [--draws 10]

Planted waves, and scikit-learn's digits, wine and breast_cancer are always there. A file
holds arrays X and y, rows of a table or grey images of bytes (n, height, width); of more
than `--rows` rows as many are taken. Further models, one change of the default each,
stand in `VARIANTS`. Seconds are of the processor.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_repr import ContrastiveEmbedder, JointEmbeddingPredictor

CELLS = ["5, linear", "5, 3-NN", "all, linear", "all, 5-NN"]
# mean squared length of rows, which sets how strongly a linear probe is penalised
LENGTH = 50

VARIANTS: dict[str, dict[str, Any]] = {
    "untrained": {"max_iter": 1, "learning_rate_init": 1e-12},
    "block": {"masking": "block"},
    "block-0.54": {"masking": "block", "mask_ratio": 0.54},  # I-JEPA's shares
    "random-0.54": {"mask_ratio": 0.54},
    "value_and_rank": {"scaling": "value_and_rank"},
    "momentum-0.99": {"target_momentum": 0.99},
    "wide": {"hidden_layer_sizes": (64, 64)},
    "one-block": {"hidden_layer_sizes": (32,)},
    "three-blocks": {"hidden_layer_sizes": (32, 32, 32)},
    "long": {"max_iter": 100},
    "short": {"max_iter": 25},
    "width-64": {"n_components": 64},
    "patch-4": {"patch_size": 4},
}


def waves(seed: int, n: int = 1000, k: int = 2, d: int = 24) -> tuple[Any, Any]:
    """Return rows of eight classes: noisy waves along directions of two latents."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 8, n)
    latent = rng.normal(size=(8, k))[classes] + 0.25 * rng.normal(size=(n, k))
    directions, phases = rng.normal(size=(k, d)), rng.uniform(0, 6.28, size=d)
    rows = np.sin(latent @ directions + phases) + 0.9 * rng.normal(size=(n, d))
    return rows, classes


def some(X: np.ndarray, y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n rows at most, of all classes as they come."""
    if len(X) <= n:
        return X, y
    chosen, _ = train_test_split(range(len(X)), train_size=n, stratify=y, random_state=0)
    return X[chosen], y[chosen]


def data(paths: list[Path], n_rows: int, seed: int) -> Iterator[tuple[Any, ...]]:
    """Yield names, rows, classes, the shape of images, and components of PCA."""
    yield "planted", *waves(seed), None, 8
    X, y = datasets.load_digits(return_X_y=True)
    yield "digits", X / 16, y, (1, 8, 8), 32
    for name in ("wine", "breast_cancer"):
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        yield name, X, y, None, max(2, X.shape[1] // 4)
    folders = (sorted(p.glob("*.npz")) if p.is_dir() else [p] for p in paths)
    for file in chain.from_iterable(folders):
        content = np.load(file)
        X, y = some(content["X"], content["y"].astype(int), n_rows)
        shape = (1, *X.shape[1:]) if X.ndim == 3 else None
        X = X.reshape(len(X), -1).astype(np.float64)
        yield file.stem, X / (255 if shape else 1), y, shape, max(2, X.shape[1] // 4)


def contestants(
    shape: tuple[int, ...] | None, components: int, seed: int
) -> dict[str, Callable[[], Any]]:
    """Return what makes each model, by name."""
    common: dict[str, Any] = {"random_state": seed}
    if shape is not None:  # grey values are comparable as they are
        patch = 2 if shape[1] < 16 else 4
        common |= {"input_shape": shape, "patch_size": patch, "scaling": None}
    models: dict[str, Callable[[], Any]] = {
        "raw": FunctionTransformer,
        "PCA": lambda: PCA(min(components, 64), random_state=seed),
        "ours": lambda: JointEmbeddingPredictor(**common),
        "contrastive": lambda: ContrastiveEmbedder(random_state=seed),
    }
    for name, change in VARIANTS.items():
        models[name] = lambda change=change: JointEmbeddingPredictor(
            **{**common, **change}
        )
    return models


def probe(
    train: np.ndarray, test: np.ndarray, y: np.ndarray, truth: np.ndarray, draws: int
) -> dict[str, float]:
    """Return the accuracy of every probe on the held-out rows, in per cent."""
    mean = train.mean(axis=0)
    factor = np.sqrt(LENGTH / np.square(train - mean).sum(axis=1).mean())
    train, test = factor * (train - mean), factor * (test - mean)
    rows = [np.flatnonzero(y == label) for label in np.unique(y)]
    few: dict[str, list[float]] = {cell: [] for cell in CELLS[:2]}
    for draw in range(draws):
        rng = np.random.default_rng(1000 + draw)
        chosen = np.concatenate([rng.permutation(own)[:5] for own in rows])
        models = LogisticRegression(max_iter=300), KNeighborsClassifier(3)
        for cell, model in zip(few, models, strict=True):
            few[cell].append(model.fit(train[chosen], y[chosen]).score(test, truth))
    accuracy = [float(np.mean(scores)) for scores in few.values()]
    for model in (LogisticRegression(max_iter=300), KNeighborsClassifier(5)):
        accuracy.append(model.fit(train, y).score(test, truth))
    return dict(zip(CELLS, 100 * np.array(accuracy), strict=True))


def main() -> None:
    """Fit and probe every model on everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", type=Path, nargs="*")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--models", default="raw,PCA,untrained,ours")
    parser.add_argument("--only")
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        for name, X, y, shape, components in data(options.paths, options.rows, seed):
            if options.only and name not in options.only.split(","):
                continue
            train, test, y_train, y_test = train_test_split(
                X, y, test_size=0.2, stratify=y, random_state=seed
            )
            if shape is None:
                scaler = StandardScaler().fit(train)
                train, test = scaler.transform(train), scaler.transform(test)
            makers = contestants(shape, components, seed)
            for who in options.models.split(","):
                start = time.process_time()
                model = makers[who]().fit(train)
                took = time.process_time() - start
                embedded = model.transform(train), model.transform(test)
                scores = probe(*embedded, y_train, y_test, options.draws)
                rows.append({"data": name, "model": who, **scores, "seconds": took})
            shown = pd.DataFrame(rows[-len(options.models.split(",")) :])
            print(
                f"seed {seed}",
                shown.round(1).to_string(index=False),
                sep="\n",
                flush=True,
            )
    frame = pd.DataFrame(rows)
    by = frame.groupby(["data", "model"], sort=False)[[*CELLS, "seconds"]].mean()
    print("means over seeds", by.round(1).to_string(), sep="\n")
    print("over everything", by.groupby("model").mean().round(1).to_string(), sep="\n")


if __name__ == "__main__":
    main()
