"""Search by example: digits, their binary codes, and flats with categories.

Run with ``python examples/search_by_example.py``; it takes about 10 seconds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sklearn_repr import (
    AutoencoderTransformer,
    BinaryEmbedder,
    ContrastiveEmbedder,
    EmbeddingIndex,
)
from sklearn_repr.inspection import mean_average_precision, recall_at_k


def flats(n: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Make flats whose rent follows from their size, city and floor."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(25, 150, n).round()
    city = rng.choice(["Oslo", "Rome", "Riga"], n)
    level = pd.Series(city).map({"Oslo": 22.0, "Rome": 17.0, "Riga": 9.0})
    frame = pd.DataFrame(
        {
            "city": city,
            "size": size,
            "rooms": np.clip(size // 28 + rng.integers(0, 2, n), 1, 5).astype(int),
            "lift": rng.random(n) < 0.6,
            "rent": (level * size * rng.lognormal(sigma=0.1, size=n)).round(-1),
        }
    )
    return frame.mask(rng.random(frame.shape) < 0.02)  # some cells are missing


def search_digits() -> pd.DataFrame:
    """Search held-out digits among others, by real codes and by codes of 32 bits."""
    X, y = load_digits(return_X_y=True)
    gallery, queries, y_gallery, y_queries = train_test_split(X, y, random_state=0)
    embedder = ContrastiveEmbedder(max_steps=400, random_state=0).fit(gallery)
    coder = BinaryEmbedder(32, random_state=0)
    bits = make_pipeline(FrozenEstimator(embedder), coder).fit(gallery)
    signs = PCA(32, random_state=0).fit(gallery)
    codes = {
        "pixels": lambda rows: rows,
        "ContrastiveEmbedder": embedder.transform,
        "BinaryEmbedder of it, 32 bits": bits.transform,
        "signs of PCA, 32 bits": lambda rows: signs.transform(rows) > 0,
    }
    table = []
    for name, encode in codes.items():
        found = {"gallery": encode(gallery), "y_gallery": y_gallery}
        precision = mean_average_precision(encode(queries), y_queries, **found)
        first = recall_at_k(encode(queries), y_queries, k=1, **found)
        table.append({"digits by": name, "mAP": precision, "recall at 1": first})
    return pd.DataFrame(table)


def search_flats() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find the flats that are most like one that is described."""
    table = flats()
    index = EmbeddingIndex(AutoencoderTransformer(random_state=0)).fit(table)
    wanted = flats(1).assign(city="Rome", size=80.0, rooms=3, lift=True, rent=1300.0)
    distances, found = index.kneighbors(wanted, n_neighbors=4)
    return wanted, table.iloc[found[0]].assign(distance=distances[0])


def main() -> None:
    """Print both searches."""
    print(search_digits().round(3).to_string(index=False), "\n")
    wanted, found = search_flats()
    print("A flat like this one:")
    print(wanted.to_string(index=False), "\n")
    print(found.round(2).to_string())


if __name__ == "__main__":
    main()
