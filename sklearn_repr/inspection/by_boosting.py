"""What gradient boosting makes of drawn rows: can tell them, can learn from them."""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_scalar

from sklearn_repr.inspection._alike import Cells, Values, read_alike

__all__ = ["two_sample_auroc", "usefulness"]

# Most levels of a category that boosting keeps apart; the rare ones beyond share one
MOST_LEVELS = 255
# Whole numbers of at most so many different values are taken for classes
MOST_CLASSES = 20


def two_sample_auroc(
    real: ArrayLike,
    synthetic: ArrayLike,
    *,
    cv: int = 5,
    random_state: int | np.random.RandomState | None = 0,
) -> tuple[float, float]:
    r"""How well a classifier tells synthetic rows from real ones: 0.5 is best.

    scikit-learn's gradient boosting is trained to tell them and scores the rows of the
    fold that it has not seen. With these scores s of rows x of `real` and x' of
    `synthetic`,

    .. math:: \frac{1}{n m} \sum_{i, j} [s(x_i) < s(x'_j)] + \tfrac12 [s(x_i) = s(x'_j)]

    Parameters
    ----------
    real, synthetic : array-like or DataFrame of shape (n_samples, n_features)
        Tables of the same columns, best of the same number of rows. `real` are rows that
        the generator was not fitted on. Columns of a frame with categories, text or
        booleans are categories.
    cv : int, default=5
        Number of stratified folds.
    random_state : int, RandomState instance or None, default=0
        Seed of the folds and of the classifier.

    Returns
    -------
    auroc : float
        0.5 if the rows cannot be told apart, 1 if they always can. Well below 0.5,
        synthetic rows are copies of rows of `real`: of a row and its copy, a classifier
        that was trained on one gives its class to the other.
    standard_error : float
        Of `auroc`: DeLong's for given classifiers, times :math:`\sqrt{1 + k / (k - 1)}`
        with k = `cv`, because those of all folds are trained on much the same rows
        (Nadeau and Bengio).

    Raises
    ------
    ValueError
        If the columns differ, one holds what cannot be compared, or a table has fewer
        rows than there are folds.

    See Also
    --------
    usefulness : What a classifier learns from synthetic rows.

    References
    ----------
    Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017,
    arXiv:1610.06545.

    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated
    receiver operating characteristic curves: a nonparametric approach", Biometrics 44
    (1988).

    Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52
    (2003).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.inspection import two_sample_auroc
    >>> rng = np.random.default_rng(0)
    >>> real, drawn = rng.normal(size=(2, 200, 2))
    >>> auroc, error = two_sample_auroc(real, drawn)
    >>> abs(auroc - 0.5) < 3 * error
    True
    >>> two_sample_auroc(real, drawn + 5.0)[0] > 0.95
    True
    """
    check_scalar(cv, "cv", Integral, min_val=2)
    first, second = read_alike(real=real, synthetic=synthetic)
    if min(len(first), len(second)) < cv:
        raise ValueError(
            f"real has {len(first)} rows and synthetic {len(second)}, of which each fold"
            f" of cv={cv} takes one at least: lower cv or pass more rows."
        )
    values = np.vstack([first.values, second.values])
    drawn = np.repeat([0, 1], [len(first), len(second)])
    scores = np.zeros(len(values))
    folds = StratifiedKFold(cv, shuffle=True, random_state=random_state)
    for seen, unseen in folds.split(values, drawn):
        A, B = _learnable(values[seen], values[unseen], first.categorical)
        model = HistGradientBoostingClassifier(
            categorical_features=first.categorical,
            early_stopping=False,
            random_state=random_state,
        )
        scores[unseen] = model.fit(A, drawn[seen]).predict_proba(B)[:, 1]
    auroc, error = _auroc(scores[drawn == 0], scores[drawn == 1])
    return auroc, error * (1.0 + cv / (cv - 1)) ** 0.5


def usefulness(
    real: ArrayLike,
    synthetic: ArrayLike,
    *,
    target: Hashable = -1,
    random_state: int | np.random.RandomState | None = 0,
) -> float:
    """Score on real rows of a predictor that is trained on synthetic ones.

    Gradient boosting learns one column from the others. Divide by its score when it is
    trained on real rows that are not in `real`, ``usefulness(real, train)``: with 1 the
    synthetic rows are worth as much as real ones.

    Parameters
    ----------
    real, synthetic : array-like or DataFrame of shape (n_samples, n_features)
        Tables of the same columns. `real` are rows that the generator was not fitted on.
        Columns of a frame with categories, text or booleans are categories.
    target : name or int, default=-1
        The column to predict: its name in a frame, else its position.
    random_state : int, RandomState instance or None, default=0
        Seed of the predictor.

    Returns
    -------
    score : float
        Accuracy where the target is a category, or whole numbers of at most 20 different
        values in `real`, to which drawn ones are rounded; else R².

    Raises
    ------
    ValueError
        If the columns differ, one holds what cannot be compared, there is no such
        target, or a table has no row in which it is known.

    See Also
    --------
    two_sample_auroc : Whether a classifier can tell synthetic rows from real ones.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr.inspection import usefulness
    >>> iris = load_iris(as_frame=True).frame
    >>> train, real = iris[::2], iris[1::2]
    >>> shuffled = train.assign(target=np.random.default_rng(0).permutation(train.target))
    >>> usefulness(real, shuffled, target="target") / usefulness(real, train) < 0.6
    True
    """
    first, second = read_alike(real=real, synthetic=synthetic)
    j = _position(first, target)
    known = [~np.isnan(cells.values[:, j]) for cells in (first, second)]
    if not (known[0].any() and known[1].any()):
        raise ValueError(
            f"The target {target!r} is missing in all rows of real or of synthetic."
        )
    y, y_drawn = (
        cells.values[own, j] for cells, own in zip((first, second), known, strict=True)
    )
    others = np.arange(first.values.shape[1]) != j
    categorical = first.categorical[others]
    A, B = _learnable(
        second.values[known[1]][:, others], first.values[known[0]][:, others], categorical
    )
    settings = {
        "categorical_features": categorical,
        "early_stopping": False,
        "random_state": random_state,
    }
    if first.categorical[j] or _are_classes(y):
        classifier = HistGradientBoostingClassifier(**settings).fit(A, np.round(y_drawn))
        return float(accuracy_score(y, classifier.predict(B)))
    regressor = HistGradientBoostingRegressor(**settings).fit(A, y_drawn)
    return float(r2_score(y, regressor.predict(B)))


def _are_classes(y: Values) -> bool:
    return bool((y == np.round(y)).all()) and len(np.unique(y)) <= MOST_CLASSES


def _position(cells: Cells, target: Hashable) -> int:
    """Return the number of the target's column; names come before positions."""
    names, d = cells.names, len(cells.names)
    if d < 2:
        raise ValueError("There is no column to predict the target from.")
    if target in names:
        return names.index(target)
    if isinstance(target, int | np.integer) and -d <= target < d:
        return int(target) % d
    raise ValueError(
        f"target={target!r} is neither the name nor the position of a column: there are"
        f" {d}, {names[:10]}."
    )


def _learnable(
    train: Values, test: Values, categorical: NDArray[np.bool_]
) -> tuple[Values, Values]:
    """Return what boosting takes: few levels, and in training no column of holes."""
    unseen = np.isnan(train).all(axis=0)
    parts = []
    for part in (train, test):
        levels = np.minimum(part, MOST_LEVELS - 1)
        kept = np.where(categorical, levels, part)
        parts.append(np.where(unseen, 0.0, kept))
    return parts[0], parts[1]


def _auroc(low: Any, high: Any) -> tuple[float, float]:
    """Return the area under the ROC curve of scores, and its error over rows."""
    n, m = len(low), len(high)
    ranks = rankdata(np.concatenate([low, high]))
    # by row, the share of the other side's rows that are on the right side of it
    above = 1.0 - (ranks[:n] - rankdata(low)) / m
    below = (ranks[n:] - rankdata(high)) / n
    variance = np.var(above, ddof=1) / n + np.var(below, ddof=1) / m
    return float(below.mean()), float(np.sqrt(variance))
