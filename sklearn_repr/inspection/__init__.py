"""Judge any representation by what it does; scikit-learn's own included."""

from sklearn_repr.inspection.attributions import Attribution, attribution
from sklearn_repr.inspection.by_boosting import two_sample_auroc, usefulness
from sklearn_repr.inspection.closeness import (
    exact_copy_share,
    manifold_precision_recall,
    near_copy_share,
)
from sklearn_repr.inspection.disentanglement import (
    DCI,
    dci,
    factor_vae_score,
    mig,
    modularity,
    sap,
)
from sklearn_repr.inspection.embedding import (
    alignment,
    effective_rank,
    infonce_bound,
    knn_probe_score,
    linear_probe_score,
    uniformity,
)
from sklearn_repr.inspection.level_sets import excess_mass_score, mass_volume_score
from sklearn_repr.inspection.marginals import dependence_differences, marginal_distances
from sklearn_repr.inspection.ranking import detection_score
from sklearn_repr.inspection.reconstruction import reconstruction_r2
from sklearn_repr.inspection.retrieval import (
    mean_average_precision,
    ndcg_at_k,
    recall_at_k,
    retrieval_accuracy,
)
from sklearn_repr.inspection.synthetic import synthetic_report
from sklearn_repr.inspection.traversal import LatentTraversal, latent_traversal

__all__ = [
    "DCI",
    "Attribution",
    "LatentTraversal",
    "alignment",
    "attribution",
    "dci",
    "dependence_differences",
    "detection_score",
    "effective_rank",
    "exact_copy_share",
    "excess_mass_score",
    "factor_vae_score",
    "infonce_bound",
    "knn_probe_score",
    "latent_traversal",
    "linear_probe_score",
    "manifold_precision_recall",
    "marginal_distances",
    "mass_volume_score",
    "mean_average_precision",
    "mig",
    "modularity",
    "ndcg_at_k",
    "near_copy_share",
    "recall_at_k",
    "reconstruction_r2",
    "retrieval_accuracy",
    "sap",
    "synthetic_report",
    "two_sample_auroc",
    "uniformity",
    "usefulness",
]
