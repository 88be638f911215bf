"""Drawn shapes, whose factors are known: what each unit of a code says about them.

The factors are those of dSprites, without the rotation, and with a grey for its colour.
Run with ``python examples/shapes.py``; it takes about 20 seconds.
"""

from __future__ import annotations

from itertools import product
from typing import Any

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


def draw_shapes() -> tuple[np.ndarray, pd.DataFrame]:
    """Draw all combinations of shape, size, place and grey, and say which is which.

    Images are 16 × 16, flat, with values in [0, 1]; each pixel is the mean over 3 × 3
    points.
    """
    factors = pd.DataFrame(
        list(product(SHAPES, SIZES, PLACES, PLACES, GREYS)),
        columns=["shape", "size", "x", "y", "grey"],
    )
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


def make_vae(**settings: Any) -> VariationalAutoencoder:
    """Build a variational autoencoder of binary pixels that trains all its epochs."""
    common = {
        "scaling": None,
        "linear_skip": False,
        "init": None,
        "likelihood": "bernoulli",
        "batch_size": 64,
        "early_stopping": False,
        "tol": 0.0,
    }
    common["n_iter_no_change"] = settings["max_iter"]
    return VariationalAutoencoder(**{**common, **settings})


def describe(images: np.ndarray, factors: pd.DataFrame, model: Any) -> pd.DataFrame:
    """Say which factor each unit of a code knows most of, and what its ends look like."""
    Z = model.transform(images)
    table = []
    for unit in range(Z.shape[1]):
        # how much of the variance of the unit lies between the levels of a factor
        shares = {
            name: pd.Series(Z[:, unit]).groupby(factors[name].to_numpy()).mean().var()
            for name in factors
        }
        ends = latent_traversal(model, images[:50], unit, values=2).tables
        moved = np.abs(ends[1] - ends[0]).mean()
        if moved < 0.01:  # a unit that is not used
            continue
        known = max(shares, key=shares.get)
        table.append({"unit": unit, "knows most of": known, "pixels move by": moved})
    return pd.DataFrame(table)


def main() -> None:
    """Compare PCA with a variational autoencoder, and look into its units."""
    images, factors = draw_shapes()
    model = make_vae(n_components=8, max_iter=60, random_state=0).fit(images)
    for name, fitted in (("PCA", PCA(8, random_state=0).fit(images)), ("VAE", model)):
        print(
            f"{name}: mutual information gap {mig(fitted.transform(images), factors):.3f}"
        )
    table = describe(images, factors, model)
    print(table.round(3).to_string(index=False), "\n")
    unit = int(table["unit"].iloc[table["pixels move by"].argmax()])
    cells, _ = attribution(model, images[:1], baseline=images[-1:], output=unit)
    largest = np.argsort(-np.abs(cells[0]))[:5]
    down, across = np.divmod(largest, WIDTH)
    pixels = {"down": down, "across": across, "moves it by": cells[0, largest]}
    print(f"From the last image to the first, unit {unit} moves by {cells.sum():.3f};")
    print("the pixels that move it most:")
    print(pd.DataFrame(pixels).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
