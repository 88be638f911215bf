"""What happens to a row before the encoder sees it: noise, masks, swaps, two views."""

from sklearn_repr.corruptions._base import Corruption, UserCorruption
from sklearn_repr.corruptions.masking import MaskingNoise, SaltAndPepperNoise
from sklearn_repr.corruptions.noise import GaussianNoise, MultiplicativeNoise
from sklearn_repr.corruptions.registry import CORRUPTIONS, make_corruption
from sklearn_repr.corruptions.swap import MarginalSwap, SwapNoise
from sklearn_repr.corruptions.views import TwoViews

__all__ = [
    "CORRUPTIONS",
    "Corruption",
    "GaussianNoise",
    "MarginalSwap",
    "MaskingNoise",
    "MultiplicativeNoise",
    "SaltAndPepperNoise",
    "SwapNoise",
    "TwoViews",
    "UserCorruption",
    "make_corruption",
]
