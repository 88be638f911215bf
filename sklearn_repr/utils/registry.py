"""Things that can be asked for by name, each with what is known about it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, TypeVar

__all__ = ["Entry", "Registry", "import_modules"]

Made = TypeVar("Made", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Entry:
    """A class or function that a name stands for.

    Attributes
    ----------
    name : str
        The name.
    make : callable
        The class or function.
    metadata : dict of str to object
        What was said about it where it was registered.
    """

    name: str
    make: Callable[..., Any]
    metadata: dict[str, Any] = field(default_factory=dict)

    def takes(self, constant: str) -> bool:
        """Tell whether a keyword of this name is among the parameters."""
        parameter = signature(self.make).parameters.get(constant)
        return parameter is not None and parameter.kind is not Parameter.VAR_KEYWORD


class Registry:
    """Names of one kind of thing.

    Parameters
    ----------
    kind : str
        What the things are called in messages.

    Examples
    --------
    >>> from sklearn_repr.utils.registry import Registry
    >>> loss = Registry("loss")
    >>> @loss("squared_error", tuning=1.0)
    ... def squared_error(residual):
    ...     return residual**2
    >>> loss.names(), loss["squared_error"].metadata
    (['squared_error'], {'tuning': 1.0})
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def __call__(self, name: str, **metadata: object) -> Callable[[Made], Made]:
        """Return a decorator that registers a class or function under a name."""

        def register(made: Made) -> Made:
            if name in self._entries:
                raise ValueError(f"There is a {self.kind} {name!r} already.")
            self._entries[name] = Entry(name, made, metadata)
            return made

        return register

    def __getitem__(self, name: str) -> Entry:
        if name not in self:
            near = get_close_matches(str(name), self._entries, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            known = ", ".join(map(repr, self.names()))
            raise ValueError(
                f"There is no {self.kind} {name!r}; there are {known}.{hint}"
            )
        return self._entries[name]

    def __iter__(self) -> Iterator[Entry]:
        return (self._entries[name] for name in self.names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries

    def holds(self, made: object) -> bool:
        """Tell whether a class or function itself is registered; parents do not count."""
        return any(entry.make is made for entry in self._entries.values())

    def names(self, **metadata: object) -> list[str]:
        """Return the names in order, of entries whose metadata has these values."""
        return sorted(
            name
            for name, entry in self._entries.items()
            if all(entry.metadata.get(k) == v for k, v in metadata.items())
        )

    def entry_of(self, made: type) -> Entry | None:
        """Return the entry of a class, or of the nearest class it inherits from."""
        by_class = {entry.make: entry for entry in self._entries.values()}
        return next((by_class[kind] for kind in made.__mro__ if kind in by_class), None)

    def make(self, name: str, parameter: str, **constants: object) -> Any:
        """Build what a name stands for, from the constants that were given.

        Parameters
        ----------
        name : str
            A name of the registry.
        parameter : str
            The estimator's parameter that holds the name, for messages.
        **constants : dict
            Constants; what is None or "auto" is left to the thing's own default.

        Returns
        -------
        made : object
            The class or function's result.

        Raises
        ------
        ValueError
            If there is no such name, or if a constant was given that it does not take.
        """
        entry = self[name]
        given = {k: v for k, v in constants.items() if v is not None and v != "auto"}
        for constant, value in given.items():
            if not entry.takes(constant):
                others = [repr(e.name) for e in self if e.takes(constant)]
                raise ValueError(
                    f"{constant}={value!r} has no effect with {parameter}={name!r}, which"
                    f" takes no {constant}. Leave {constant} at its default, or choose"
                    f" {parameter} among {', '.join(others)}."
                )
        return entry.make(**given)


def import_modules(package: str, path: list[str]) -> None:
    """Import all modules of a package, so that what they hold is registered.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    path : list of str
        Its ``__path__``.
    """
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
