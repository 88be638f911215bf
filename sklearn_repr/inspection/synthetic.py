"""A report on synthetic rows: whether they pass for real ones, and are no copies."""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state, check_scalar

from sklearn_repr.inspection._alike import Cells, read_alike
from sklearn_repr.inspection.by_boosting import two_sample_auroc, usefulness
from sklearn_repr.inspection.closeness import (
    exact_copy_share,
    manifold_precision_recall,
    near_copy_share,
)
from sklearn_repr.inspection.marginals import dependence_differences, marginal_distances

__all__ = ["synthetic_report"]


def synthetic_report(
    real: ArrayLike,
    synthetic: ArrayLike,
    train: ArrayLike | None = None,
    *,
    target: Hashable = None,
    max_rows: int | None = 5000,
    random_state: int | np.random.RandomState | None = 0,
) -> pd.DataFrame:
    """Say in a few numbers whether synthetic rows can be trusted.

    Parameters
    ----------
    real : array-like or DataFrame of shape (n_samples, n_features)
        Real rows that the generator was not fitted on. Columns of a frame with
        categories, text or booleans are categories; cells may be missing.
    synthetic : array-like or DataFrame of shape (n_samples, n_features)
        Rows that were drawn, of the same columns.
    train : array-like, DataFrame or None, default=None
        Rows that the generator was fitted on. With them copies are counted, and every
        measure has a reference.
    target : name, int or None, default=None
        A column to predict from the others, by name or position; None leaves
        "usefulness" out.
    max_rows : int or None, default=5000
        As many rows are compared as the smaller of `real` and `synthetic` has, but not
        more than this; of larger tables they are drawn without replacement. None sets no
        bound. Copies are looked for among all of `train`.
    random_state : int, RandomState instance or None, default=0
        Seed of folds, classifiers and rows.

    Returns
    -------
    report : DataFrame
        A row for each measure:

        - "marginal_distance": mean of `marginal_distances`, 0 is best.
        - "missing_difference": mean difference of the shares of missing cells.
        - "dependence_difference": mean over pairs of columns, 0 is best.
        - "two_sample_auroc": 0.5 is best, 1 is always told; well below 0.5, copies.
        - "precision": share of synthetic rows that lie where real ones do.
        - "recall": share of real rows that lie where synthetic ones do.
        - "usefulness": score on `real` of a predictor trained on the synthetic rows.
        - "near_copies": share nearer to training rows than 99% of `real` are.
        - "exact_copies": share that equals a training row.

        "value" is the measure of the synthetic rows, "standard_error" its standard error
        where it has one, and "reference" the same measure of real rows in their place:
        of `train`, and of `real` for copies. NaN without `train`.

    Raises
    ------
    ValueError
        If the columns differ, one holds what cannot be compared, or a table has too few
        rows.

    See Also
    --------
    two_sample_auroc : Whether a classifier can tell them.
    near_copy_share : Whether they are copies of training rows.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KernelDensity
    >>> from sklearn_repr.inspection import synthetic_report
    >>> X = load_iris().data
    >>> train, real = X[::2], X[1::2]
    >>> drawn = KernelDensity(bandwidth=0.5).fit(train).sample(75, random_state=0)
    >>> report = synthetic_report(real, drawn, train)
    >>> list(report.columns)
    ['value', 'standard_error', 'reference']
    >>> bool(report.loc["two_sample_auroc", "value"] > 0.7)
    True
    """
    tables: dict[str, Any] = {"real": real, "synthetic": synthetic}
    if train is not None:
        tables["train"] = train
    if max_rows is not None:
        check_scalar(max_rows, "max_rows", Integral, min_val=1)
    rng = check_random_state(random_state)
    cells = read_alike(**tables)
    n = min(len(part) for part in cells[:2])
    n = n if max_rows is None else min(n, max_rows)
    first, second, *likes = (_some(part, n, rng) for part in cells)
    values, errors = _measures(first, second, target, random_state)
    reference: dict[str, float] = {}
    if likes:
        reference, _ = _measures(first, likes[0], target, random_state)
        fitted: Any = cells[2]
        for measured, rows in ((values, second), (reference, first)):
            measured["near_copies"] = near_copy_share(first, rows, fitted)
            measured["exact_copies"] = exact_copy_share(rows, fitted)
    return pd.DataFrame(
        {"value": values, "standard_error": errors, "reference": reference},
        index=list(values),
        dtype=np.float64,
    )


def _some(cells: Cells, most: int, rng: np.random.RandomState) -> Any:
    """Return the cells of at most so many rows, drawn without replacement."""
    if len(cells) <= most:
        return cells
    return cells.rows(np.sort(rng.permutation(len(cells))[:most]))


def _measures(
    real: Any, drawn: Any, target: Hashable, random_state: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """Return all measures that need no training rows, and their standard errors."""
    marginals = marginal_distances(real, drawn)
    differences = dependence_differences(real, drawn).to_numpy()
    pairs = differences[np.triu_indices(len(differences), 1)]
    auroc, error = two_sample_auroc(real, drawn, random_state=random_state)
    precision, recall = manifold_precision_recall(real, drawn)
    values = {
        "marginal_distance": marginals["distance"].mean(),
        "missing_difference": marginals["missing"].mean(),
        "dependence_difference": pairs.mean() if len(pairs) else 0.0,
        "two_sample_auroc": auroc,
        "precision": precision,
        "recall": recall,
    }
    if target is not None:
        values["usefulness"] = usefulness(
            real, drawn, target=target, random_state=random_state
        )
    return values, {"two_sample_auroc": error}
