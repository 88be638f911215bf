"""Write small files of this version, which the tests of later versions load.

``make golden`` adds what is missing in ``tests/golden/<version>``. Files of a version
that was released are never written again.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from sklearn.utils import get_tags

import sklearn_repr
from sklearn_repr.utils.discovery import all_estimators

FOLDER = Path(__file__).parent / "golden"
SMALL = {
    "n_components": 3,
    "hidden_layer_sizes": (16,),
    "projection_dim": 4,
    "max_iter": 2,
    "n_steps": 5,
    "random_state": 0,
}
METHODS = "transform", "reconstruct", "score_samples", "predict"
CLASSES = np.arange(30) % 2


def numbers():
    """30 rows and 4 columns, the same everywhere."""
    phase = np.arange(30.0)[:, None] * [0.7, 1.1, 1.9, 2.3]
    return np.sin(phase) * [1, 10, 0.1, 5] + [0, 3, 0, -100]


def frame():
    """The same with categories, a missing number and a missing level."""
    kinds = pd.Categorical(np.array(["x", "y", "é"])[np.arange(30) % 3])
    table = pd.DataFrame(numbers()[:, :2], columns=["a", "b"])
    table = table.assign(kind=kinds, flag=np.arange(30) % 4 == 0)
    table.iloc[5, 1], table.iloc[7, 2] = np.nan, None
    return table


def small(estimator):
    names = estimator.get_params()
    if "encoder" in names:
        estimator.set_params(encoder=small(sklearn_repr.AutoencoderTransformer()))
    return estimator.set_params(**{k: v for k, v in SMALL.items() if k in names})


def examples():
    """Yield name, fitted estimator and its table."""
    made = {name: small(cls()) for name, cls in all_estimators()}
    inner = small(sklearn_repr.MaskedAutoencoder())
    made["AutoencoderImputer"] = sklearn_repr.AutoencoderImputer(inner)
    detector = sklearn_repr.ReconstructionOutlierDetector
    made["detector-PCA"] = detector(PCA(2), calibration=3, random_state=0)
    made["detector-novelty"] = small(detector(novelty=True))
    reducer = small(sklearn_repr.AutoencoderTransformer(tied_weights=True))
    made["pipeline"] = make_pipeline(QuantileTransformer(n_quantiles=10), reducer)
    for name, estimator in made.items():
        X, required = numbers(), get_tags(estimator).target_tags.required
        if isinstance(estimator, sklearn_repr.PairedEmbedder):
            y = X[:, ::-1]
        else:
            y = CLASSES if required else None
        yield name, estimator.fit(X, y), X
    table = frame()
    yield (
        "frame-autoencoder",
        small(sklearn_repr.AutoencoderTransformer()).fit(table),
        table,
    )
    yield "frame-detector", small(detector()).fit(table), table


def answers(estimator, X):
    """Return what methods say, as arrays without objects."""
    found = {}
    for name in METHODS:
        if hasattr(estimator, name):
            said = getattr(estimator, name)(X)
            if isinstance(said, pd.DataFrame):
                found[f"{name}_kind"] = said.pop("kind").astype(str).to_numpy(str)
                said = said.to_numpy(float)
            found[name] = np.asarray(said)
    if getattr(estimator, "calibration", "auto") != "auto":
        # smoothed ones depend on the last bits of rows
        found["p_values"] = estimator.p_values(X, smoothed=False)
    return found


def table_of(name):
    return frame() if name.startswith("frame-") else numbers()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = FOLDER / sklearn_repr.__version__
    folder.mkdir(parents=True, exist_ok=True)
    for name, estimator, X in examples():
        path = folder / f"{name}.safetensors"
        if not path.exists():
            sklearn_repr.save(estimator, path)
            np.savez_compressed(path.with_suffix(".npz"), **answers(estimator, X))
            print(f"{path.stat().st_size:8,d}  {path}")  # noqa: T201
