"""What many parameters may be, for `_parameter_constraints`."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

__all__ = [
    "AUTO",
    "CATEGORIES",
    "COUNT",
    "NOT_NEGATIVE",
    "POSITIVE",
    "SCALINGS",
    "SHARE",
    "SHARE_BELOW_1",
    "TWO_OR_MORE",
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
