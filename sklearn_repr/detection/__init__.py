"""From anomaly scores to decisions: NumPy only."""

from sklearn_repr.detection.thresholds import mad_threshold, quantile_threshold

__all__ = ["mad_threshold", "quantile_threshold"]
