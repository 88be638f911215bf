"""Dates and free text: skrub makes columns of them, the rest goes in as it is.

Run with ``python examples/dates_and_text.py``; needs skrub, which is no dependency of
this package (``pip install skrub``).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline, make_pipeline

from sklearn_repr import ReconstructionOutlierDetector

GOODS = {
    "garden": ["oak bench", "rose bush", "watering can", "tulip bulbs", "lawn seed"],
    "kitchen": ["bread knife", "copper pan", "tea kettle", "soup bowl", "egg cup"],
    "office": ["desk lamp", "paper clips", "fountain pen", "ink bottle", "file box"],
}


def orders(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Make orders: of a garden in spring, of a kitchen in winter, of an office always."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(list(GOODS), n)
    middle = pd.Series(kind).map({"garden": 110, "kitchen": 340, "office": 180})
    spread = pd.Series(kind).map({"garden": 20, "kitchen": 15, "office": 60})
    day = (middle + spread * rng.normal(size=n)).clip(1, 365).round()
    price = pd.Series(kind).map({"garden": 30.0, "kitchen": 20.0, "office": 8.0})
    table = pd.DataFrame(
        {
            "ordered": pd.Timestamp("2025-01-01") + pd.to_timedelta(day - 1, unit="D"),
            "kind": kind,
            "note": [
                f"{rng.choice(GOODS[k])} {rng.choice(['in blue', 'as a gift', 'large'])}"
                f", {rng.integers(1, 99)} pieces"
                for k in kind
            ],
            "price": price * rng.lognormal(sigma=0.2, size=n),
        }
    )
    table.loc[rng.random(n) < 0.05, "price"] = np.nan
    return table


def make_detector() -> Pipeline:
    """Return a detector behind skrub's reader of dates and text.

    Categories of few levels, and missing cells, pass through: they are ours to read.
    """
    import skrub

    reader = skrub.TableVectorizer(
        low_cardinality="passthrough",
        high_cardinality=skrub.StringEncoder(n_components=8, random_state=0),
        datetime=skrub.DatetimeEncoder(resolution="month", periodic_encoding="circular"),
    )
    return make_pipeline(reader, ReconstructionOutlierDetector(random_state=0))


def main() -> None:
    """Find an order that is wrong: of a garden, in winter, for a knife at 500."""
    table = orders()
    table.loc[0] = ["2025-12-20", "garden", "bread knife as a gift, 3 pieces", 500.0]
    table["ordered"] = pd.to_datetime(table["ordered"])
    detector = make_detector().fit(table)
    most = np.argsort(detector.score_samples(table))[:3]
    print("Most abnormal orders:")
    print(table.iloc[most].to_string(), "\n")
    read = detector[:-1].transform(table.iloc[[most[0]]])
    cells = detector[-1].explain(read, as_frame=True).head(4)
    print(f"Order {most[0]}, cells that contribute most:")
    print(cells.drop(columns="row").to_string(index=False))


if __name__ == "__main__":
    main()
