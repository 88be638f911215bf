"""Randomness that is resolved in `fit` and leaves every global generator alone."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils import check_random_state

__all__ = ["Seeds", "local_torch_seed", "make_generator", "seeded_clone"]

# torch has one global CPU generator per process: whoever borrows it holds this lock
_GLOBAL_GENERATOR_LOCK = threading.RLock()


class Seeds:
    """Independent named seeds drawn from one `random_state`.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        None draws fresh entropy from the operating system and, unlike NumPy's global
        generator, leaves no trace in this process.

    Examples
    --------
    >>> from sklearn_repr.utils.randomness import Seeds
    >>> Seeds(0)["module"] == Seeds(0)["module"] != Seeds(0)["batches"]
    True
    """

    def __init__(self, random_state: Any = None):
        if random_state is None:
            self.entropy = secrets.randbits(63)
        elif isinstance(random_state, Integral):
            self.entropy = int(random_state)
        else:
            self.entropy = int(check_random_state(random_state).randint(2**31 - 1))
        self._known: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        if name not in self._known:
            sequence = np.random.SeedSequence([self.entropy, *name.encode()])
            self._known[name] = int(sequence.generate_state(1, np.uint32)[0])
        return self._known[name]


def make_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator of its own on `device`."""
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def local_torch_seed(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator, and put its state back afterwards.

    For code that cannot take a generator: weight initialisation, dropout, a user's
    module. Threads take turns.
    """
    with _GLOBAL_GENERATOR_LOCK:
        before = torch.get_rng_state()
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_rng_state(before)


def seeded_clone(estimator: Any, seeds: Seeds) -> Any:
    """Return a clone whose every `random_state` that is None has a seed.

    Parameters
    ----------
    estimator : estimator
        Left as it is; a pipeline's steps are seeded too.
    seeds : Seeds
        One for each parameter, by its name.

    Returns
    -------
    copy : estimator
        Not fitted.
    """
    copy = clone(estimator)
    unset = {
        name: seeds[name]
        for name, value in copy.get_params().items()
        if name.rpartition("__")[2] == "random_state" and value is None
    }
    return copy.set_params(**unset)
