"""From a user's table to a contiguous tensor, and back to the user's units."""

from sklearn_repr.data.codec import NumericCodec
from sklearn_repr.data.columns import Columns
from sklearn_repr.data.pair import Pair, PairCodec
from sklearn_repr.data.table import Codec, TableCodec, choose_codec

__all__ = [
    "Codec",
    "Columns",
    "NumericCodec",
    "Pair",
    "PairCodec",
    "TableCodec",
    "choose_codec",
]
