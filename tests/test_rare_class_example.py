"""The example that balances a rare class."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "balance_a_rare_class.py"


def test_rare_rows_are_added_to_the_training_rows_alone():
    parts = runpy.run_path(str(EXAMPLE), run_name="example")
    (X, y), (X_test, y_test) = parts["split"](0)
    assert (y == 1).sum() == parts["RARE"]
    assert not set(X.index) & set(X_test.index)
    assert len(X) + len(X_test) == 569
    assert (y_test == 1).sum() == 212 - parts["RARE"]
    # rare rows again, in place of a model
    again = lambda X, y, n, seed: X[y == 1].sample(n, replace=True)  # noqa: E731
    more, labels = parts["balanced"](X, y, again, 0)
    assert (labels == 1).sum() == (labels == 0).sum() == (y == 0).sum()
    np.testing.assert_array_equal(more[: len(X)], X)
    np.testing.assert_array_equal(labels[: len(X)], y)
    scores = list(parts["judged"]((more, labels), (X_test, y_test), "again"))
    assert all(row["balanced accuracy"] > 0.8 for row in scores)


def test_without_imbalanced_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imblearn", None)
    parts = runpy.run_path(str(EXAMPLE), run_name="example")
    X, y = parts["split"](0)[0]
    with pytest.raises(ImportError, match=r"SMOTE needs imblearn.*sklearn_repr\[bench\]"):
        parts["balanced"](X, y, parts["interpolated"], 0)
