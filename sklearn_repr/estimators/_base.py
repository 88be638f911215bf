"""What all estimators that map rows to an embedding share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sklearn_repr._contracts import Array, Constraints, Table
from sklearn_repr.estimators._trained import BaseTrained
from sklearn_repr.utils import constraints

__all__ = ["BaseRepresentation"]


def encode(module: Any, x: Tensor) -> Tensor:
    """Map encoded rows to a module's embedding."""
    return module.encode(x)  # type: ignore[no-any-return]


class BaseRepresentation(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseTrained):
    """Fit a network without labels and transform rows to its embedding.

    See :class:`BaseTrained` for the hooks.
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "n_components": [constraints.COUNT],
        **BaseTrained._parameter_constraints,
    }
    n_components_: int

    def _embedding(self) -> Callable[..., Tensor]:
        """Return what maps the module and encoded rows to the embedding."""
        return encode

    def transform(self, X: Table) -> Array:
        """Map rows to their embedding.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            The embedding; float32 if `X` is float32, else float64.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False, infers=True)
        module = self.net_.module_
        return self._infer(self._embedding(), X, module=module, dtype=X.dtype)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
