"""Whether units of a code stand for single factors, on drawn shapes.

Every model learns a code of 8 units from all drawn images, without their factors: shape,
size, place (two) and grey. PCA and random projections have the same width. The VAE at its
defaults starts at the axes of PCA, the others at random, with binary pixels.

usage: python benchmarks/disentanglement.py [--seeds 0 1 2] [--epochs 120]
           [--only NAME ...]

Means over seeds, and the lowest and highest mutual information gap. Times are seconds of
processor time.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.random_projection import GaussianRandomProjection

from sklearn_repr import VariationalAutoencoder
from sklearn_repr.inspection import dci, factor_vae_score, mig, modularity, sap

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from shapes import draw_shapes, make_vae

WIDTH = 8


def vae(seed: int, epochs: int, **settings: Any) -> VariationalAutoencoder:
    """Build a variational autoencoder of binary pixels."""
    return make_vae(n_components=WIDTH, max_iter=epochs, random_state=seed, **settings)


MODELS = {
    "random projection": lambda seed, _: GaussianRandomProjection(
        WIDTH, random_state=seed
    ),
    "PCA": lambda seed, _: PCA(WIDTH, random_state=seed),
    "VAE, defaults": lambda seed, _: VariationalAutoencoder(
        WIDTH, scaling=None, random_state=seed
    ),
    "VAE, defaults, beta=4": lambda seed, _: VariationalAutoencoder(
        WIDTH, scaling=None, beta=4.0, random_state=seed
    ),
    "VAE": vae,
    **{f"VAE, beta={b}": partial(vae, beta=float(b)) for b in (2, 4, 8)},
    "beta-TCVAE, beta=4": partial(vae, beta=4.0, objective="beta_tcvae"),
}


def judge(name: str, seed: int, epochs: int) -> dict[str, float]:
    """Return all metrics of one model."""
    images, factors = draw_shapes()
    start = time.process_time()
    Z = MODELS[name](seed, epochs).fit(images).transform(images)
    took = time.process_time() - start
    scores = dci(Z, factors)
    return {
        "MIG": mig(Z, factors),
        "SAP": sap(Z, factors),
        "disentanglement": scores.disentanglement,
        "completeness": scores.completeness,
        "informativeness": scores.informativeness,
        "modularity": modularity(Z, factors),
        "FactorVAE": factor_vae_score(Z, factors),
        "seconds": took,
    }


def rotated() -> pd.DataFrame:
    """Return the metrics of the factors themselves, as they are and rotated at random."""
    factors = draw_shapes()[1].drop(columns="shape")
    Z = ((factors - factors.mean()) / factors.std()).to_numpy()
    cells = {"planted": [Z]}
    rng = np.random.default_rng(0)
    rotations = [np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(20)]
    cells["rotated at random"] = [Z @ rotation for rotation in rotations]
    cells["noise"] = [rng.normal(size=Z.shape)]
    return pd.DataFrame(
        {
            name: np.mean(
                [
                    [
                        mig(code, factors),
                        sap(code, factors),
                        *dci(code, factors),
                        modularity(code, factors),
                        factor_vae_score(code, factors, n_votes=200),
                    ]
                    for code in codes
                ],
                axis=0,
            )
            for name, codes in cells.items()
        },
        index=["MIG", "SAP", *dci(Z, factors)._fields, "modularity", "FactorVAE"],
    ).T


def main() -> None:
    """Print what metrics say of planted factors, then of all models."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--only", nargs="+", default=list(MODELS))
    args = parser.parse_args()
    print("Four factors as a code")
    print(rotated().round(3).to_string(), "\n", flush=True)
    table = {}
    for name in args.only:
        scores = pd.DataFrame([judge(name, s, args.epochs) for s in args.seeds])
        ends = {"lowest MIG": scores["MIG"].min(), "highest": scores["MIG"].max()}
        table[name] = {**scores.mean(), **ends}
        print(name, "done", file=sys.stderr)
    print(f"Codes of {WIDTH} units of drawn shapes, seeds {args.seeds}")
    print(pd.DataFrame(table).T.round(3).to_string())


if __name__ == "__main__":
    main()
