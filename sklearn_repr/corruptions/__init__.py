"""What happens to a row before the encoder sees it: noise, masks, swaps, two views."""

from sklearn_repr.corruptions._base import Corruption, UserCorruption, corruption
from sklearn_repr.corruptions.by_name import make_corruption, make_views
from sklearn_repr.corruptions.erasing import (
    ColumnSubset,
    MaskingNoise,
    SaltAndPepperNoise,
)
from sklearn_repr.corruptions.images import (
    Crop,
    HorizontalFlip,
    Rotation,
    Translation,
    VerticalFlip,
)
from sklearn_repr.corruptions.masked_cells import (
    MaskedAndWhole,
    MaskedBlocks,
    MaskedCells,
)
from sklearn_repr.corruptions.mixup import Mixup
from sklearn_repr.corruptions.noise import GaussianNoise, MultiplicativeNoise
from sklearn_repr.corruptions.noise_levels import NoiseLevels
from sklearn_repr.corruptions.pixels import Blur, Brightness, Contrast, Cutout
from sklearn_repr.corruptions.positive_pairs import (
    LabelPairs,
    NeighborPairs,
    Pairs,
    TimePairs,
    make_pairs,
    pairs,
)
from sklearn_repr.corruptions.sequences import Jitter, Scaling, TimeCrop, WindowMasking
from sklearn_repr.corruptions.swap import MarginalSwap, SwapNoise
from sklearn_repr.corruptions.views import Composed, Copies, TwoViews
from sklearn_repr.utils.registry import import_modules

# a corruption in a file of its own is then available by its name
import_modules(__name__, __path__)

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
    "MaskedAndWhole",
    "MaskedBlocks",
    "MaskedCells",
    "MaskingNoise",
    "Mixup",
    "MultiplicativeNoise",
    "NeighborPairs",
    "NoiseLevels",
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
    "pairs",
]
