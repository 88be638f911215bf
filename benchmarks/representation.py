"""Embeddings judged by frozen probes, beside raw features, PCA and a random encoder.

Every table is split 80/20 by class and standardised on the training part, on which an
embedding is fitted without labels. The embedding is standardised and probed on the other
part: a logistic regression on 1, 5 and 10 labels per class (mean over draws) and on all,
and the 5 nearest neighbours among all.

usage: python benchmarks/representation.py [DIR] [--bundled] [--seeds 0] [--draws 10]
           [--models raw,PCA,random,ours] [--only TABLE,...] [--out FILE.csv]

DIR holds tables as .npz files with arrays X and y; `--bundled` adds those that come with
scikit-learn. "predictive" is JointEmbeddingPredictor; further models, one change of the
default each, stand in `VARIANTS`.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
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

FEW = (1, 5, 10)
CELLS = [*(f"{k} a class" for k in FEW), "all", "5-NN"]
BUNDLED = ("digits", "wine", "breast_cancer", "iris")

# one change of the default each
VARIANTS: dict[str, dict[str, Any]] = {
    "untrained": {"max_iter": 1, "learning_rate_init": 1e-12},
    "last": {"readout": "last"},
    "row": {"pairs": "row"},
    "no-contrast": {"reconstruction_weight": 1e6},
    "no-reconstruction": {"reconstruction_weight": 0.0},
    "reconstruction-0.5": {"reconstruction_weight": 0.5},
    "reconstruction-2": {"reconstruction_weight": 2.0},
    "value": {"scaling": "standard"},
    "rank": {"scaling": "quantile"},
    "any-length": {"normalize": False},
    "constant-rate": {"learning_rate": "constant", "learning_rate_init": 1e-3},
    "level-0.2": {"corruption_level": 0.2},
    "neighbors-10": {"n_neighbors": 10},
    "batch-256": {"batch_size": 256},
    "steps-400": {"max_steps": 400},
    "epochs-50": {"max_iter": 50, "max_steps": 800},
    "epochs-200": {"max_iter": 200, "max_steps": 800},
    "width-64": {"n_components": 64},
    "width-256": {"n_components": 256},
    "scarf": {  # SCARF with the last layer
        "n_components": 64,
        "readout": "last",
        "normalize": False,
        "scaling": "standard",
        "hidden_layer_sizes": (256, 128),
        "activation": "silu",
        "layer_norm": False,
        "reconstruction_weight": 0.0,
        "pairs": "row",
        "views": "scarf",
        "optimizer": "adam",
        "learning_rate": "constant",
        "learning_rate_init": 1e-3,
        "batch_size": 256,
        "max_iter": 200,
        "max_steps": None,
        "early_stopping": True,
    },
}


class RandomEncoder:
    """Two random layers, of which nothing is trained."""

    def __init__(self, seed: int):
        self.seed = seed

    def fit(self, X: np.ndarray) -> RandomEncoder:
        """Draw the weights."""
        rng = np.random.default_rng(self.seed)
        self.first = rng.normal(size=(X.shape[1], 256)) / X.shape[1] ** 0.5
        self.second = rng.normal(size=(256, 128)) / 16
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Pass rows through both layers."""
        return np.maximum(np.maximum(X @ self.first, 0) @ self.second, 0)


def contestants(width: int, seed: int) -> dict[str, Callable[[], Any]]:
    """Return what makes each model, by name."""
    models: dict[str, Callable[[], Any]] = {
        "raw": FunctionTransformer,
        "PCA": lambda: PCA(max(2, width // 4), random_state=seed),
        "random": lambda: RandomEncoder(seed),
        "ours": lambda: ContrastiveEmbedder(random_state=seed),
    }
    models["predictive"] = lambda: JointEmbeddingPredictor(random_state=seed)
    for name, settings in VARIANTS.items():
        models[name] = lambda s=settings: ContrastiveEmbedder(random_state=seed, **s)
    return models


def tables(folder: Path | None, bundled: bool) -> Iterator[tuple[str, Any, Any]]:
    """Yield names, rows and classes."""
    for file in sorted(folder.glob("*.npz")) if folder else ():
        content = np.load(file)
        X = content["X"].reshape(len(content["X"]), -1).astype(np.float64)
        yield file.stem, X, content["y"].astype(int)
    for name in BUNDLED if bundled else ():
        yield f"{name}*", *getattr(datasets, f"load_{name}")(return_X_y=True)


def probe(
    train: np.ndarray, test: np.ndarray, y: np.ndarray, truth: np.ndarray, draws: int
) -> dict[str, float]:
    """Return the accuracy of every probe on the held-out rows, in per cent."""
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    rows = [np.flatnonzero(y == label) for label in np.unique(y)]
    accuracy = {}
    for k, cell in zip(FEW, CELLS, strict=False):
        scores = []
        for draw in range(draws):
            rng = np.random.default_rng(1000 + draw)
            few = np.concatenate([rng.permutation(own)[:k] for own in rows])
            model = LogisticRegression(max_iter=300).fit(train[few], y[few])
            scores.append(model.score(test, truth))
        accuracy[cell] = np.mean(scores)
    model = LogisticRegression(max_iter=300).fit(train, y)
    accuracy["all"] = model.score(test, truth)
    accuracy["5-NN"] = KNeighborsClassifier(5).fit(train, y).score(test, truth)
    return {cell: 100 * value for cell, value in accuracy.items()}


def compare(
    name: str, X: np.ndarray, y: np.ndarray, seed: int, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield accuracies and seconds of every model on one split of a table."""
    train, test, y_train, y_test = train_test_split(
        X, y, test_size=0.2, stratify=y, random_state=seed
    )
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    makers = contestants(train.shape[1], seed)
    for who in options.models.split(","):
        start = time.perf_counter()
        model = makers[who]().fit(train)
        embedded = model.transform(train), model.transform(test)
        seconds = time.perf_counter() - start
        scores = probe(*embedded, y_train, y_test, options.draws)
        yield {"table": name, "seed": seed, "model": who, **scores, "seconds": seconds}


def report(frame: pd.DataFrame) -> None:
    """Print accuracies by table, means, and the cells in which ours loses."""
    order = list(dict.fromkeys(frame["model"]))
    mean = frame.groupby(["table", "model"], sort=False)[[*CELLS, "seconds"]].mean()
    print(mean.round(1).to_string(), "\n")
    for mark, group in mean.groupby(
        mean.index.get_level_values("table").str.endswith("*")
    ):
        overall = group.groupby("model").mean().loc[order]
        print("means over", "tables of scikit-learn" if mark else "tables")
        print(overall.round(2).to_string(), "\n")
    for other, cells, margin in (("raw", CELLS[:4], 0), ("random", CELLS[4:], 1)):
        if not {other, "ours"} <= set(order):
            continue
        gap = mean.xs("ours", level="model") - mean.xs(other, level="model")
        lost = gap[cells].stack()
        lost = lost[lost < -margin].round(1)
        print(f"cells in which ours is more than {margin} below {other}: {len(lost)}")
        print(lost.to_string() if len(lost) else "", "\n")


def main() -> None:
    """Fit and probe every model on every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--bundled", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--models", default="raw,PCA,random,ours")
    parser.add_argument("--only")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    for name, X, y in tables(options.folder, options.bundled or not options.folder):
        if options.only and name.rstrip("*") not in options.only.split(","):
            continue
        for seed in options.seeds:
            rows += compare(name, X, y, seed, options)
        print(f"{name} done", file=sys.stderr)
        if options.out:
            pd.DataFrame(rows).to_csv(options.out, index=False)
    report(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
