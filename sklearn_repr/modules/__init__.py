"""Networks: tensors in, Outputs out."""

from sklearn_repr.modules.autoencoder import Autoencoder
from sklearn_repr.modules.contrastive import ContrastiveNetwork, SelfPredictiveNetwork
from sklearn_repr.modules.factory import make_autoencoder, make_contrastive_network
from sklearn_repr.modules.linear import SkipConnected, principal_subspace
from sklearn_repr.modules.mlp import ACTIVATIONS, make_mlp
from sklearn_repr.modules.target import EMATarget

__all__ = [
    "ACTIVATIONS",
    "Autoencoder",
    "ContrastiveNetwork",
    "EMATarget",
    "SelfPredictiveNetwork",
    "SkipConnected",
    "make_autoencoder",
    "make_contrastive_network",
    "make_mlp",
    "principal_subspace",
]
