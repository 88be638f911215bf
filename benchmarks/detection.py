"""Detectors of outliers on a folder of labelled tables, beside those of others.

usage: python benchmarks/detection.py DIR [--seeds 0 1 2] [--peers NAME ...]
                                      [--synthetic [KIND ...] | --sweep | --alarms]

DIR holds ``*.npz`` with X and y (1 = outlier). Protocols: "unsup" fits 70% of the rows,
outliers among them, and scores the other 30%; "oneclass" fits half of the inliers and
scores the rest. Columns are standardised on the fitted rows. Ours runs with
``novelty=False`` in the first and True in the second. ``--synthetic`` exchanges the
outliers for those of benchmarks/synthetic_outliers.py, as many as there were, in both
protocols. ``--sweep`` trains on half of the inliers with growing shares of outliers among
them instead. ``--alarms`` fits half of the inliers and counts the rows that ours flags by
default, among these and among the other half.
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
from synthetic_outliers import KINDS, synthetic_tables

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


def tables(folder: Path, kinds, seed):
    """Yield name, kind, rows and labels of each table, or of those made from it."""
    for path in sorted(folder.glob("*.npz")):
        file = np.load(path)
        X, y = file["X"].astype(float), file["y"]
        if not kinds:
            yield path.stem, "real", X, y
            continue
        made = synthetic_tables(X[y == 0], int(y.sum()), seed)
        for kind in kinds:
            yield path.stem, kind, *made[kind]


def measure(folder: Path, protocols, models, seeds, kinds=()) -> pd.DataFrame:
    rows = []
    for seed in seeds:
        for name, kind, X, y in tables(folder, kinds, seed):
            for protocol in protocols:
                train, test, labels = split(X, y, protocol, seed)
                scaler = StandardScaler().fit(train)
                train, test = scaler.transform(train), scaler.transform(test)
                for model, fit_score in models(protocol).items():
                    start = time.perf_counter()
                    score = np.nan_to_num(fit_score(train, test, seed), posinf=1e30)
                    seconds = time.perf_counter() - start
                    auroc = 100 * roc_auc_score(labels, score)
                    precision = 100 * average_precision_score(labels, score)
                    found = auroc, precision, seconds
                    rows.append((name, kind, protocol, seed, model, *found))
    columns = ["table", "kind", "protocol", "seed", "model", "AUROC", "AP", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def report(found: pd.DataFrame) -> None:
    for (protocol, kind), cells in found.groupby(["protocol", "kind"], sort=False):
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
        title = f"{protocol}, {kind} outliers: {len(auroc)} tables"
        print(f"\n{title} (p: Wilcoxon test of ours against it)")
        print(table.sort_values("AUROC", ascending=False).round(4).to_string())
        if REFERENCE in auroc:
            gap = (auroc["ours"] - auroc[REFERENCE]).sort_values()
            print(
                f"lowest AUROC of ours minus {REFERENCE}:", gap.head(3).round(1).to_dict()
            )
    if found["kind"].nunique() > 1:
        print("\nMean over kinds of outliers")
        means = found.groupby(["model", "protocol"])[["AUROC", "AP"]].mean().unstack()
        print(means.round(1).to_string())


def alarms(folder: Path, seeds) -> pd.DataFrame:
    """Return the shares of rows that ours flags by default, by table and `novelty`."""
    rows = []
    for seed in seeds:
        for name, _, X, y in tables(folder, (), seed):
            train, test, labels = split(X, y, "oneclass", seed)
            for novelty in (False, True):
                detector = ReconstructionOutlierDetector(
                    novelty=novelty, random_state=seed
                ).fit(train)
                fitted = detector.training_scores_ < detector.offset_
                fresh = detector.predict(test[labels == 0]) == -1
                rows.append((name, novelty, 100 * fitted.mean(), 100 * fresh.mean()))
    found = pd.DataFrame(rows, columns=["table", "novelty", "fitted", "fresh"])
    return found.groupby(["table", "novelty"]).mean().unstack()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--synthetic", nargs="*", choices=KINDS)
    asked.add_argument("--sweep", action="store_true")
    asked.add_argument("--alarms", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if options.alarms:
        print("Inliers flagged, in per cent")
        found = alarms(options.folder, options.seeds)
        print(found.round(1).to_string(), "\nmean", found.mean().round(1).to_dict())
        return
    peers = {name: PEERS[name] for name in options.peers}

    def models(protocol):
        novelty = protocol == "oneclass"
        alone = ours(novelty, neighbor_weight=0.0)
        return {"ours": ours(novelty), "ours, network alone": alone, **peers}

    protocols = SWEEP if options.sweep else ("unsup", "oneclass")
    # without names, all kinds
    kinds = KINDS if options.synthetic == [] else options.synthetic or ()
    found = measure(options.folder, protocols, models, options.seeds, kinds)
    if options.sweep:
        print("Mean AUROC by share of outliers among the rows fitted")
        means = found.groupby(["model", "protocol"])["AUROC"].mean().unstack()
        means["fall"] = means[SWEEP[0]] - means[SWEEP[-1]]
        print(means.round(1).to_string())
    else:
        report(found)


if __name__ == "__main__":
    main()
