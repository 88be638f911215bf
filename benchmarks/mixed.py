"""Mixed tables, of numbers and categories, some with missing cells: ours beside others.

Ours gets the frame as it is. Others get what their users make of it: imputed, scaled,
one indicator a level.

outliers  70/30; in 5% of the fitted rows and 10% of the scored ones a third of the cells
          (at least two) comes from other rows: every cell is ordinary, the row is not.
          AUROC and average precision.
explain   the same rows: how many of a spoilt row's changed cells are among as many that
          `explain` puts first, and how many are there by chance.
impute    fitted on 70%; a fifth of the other cells is hidden. Numbers: RMSE in deviations
          of the fitted rows; categories: accuracy. Means over columns.
probe     embedded without labels, fitted on 70%, and standardised; logistic regression on
          10 labels a class (mean of 5 draws) and on all. Balanced accuracy.
numeric   the same as impute on tables of numbers, a tenth and three tenths hidden.
speed     fit of 10 numbers and 10 texts, or categories, of 5 levels, as ratio to a fit of
          the array with one indicator a level, made beforehand. Processor time.

usage: python benchmarks/mixed.py [DIR] [--tasks outliers impute probe] [--seeds 0]
           [--models NAME ...] [--only TABLE ...] [--rows 2000] [--fit-holed]
           [--repeats 5] [--out FILE.csv]

DIR holds Parquet files whose column `target` is the class and, for "numeric", .npz files
with an array X, of which ``--rows`` rows are drawn; ``--fit-holed`` hides cells of the
fitted rows too. "speed" needs no DIR. Reading Parquet needs pyarrow. With several seeds
means have the standard error over them: the tables stay the same, splits and
initialisations change.
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
import torch
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, IsolationForest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    roc_auc_score,
)
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from speed import CLOCKS, ratios

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    MaskedAutoencoder,
    ReconstructionOutlierDetector,
)

Frame = pd.DataFrame
Scores = dict[str, float]
Timed = Iterator[tuple[str, Scores, float]]
HIDDEN_SHARES = (0.1, 0.3)


def is_number(column: pd.Series) -> bool:
    """Tell numbers from categories, booleans and text."""
    types = pd.api.types
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def numbers_and_categories(frame: Frame) -> tuple[list[str], list[str]]:
    """Return the names of the columns of either kind."""
    numbers = [name for name in frame if is_number(frame[name])]
    return numbers, [name for name in frame if name not in numbers]


def one_hot(frame: Frame) -> ColumnTransformer:
    """Return what makes imputed, scaled and one-hot columns of a frame."""
    numbers, categories = numbers_and_categories(frame)
    levels = OneHotEncoder(
        handle_unknown="ignore", sparse_output=False, max_categories=30
    )
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), levels), categories),
    )


def timed(
    where: str, contestants: dict[str, Callable[[], Any]], only: list[str] | None
) -> Iterator[tuple[str, Any, float]]:
    """Yield what each contestant returns, and its seconds; say which ones failed."""
    for name, contestant in contestants.items():
        if only and name not in only:
            continue
        start = time.perf_counter()
        try:
            result = contestant()
        except Exception as error:
            print(f"{where}: {name} failed: {str(error)[:150]!r}", file=sys.stderr)
            continue
        yield name, result, time.perf_counter() - start


# -- outliers ----------------------------------------------------------------------------


def spoil(
    frame: Frame, share: float, rng: np.random.Generator
) -> tuple[Frame, np.ndarray]:
    """Exchange a third of the cells of some rows; return the frame and which cells."""
    n, d = frame.shape
    spoilt = np.zeros(n, bool)
    spoilt[rng.permutation(n)[: max(1, round(share * n))]] = True
    cells = np.zeros((n, d), bool)
    for i in np.flatnonzero(spoilt):
        cells[i, rng.permutation(d)[: max(2, d // 3)]] = True
    frame = frame.copy()
    for j, name in enumerate(frame):
        rows = np.flatnonzero(cells[:, j])
        if len(rows):
            column = frame[name].array.copy()
            column[rows] = frame[name].array.take(rng.integers(0, n, len(rows)))
            frame[name] = column
    return frame, cells


def spoilt_halves(frame: Frame, seed: int) -> tuple[Frame, Frame, Frame, np.ndarray]:
    """Return rows to fit, rows to score before and after, and their exchanged cells."""
    train, test = train_test_split(frame, test_size=0.3, random_state=seed)
    rng = np.random.default_rng(seed)
    train, _ = spoil(train, 0.05, rng)
    return train, test, *spoil(test, 0.1, rng)


def residual_of_pca(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return what nine tenths of the variance do not explain of each row."""
    pca = PCA(0.9, svd_solver="full").fit(train)
    return np.square(test - pca.inverse_transform(pca.transform(test))).sum(axis=1)


def pyod(train: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Return the scores of PyOD's autoencoder."""
    from pyod.models.auto_encoder import AutoEncoder

    model = AutoEncoder(verbose=0, random_state=seed)
    return model.fit(train).decision_function(test)


def outliers(
    frame: Frame, y: np.ndarray, seed: int, options: argparse.Namespace
) -> Timed:
    """Yield how well each detector finds the spoilt rows."""
    train, _, test, cells = spoilt_halves(frame, seed)
    spoilt = cells.any(axis=1)
    encoder = one_hot(train).fit(train)
    A, B = encoder.transform(train), encoder.transform(test)
    detector = ReconstructionOutlierDetector(random_state=seed)
    forest, local = IsolationForest(random_state=seed), LocalOutlierFactor(novelty=True)
    neighbours = NearestNeighbors(n_neighbors=5)
    contestants = {
        "IsolationForest": lambda: -forest.fit(A).score_samples(B),
        "kNN": lambda: neighbours.fit(A).kneighbors(B)[0].max(axis=1),
        "LOF": lambda: -local.fit(A).score_samples(B),
        "PCA": lambda: residual_of_pca(A, B),
        "PyOD AutoEncoder": lambda: pyod(A, B, seed),
        "ours, one-hot": lambda: detector.fit(A).anomaly_score(B),
        "ours": lambda: detector.fit(train).anomaly_score(test),
    }
    for name, scores, seconds in timed(options.table, contestants, options.models):
        auroc = 100 * roc_auc_score(spoilt, scores)
        precision = 100 * average_precision_score(spoilt, scores)
        yield name, {"AUROC": auroc, "AP": precision}, seconds


def explain(frame: Frame, y: np.ndarray, seed: int, options: argparse.Namespace) -> Timed:
    """Yield how many of the changed cells are explained."""
    train, before, test, cells = spoilt_halves(frame, seed)
    same = (test == before).fillna(False) | (test.isna() & before.isna())
    changed = cells & ~same.to_numpy(bool)
    rows = changed.any(axis=1)
    changed, test = changed[rows], test[rows]
    counts = changed.sum(axis=1)
    chance = changed.mean()
    contestants = {
        "ours": ReconstructionOutlierDetector(random_state=seed),
        "ours, neighbours": ReconstructionOutlierDetector(
            neighbor_weight=1e9, random_state=seed
        ),
    }
    work = {
        name: lambda detector=detector: detector.fit(train).explain(test)
        for name, detector in contestants.items()
    }
    for name, cells, seconds in timed(options.table, work, options.models):
        ranks = np.argsort(np.argsort(-cells, axis=1, kind="stable"), axis=1)
        first = ranks < counts[:, None]
        recall = ((first & changed).sum(axis=1) / counts).mean()
        yield name, {"recall": recall, "chance": chance}, seconds


# -- imputation --------------------------------------------------------------------------


def hide(frame: Frame, hidden: np.ndarray) -> Frame:
    """Return a frame without its hidden cells."""
    columns = {}
    for j, name in enumerate(frame):
        column = frame[name]
        if is_number(column):
            column = column.astype(float)
        elif pd.api.types.is_bool_dtype(column):
            column = column.astype(object)
        columns[name] = column.mask(hidden[:, j])
    return pd.DataFrame(columns)


class Indicators:
    """Standardised numbers, one column a level, and NaN where a cell is missing."""

    def __init__(self, train: Frame):
        self.numbers, self.categories = numbers_and_categories(train)
        self.scaler = StandardScaler().fit(train[self.numbers]) if self.numbers else None
        self.levels = [train[name].dropna().unique() for name in self.categories]

    def encode(self, frame: Frame) -> np.ndarray:
        """Return a frame as an array."""
        parts = []
        if self.scaler:
            parts.append(self.scaler.transform(frame[self.numbers].astype(float)))
        for name, levels in zip(self.categories, self.levels, strict=True):
            column = frame[name].astype(object)
            indicators = np.stack([column == level for level in levels], axis=1)
            parts.append(np.where(column.isna().to_numpy()[:, None], np.nan, indicators))
        return np.hstack(parts).astype(float)

    def decode(self, rows: np.ndarray, frame: Frame) -> Frame:
        """Return an array as a frame; of a category the level with the largest number."""
        filled, stop = frame.copy(), len(self.numbers)
        if self.scaler:
            filled[self.numbers] = self.scaler.inverse_transform(rows[:, :stop])
        for name, levels in zip(self.categories, self.levels, strict=True):
            start, stop = stop, stop + len(levels)
            best = rows[:, start:stop].argmax(axis=1)
            filled[name] = pd.Series(np.asarray(levels, object)[best], index=frame.index)
        return filled


class Ordinals:
    """Numbers as they are, and levels by number in the order of their names."""

    def __init__(self, train: Frame):
        self.numbers, self.categories = numbers_and_categories(train)
        self.encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan
        )
        self.encoder.fit(train[self.categories].astype(object))

    def encode(self, frame: Frame) -> np.ndarray:
        """Return a frame as an array."""
        levels = self.encoder.transform(frame[self.categories].astype(object))
        return np.hstack([frame[self.numbers].to_numpy(float), levels])

    def decode(self, rows: np.ndarray, frame: Frame) -> Frame:
        """Return an array as a frame; of a category the nearest level."""
        filled, width = frame.copy(), len(self.numbers)
        filled[self.numbers] = rows[:, :width]
        for j, name in enumerate(self.categories):
            levels = np.array([v for v in self.encoder.categories_[j] if v == v], object)
            nearest = np.rint(rows[:, width + j]).clip(0, len(levels) - 1).astype(int)
            filled[name] = pd.Series(levels[nearest], index=frame.index)
        return filled


def fill(coding: Any, imputer: Any, train: Frame, holed: Frame) -> Frame:
    """Fill holes by an imputer of numbers."""
    imputer.fit(coding.encode(train))
    return coding.decode(imputer.transform(coding.encode(holed)), holed)


def mean_and_mode(train: Frame, holed: Frame) -> Frame:
    """Fill holes by means and most frequent levels."""
    usual = {
        name: train[name].mean() if is_number(train[name]) else train[name].mode()[0]
        for name in train
    }
    return pd.DataFrame({name: holed[name].fillna(usual[name]) for name in holed})


def score_filled(
    filled: Frame, truth: Frame, train: Frame, hidden: np.ndarray
) -> tuple[float, float]:
    """Return the RMSE of numbers in deviations and the accuracy of categories."""
    errors, hits = [], []
    for j, name in enumerate(truth):
        judged = hidden[:, j] & truth[name].notna().to_numpy()
        if not judged.any():
            continue
        said, true = filled[name][judged], truth[name][judged]
        if is_number(truth[name]):
            error = said.to_numpy(float) - true.to_numpy(float)
            deviation = train[name].std()
            if deviation > 0:
                errors.append(np.sqrt(np.square(error).mean()) / deviation)
        else:
            hits.append((said.astype(str).to_numpy() == true.astype(str)).mean())
    return tuple(np.mean(found) if found else np.nan for found in (errors, hits))


def impute(frame: Frame, y: np.ndarray, seed: int, options: argparse.Namespace) -> Timed:
    """Yield how well each imputer fills the hidden cells."""
    train, test = train_test_split(frame, test_size=0.3, random_state=seed)
    hidden = np.random.default_rng(seed).random(test.shape) < 0.2
    holed = hide(test, hidden)
    trees = ExtraTreesRegressor(n_estimators=20, random_state=seed)
    forest = IterativeImputer(trees, max_iter=3, random_state=seed)
    regressions = IterativeImputer(max_iter=5, random_state=seed)
    ours = MaskedAutoencoder(random_state=seed).set_output(transform="pandas")
    contestants = {
        "mean and mode": lambda: mean_and_mode(train, holed),
        "KNNImputer": lambda: fill(Indicators(train), KNNImputer(), train, holed),
        "IterativeImputer": lambda: fill(Indicators(train), regressions, train, holed),
        "extra trees": lambda: fill(Ordinals(train), forest, train, holed),
        "ours": lambda: ours.fit(train).impute(holed),
    }
    for name, filled, seconds in timed(options.table, contestants, options.models):
        error, accuracy = score_filled(filled, test, train, hidden)
        yield name, {"RMSE": error, "accuracy": accuracy}, seconds


def numeric(frame: Frame, y: np.ndarray, seed: int, options: argparse.Namespace) -> Timed:
    """Yield how well each imputer fills tables of numbers."""
    rows = np.random.default_rng(seed).permutation(len(frame))[: options.rows]
    train, test = train_test_split(frame.iloc[rows], test_size=0.3, random_state=seed)
    scores: dict[str, Scores] = {}
    total: dict[str, float] = {}
    for share in HIDDEN_SHARES:
        rng = np.random.default_rng(seed)
        hidden = rng.random(test.shape) < share
        holed, fitted = hide(test, hidden), train
        if options.fit_holed:
            fitted = hide(train, rng.random(train.shape) < share)
        contestants = imputers_of_numbers(fitted, holed, seed)
        for name, filled, seconds in timed(options.table, contestants, options.models):
            error, _ = score_filled(filled, test, train, hidden)
            scores.setdefault(name, {})[f"{share:.0%}"] = error
            total[name] = total.get(name, 0.0) + seconds
    for name in scores:
        yield name, scores[name], total[name]


def imputers_of_numbers(
    train: Frame, holed: Frame, seed: int
) -> dict[str, Callable[[], Frame]]:
    """Return what fills the holes of a frame of numbers, by name."""
    coding = Indicators(train)
    regressions = IterativeImputer(random_state=seed)
    ours = MaskedAutoencoder(random_state=seed).set_output(transform="pandas")
    return {
        "mean": lambda: fill(coding, SimpleImputer(), train, holed),
        "KNNImputer": lambda: fill(coding, KNNImputer(), train, holed),
        "IterativeImputer": lambda: fill(coding, regressions, train, holed),
        "ours": lambda: ours.fit(train).impute(holed),
    }


# -- probes ------------------------------------------------------------------------------


def probe(frame: Frame, y: np.ndarray, seed: int, options: argparse.Namespace) -> Timed:
    """Yield how well logistic regressions read each embedding."""
    train, test, y_train, y_test = train_test_split(
        frame, y, test_size=0.3, stratify=y, random_state=seed
    )
    encoder = one_hot(train).fit(train)
    A, B = encoder.transform(train), encoder.transform(test)
    width = A.shape[1]
    embedder = ContrastiveEmbedder(random_state=seed)
    reducer = PCA(min(64, width // 2))
    features = Nystroem(n_components=128, gamma=1 / width, random_state=seed)
    contestants = {
        "one-hot": lambda: (A, B),
        "PCA": lambda: (reducer.fit_transform(A), reducer.transform(B)),
        "Nystroem": lambda: (features.fit(A).transform(A), features.transform(B)),
        "ours, one-hot": lambda: (embedder.fit(A).transform(A), embedder.transform(B)),
        "ours": lambda: (embedder.fit(train).transform(train), embedder.transform(test)),
    }
    classes = [np.flatnonzero(y_train == label) for label in np.unique(y_train)]
    for name, embedded, seconds in timed(options.table, contestants, options.models):
        Z, Z_test = (np.asarray(part, float) for part in embedded)
        scaler = StandardScaler().fit(Z)
        Z, Z_test = scaler.transform(Z), scaler.transform(Z_test)
        few = []
        for draw in range(5):
            rng = np.random.default_rng(1000 + draw)
            rows = np.concatenate([rng.permutation(own)[:10] for own in classes])
            model = LogisticRegression(max_iter=300).fit(Z[rows], y_train[rows])
            few.append(balanced_accuracy_score(y_test, model.predict(Z_test)))
        model = LogisticRegression(max_iter=300, class_weight="balanced").fit(Z, y_train)
        every = balanced_accuracy_score(y_test, model.predict(Z_test))
        yield name, {"10 labels": np.mean(few), "all": every}, seconds


# -- speed -------------------------------------------------------------------------------


def speed(repeats: int, n: int = 100_000) -> None:
    """Print the time of a fit of a mixed frame, as ratio to one-hot columns."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n, 3))
    numbers = rows @ rng.normal(size=(3, 10)) + 0.3 * rng.normal(size=(n, 10))
    cuts = rows @ rng.normal(size=(3, 10)) + 0.5 * rng.normal(size=(n, 10))
    codes = np.digitize(cuts, [-2, -0.7, 0.7, 2])
    frame = pd.DataFrame(numbers, columns=[f"number {j}" for j in range(10)])
    for j in range(10):
        frame[f"text {j}"] = np.array([f"level {c}" for c in range(5)])[codes[:, j]]
    categories = frame.astype({f"text {j}": "category" for j in range(10)})
    # with a sixth level that no row has, as ours keeps one for unknown levels
    array, wider = (
        np.hstack([numbers, (codes[:, :, None] == np.arange(k)).reshape(n, -1)])
        for k in (5, 6)
    )
    model = AutoencoderTransformer(max_iter=2, early_stopping=False, random_state=0)
    jobs = {
        "one-hot by hand": lambda: model.fit(array),
        "with a column for unknown levels": lambda: model.fit(wider),
        "ours": lambda: model.fit(frame),
        "ours, of categories": lambda: model.fit(categories),
    }
    found = ratios(jobs, repeats, CLOCKS["cpu"])
    print(f"\nspeed: fit, {n} rows, ratio to an array of {array.shape[1]} columns")
    print(pd.Series(found).round(2).to_string(), flush=True)


# -- all ---------------------------------------------------------------------------------

TASKS = {
    "outliers": outliers,
    "explain": explain,
    "impute": impute,
    "probe": probe,
    "numeric": numeric,
}
# scores of which the lower one is better
ERRORS = {"RMSE", *(f"{share:.0%}" for share in HIDDEN_SHARES)}


def tables(folder: Path, task: str) -> Iterator[tuple[str, Frame, np.ndarray]]:
    """Yield names, frames and classes."""
    for file in sorted(folder.glob("*.npz" if task == "numeric" else "*.parquet")):
        if task == "numeric":
            X = np.load(file)["X"]
            X = X.reshape(len(X), -1).astype(float)
            yield file.stem, pd.DataFrame(X, columns=map(str, range(X.shape[1]))), X[:, 0]
        else:
            frame = pd.read_parquet(file)
            yield (
                file.stem,
                frame.drop(columns="target"),
                pd.factorize(frame["target"])[0],
            )


def report(task: str, found: Frame) -> None:
    """Print scores by table, their means, and where ours is furthest behind."""
    scores = [name for name in found if name not in {"table", "model", "seed", "seconds"}]
    order = list(dict.fromkeys(found["model"]))
    digits = 1 if task == "outliers" else 3
    means = found.groupby(["table", "model"])[scores].mean()
    by_table = means.unstack("model").reindex(columns=order, level="model")
    print(f"\n{task}")
    print(by_table.round(digits).to_string(na_rep=""), "\n")
    summary = means.groupby("model").mean()
    if found["seed"].nunique() > 1:
        by_seed = found.groupby(["seed", "model"])[scores].mean().groupby("model")
        summary = summary.join(by_seed.sem(), rsuffix=" (error)")
    summary["tables"] = means.groupby("model").size()
    summary["seconds"] = found.groupby("model")["seconds"].sum().round(1)
    print(summary.reindex(order).round(digits).to_string(), flush=True)
    for score in scores:
        wide = means[score].unstack("model").dropna(how="all")
        others = wide[[name for name in wide if not name.startswith("ours")]]
        if "ours" not in wide or not len(others.columns):
            continue
        lower = score in ERRORS
        best = others.min(axis=1) if lower else others.max(axis=1)
        behind = (wide["ours"] / best - 1) * (1 if lower else -1)
        print(
            f"{score}: ours is the best on {(behind <= 0).sum()} of {len(wide)}, at worst"
            f" {behind.max():+.1%} behind the best other ({behind.idxmax()})"
        )


def main() -> None:
    """Run the tasks and print a report of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=[*TASKS, "speed"],
        default=["outliers", "impute", "probe"],
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--models", nargs="+")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--fit-holed", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.folder is None and set(options.tasks) != {"speed"}:
        parser.error("all tasks but speed need a folder of tables")
    warnings.simplefilter("ignore")
    results = []
    for task in options.tasks:
        if task == "speed":
            speed(options.repeats)
            continue
        rows = []
        for table, frame, y in tables(options.folder, task):
            if options.only and table not in options.only:
                continue
            options.table = f"{task}, {table}"
            for seed in options.seeds:
                for model, scores, seconds in TASKS[task](frame, y, seed, options):
                    row = {"table": table, "model": model, "seed": seed, **scores}
                    rows.append({**row, "seconds": seconds})
            print(f"{options.table} done", file=sys.stderr)
        if rows:
            report(task, pd.DataFrame(rows))
        results += [{"task": task, **row} for row in rows]
        if options.out:
            pd.DataFrame(results).to_csv(options.out, index=False)


if __name__ == "__main__":
    main()
