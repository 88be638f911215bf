"""From a user's table to a contiguous tensor, and back to the user's units."""

from sklearn_repr.data.codec import NumericCodec
from sklearn_repr.data.pair import Pair, PairCodec

__all__ = ["NumericCodec", "Pair", "PairCodec"]
