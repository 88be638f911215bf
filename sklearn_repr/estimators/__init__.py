"""Scikit-learn's face: one file per public estimator."""
