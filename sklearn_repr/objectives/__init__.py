"""What is minimised: named, unreduced terms."""

from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives.align_uniform import AlignUniform
from sklearn_repr.objectives.barlow_twins import BarlowTwins
from sklearn_repr.objectives.byol import BYOL
from sklearn_repr.objectives.composite import Composite
from sklearn_repr.objectives.contraction import Contraction, jacobian_norm
from sklearn_repr.objectives.contrastive import NTXent, nt_xent
from sklearn_repr.objectives.decorrelation import Decorrelation, OrthogonalDecoder
from sklearn_repr.objectives.reconstruction import LOSSES, Reconstruction
from sklearn_repr.objectives.simsiam import SimSiam
from sklearn_repr.objectives.sparsity import ActivityL1, KLSparsity, WeightL1
from sklearn_repr.objectives.supcon import SupCon, supcon
from sklearn_repr.objectives.triplet import Triplet, triplet
from sklearn_repr.objectives.variational import ELBO, TotalCorrelation
from sklearn_repr.objectives.vicreg import VICReg

__all__ = [
    "BYOL",
    "ELBO",
    "LOSSES",
    "ActivityL1",
    "AlignUniform",
    "BarlowTwins",
    "Composite",
    "Contraction",
    "Decorrelation",
    "KLSparsity",
    "NTXent",
    "Objective",
    "OrthogonalDecoder",
    "Reconstruction",
    "SimSiam",
    "SupCon",
    "TotalCorrelation",
    "Triplet",
    "VICReg",
    "WeightL1",
    "jacobian_norm",
    "nt_xent",
    "supcon",
    "triplet",
]
