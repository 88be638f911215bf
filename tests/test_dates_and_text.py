"""Dates and free text by skrub, in front of ours."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "dates_and_text.py"


def test_a_table_with_dates_and_text_behind_skrub():
    pytest.importorskip("skrub")
    parts = runpy.run_path(str(EXAMPLE), run_name="example")
    table = parts["orders"]()
    pipeline = parts["make_detector"]().fit(table)
    scores = pipeline.score_samples(table)
    assert np.isfinite(scores).all()
    wrong = table.head(20).assign(kind="garden", note="bread knife", price=500.0)
    assert pipeline.score_samples(wrong).max() < np.quantile(scores, 0.05)
    read = pipeline[:-1].transform(table)
    assert read["price"].isna().any()  # holes are ours to look at
    cells = pipeline[-1].explain(read, as_frame=True)
    kinds = cells.loc[cells["column"] == "kind", "expected"]
    assert set(kinds) <= set(parts["GOODS"])
