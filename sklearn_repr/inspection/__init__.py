"""Judge any representation by what it does; scikit-learn's own included."""

from sklearn_repr.inspection.embedding import (
    alignment,
    effective_rank,
    infonce_bound,
    knn_probe_score,
    linear_probe_score,
    uniformity,
)
from sklearn_repr.inspection.reconstruction import reconstruction_r2

__all__ = [
    "alignment",
    "effective_rank",
    "infonce_bound",
    "knn_probe_score",
    "linear_probe_score",
    "reconstruction_r2",
    "uniformity",
]
