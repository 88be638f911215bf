"""Drawn shapes, whose factors are known: what each unit of a code says about them.

Run with ``python examples/shapes.py``; it takes about 20 seconds.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from sklearn_repr import VariationalAutoencoder
from sklearn_repr.inspection import attribution, latent_traversal, mig

SHAPES = ("square", "disc", "cross")
SIZES = np.linspace(2.0, 3.5, 3)
PLACES = np.linspace(3.5, 11.5, 8)
GREYS = np.linspace(0.4, 1.0, 3)
WIDTH = 16


def draw_shapes(n: int | None = None, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw all combinations of shape, size, place and grey, or n of them.

    Images are 16 × 16, flat, with values in [0, 1]; each pixel is the mean over 3 × 3
    points. They stand to dSprites as its factors do, but for the rotation.
    """
    factors = pd.DataFrame(
        list(product(SHAPES, SIZES, PLACES, PLACES, GREYS)),
        columns=["shape", "size", "x", "y", "grey"],
    )
    if n is not None:
        factors = factors.sample(n, random_state=seed).reset_index(drop=True)
    points = (np.arange(3 * WIDTH) + 0.5) / 3 - 0.5
    across = np.abs(points - factors["x"].to_numpy()[:, None])[:, None, :]
    down = np.abs(points - factors["y"].to_numpy()[:, None])[:, :, None]
    size = factors["size"].to_numpy()[:, None, None]
    inside = {
        "square": np.maximum(across, down) <= 0.85 * size,
        "disc": across**2 + down**2 <= size**2,
        "cross": (np.minimum(across, down) <= size / 3)
        & (np.maximum(across, down) <= size),
    }
    drawn = np.select(
        [(factors["shape"] == name).to_numpy()[:, None, None] for name in SHAPES],
        [inside[name] for name in SHAPES],
    )
    pixels = drawn.reshape(len(factors), WIDTH, 3, WIDTH, 3).mean(axis=(2, 4))
    images = pixels * factors["grey"].to_numpy()[:, None, None]
    return images.reshape(len(factors), -1).astype(np.float32), factors
