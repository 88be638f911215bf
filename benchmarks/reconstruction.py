"""Held-out R² of reconstructions beside PCA and a bottleneck of MLPRegressor, in one run.

Every table is standardised on its training part and clipped at 20 standard deviations;
three quarters train, a quarter judges, at two code widths.

usage: python benchmarks/reconstruction.py DIR [--seeds 0] [--rows 6000] [--images FILE]

DIR holds tables as .npz files with an array X. FILE, an .npz file with an array X of
square grey images, adds a comparison of the convolutional network with an MLP and PCA.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from sklearn_repr import AutoencoderTransformer


def pca(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Rebuild by principal components."""
    model = PCA(k, random_state=seed).fit(train)
    return model.inverse_transform(model.transform(test))


def mlp(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Rebuild by scikit-learn's perceptron with a bottleneck."""
    sizes = (128, 64, k, 64, 128)
    model = MLPRegressor(hidden_layer_sizes=sizes, early_stopping=True, random_state=seed)
    return model.fit(train, train).predict(test)


def ours(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Rebuild by the default autoencoder."""
    return AutoencoderTransformer(k, random_state=seed).fit(train).reconstruct(test)


def convolutional(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Rebuild square images by convolutions."""
    side = round(train.shape[1] ** 0.5)
    model = AutoencoderTransformer(
        k,
        architecture="conv",
        input_shape=(1, side, side),
        hidden_layer_sizes=(16, 32),
        scaling=None,
        random_state=seed,
    )
    return model.fit(train).reconstruct(test)


def unscaled(train: np.ndarray, test: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Rebuild images by the default autoencoder without scaling of pixels."""
    model = AutoencoderTransformer(k, scaling=None, random_state=seed)
    return model.fit(train).reconstruct(test)


def compare(
    name: str,
    train: np.ndarray,
    test: np.ndarray,
    k: int,
    seed: int,
    contestants: dict[str, Callable[..., np.ndarray]],
) -> list[dict]:
    """Return a row of the table for every contestant."""
    total = np.square(test - train.mean(axis=0)).sum()
    rows = []
    for who, rebuild in contestants.items():
        start = time.perf_counter()
        error = np.square(test - rebuild(train, test, k, seed)).sum()
        seconds = time.perf_counter() - start
        row = {"data": name, "k": k, "model": who, "r2": 1 - error / total}
        rows.append({**row, "seconds": seconds})
    return rows


def main() -> None:
    """Print R² by table and code width, means and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table = []
    for file in sorted(options.folder.glob("*.npz")):
        X = np.load(file)["X"]
        X = X.reshape(len(X), -1).astype(np.float64)
        if not 4 <= X.shape[1] <= 1000:
            continue
        for seed in options.seeds:
            order = np.random.default_rng(seed).permutation(len(X))[: options.rows]
            train, test = train_test_split(X[order], test_size=0.25, random_state=seed)
            keep = train.std(axis=0) > 1e-9
            scaler = StandardScaler().fit(train[:, keep])
            train, test = (
                scaler.transform(part[:, keep]).clip(-20, 20) for part in (train, test)
            )
            for k in sorted({2, max(2, train.shape[1] // 4)}):
                contestants = {"PCA": pca, "MLPRegressor": mlp, "ours": ours}
                table += compare(file.stem, train, test, k, seed, contestants)
    if options.images:
        X = np.load(options.images)["X"]
        X = X.reshape(len(X), -1).astype(np.float64)
        X = X[: options.rows] / X.max()
        train, test = train_test_split(X, test_size=0.25, random_state=0)
        contestants = {"PCA": pca, "ours": unscaled, "ours, conv": convolutional}
        for k in (4, 16):
            table += compare(options.images.stem, train, test, k, 0, contestants)
    frame = pd.DataFrame(table)
    wide = frame.pivot_table("r2", ["data", "k"], "model")
    print(wide.round(3).to_string(na_rep=""), "\n")
    tables = wide.dropna(subset="MLPRegressor") if "MLPRegressor" in wide else wide
    print("mean over tables:", tables.mean().dropna().round(4).to_dict())
    print("seconds:", frame.groupby("model").seconds.sum().round(1).to_dict())
    if len(tables):
        worse = (
            tables["ours"] < tables[["PCA", "MLPRegressor"]].max(axis=1) - 0.01
        ).sum()
        print(f"cells in which ours is more than 0.01 below another: {worse}")


if __name__ == "__main__":
    main()
