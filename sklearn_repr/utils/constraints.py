"""What many parameters may be, for `_parameter_constraints`."""

from collections.abc import Iterable
from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from sklearn_repr.utils.registry import Registry

__all__ = [
    "AUTO",
    "CALIBRATION",
    "CATEGORIES",
    "COUNT",
    "LAYERS",
    "NOT_NEGATIVE",
    "POSITIVE",
    "SCALINGS",
    "SHARE",
    "SHARE_BELOW_1",
    "TWO_OR_MORE",
    "Registered",
]

AUTO = StrOptions({"auto"})
COUNT = Interval(Integral, 1, None, closed="left")
TWO_OR_MORE = Interval(Integral, 2, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="both")
SHARE_BELOW_1 = Interval(Real, 0, 1, closed="left")
# names of scalers; where nothing has to be mapped back there is "value_and_rank" too
SCALINGS = {"standard", "robust", "quantile"}
# which columns are categories, and how many of their levels are kept apart
CATEGORIES = {
    "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
    "max_categories": [Interval(Integral, 2, None, closed="left"), None],
    "min_frequency": [COUNT, Interval(RealNotInt, 0, 1, closed="neither"), None],
}
# how rows are set apart to calibrate by: folds, a share, or not at all
CALIBRATION = [AUTO, TWO_OR_MORE, Interval(RealNotInt, 0, 1, closed="neither"), None]
# of estimators whose network is made of layers, dense or convolutional
LAYERS = {
    "architecture": [StrOptions({"mlp", "conv"}), callable],
    "kernel_size": [COUNT],
    "stride": [COUNT],
    "layer_norm": ["boolean"],
}


class Registered(StrOptions):  # type: ignore[misc]
    """A name of a registry, those included that are registered later.

    Parameters
    ----------
    registry : Registry
        Where the names are.
    others : iterable of str, default=()
        What else is allowed.

    Examples
    --------
    >>> from sklearn_repr.utils.constraints import Registered
    >>> from sklearn_repr.utils.registry import Registry
    >>> loss = Registry("loss")
    >>> allowed = Registered(loss, ["auto"])
    >>> absolute_error = loss("absolute_error")(abs)
    >>> print(allowed)
    a str among {'absolute_error', 'auto'}
    """

    def __init__(self, registry: Registry, others: Iterable[str] = ()):
        self.registry = registry
        self.others = sorted(others)
        # no fixed set: `options` looks into the registry whenever it is read
        self.type, self.hidden = str, False
        self.deprecated: set[str] = set()

    @property
    def options(self) -> list[str]:
        """The names that are allowed now, in order."""
        return sorted([*self.others, *self.registry.names()])
