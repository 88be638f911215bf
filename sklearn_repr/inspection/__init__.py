"""Judge any representation by what it does; scikit-learn's own included."""

from sklearn_repr.inspection.reconstruction import reconstruction_r2

__all__ = ["reconstruction_r2"]
