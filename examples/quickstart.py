"""The package on data that ships with scikit-learn: search, outliers, holes, pictures.

Run with ``make demo``; prints one table and what is behind some of its rows, and writes
``examples/quickstart.png``.
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sklearn_repr import (
    AutoencoderImputer,
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


@cache
def wines() -> tuple[pd.DataFrame, np.ndarray]:
    """Return wines with the name of their cultivar, and which cells are to be hidden."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = X.astype({"magnesium": "Int64", "proline": "Int64"})
    X.insert(0, "cultivar", np.array(["Barolo", "Grignolino", "Barbera"])[y])
    X = X.rename(columns={"od280/od315_of_diluted_wines": "od280/od315"})
    return X, np.random.default_rng(0).random(X.shape) < 0.1


@cache
def mixed_up_wines() -> tuple[pd.DataFrame, np.ndarray]:
    """Exchange the cultivar and three numbers of ten wines with those of another kind."""
    X, hidden = wines()
    rng = np.random.default_rng(0)
    exchanged = np.zeros(X.shape, dtype=bool)
    table = X.mask(hidden)
    for i in rng.permutation(len(X))[:10]:
        donor = rng.choice(np.flatnonzero(X["cultivar"] != X["cultivar"].iloc[i]))
        for j in (0, *(1 + rng.permutation(X.shape[1] - 1)[:3])):
            table.iloc[i, j] = X.iloc[donor, j]
            exchanged[i, j] = True
    return table, exchanged


def simple_imputer() -> Any:
    """Return what fills numbers by their mean and labels by the most frequent one."""
    labels = make_column_selector(pattern="cultivar")
    return make_column_transformer(
        (SimpleImputer(strategy="most_frequent"), labels),
        remainder=SimpleImputer(),
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")


def plain(X: pd.DataFrame) -> pd.DataFrame:
    """Return a frame as scikit-learn's imputers want it, without nullable columns."""
    return X.astype({name: float for name in X if name != "cultivar"})


@cache
def wine_detector() -> ReconstructionOutlierDetector:
    """Fit a detector to the table as it is: text, integers, numbers and holes."""
    return ReconstructionOutlierDetector(random_state=0).fit(mixed_up_wines()[0])


def find_mixed_up_wines() -> list[dict]:
    """Find the wines with exchanged cells."""
    table, exchanged = mixed_up_wines()
    outlier = exchanged.any(axis=1)
    numbers = make_pipeline(
        simple_imputer(),
        make_column_transformer((OneHotEncoder(), ["cultivar"]), remainder="passthrough"),
        IsolationForest(random_state=0),
    ).fit(plain(table))
    scores = {
        "ReconstructionOutlierDetector": wine_detector().anomaly_score(table),
        "IsolationForest on imputed, one-hot": -numbers.score_samples(plain(table)),
    }
    return [
        {
            "task": "mixed-up wines: AUROC / average precision",
            "method": name,
            "value": f"{roc_auc_score(outlier, score):.3f} / "
            f"{average_precision_score(outlier, score):.3f}",
        }
        for name, score in scores.items()
    ]


@cache
def filled_wines() -> dict[str, pd.DataFrame]:
    """Fill the hidden cells of the wines."""
    X, hidden = wines()
    holed = X.mask(hidden)
    ours = AutoencoderImputer(round_integers=True, random_state=0)
    return {
        "AutoencoderImputer": ours.fit_transform(holed),
        "SimpleImputer": simple_imputer().fit_transform(plain(holed)),
    }


def errors_in_deviations(filled: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return hidden numbers, true and filled in, both standardised."""
    X, hidden = wines()
    numbers = X.columns[1:]
    scaler = StandardScaler().fit(X[numbers].astype(float))
    true = scaler.transform(X[numbers].astype(float))
    said = scaler.transform(filled[numbers].astype(float))
    return true[hidden[:, 1:]], said[hidden[:, 1:]]


def fill_holes() -> list[dict]:
    """Compare what fills hidden cells with what was there."""
    X, hidden = wines()
    table = []
    for name, filled in filled_wines().items():
        true, said = errors_in_deviations(filled)
        error = np.sqrt(np.square(said - true).mean())
        right = (filled["cultivar"] == X["cultivar"])[hidden[:, 0]].mean()
        table.append(
            {
                "task": "wines, hidden cells: RMSE / accuracy of cultivars",
                "method": name,
                "value": f"{error:.3f} / {right:.3f}",
            }
        )
    return table


@cache
def doubtful_labels() -> tuple[str, pd.DataFrame]:
    """Return the cultivars that fit the rest of their record least."""
    table, _ = mixed_up_wines()
    cells = wine_detector().explain(table, as_frame=True)
    cells = cells[cells["column"] == "cultivar"].nlargest(5, "contribution")
    cells["true"] = wines()[0]["cultivar"].to_numpy()[cells["row"]]
    title = f"Of {len(table)} wines, those whose cultivar fits their other cells least:"
    return title, cells.drop(columns="column").rename(columns={"row": "wine"})


def explain_a_wine() -> tuple[str, pd.DataFrame]:
    """Say what is abnormal about the first of them."""
    table, exchanged = mixed_up_wines()
    wine = int(doubtful_labels()[1]["wine"].iloc[0])
    cells = wine_detector().explain(table.iloc[[wine]], as_frame=True).head(4)
    was_exchanged = dict(zip(table.columns, exchanged[wine], strict=True))
    cells["exchanged"] = cells["column"].map(was_exchanged)
    title = f"Wine {wine}, the first of these. Cells that contribute most:"
    return title, cells.drop(columns="row")


def show_filled_cells() -> tuple[str, pd.DataFrame]:
    """Return some hidden cells, true and filled in."""
    X, hidden = wines()
    wine = int(hidden.sum(axis=1).argmax())
    names = X.columns[hidden[wine]]
    cells = {"column": names, "true": X.loc[wine, names].to_list()}
    for name, filled in filled_wines().items():
        cells[name] = filled.loc[wine, names].to_list()
    return f"Wine {wine}, the one with most hidden cells:", pd.DataFrame(cells)


def draw_wines(figure: Any) -> None:
    """Draw which cells are abnormal, and hidden cells beside what fills them."""
    table, exchanged = mixed_up_wines()
    rows = np.flatnonzero(exchanged.any(axis=1))
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    contributions = wine_detector().explain(table.iloc[rows])
    shown = left.imshow(
        np.ma.masked_where(table.iloc[rows].isna(), contributions),
        cmap="Reds",
        aspect="auto",
        vmin=0,
    )
    left.set_facecolor("lightgray")
    for y, x in zip(*np.nonzero(exchanged[rows]), strict=True):
        left.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, lw=1.5))
    left.set_xticks(
        range(table.shape[1]), table.columns, rotation=40, ha="right", fontsize=8
    )
    left.set_yticks(range(len(rows)), [f"{i}" for i in rows], fontsize=8)
    title = "Mixed-up wines: boxed cells are exchanged, grey ones missing"
    left.set(title=title, ylabel="wine")
    figure.colorbar(shown, ax=left, label="contribution")
    for (name, filled), marker in zip(filled_wines().items(), "o_", strict=True):
        true, said = errors_in_deviations(filled)
        right.plot(true, said, marker, ms=4, alpha=0.7, label=name)
    right.axline((0, 0), slope=1, color="gray", lw=0.8)
    right.set(
        title="Hidden cells of wines, in standard deviations",
        xlabel="true",
        ylabel="filled in",
    )
    right.legend(fontsize=8)


def draw() -> list[dict]:
    """Draw digits in two dimensions, and as rebuilt from them and from sixteen."""
    X, y = load_digits(return_X_y=True)
    train, test, _, labels = train_test_split(X, y, random_state=0)
    models = {
        (type(model).__name__, k): model.fit(train)
        for k in (2, 16)
        for model in (PCA(k), AutoencoderTransformer(k, scaling=None, random_state=0))
    }
    figure = plt.figure(figsize=(11, 11.5), layout="constrained")
    top, bottom, last = figure.subfigures(3, 1, height_ratios=[3, 2, 2.6])
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
    draw_wines(last)
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
    """Run the parts; print one table and what is behind some of its rows."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    table = pd.DataFrame(
        [
            *search_reducers(),
            *probe_with_few_labels(),
            *find_outliers(),
            *find_mixed_up_wines(),
            *fill_holes(),
            *draw(),
        ]
    )
    table = table[["task", "method", "value"]]
    table["task"] = table["task"].mask(table["task"].duplicated(), "")
    print(table.to_string(index=False, justify="left"))
    for explain in (
        explain_an_outlier,
        doubtful_labels,
        explain_a_wine,
        show_filled_cells,
    ):
        title, cells = explain()
        shown = cells.map(lambda v: f"{v:.3g}" if isinstance(v, float) else v)
        print(f"\n{title}")
        print(shown.to_string(index=False, justify="left"))
    print(f"\nPicture: {os.path.relpath(PICTURE)}")


if __name__ == "__main__":
    main()
