"""What is minimised: named, unreduced terms."""

from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives.contrastive import NTXent, nt_xent
from sklearn_repr.objectives.reconstruction import LOSSES, Reconstruction

__all__ = ["LOSSES", "NTXent", "Objective", "Reconstruction", "nt_xent"]
