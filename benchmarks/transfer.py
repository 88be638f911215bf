"""Transfer on grey images: φ from unlabelled digits, g from few labels, in one run.

A convolutional encoder learns from unlabelled training images. From it, or from the same
network at its random start, a classifier learns from few labels; it is judged on images
that neither has seen. Accuracy in per cent, mean over seeds and the lowest of them.

usage: python benchmarks/transfer.py FILE [--seeds 0 1 2] [--labels 10 100 1000]
           [--unlabelled 4000] [--numbers]

FILE is an .npz file with arrays X, grey images (n, height, width) of bytes, and y. The
labelled images are some of the unlabelled ones. `--numbers` adds regressions: R² of 50
labelled rows on two tables of scikit-learn.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from images import conv
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_repr import RepresentationClassifier, RepresentationRegressor

MODES = ("probe", "fine_tune", "end_to_end")


def few_of_each(y: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return numbers of `count` rows, as evenly spread over classes as can be."""
    shuffled = rng.permutation(len(y))
    rank = np.empty(len(y), int)
    for label in np.unique(y):
        own = shuffled[y[shuffled] == label]
        rank[own] = np.arange(len(own))
    return shuffled[np.argsort(rank[shuffled], kind="stable")][:count]


def judge(
    X: np.ndarray, y: np.ndarray, seed: int, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Return accuracies of every way to use the labels."""
    rows = X.reshape(len(X), -1).astype(np.float32) / 255
    train, test, known, truth = train_test_split(
        rows, y, train_size=args.unlabelled, stratify=y, random_state=seed
    )
    start = time.process_time()
    fitted = FrozenEstimator(conv(X.shape[1:], seed).fit(train))
    cells = [{"model": "unlabelled", "seconds": time.process_time() - start}]
    for count in args.labels:
        few = few_of_each(known, count, np.random.default_rng(seed))
        start = time.process_time()
        model: Any = LogisticRegression(max_iter=1000).fit(train[few], known[few])
        models = {"logistic": model}
        for mode in MODES:
            encoder = conv(X.shape[1:], seed) if mode == "end_to_end" else fitted
            model = RepresentationClassifier(encoder, mode=mode, random_state=seed)
            models[mode] = model.fit(train[few], known[few])
        for name, fit in models.items():
            accuracy = 100 * fit.score(test, truth)
            cells.append({"model": name, "labels": count, "accuracy": accuracy})
    return cells


def numbers(seeds: list[int], draws: int = 5) -> pd.DataFrame:
    """Return R² of 50 rows whose target is known, on tables of scikit-learn."""
    tables = {
        "diabetes": load_diabetes(return_X_y=True),
        "friedman1": make_friedman1(2000, noise=1.0, random_state=0),
    }
    cells = []
    for name, (X, y) in tables.items():
        for seed in seeds:
            parts = train_test_split(X, y, test_size=0.3, random_state=seed)
            train, test, known, truth = parts
            own = RepresentationRegressor()._default_encoder()
            fitted = FrozenEstimator(own.set_params(random_state=seed).fit(train))
            for draw in range(draws):
                few = np.random.default_rng(draw).permutation(len(train))[:50]
                models: dict[str, Any] = {
                    mode: RepresentationRegressor(
                        None if mode == "end_to_end" else fitted,
                        mode=mode,
                        random_state=seed,
                    )
                    for mode in (*MODES, "auto")
                }
                alphas = np.logspace(-2, 4, 13)
                models["ridge"] = make_pipeline(StandardScaler(), RidgeCV(alphas))
                partly = np.full(len(train), np.nan)
                partly[few] = known[few]
                for who, model in models.items():
                    if who == "ridge":
                        model.fit(train[few], known[few])
                    else:
                        model.fit(train, partly)
                    r2 = model.score(test, truth)
                    cells.append({"table": name, "model": who, "R2": r2})
    return pd.DataFrame(cells).pivot_table("R2", "table", "model")


def main() -> None:
    """Judge on all seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--unlabelled", type=int, default=4000)
    parser.add_argument("--numbers", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    data = np.load(args.path)
    found = [judge(data["X"], data["y"], seed, args) for seed in args.seeds]
    frame = pd.DataFrame([cell for cells in found for cell in cells])
    scores = frame.dropna(subset="labels")
    for what in ("mean", "min"):
        wide = scores.pivot_table("accuracy", "labels", "model", aggfunc=what)
        print(f"accuracy, {what}\n{wide[['logistic', *MODES]].round(1).to_string()}")
    if args.numbers:
        print(f"R2\n{numbers(args.seeds).round(2).to_string()}")


if __name__ == "__main__":
    main()
