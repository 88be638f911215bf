"""What is minimised: named, unreduced terms.

All modules here are imported, so that what they register is known by its name: a new
objective, loss or penalty is one file, or one function in a file, and no list elsewhere.
"""

from sklearn_repr.objectives._base import Objective, cell_loss, objective, penalty
from sklearn_repr.objectives.align_uniform import AlignUniform
from sklearn_repr.objectives.barlow_twins import BarlowTwins
from sklearn_repr.objectives.by_name import (
    make_objective,
    make_penalties,
    penalty_weights,
)
from sklearn_repr.objectives.byol import BYOL
from sklearn_repr.objectives.composite import Composite
from sklearn_repr.objectives.contraction import Contraction, jacobian_norm
from sklearn_repr.objectives.decorrelation import Decorrelation, OrthogonalDecoder
from sklearn_repr.objectives.denoising_score import DenoisingScore
from sklearn_repr.objectives.elbo import ELBO, TotalCorrelation
from sklearn_repr.objectives.nt_xent import NTXent, nt_xent
from sklearn_repr.objectives.predicted_tokens import JointEmbedding
from sklearn_repr.objectives.predictive_info_nce import PredictiveInfoNCE
from sklearn_repr.objectives.reconstruction import Reconstruction
from sklearn_repr.objectives.simsiam import SimSiam
from sklearn_repr.objectives.sparsity import ActivityL1, KLSparsity, WeightL1
from sklearn_repr.objectives.supcon import SupCon, supcon
from sklearn_repr.objectives.symmetric_info_nce import (
    SymmetricInfoNCE,
    symmetric_info_nce,
)
from sklearn_repr.objectives.triplet import Triplet, triplet
from sklearn_repr.objectives.vicreg import VICReg
from sklearn_repr.utils.registry import import_modules

__all__ = [
    "BYOL",
    "ELBO",
    "ActivityL1",
    "AlignUniform",
    "BarlowTwins",
    "Composite",
    "Contraction",
    "Decorrelation",
    "DenoisingScore",
    "JointEmbedding",
    "KLSparsity",
    "NTXent",
    "Objective",
    "OrthogonalDecoder",
    "PredictiveInfoNCE",
    "Reconstruction",
    "SimSiam",
    "SupCon",
    "SymmetricInfoNCE",
    "TotalCorrelation",
    "Triplet",
    "VICReg",
    "WeightL1",
    "cell_loss",
    "jacobian_norm",
    "make_objective",
    "make_penalties",
    "nt_xent",
    "objective",
    "penalty",
    "penalty_weights",
    "supcon",
    "symmetric_info_nce",
    "triplet",
]

import_modules(__name__, __path__)
