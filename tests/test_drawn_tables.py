"""Rows that LatentDiffusion draws look like the table that it saw, whatever that is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from sklearn_repr import LatentDiffusion, load, save


def quick(autoencoder=None, **settings):
    given = {"hidden_layer_sizes": (16,), "sampling_steps": 5, "max_steps": 20}
    return LatentDiffusion(autoencoder, **{**given, "random_state": 0, **settings})


@pytest.mark.parametrize("kind", ["classes", "words", "numbers"])
def test_files_know_what_rows_are_drawn_by(kind, tmp_path):
    X, y = load_iris(return_X_y=True, as_frame=True)
    y = {"classes": y, "words": y.map(list("abc").__getitem__), "numbers": y / 2}[kind]
    model = quick(max_steps=2).fit(X, y)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    asked = {"n_samples": 3, "y": y.iloc[-1], "random_state": 0}
    pd.testing.assert_frame_equal(again.sample(**asked), model.sample(**asked))


def test_counts_may_be_integers_of_numpy():
    X = load_iris().data
    model = quick(max_steps=2).fit(X)
    assert model.sample(np.int64(3)).shape == (3, 4)
    assert model.interpolate(X[:1], X[1:2], np.int32(2)).shape == (2, 4)
