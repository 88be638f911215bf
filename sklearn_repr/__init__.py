"""Representation learning that drops into scikit-learn.

Autoencoders, contrastive embedders and reconstruction-based outlier detectors that
stand in a :class:`~sklearn.pipeline.Pipeline` where ``PCA`` stands, and can be searched
over with :class:`~sklearn.model_selection.GridSearchCV`. Public names are loaded on
first use, so that importing the package stays cheap and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what __getattr__ loads, for those who do not run it
    from sklearn_repr import inspection
    from sklearn_repr.engine.persistence import load, save
    from sklearn_repr.estimators.autoencoder import AutoencoderTransformer
    from sklearn_repr.estimators.binary import BinaryEmbedder
    from sklearn_repr.estimators.classifier import RepresentationClassifier
    from sklearn_repr.estimators.contrastive import ContrastiveEmbedder
    from sklearn_repr.estimators.denoising import DenoisingAutoencoder
    from sklearn_repr.estimators.embedding_index import EmbeddingIndex
    from sklearn_repr.estimators.imputer import AutoencoderImputer
    from sklearn_repr.estimators.joint_embedding import JointEmbeddingPredictor
    from sklearn_repr.estimators.latent_diffusion import LatentDiffusion
    from sklearn_repr.estimators.masked import MaskedAutoencoder
    from sklearn_repr.estimators.outlier_detector import ReconstructionOutlierDetector
    from sklearn_repr.estimators.paired import PairedEmbedder
    from sklearn_repr.estimators.predictive import ContrastivePredictiveCoder
    from sklearn_repr.estimators.regressor import RepresentationRegressor
    from sklearn_repr.estimators.variational import VariationalAutoencoder
    from sklearn_repr.exceptions import (
        CannotSaveError,
        CollapseWarning,
        InvalidFileError,
        NewerFileError,
        NonFiniteLossError,
    )

__version__ = "0.1.0"

_HOMES = {
    "AutoencoderImputer": "sklearn_repr.estimators.imputer",
    "AutoencoderTransformer": "sklearn_repr.estimators.autoencoder",
    "BinaryEmbedder": "sklearn_repr.estimators.binary",
    "CannotSaveError": "sklearn_repr.exceptions",
    "CollapseWarning": "sklearn_repr.exceptions",
    "ContrastiveEmbedder": "sklearn_repr.estimators.contrastive",
    "ContrastivePredictiveCoder": "sklearn_repr.estimators.predictive",
    "DenoisingAutoencoder": "sklearn_repr.estimators.denoising",
    "EmbeddingIndex": "sklearn_repr.estimators.embedding_index",
    "InvalidFileError": "sklearn_repr.exceptions",
    "JointEmbeddingPredictor": "sklearn_repr.estimators.joint_embedding",
    "LatentDiffusion": "sklearn_repr.estimators.latent_diffusion",
    "MaskedAutoencoder": "sklearn_repr.estimators.masked",
    "NewerFileError": "sklearn_repr.exceptions",
    "NonFiniteLossError": "sklearn_repr.exceptions",
    "PairedEmbedder": "sklearn_repr.estimators.paired",
    "ReconstructionOutlierDetector": "sklearn_repr.estimators.outlier_detector",
    "RepresentationClassifier": "sklearn_repr.estimators.classifier",
    "RepresentationRegressor": "sklearn_repr.estimators.regressor",
    "VariationalAutoencoder": "sklearn_repr.estimators.variational",
    "inspection": "sklearn_repr.inspection",
    "load": "sklearn_repr.engine.persistence",
    "save": "sklearn_repr.engine.persistence",
}

__all__ = [
    "AutoencoderImputer",
    "AutoencoderTransformer",
    "BinaryEmbedder",
    "CannotSaveError",
    "CollapseWarning",
    "ContrastiveEmbedder",
    "ContrastivePredictiveCoder",
    "DenoisingAutoencoder",
    "EmbeddingIndex",
    "InvalidFileError",
    "JointEmbeddingPredictor",
    "LatentDiffusion",
    "MaskedAutoencoder",
    "NewerFileError",
    "NonFiniteLossError",
    "PairedEmbedder",
    "ReconstructionOutlierDetector",
    "RepresentationClassifier",
    "RepresentationRegressor",
    "VariationalAutoencoder",
    "inspection",
    "load",
    "save",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = import_module(_HOMES[name])
    value = home if _HOMES[name].endswith("." + name) else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List public names, loaded or not."""
    return sorted([*__all__, "__version__"])
