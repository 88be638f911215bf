"""Drawn rows beside real ones: ours beside densities, SMOTE and SDV's generators.

Every table is split 70/30 by class. What is fitted on the larger part draws as many rows
as the other has, and is judged beside these by `sklearn_repr.inspection`:

AUROC       how well boosting tells drawn rows from held-out ones; 0.5 is best
marginals   mean distance of the columns
pairs       mean difference in how pairs of columns depend on each other
precision, recall  of the manifold
near, exact  shares of copies of fitted rows; 0.01 and 0 are what held-out rows have
usefulness  accuracy of boosting trained on drawn rows and classes, over that trained on
            the fitted ones
missing     mean difference of the shares of missing cells
unknown     share of the cells of categories with a level that no fitted row has

Ours and SDV's get the frame as it is, integers as integers. Densities and SMOTE get what
their users make of it, imputed and scaled, densities one indicator a level; they are
fitted class by class. "rows" are fitted rows in place of drawn ones.

usage: python benchmarks/generation.py [DIR] [--mixed DIR] [--seeds 0]
           [--models NAME ...] [--only TABLE ...] [--rows 4000] [--out FILE.csv]

DIR holds tables of numbers as .npz files with arrays X and y, the one of --mixed Parquet
files whose column `target` is the class. SMOTE needs imbalanced-learn. CTGAN, TVAE and
the copula need SDV 2, which wants pandas < 3: an environment of its own,
``pip install . imbalanced-learn pyarrow sdv``.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mixed import (
    Indicators,
    mean_and_mode,
    numbers_and_categories,
    tables,
    timed,
)
from sklearn.mixture import BayesianGaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from sklearn_repr import LatentDiffusion, VariationalAutoencoder
from sklearn_repr.inspection import synthetic_report, usefulness

Frame = pd.DataFrame
Labels = np.ndarray
# rows, and their classes where the model draws any
Drawn = tuple[Frame, Labels | None]
WIDEST = 200
MODELS = ("rows", "kernels", "mixture", "SMOTE", "VAE", "copula", "TVAE", "CTGAN", "ours")
NEEDS = {"SMOTE": "imblearn", "CTGAN": "sdv", "TVAE": "sdv", "copula": "sdv"}
NAMES = {
    "two_sample_auroc": "AUROC",
    "marginal_distance": "marginals",
    "dependence_difference": "pairs",
    "precision": "precision",
    "recall": "recall",
    "near_copies": "near",
    "exact_copies": "exact",
    "missing_difference": "missing",
}


# -- what draws rows ---------------------------------------------------------------------


def density(
    draw: Callable[[np.ndarray, int], np.ndarray], X: Frame, y: Labels, classes: Labels
) -> Drawn:
    """Draw rows of every class from a density of its indicators and scaled numbers."""
    usual = mean_and_mode(X, X)
    coding = Indicators(usual)
    rows = coding.encode(usual)
    parts = [draw(rows[y == c], int(k)) for c, k in zip(*counted(classes), strict=True)]
    like = usual.iloc[np.zeros(len(classes), int)].reset_index(drop=True)
    return coding.decode(np.vstack(parts), like), classes


def counted(classes: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes that occur, and how often."""
    return np.unique(classes, return_counts=True)


def kernels(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Draw from a kernel density."""
    return KernelDensity(bandwidth="scott").fit(rows).sample(k, random_state=seed)


def mixture(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Draw from a mixture of Gaussians; of one or two rows, these."""
    if len(rows) <= 2:
        return rows[np.random.default_rng(seed).integers(0, len(rows), k)]
    model = BayesianGaussianMixture(
        n_components=min(20, max(1, len(rows) // 20)),
        reg_covar=1e-3,
        max_iter=300,
        random_state=seed,
    )
    return model.fit(rows).sample(k)[0]


def smote(X: Frame, y: Labels, classes: Labels, seed: int) -> Drawn:
    """Draw points between rows and their neighbours of the same class."""
    from imblearn.over_sampling import SMOTE, SMOTENC

    numbers, categories = numbers_and_categories(X)
    usual = mean_and_mode(X, X)
    scaler = StandardScaler().fit(usual[numbers])
    scaled = usual.astype(dict.fromkeys(numbers, float))
    scaled[numbers] = scaler.transform(usual[numbers])
    counts = np.bincount(y)
    wanted = counts + np.bincount(classes, minlength=len(counts))
    settings = {
        "sampling_strategy": dict(enumerate(wanted.tolist())),
        "k_neighbors": min(5, counts.min() - 1),
        "random_state": seed,
    }
    sampler = SMOTENC(categories, **settings) if categories else SMOTE(**settings)
    rows, labels = sampler.fit_resample(scaled, y)
    # new rows stand behind those that were given
    rows = rows.iloc[len(X) :].reset_index(drop=True)
    rows[numbers] = scaler.inverse_transform(rows[numbers])
    return rows, np.asarray(labels)[len(X) :]


def autoencoder(X: Frame, n: int, seed: int) -> Drawn:
    """Draw from our variational autoencoder, which draws no classes."""
    model = VariationalAutoencoder(random_state=seed).set_output(transform="pandas")
    return model.fit(X).sample(n, random_state=seed), None


def diffusion(X: Frame, y: Labels, classes: Labels, seed: int) -> Drawn:
    """Draw rows of given classes from our diffusion model."""
    model = LatentDiffusion(random_state=seed).fit(X, y)
    return model.sample(y=classes, random_state=seed), classes


def sdv(name: str, X: Frame, y: Labels, n: int, seed: int) -> Drawn:
    """Draw from a generator of SDV, to which the class is one more category."""
    from sdv import single_table
    from sdv.metadata import Metadata

    frame = X.assign(target=y.astype(str))
    numbers, categories = numbers_and_categories(frame)
    frame = frame.astype(dict.fromkeys(categories, object))
    kinds = {
        column: {"sdtype": "numerical" if column in numbers else "categorical"}
        for column in frame
    }
    metadata = Metadata.load_from_dict({"tables": {"table": {"columns": kinds}}})
    np.random.seed(seed)  # noqa: NPY002 - where it draws from
    torch.manual_seed(seed)
    model = getattr(single_table, f"{name}Synthesizer")(metadata)
    model.fit({"table": frame})
    drawn = model.sample(n)["table"]
    return drawn.drop(columns="target"), drawn["target"].astype(int).to_numpy()


def contestants(X: Frame, y: Labels, n: int, seed: int) -> dict[str, Callable[[], Drawn]]:
    """Return what draws n rows, by name."""
    rng = np.random.default_rng(seed)
    classes = np.sort(rng.choice(y, n))
    some = rng.permutation(len(X))[:n]
    return {
        "rows": lambda: (X.iloc[some], y[some]),
        "kernels": lambda: density(partial(kernels, seed=seed), X, y, classes),
        "mixture": lambda: density(partial(mixture, seed=seed), X, y, classes),
        "SMOTE": lambda: smote(X, y, classes, seed),
        "VAE": lambda: autoencoder(X, n, seed),
        "copula": lambda: sdv("GaussianCopula", X, y, n, seed),
        "TVAE": lambda: sdv("TVAE", X, y, n, seed),
        "CTGAN": lambda: sdv("CTGAN", X, y, n, seed),
        "ours": lambda: diffusion(X, y, classes, seed),
    }


# -- what is made of them ----------------------------------------------------------------


def judge(train: Frame, y: Labels, real: Frame, y_real: Labels, drawn: Drawn) -> Any:
    """Return all measures of drawn rows, by name."""
    rows, classes = drawn
    report = synthetic_report(real, rows, train)["value"]
    scores = {name: report[measure] for measure, name in NAMES.items()}
    scores["usefulness"] = np.nan
    if classes is not None:
        held_out, fitted, made = (
            part.assign(target=pd.Series(map(str, own), index=part.index))
            for part, own in ((real, y_real), (train, y), (rows, classes))
        )
        worth = usefulness(held_out, made, target="target")
        scores["usefulness"] = worth / usefulness(held_out, fitted, target="target")
    _, categories = numbers_and_categories(train)
    unknown = [
        (rows[c].notna() & ~rows[c].isin(train[c].dropna().unique())).mean()
        for c in categories
    ]
    scores["unknown"] = np.mean(unknown) if unknown else 0.0
    return scores


def numeric_tables(folder: Path) -> Iterator[tuple[str, Frame, Labels]]:
    """Yield names, frames of numbers, integers as integers, and classes."""
    for file in sorted(folder.glob("*.npz")):
        content = np.load(file)
        X = content["X"].reshape(len(content["X"]), -1).astype(float)
        if X.shape[1] > WIDEST:
            continue
        frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
        whole = [c for c in frame if (frame[c] == frame[c].round()).all()]
        frame = frame.astype(dict.fromkeys(whole, "int64"))
        yield file.stem, frame, pd.factorize(content["y"], sort=True)[0]


def compare(
    table: str, X: Frame, y: Labels, seed: int, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield measures and seconds of every model on one split of a table."""
    some = np.random.default_rng(seed).permutation(len(X))[: options.rows]
    split = train_test_split(
        X.iloc[some], y[some], test_size=0.3, stratify=y[some], random_state=seed
    )
    train, real, y_train, y_real = split
    makers = contestants(train, y_train, len(real), seed)
    models = {name: makers[name] for name in options.models}
    for name, drawn, seconds in timed(table, models, None):
        scores = judge(train, y_train, real, y_real, drawn)
        row = {"table": table, "seed": seed, "model": name, **scores}
        yield {**row, "seconds": seconds}


def report(title: str, found: Frame) -> None:
    """Print the AUROC by table, the means of all measures, and where ours is lower."""
    order = list(dict.fromkeys(found["model"]))
    means = found.drop(columns="seed").groupby(["table", "model"]).mean()
    wide = means["AUROC"].unstack("model").reindex(columns=order)
    print(f"\n{title}: AUROC of boosting that tells drawn from held-out rows")
    print(wide.round(3).to_string(na_rep=""), "\n")
    summary = means.groupby("model").mean().reindex(order)
    if found["seed"].nunique() > 1:
        by_seed = found.groupby(["seed", "model"])["AUROC"].mean()
        summary.insert(1, "(error)", by_seed.groupby("model").sem())
    summary["tables"] = means.groupby("model").size()
    print(summary.round(3).to_string(na_rep=""), flush=True)
    for other in order:
        if "ours" in order and other not in ("ours", "rows"):
            both = wide[["ours", other]].dropna()
            lower = int((both["ours"] < both[other]).sum())
            print(f"ours has a lower AUROC than {other} on {lower} of {len(both)} tables")


def main() -> None:
    """Let every model draw rows of every table, and print reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--mixed", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not (options.folder or options.mixed):
        parser.error("there is no folder of tables: pass DIR, --mixed DIR or both")
    warnings.simplefilter("ignore")
    absent = [
        name
        for name in options.models
        if name in NEEDS and find_spec(NEEDS[name]) is None
    ]
    if absent:
        print(f"left out, packages are missing: {', '.join(absent)}", file=sys.stderr)
    options.models = [name for name in options.models if name not in absent]
    results = []
    for title, source in (
        ("numbers", numeric_tables(options.folder) if options.folder else ()),
        ("mixed", tables(options.mixed, "generation") if options.mixed else ()),
    ):
        rows = []
        for table, X, y in source:
            if options.only and table not in options.only:
                continue
            for seed in options.seeds:
                rows += compare(table, X, y, seed, options)
            print(f"{table} done", file=sys.stderr)
            if options.out:
                pd.DataFrame(results + rows).to_csv(options.out, index=False)
        if rows:
            report(title, pd.DataFrame(rows))
        results += rows


if __name__ == "__main__":
    main()
