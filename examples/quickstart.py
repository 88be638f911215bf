"""The package on data that ships with scikit-learn: search, outliers, pictures.

Run with ``make demo``; prints one table and writes ``examples/quickstart.png``.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_repr import (
    AutoencoderTransformer,
    ContrastiveEmbedder,
    DenoisingAutoencoder,
    ReconstructionOutlierDetector,
)
from sklearn_repr.inspection import reconstruction_r2

PICTURE = Path(__file__).with_suffix(".png")


def search_reducers() -> list[dict]:
    """Search over the reducer in front of a classifier of digits; 200 labels train it."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, train_size=200, random_state=0)
    pipeline = Pipeline(
        [
            ("reduce", PCA()),
            ("scale", StandardScaler()),
            ("classify", LogisticRegression(max_iter=1000)),
        ]
    )
    reducers = [
        PCA(16),
        AutoencoderTransformer(16, random_state=0),
        DenoisingAutoencoder(16, random_state=0),
        ContrastiveEmbedder(64, random_state=0),
    ]
    search = GridSearchCV(pipeline, {"reduce": reducers}, cv=3, n_jobs=2)
    search.fit(X, y)
    rows = [
        {
            "task": "digits: accuracy",
            "method": type(params["reduce"]).__name__,
            "score": score,
            "value": f"{score:.3f}",
        }
        for params, score in zip(
            search.cv_results_["params"],
            search.cv_results_["mean_test_score"],
            strict=True,
        )
    ]
    test = search.score(X_test, y_test)
    best = type(search.best_params_["reduce"]).__name__
    rows.append(
        {
            "task": "digits: test accuracy",
            "method": f"best of the search ({best})",
            "value": f"{test:.3f}",
        }
    )
    return rows


def probe_with_few_labels() -> list[dict]:
    """Embed all digits without labels; 5 labels a digit train a classifier."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    draws = [
        np.concatenate([rng.permutation(np.flatnonzero(y == d))[:5] for d in range(10)])
        for rng in map(np.random.default_rng, range(10))
    ]
    table = []
    for name, embedder in {
        "raw pixels": FunctionTransformer(),
        "PCA(16)": PCA(16),
        "ContrastiveEmbedder": ContrastiveEmbedder(random_state=0),
    }.items():
        embedder = make_pipeline(StandardScaler(), embedder, StandardScaler()).fit(X)
        Z, Z_test = embedder.transform(X), embedder.transform(X_test)
        scores = [
            LogisticRegression(max_iter=1000).fit(Z[few], y[few]).score(Z_test, y_test)
            for few in draws
        ]
        table.append(
            {
                "task": "digits, 5 labels each: accuracy",
                "method": name,
                "value": f"{np.mean(scores):.3f}",
            }
        )
    return table


def tumours() -> tuple[pd.DataFrame, np.ndarray]:
    """Return 357 benign tumours and 40 malignant ones, which are the outliers."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    rows = np.r_[np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:40]]
    return X.iloc[rows], (y.iloc[rows] == 0).to_numpy()


def find_outliers() -> list[dict]:
    """Find malignant tumours among benign ones, fitted without labels."""
    X, outlier = tumours()
    detectors = [
        ReconstructionOutlierDetector(random_state=0),
        ReconstructionOutlierDetector(PCA(5)),
        IsolationForest(random_state=0),
    ]
    names = [
        "ReconstructionOutlierDetector",
        "ReconstructionOutlierDetector(PCA)",
        "IsolationForest",
    ]
    table = []
    for name, detector in zip(names, detectors, strict=True):
        score = -detector.fit(X).score_samples(X)
        auroc = roc_auc_score(outlier, score)
        precision = average_precision_score(outlier, score)
        table.append(
            {
                "task": "breast cancer: AUROC / average precision",
                "method": name,
                "value": f"{auroc:.3f} / {precision:.3f}",
            }
        )
    return table


def explain_an_outlier() -> tuple[str, pd.DataFrame]:
    """Say what makes the most abnormal tumour so, in the table's own units."""
    X, _ = tumours()
    detector = ReconstructionOutlierDetector(random_state=0).fit(X)
    worst = X.iloc[[int(detector.anomaly_score(X).argmax())]]
    probability = detector.outlier_probability(worst)[0]
    cells = detector.explain(worst, as_frame=True).head(3)
    title = (
        f"Most abnormal: tumour {worst.index[0]}, an outlier with probability"
        f" {probability:.2f}. Cells that contribute most:"
    )
    return title, cells.drop(columns="row")


def draw() -> list[dict]:
    """Draw digits in two dimensions, and as rebuilt from them and from sixteen."""
    X, y = load_digits(return_X_y=True)
    train, test, _, labels = train_test_split(X, y, random_state=0)
    models = {
        (type(model).__name__, k): model.fit(train)
        for k in (2, 16)
        for model in (PCA(k), AutoencoderTransformer(k, scaling=None, random_state=0))
    }
    figure = plt.figure(figsize=(11, 7.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[3, 2])
    axes = top.subplots(1, 2)
    for ax, name in zip(axes, ("PCA", "AutoencoderTransformer"), strict=True):
        Z = models[name, 2].transform(test)
        points = ax.scatter(*Z.T, c=labels, cmap="tab10", vmin=-0.5, vmax=9.5, s=12)
        ax.set(title=f"{name}(2)", xlabel="component 0", ylabel="component 1")
    top.colorbar(points, ax=axes, ticks=range(10), label="digit")
    rows = {"original": test} | {
        f"{name}({k})": model.inverse_transform(model.transform(test))
        for (name, k), model in models.items()
    }
    shown = [int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]
    for line, (name, table) in zip(
        bottom.subplots(len(rows), 10), rows.items(), strict=True
    ):
        for ax, i in zip(line, shown, strict=True):
            ax.imshow(table[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    bottom.suptitle("Held-out digits, rebuilt")
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)
    return [
        {
            "task": "digits: R² of the reconstruction",
            "method": f"{name}({k})",
            "value": f"{reconstruction_r2(model, test):.3f}",
        }
        for (name, k), model in models.items()
    ]


def main() -> None:
    """Run the parts; print one table and one explanation."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    table = pd.DataFrame(
        [*search_reducers(), *probe_with_few_labels(), *find_outliers(), *draw()]
    )
    table = table[["task", "method", "value"]]
    table["task"] = table["task"].mask(table["task"].duplicated(), "")
    print(table.to_string(index=False, justify="left"))
    title, cells = explain_an_outlier()
    print(f"\n{title}")
    print(cells.to_string(index=False, float_format="{:.3g}".format, justify="left"))
    print(f"\nPicture: {os.path.relpath(PICTURE)}")


if __name__ == "__main__":
    main()
