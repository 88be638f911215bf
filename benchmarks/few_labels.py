"""Few labels: RepresentationClassifier beside what else learns from them, in one run.

Every table is split 80/20 by class. Of the first part 1, 5 and 10 rows a class have a
label, the mean of several draws is shown, or all have one; accuracy, in per cent, is that
of the other part. Ours gets the table as it is; others get standardised numbers and one
indicator a level. The encoder is fitted once a table, since it does not see labels.

usage: python benchmarks/few_labels.py DIR ... [--labels 1 5 10 all] [--draws 10]
           [--seeds 0] [--models NAME ...] [--only TABLE ...] [--rows N] [--bundled]
           [--out FILE.csv]

DIR holds tables as .npz files with arrays X and y, or as Parquet files whose column
`target` is the class. `--rows` limits the rows of a table; `--bundled` adds tables that
come with scikit-learn.
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
from mixed import one_hot
from representation import tables
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from sklearn_repr import RepresentationClassifier


class Table:
    """A table, split, and what label-free things are made of it, each once."""

    def __init__(self, X: Any, y: np.ndarray, seed: int):
        self.seed = seed
        parts = train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
        self.train, self.test, self.y, self.truth = parts
        frame = isinstance(X, pd.DataFrame)
        scaler = one_hot(self.train) if frame else StandardScaler()
        self.raw = scaler.fit_transform(self.train), scaler.transform(self.test)
        self.encoder: Any = None
        self.codes: Any = None

    def encode(self) -> None:
        """Fit the default encoder, on all rows and without labels."""
        if self.encoder is None:
            encoder = RepresentationClassifier()._default_encoder()
            encoder.set_params(random_state=self.seed).fit(self.train)
            scaler = StandardScaler()
            codes = scaler.fit_transform(encoder.transform(self.train))
            self.codes = codes, scaler.transform(encoder.transform(self.test))
            self.encoder = encoder

    def draw(self, per_class: int, draw: int) -> np.ndarray:
        """Return numbers of rows that have a label."""
        rng = np.random.default_rng(1000 + draw)
        rows = [np.flatnonzero(self.y == label) for label in np.unique(self.y)]
        return np.concatenate([rng.permutation(own)[:per_class] for own in rows])


def on_labelled(make: Callable[[], Any]) -> Callable[..., float]:
    """Return the accuracy of a classifier that sees labelled rows alone."""

    def accuracy(table: Table, few: np.ndarray, own_encoder: bool) -> float:
        train, test = table.raw
        return float(make().fit(train[few], table.y[few]).score(test, table.truth))

    return accuracy


def on_all(make: Callable[[], Any], coded: bool = False) -> Callable[..., float]:
    """Return the accuracy of a classifier that sees unlabelled rows too."""

    def accuracy(table: Table, few: np.ndarray, own_encoder: bool) -> float:
        train, test = table.codes if coded else table.raw
        partly = np.full(len(table.y), -1)
        partly[few] = table.y[few]
        return float(make().fit(train, partly).score(test, table.truth))

    return accuracy


def ours(**settings: Any) -> Callable[..., float]:
    """Return the accuracy of ours."""

    def accuracy(table: Table, few: np.ndarray, own_encoder: bool) -> float:
        partly = np.full(len(table.y), -1)
        partly[few] = table.y[few]
        encoder = None if own_encoder else FrozenEstimator(table.encoder)
        given = {"encoder": encoder, "random_state": table.seed, **settings}
        model = RepresentationClassifier(**given).fit(table.train, partly)
        return model.score(table.test, table.truth)

    return accuracy


MODELS: dict[str, Callable[..., float]] = {
    "ours": ours(),
    "logistic": on_labelled(lambda: LogisticRegression(max_iter=300)),
    "self-training": on_all(
        lambda: SelfTrainingClassifier(LogisticRegression(max_iter=300))
    ),
    "spreading": on_all(LabelSpreading),
    "spreading codes": on_all(lambda: LabelSpreading(kernel="knn"), coded=True),
    "Nystroem": on_labelled(
        lambda: make_pipeline(
            Nystroem(n_components=128, random_state=0), LogisticRegression(max_iter=300)
        )
    ),
    "boosting": on_labelled(lambda: HistGradientBoostingClassifier(random_state=0)),
    "perceptron": on_labelled(lambda: MLPClassifier(max_iter=300, random_state=0)),
    "ours probe": ours(mode="probe"),
    "ours fine_tune": ours(mode="fine_tune"),
    "ours end_to_end": ours(encoder=None, mode="end_to_end"),
}
SHOWN = list(MODELS)[:8]


def read(options: argparse.Namespace) -> Iterator[tuple[str, Any, np.ndarray]]:
    """Yield names, tables and classes."""
    for number, folder in enumerate(options.folders):
        yield from tables(folder, options.bundled and number == 0)
        for file in sorted(folder.glob("*.parquet")):
            frame = pd.read_parquet(file)
            yield (
                file.stem,
                frame.drop(columns="target"),
                pd.factorize(frame["target"])[0],
            )


def judge(
    name: str, table: Table, labels: str, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of every model."""
    for who in options.models:
        start, found = time.process_time(), []
        for draw in range(1 if labels == "all" else options.draws):
            few = (
                np.arange(len(table.y))
                if labels == "all"
                else table.draw(int(labels), draw)
            )
            try:
                found.append(100 * MODELS[who](table, few, labels == "all"))
            except Exception as error:
                print(f"{name}: {who} failed: {str(error)[:150]!r}", file=sys.stderr)
                break
        if found:
            seconds = (time.process_time() - start) / len(found)
            cell = {"table": name, "labels": labels, "model": who}
            yield {**cell, "accuracy": np.mean(found), "seconds": seconds}


def main() -> None:
    """Judge every model on every table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--labels", nargs="+", default=["1", "5", "10", "all"])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--models", nargs="+", default=SHOWN, choices=list(MODELS))
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--bundled", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    for name, X, y in read(options):
        if options.only and name.rstrip("*") not in options.only:
            continue
        for seed in options.seeds:
            if options.rows and len(X) > options.rows:
                X, _, y, _ = train_test_split(
                    X, y, train_size=options.rows, stratify=y, random_state=seed
                )
            table = Table(X, y, seed)
            if options.labels != ["all"]:
                table.encode()
            for labels in options.labels:
                rows += judge(name, table, labels, options)
        print(f"{name} done", file=sys.stderr)
        if options.out:
            pd.DataFrame(rows).to_csv(options.out, index=False)
    report(pd.DataFrame(rows))


def report(frame: pd.DataFrame) -> None:
    """Print accuracies by table, and means over tables."""
    order = list(dict.fromkeys(frame["model"]))
    wide = frame.pivot_table("accuracy", ["labels", "table"], "model")[order]
    print(wide.round(1).to_string(), "\n")
    print(wide.groupby("labels").mean().round(2).to_string(), "\n")
    print("processor seconds of a fit")
    times = frame.pivot_table("seconds", "labels", "model")[order]
    print(times.round(2).to_string(), "\n")
    if {"ours", "logistic"} <= set(order):
        below = (wide["logistic"] - wide["ours"]).loc[lambda gap: gap > 1]
        print(f"cells in which ours is more than 1 below logistic: {len(below)}")
        print(below.round(1).to_string() if len(below) else "")


if __name__ == "__main__":
    main()
