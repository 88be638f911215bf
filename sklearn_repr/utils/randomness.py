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

from sklearn_repr._contracts import RandomState

__all__ = ["GlobalDraws", "Seeds", "local_torch_seed", "make_generator", "seeded_clone"]

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

    def __init__(self, random_state: RandomState = None):
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
    """Seed torch's global generators, and put their state back afterwards.

    For code that cannot take a generator: weight initialisation, dropout, a user's
    module. Threads take turns.
    """
    with _GLOBAL_GENERATOR_LOCK:
        before = torch.get_rng_state()
        # CUDA's generators draw dropout and noise there, once it is in use
        in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        on_cuda = torch.cuda.get_rng_state_all() if in_use else []
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            torch.cuda.manual_seed_all(seed)
        try:
            yield
        finally:
            torch.set_rng_state(before)
            if on_cuda:
                torch.cuda.set_rng_state_all(on_cuda)


class GlobalDraws:
    """Where torch's global generators are, of the CPU and of a device.

    Parameters
    ----------
    device : torch.device
        CUDA's generator of this device is noted too.
    """

    def __init__(self, device: torch.device):
        self.cpu = torch.get_rng_state()
        self.device = device if device.type == "cuda" else None
        self.cuda = None if self.device is None else torch.cuda.get_rng_state(self.device)

    def restore(self) -> None:
        """Let the generators go on from there."""
        torch.set_rng_state(self.cpu)
        if self.device is not None and self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device)

    def hold(self) -> bool:
        """Tell whether the generators are there now."""
        now = GlobalDraws(self.device or torch.device("cpu"))
        same = torch.equal(self.cpu, now.cpu)
        if self.cuda is None or now.cuda is None:
            return same
        return same and torch.equal(self.cuda, now.cuda)


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
