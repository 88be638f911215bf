"""Find the public estimators, as :mod:`sklearn.utils.discovery` does."""

from importlib import import_module
from inspect import isclass

from sklearn.base import BaseEstimator

__all__ = ["all_estimators"]


def all_estimators() -> list[tuple[str, type[BaseEstimator]]]:
    """List the public estimators of the package.

    Returns
    -------
    estimators : list of (str, type)
        Name and class, in alphabetical order.

    Examples
    --------
    >>> from sklearn_repr.utils.discovery import all_estimators
    >>> [name for name, _ in all_estimators()][:2]
    ['AutoencoderImputer', 'AutoencoderTransformer']
    """
    package = import_module("sklearn_repr")
    members = ((name, getattr(package, name)) for name in package.__all__)
    return sorted(
        (name, member)
        for name, member in members
        if isclass(member) and issubclass(member, BaseEstimator)
    )
