"""What happens to a row before the encoder sees it: noise, masks, swaps, two views."""

from sklearn_repr.corruptions._base import Corruption, UserCorruption
from sklearn_repr.corruptions.hidden import HiddenCells
from sklearn_repr.corruptions.images import Rotation, Translation
from sklearn_repr.corruptions.masking import MaskingNoise, SaltAndPepperNoise
from sklearn_repr.corruptions.noise import GaussianNoise, MultiplicativeNoise
from sklearn_repr.corruptions.pairs import (
    LabelPairs,
    NeighborPairs,
    Pairs,
    TimePairs,
)
from sklearn_repr.corruptions.registry import (
    CORRUPTIONS,
    IMAGE_CORRUPTIONS,
    make_corruption,
)
from sklearn_repr.corruptions.swap import MarginalSwap, SwapNoise
from sklearn_repr.corruptions.views import Copies, TwoViews

__all__ = [
    "CORRUPTIONS",
    "IMAGE_CORRUPTIONS",
    "Copies",
    "Corruption",
    "GaussianNoise",
    "HiddenCells",
    "LabelPairs",
    "MarginalSwap",
    "MaskingNoise",
    "MultiplicativeNoise",
    "NeighborPairs",
    "Pairs",
    "Rotation",
    "SaltAndPepperNoise",
    "SwapNoise",
    "TimePairs",
    "Translation",
    "TwoViews",
    "UserCorruption",
    "make_corruption",
]
