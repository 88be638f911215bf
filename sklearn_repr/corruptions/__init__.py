"""What happens to a row before the encoder sees it: noise, masks, swaps, two views.

All modules here are imported, so that what they register is known by its name: a new
corruption is one file, or one class in a file, and no list elsewhere.
"""

from sklearn_repr.corruptions._base import Corruption, UserCorruption, corruption
from sklearn_repr.corruptions.by_name import make_corruption, make_pairs, make_views
from sklearn_repr.corruptions.images import (
    Crop,
    HorizontalFlip,
    Rotation,
    Translation,
    VerticalFlip,
)
from sklearn_repr.corruptions.masked_cells import MaskedBeside, MaskedBlocks, MaskedCells
from sklearn_repr.corruptions.masking import (
    ColumnSubset,
    MaskingNoise,
    SaltAndPepperNoise,
)
from sklearn_repr.corruptions.mixing import Mixup
from sklearn_repr.corruptions.noise import GaussianNoise, MultiplicativeNoise
from sklearn_repr.corruptions.pairs import (
    LabelPairs,
    NeighborPairs,
    Pairs,
    TimePairs,
    pairing,
)
from sklearn_repr.corruptions.pixels import Blur, Brightness, Contrast, Cutout
from sklearn_repr.corruptions.sequences import Jitter, Scaling, TimeCrop, WindowMasking
from sklearn_repr.corruptions.swap import MarginalSwap, SwapNoise
from sklearn_repr.corruptions.views import Composed, Copies, TwoViews
from sklearn_repr.utils.registry import import_modules

__all__ = [
    "Blur",
    "Brightness",
    "ColumnSubset",
    "Composed",
    "Contrast",
    "Copies",
    "Corruption",
    "Crop",
    "Cutout",
    "GaussianNoise",
    "HorizontalFlip",
    "Jitter",
    "LabelPairs",
    "MarginalSwap",
    "MaskedBeside",
    "MaskedBlocks",
    "MaskedCells",
    "MaskingNoise",
    "Mixup",
    "MultiplicativeNoise",
    "NeighborPairs",
    "Pairs",
    "Rotation",
    "SaltAndPepperNoise",
    "Scaling",
    "SwapNoise",
    "TimeCrop",
    "TimePairs",
    "Translation",
    "TwoViews",
    "UserCorruption",
    "VerticalFlip",
    "WindowMasking",
    "corruption",
    "make_corruption",
    "make_pairs",
    "make_views",
    "pairing",
]

import_modules(__name__, __path__)
