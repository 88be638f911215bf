"""Do the scorers without labels choose the detectors that labels would choose?

usage: python benchmarks/detection_scorers.py DIR

DIR holds ``*.npz`` with X and y (1 = outlier). Five detectors of scikit-learn are fitted
on half of at most 3,000 inliers. The other half alone is what the scorers see; with at
most 1,000 outliers it gives the AUROC. Counted are pairs of detectors whose AUROC differs
by more than 1: in how many of them has the better one the higher score. "lost" is the
AUROC of the best detector minus that of the one chosen, beside what a random choice would
lose. "narrow" tables have at most 12 columns.
"""

from __future__ import annotations

import argparse
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from sklearn_repr.inspection import excess_mass_score, mass_volume_score

DETECTORS = (
    IsolationForest(random_state=0),
    IsolationForest(n_estimators=4, random_state=0),
    LocalOutlierFactor(novelty=True),
    LocalOutlierFactor(3, novelty=True),
    OneClassSVM(nu=0.1),
)
SCORERS = {"excess mass": excess_mass_score, "mass-volume": mass_volume_score}
MOST_INLIERS, MOST_OUTLIERS, NARROW = 3000, 1000, 12


def judge(X, y) -> list[dict]:
    """Return one row a scorer: agreeing pairs, pairs, and what its choice loses."""
    rng = np.random.default_rng(0)
    inliers = rng.permutation(np.flatnonzero(y == 0))[:MOST_INLIERS]
    fitted, fresh = np.array_split(inliers, [len(inliers) // 2])
    test = np.r_[fresh, np.flatnonzero(y == 1)[:MOST_OUTLIERS]]
    rows = StandardScaler().fit(X[fitted]).transform(X)
    auroc, scores = [], {name: [] for name in SCORERS}
    for detector in DETECTORS:
        detector.fit(rows[fitted])
        auroc.append(100 * roc_auc_score(y[test], -detector.score_samples(rows[test])))
        for name, scorer in SCORERS.items():
            scores[name].append(scorer(detector, rows[fresh]))
    numbers = range(len(DETECTORS))
    pairs = [
        p for p in combinations(numbers, 2) if abs(np.subtract(*np.take(auroc, p))) > 1
    ]
    found = []
    for name, values in scores.items():
        agree = sum((auroc[a] > auroc[b]) == (values[a] > values[b]) for a, b in pairs)
        lost = max(auroc) - auroc[int(np.argmax(values))]
        row = {"scorer": name, "narrow": X.shape[1] <= NARROW, "agree": agree}
        row |= {"pairs": len(pairs), "lost": lost, "random": max(auroc) - np.mean(auroc)}
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for path in sorted(options.folder.glob("*.npz")):
        file = np.load(path)
        rows += judge(file["X"].astype(float), file["y"])
    groups = pd.DataFrame(rows).groupby(["scorer", "narrow"])
    sums = groups[["agree", "pairs"]].sum()
    table = sums.assign(tables=groups.size()).join(groups[["lost", "random"]].mean())
    print(table.round(1).to_string())


if __name__ == "__main__":
    main()
