"""From errors to scores, and from scores to decisions: NumPy and SciPy only.

Scores are high for normal rows throughout, as in scikit-learn's ``score_samples``, and a
row is an outlier where its score is strictly below a threshold.
"""

from sklearn_repr.detection.by_estimator import (
    DensityErrors,
    EstimatorErrors,
    HiddenCellErrors,
    errors_of_estimator,
)
from sklearn_repr.detection.calibration import Calibration, calibration_folds
from sklearn_repr.detection.cells import (
    CellErrors,
    CellScorer,
    NetworkErrors,
    Networks,
    TableScorer,
)
from sklearn_repr.detection.conditional import ConditionalErrors, ConditionalNetworks
from sklearn_repr.detection.conformal import conformal_p_values, cross_conformal_p_values
from sklearn_repr.detection.false_discovery import benjamini_hochberg
from sklearn_repr.detection.generalized_pareto import gpd_threshold
from sklearn_repr.detection.probability import (
    ProbabilityMap,
    fit_probability_map,
    outlier_probability,
)
from sklearn_repr.detection.rules import RULES, threshold_by_rule
from sklearn_repr.detection.search import no_score
from sklearn_repr.detection.thresholds import (
    conformal_threshold,
    mad_threshold,
    quantile_threshold,
)
from sklearn_repr.detection.tuning import best_threshold
from sklearn_repr.detection.units import ColumnUnits, ErrorUnits

__all__ = [
    "RULES",
    "Calibration",
    "CellErrors",
    "CellScorer",
    "ColumnUnits",
    "ConditionalErrors",
    "ConditionalNetworks",
    "DensityErrors",
    "ErrorUnits",
    "EstimatorErrors",
    "HiddenCellErrors",
    "NetworkErrors",
    "Networks",
    "ProbabilityMap",
    "TableScorer",
    "benjamini_hochberg",
    "best_threshold",
    "calibration_folds",
    "conformal_p_values",
    "conformal_threshold",
    "cross_conformal_p_values",
    "errors_of_estimator",
    "fit_probability_map",
    "gpd_threshold",
    "mad_threshold",
    "no_score",
    "outlier_probability",
    "quantile_threshold",
    "threshold_by_rule",
]
