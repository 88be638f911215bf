"""What happens to a row before the encoder sees it: noise, masks, swaps, two views."""

from sklearn_repr.corruptions._base import Corruption, UserCorruption
from sklearn_repr.corruptions.hidden import HiddenBeside, HiddenBlocks, HiddenCells
from sklearn_repr.corruptions.images import (
    Crop,
    HorizontalFlip,
    Rotation,
    Translation,
    VerticalFlip,
)
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
)
from sklearn_repr.corruptions.pixels import Blur, Brightness, Contrast, Cutout
from sklearn_repr.corruptions.registry import (
    CORRUPTIONS,
    IMAGE_CORRUPTIONS,
    NATURAL_LEVELS,
    SEQUENCE_CORRUPTIONS,
    make_corruption,
    make_views,
)
from sklearn_repr.corruptions.sequences import Jitter, Scaling, TimeCrop, WindowMasking
from sklearn_repr.corruptions.swap import MarginalSwap, SwapNoise
from sklearn_repr.corruptions.views import Composed, Copies, TwoViews

__all__ = [
    "CORRUPTIONS",
    "IMAGE_CORRUPTIONS",
    "NATURAL_LEVELS",
    "SEQUENCE_CORRUPTIONS",
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
    "HiddenBeside",
    "HiddenBlocks",
    "HiddenCells",
    "HorizontalFlip",
    "Jitter",
    "LabelPairs",
    "MarginalSwap",
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
    "make_corruption",
    "make_views",
]
