"""Eight networks trained in one batched pass, beside one network and beside eight fits.

usage: python benchmarks/ensembles.py [--batch 64 256] [--members 8] [--repeats 5]

Rows × 32 columns, d-64-32-8-32-64-d with ReLU and d-128-128-d (the detector's), AdamW,
one thread. "loop" is one network in a hand-written torch loop with a fused optimiser;
"one" is an ensemble of one. Ensembles are trained by the engine, and draw their batches.
Ratios of medians of interleaved repeats.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from statistics import median

import pandas as pd
import torch
from torch import nn

from sklearn_repr.data.members import MemberBatches
from sklearn_repr.engine import TrainingSettings, train
from sklearn_repr.modules.ensemble import EnsembleDenoiser
from sklearn_repr.objectives.trimmed import TrimmedReconstruction
from sklearn_repr.utils.randomness import Seeds

STEPS, EPOCHS = 100, 10
SHAPES = {
    "64-32-8-32-64": [32, 64, 32, 8, 32, 64, 32],
    "128-128": [32, 128, 128, 32],
}


def generators(count):
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def ensemble(sizes, members, batch):
    rows = torch.randn(1000, sizes[0], generator=generators(1)[0])
    settings = TrainingSettings(
        optimizer="adamw",
        learning_rate_init=1e-3,
        learning_rate="one_cycle",
        batch_size=members,
        max_iter=EPOCHS,
        early_stopping=False,
        validation_fraction=0.0,
        n_iter_no_change=EPOCHS,
        tol=0.0,
        alpha=0.01,
        callbacks=None,
        device=torch.device("cpu"),
        verbose=0,
    )
    train(
        EnsembleDenoiser(sizes[0], sizes[1:-1], generators(members)),
        TrimmedReconstruction(),
        MemberBatches(rows, generators(members), batch, STEPS // EPOCHS),
        corruption=None,
        settings=settings,
        seeds=Seeds(0),
    )


def loop(sizes, batch):
    layers = []
    for width_in, width_out in pairwise(sizes):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    rows = torch.randn(batch, sizes[0])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (network(rows) - rows).square().mean().backward()
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for name, sizes in SHAPES.items():
        for batch in options.batch:
            contestants = {
                "loop": lambda s=sizes, b=batch: loop(s, b),
                "one": lambda s=sizes, b=batch: ensemble(s, 1, b),
                "together": lambda s=sizes, b=batch: ensemble(s, options.members, b),
            }
            times = {name: [] for name in contestants}
            for repeat in range(options.repeats + 1):
                for contestant, run in contestants.items():
                    start = time.process_time()
                    run()
                    if repeat:  # the first warms up
                        times[contestant].append(time.process_time() - start)
            middle = {contestant: median(values) for contestant, values in times.items()}
            found.append(
                {
                    "hidden": name,
                    "batch": batch,
                    "together / loop": middle["together"] / middle["loop"],
                    "together / one": middle["together"] / middle["one"],
                    "one / loop": middle["one"] / middle["loop"],
                }
            )
    print(f"{options.members} members in one pass (process time)")
    print(pd.DataFrame(found).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
