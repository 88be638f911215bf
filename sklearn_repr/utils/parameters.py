"""Parameters of objects that are themselves given as parameters, as in scikit-learn."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any, Self

__all__ = ["HasParameters"]


class HasParameters:
    """`get_params` and `set_params` by the signature of ``__init__``.

    :func:`sklearn.base.clone` copies such an object by its parameters, and
    ``set_params(objective__temperature=0.1)`` of an estimator that holds one reaches it.
    Parameters are remembered as they were given, whatever the object makes of them.

    Examples
    --------
    >>> from sklearn_repr.utils.parameters import HasParameters
    >>> class Noise(HasParameters):
    ...     def __init__(self, level=0.3):
    ...         self.variance = level**2
    >>> noise = Noise().set_params(level=0.1)
    >>> noise.get_params()
    {'level': 0.1}
    >>> noise
    Noise(level=0.1)
    """

    _given: dict[str, Any]

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Remember what ``__init__`` is given."""
        made = super().__new__(cls)
        # copying and unpickling make an object without arguments, and fill it afterwards;
        # a class without an ``__init__`` would have the signature of this method
        bound = signature(cls.__init__).bind_partial(made, *args, **kwargs)
        bound.apply_defaults()
        own = list(bound.signature.parameters.values())[1:]
        collected = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        names = [p.name for p in own if p.kind not in collected]
        vars(made)["_given"] = {
            name: bound.arguments[name] for name in names if name in bound.arguments
        }
        return made

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._given.items())
        return f"{type(self).__name__}({given})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether to return those of parameters that have some too, as ``name__own``.

        Returns
        -------
        params : dict of str to object
            The parameters.
        """
        found: dict[str, Any] = {}
        for name, value in self._given.items():
            found[name] = value
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                inner = value.get_params()
                found.update({f"{name}__{key}": part for key, part in inner.items()})
        return found

    def set_params(self, **params: object) -> Self:
        """Build the object anew with other parameters, in its place.

        Parameters
        ----------
        **params : dict
            Values by name; ``name__own`` reaches a parameter of a parameter.

        Returns
        -------
        self : object
            Itself.

        Raises
        ------
        ValueError
            If there is no such parameter, or a value is not allowed.
        """
        known = self.get_params(deep=False)
        for key in params:  # all of them before one is set
            name = key.partition("__")[0]
            if name not in known:
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}; it has"
                    f" {', '.join(map(repr, known)) or 'none'}."
                )
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if rest:
                known[name].set_params(**{rest: value})
            else:
                known[name] = value
        type(self).__init__(self, **known)
        vars(self)["_given"] = known
        return self
