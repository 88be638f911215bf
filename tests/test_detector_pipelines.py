"""The detector as the last step of a pipeline, and the page that says how to use it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_repr
from sklearn_repr import ReconstructionOutlierDetector

PAGE = Path(sklearn_repr.__file__).parents[1] / "docs" / "outliers.md"


def spoilt_table():
    """A table in which the "price" of row "r7" does not go with its "size"."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=120)
    cells = {"size": size, "price": 3 * size + 0.1 * rng.normal(size=120)}
    cells["kind"] = np.where(size > 0, "big", "small")
    frame = pd.DataFrame(cells, index=[f"r{i}" for i in range(120)])
    frame.loc["r7", "price"] = frame.loc["r7", "price"] - 9
    return frame


def fitted_pipeline(frame, detector):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    prepare = make_column_transformer(
        (numbers, ["price", "size"]),
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    pipeline = make_pipeline(prepare, detector).set_output(transform="pandas")
    return pipeline.fit(frame)


@pytest.mark.parametrize(
    "detector",
    [
        ReconstructionOutlierDetector(random_state=0),
        ReconstructionOutlierDetector(PCA(1), random_state=0, calibration=0.3),
    ],
    ids=["ensemble", "PCA"],
)
def test_the_last_step_is_asked_what_a_pipeline_has_no_method_for(detector):
    frame = spoilt_table()
    pipeline = fitted_pipeline(frame, detector)
    last, prepared = pipeline[-1], pipeline[:-1].transform(frame)
    np.testing.assert_array_equal(last.feature_names_in_, ["price", "size", "kind"])

    cells = last.explain(prepared, as_frame=True)
    assert set(cells["row"]) == set(frame.index)
    sums = cells.groupby("row")["contribution"].sum()[frame.index]
    np.testing.assert_allclose(sums, -pipeline.score_samples(frame))
    assert sums.idxmax() == "r7"
    first = cells[cells["row"] == "r7"].iloc[0]
    assert first["column"] in {"price", "size"}
    kinds = cells[cells["column"] == "kind"]
    assert set(kinds["observed"]) == set(kinds["expected"]) == {"big", "small"}

    last.set_threshold("quantile", contamination=0.05)
    assert (pipeline.predict(frame) == -1).sum() == 6
    chances = last.outlier_probability(prepared)
    np.testing.assert_array_equal(chances > 0.5, pipeline.predict(frame) == -1)


def test_p_values_and_conformal_thresholds_through_a_pipeline():
    frame = spoilt_table()
    detector = ReconstructionOutlierDetector(PCA(1), random_state=0, calibration=0.5)
    pipeline = fitted_pipeline(frame, detector)
    pipeline[-1].set_threshold("conformal", false_alarm_rate=0.1)
    p = pipeline[-1].p_values(pipeline[:-1].transform(frame), smoothed=False)
    np.testing.assert_array_equal(p <= 0.1, pipeline.predict(frame) == -1)


def test_the_page_runs_as_it_stands(capsys):
    names = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        exec("\n".join(blocks), names)  # noqa: S102
    assert capsys.readouterr().out == "rent 300.0\n"
    assert names["detector"].predict(names["prepared"])[7] == -1
    assert names["search"].best_score_ > 0.5
