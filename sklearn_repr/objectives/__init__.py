"""What is minimised: named, unreduced terms."""

from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives.composite import Composite
from sklearn_repr.objectives.contraction import Contraction, jacobian_norm
from sklearn_repr.objectives.contrastive import NTXent, nt_xent
from sklearn_repr.objectives.decorrelation import Decorrelation, OrthogonalDecoder
from sklearn_repr.objectives.paired import SymmetricInfoNCE, symmetric_info_nce
from sklearn_repr.objectives.reconstruction import LOSSES, Reconstruction
from sklearn_repr.objectives.sparsity import ActivityL1, KLSparsity, WeightL1
from sklearn_repr.objectives.variational import ELBO, TotalCorrelation

__all__ = [
    "ELBO",
    "LOSSES",
    "ActivityL1",
    "Composite",
    "Contraction",
    "Decorrelation",
    "KLSparsity",
    "NTXent",
    "Objective",
    "OrthogonalDecoder",
    "Reconstruction",
    "SymmetricInfoNCE",
    "TotalCorrelation",
    "WeightL1",
    "jacobian_norm",
    "nt_xent",
    "symmetric_info_nce",
]
