"""The networks of the outlier detector, trained, behind NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_repr._contracts import Names
from sklearn_repr.corruptions import Corruption
from sklearn_repr.corruptions.members import KnownNoise, PartialNoise
from sklearn_repr.data.batches import Split
from sklearn_repr.data.members import MemberBatches, indexed
from sklearn_repr.engine.inference import infer
from sklearn_repr.engine.training import TrainingSettings, train
from sklearn_repr.modules.conditional import ConditionalEnsemble
from sklearn_repr.modules.ensemble import EnsembleDenoiser
from sklearn_repr.objectives import Objective
from sklearn_repr.objectives.trimmed import TrimmedReconstruction
from sklearn_repr.utils.randomness import Seeds, make_generator

__all__ = ["RECIPES", "Conditionals", "Denoisers", "Recipe"]

Array = NDArray[np.float64]

# Few rows are learned in few steps
FEWEST_STEPS, STEPS_PER_ROW = 100, 2
# The training loss is looked at so many times, and nothing is trimmed before the first
N_EPOCHS = 10
# Of large sparse tables: cells of a training step and of a pass when rows are scored,
# weights of a layer beside the table, and columns beyond which there are fewer networks
CELLS_PER_STEP, CELLS_PER_PASS = 2**20, 2**17
WEIGHTS_PER_LAYER, WIDE = 2**17, 1024
# Rows by which trust in networks is learned, at most
ROWS_TO_TRUST_BY = 2000


@dataclass(frozen=True)
class Recipe:
    """How an ensemble is trained: corruption -> module -> objective.

    `corruption` takes the members' generators; `objective` takes `full_epochs`, the
    number of epochs at the start in which nothing is trimmed. `levels` are the noise
    levels at which rows are scored, `rows_per_pass` of them at a time, see
    :class:`EnsembleDenoiser`; `rows_per_member` are the training rows that each member
    sees, see :class:`MemberBatches`.
    """

    n_members: int
    most_steps: int
    batch_size: int
    objective: Callable[..., Objective]
    corruption: Callable[[Sequence[torch.Generator]], Corruption] | None = None
    rows_per_member: int | None = None
    levels: tuple[float, ...] = ()
    hidden_layer_sizes: tuple[int, ...] = (128, 128)
    rows_per_pass: int = 256

    def narrowed(self, width: int) -> Recipe:
        """Return the recipe for rows of `width` columns, sparse or of many levels.

        With less of everything where there are many columns.
        """
        members = self.n_members if width <= WIDE else min(self.n_members, 4)
        most = max(16, WEIGHTS_PER_LAYER // width // 8 * 8)
        cells = width * members
        # products of other numbers of rows compute the last ones in another way
        rows_per_pass = max(8, CELLS_PER_PASS // cells // 8 * 8)
        return replace(
            self,
            n_members=members,
            batch_size=min(self.batch_size, max(8, CELLS_PER_STEP // cells)),
            hidden_layer_sizes=tuple(min(n, most) for n in self.hidden_layer_sizes),
            rows_per_pass=min(self.rows_per_pass, rows_per_pass),
        )


RECIPES = {
    # every member sees rows of its own: few enough that a group of outliers is small
    # among most members' rows, and that members disagree on rows that have few like them
    "contaminated": Recipe(
        n_members=8,
        most_steps=200,
        batch_size=64,
        rows_per_member=256,
        levels=(0.1, 0.3, 1.0, 3.0),
        corruption=partial(KnownNoise, 0.1, 3.0),
        objective=partial(TrimmedReconstruction, 0.1),
    ),
    "clean": Recipe(
        n_members=2,
        most_steps=600,
        batch_size=128,
        corruption=partial(PartialNoise, 0.03, 1.0),
        objective=TrimmedReconstruction,
    ),
    # every member sees half of the rows: the others tell how far it is right
    "conditional": Recipe(
        n_members=2,
        most_steps=400,
        batch_size=64,
        rows_per_member=2**62,
        hidden_layer_sizes=(64,),
        objective=partial(TrimmedReconstruction, 0.1, loss="huber", scale=0.5),
        rows_per_pass=64,
    ),
}


@dataclass(repr=False)
class _Networks:
    """Networks of one recipe and its training, which copies and files leave behind."""

    recipe: Recipe
    n_steps: int | str
    seeds: Seeds
    verbose: int
    column_names: Names
    label: str

    module_: Any = field(init=False)
    rows_per_pass_: int = field(init=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"module_": self.module_, "rows_per_pass_": self.rows_per_pass_}

    def _generators(self) -> list[torch.Generator]:
        sequence = np.random.SeedSequence(self.seeds["networks"])
        states = sequence.generate_state(self.recipe.n_members)
        return [make_generator(int(state)) for state in states]

    def _train(self, module: Any, rows: Any, generators: Any) -> MemberBatches:
        """Train on rows (n, d), all members in one pass; return who saw what."""
        recipe, n_steps = self.recipe, self.n_steps
        self.rows_per_pass_ = recipe.rows_per_pass
        if isinstance(n_steps, str):
            enough = max(FEWEST_STEPS, STEPS_PER_ROW * len(rows))
            n_steps = min(recipe.most_steps, enough)
        # the first epochs are a tenth of all steps, and all epochs are equally long
        n_first = math.ceil(n_steps / N_EPOCHS)
        n_batches = math.gcd(n_steps, n_first)
        sizes = recipe.batch_size, n_batches, recipe.rows_per_member
        batches = MemberBatches(indexed(rows), generators, *sizes)
        train(
            module,
            recipe.objective(full_epochs=n_first // n_batches),
            Split(batches, batches, None),
            corruption=recipe.corruption and recipe.corruption(generators),
            settings=TrainingSettings(
                optimizer="adamw",
                learning_rate_init=1e-2,
                learning_rate="one_cycle",
                batch_size=recipe.n_members,
                max_iter=n_steps // n_batches,
                early_stopping=False,
                alpha=0.01,
                device=torch.device("cpu"),
                verbose=self.verbose,
                label=self.label,
            ),
            seeds=self.seeds,
            column_names=self.column_names,
        )
        return batches

    def _infer(self, method: Any, rows: Array) -> Array:
        single, size = rows.astype(np.float32), self.rows_per_pass_
        found = infer(method, torch.from_numpy, single, "cpu", chunk=size)
        return found.astype(np.float64)


class Denoisers(_Networks):
    """Denoising networks; see :class:`sklearn_repr.detection.Networks`."""

    def fit(self, rows: Any) -> Denoisers:
        """Train on rows (n, d) of comparable columns."""
        if not isinstance(rows, np.ndarray):
            self.recipe = self.recipe.narrowed(rows.shape[1])
        recipe = self.recipe
        generators = self._generators()
        shape = rows.shape[1], recipe.hidden_layer_sizes
        self.module_ = EnsembleDenoiser(*shape, generators, recipe.levels)
        self._train(self.module_, rows, generators)
        self.module_.draw_noise(generators)
        return self

    def errors(self, rows: Array) -> Array:
        """Return absolute errors of rows, (n, L, d)."""
        return self._infer(self.module_.errors, rows)

    def expected(self, rows: Array) -> Array:
        """Return what rows are rebuilt to, (n, d)."""
        return self._infer(self.module_.expected, rows)


class Conditionals(_Networks):
    """Networks that expect cells given the others; see :class:`ConditionalErrors`."""

    def fit(
        self, rows: Array, residual: Array, cells: NDArray[np.int64], unit: Array
    ) -> Conditionals:
        """Train beside a linear residual."""
        generators = self._generators()
        self.module_ = module = ConditionalEnsemble(
            torch.from_numpy(residual.astype(np.float32)),
            torch.from_numpy(cells),
            torch.from_numpy(unit.astype(np.float32)),
            self.recipe.hidden_layer_sizes[0],
            generators,
        )
        batches = self._train(module, rows, generators)
        unseen = torch.ones(len(generators), len(rows), dtype=torch.bool)
        assert batches.subsets is not None  # noqa: S101 - the recipe's rows_per_member
        unseen.scatter_(1, batches.subsets, False)
        some = slice(None, None, -(-len(rows) // ROWS_TO_TRUST_BY))
        with torch.no_grad():
            module.learn_trust(batches.values[some], unseen[:, some])
        return self

    def residuals(self, rows: Array) -> Array:
        """Return how far cells are from what is expected of them, (n, D)."""
        return self._infer(self.module_.residuals, rows)
