"""Detectors of outliers on a folder of labelled tables, beside those of others.

usage: python benchmarks/detection.py DIR [--seeds 0 1 2] [--peers NAME ...] [--sweep]

DIR holds ``*.npz`` with X and y (1 = outlier). Protocols: "unsup" fits 70% of the rows,
outliers among them, and scores the other 30%; "oneclass" fits half of the inliers and
scores the rest. Columns are standardised on the fitted rows. Ours runs with
``novelty=False`` in the first and True in the second. ``--sweep`` trains on half of the
inliers with growing shares of outliers among them instead.
"""

from __future__ import annotations

import argparse
import time
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import wilcoxon
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from sklearn_repr import ReconstructionOutlierDetector

SWEEP = (0.0, 0.01, 0.05, 0.1, 0.2)


def pyod(module: str, name: str, **settings):
    def score(train, test, seed):
        cls = getattr(import_module(f"pyod.models.{module}"), name)
        if name == "DeepSVDD":
            settings["n_features"] = train.shape[1]
        if name in {"AutoEncoder", "VAE", "DeepSVDD", "CBLOF"}:
            settings["random_state"] = seed
        return cls(**settings).fit(train).decision_function(test)

    return score


def ours(novelty: bool, **settings):
    def score(train, test, seed):
        detector = ReconstructionOutlierDetector(
            novelty=novelty, random_state=seed, **settings
        )
        return detector.fit(train).anomaly_score(test)

    return score


def forest(train, test, seed):
    return -IsolationForest(random_state=seed).fit(train).score_samples(test)


def local(train, test, seed):
    return -LocalOutlierFactor(novelty=True).fit(train).score_samples(test)


PEERS = {
    "IsolationForest": forest,
    "kNN": pyod("knn", "KNN"),
    "LOF": local,
    "PyOD AutoEncoder": pyod("auto_encoder", "AutoEncoder", verbose=0),
    "PyOD AutoEncoder, 100 epochs": pyod(
        "auto_encoder", "AutoEncoder", verbose=0, epoch_num=100
    ),
    "PyOD VAE": pyod("vae", "VAE", verbose=0),
    "PyOD DeepSVDD": pyod("deep_svdd", "DeepSVDD", verbose=0),
    "ECOD": pyod("ecod", "ECOD"),
    "HBOS": pyod("hbos", "HBOS"),
    "CBLOF": pyod("cblof", "CBLOF"),
    "LUNAR": pyod("lunar", "LUNAR"),
}
REFERENCE = "PyOD AutoEncoder"


def split(X, y, protocol, seed):
    """Return rows to fit, rows to score and their labels."""
    if protocol == "unsup":
        train, test, _, labels = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
        return train, test, labels
    rng = np.random.default_rng(seed)
    inliers, outliers = rng.permutation(np.flatnonzero(y == 0)), np.flatnonzero(y == 1)
    half = len(inliers) // 2
    train, fresh = inliers[:half], inliers[half:]
    if isinstance(protocol, float):
        count = min(round(protocol * half / (1 - protocol)), len(outliers) // 2)
        outliers = rng.permutation(outliers)
        train, outliers = np.r_[train, outliers[:count]], outliers[count:]
    test = np.r_[fresh, outliers]
    return X[train], X[test], y[test]


def measure(folder: Path, protocols, models, seeds) -> pd.DataFrame:
    rows = []
    for path in sorted(folder.glob("*.npz")):
        file = np.load(path)
        X, y = file["X"].astype(float), file["y"]
        for protocol in protocols:
            for seed in seeds:
                train, test, labels = split(X, y, protocol, seed)
                scaler = StandardScaler().fit(train)
                train, test = scaler.transform(train), scaler.transform(test)
                for name, model in models(protocol).items():
                    start = time.perf_counter()
                    score = np.nan_to_num(model(train, test, seed), posinf=1e30)
                    seconds = time.perf_counter() - start
                    auroc = 100 * roc_auc_score(labels, score)
                    precision = 100 * average_precision_score(labels, score)
                    rows.append(
                        (path.stem, protocol, seed, name, auroc, precision, seconds)
                    )
    columns = ["table", "protocol", "seed", "model", "AUROC", "AP", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def report(found: pd.DataFrame) -> None:
    for protocol, cells in found.groupby("protocol"):
        means = cells.groupby(["table", "model"])[["AUROC", "AP"]].mean()
        auroc, precision = means["AUROC"].unstack(), means["AP"].unstack()
        spread = cells.groupby(["table", "model"])["AUROC"].std().groupby("model").mean()
        table = pd.DataFrame({"AUROC": auroc.mean(), "AP": precision.mean()})
        # the network alone is no competitor of the whole
        rivals = [name for name in auroc if name != "ours, network alone"]
        for name, values in (("rank AUROC", auroc), ("rank AP", precision)):
            table[name] = values[rivals].rank(axis=1, ascending=False).mean()
        table["seed sd"] = spread
        table["seconds"] = cells.groupby("model")["seconds"].sum()
        for name, values in (("p AUROC", auroc), ("p AP", precision)):
            table[name] = [
                np.nan if model == "ours" else wilcoxon(values["ours"], values[model])[1]
                for model in values
            ]
        print(f"\n{protocol}: {len(auroc)} tables (p: Wilcoxon test of ours against it)")
        print(table.sort_values("AUROC", ascending=False).round(4).to_string())
        if REFERENCE in auroc:
            gap = (auroc["ours"] - auroc[REFERENCE]).sort_values()
            print(
                f"lowest AUROC of ours minus {REFERENCE}:", gap.head(3).round(1).to_dict()
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--sweep", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    peers = {name: PEERS[name] for name in options.peers}

    def models(protocol):
        novelty = protocol == "oneclass"
        alone = ours(novelty, neighbor_weight=0.0)
        return {"ours": ours(novelty), "ours, network alone": alone, **peers}

    protocols = SWEEP if options.sweep else ("unsup", "oneclass")
    found = measure(options.folder, protocols, models, options.seeds)
    if options.sweep:
        print("Mean AUROC by share of outliers among the rows fitted")
        means = found.groupby(["model", "protocol"])["AUROC"].mean().unstack()
        means["fall"] = means[SWEEP[0]] - means[SWEEP[-1]]
        print(means.round(1).to_string())
    else:
        report(found)


if __name__ == "__main__":
    main()
