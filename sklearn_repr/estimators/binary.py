"""BinaryEmbedder."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.decomposition import PCA
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_repr._contracts import Constraints, Labels, RandomState, Table
from sklearn_repr.utils import constraints
from sklearn_repr.utils.randomness import Seeds
from sklearn_repr.utils.state import restored_on_failure

__all__ = ["BinaryEmbedder"]


class BinaryEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""Codes of bits: the signs of rotated principal components.

    Learns axes W of unit length, orthogonal to each other, that span the leading
    principal components, and are rotated such that little is lost by taking signs:

    .. math:: \min_W \sum_i \| \operatorname{sign}(z_i) - z_i \|^2, \qquad
              z_i = W (x_i - \bar x)

    A code of 32 bits takes four bytes, and codes are compared by the number of bits that
    differ: see :class:`EmbeddingIndex`. Rows may be any embedding:
    ``make_pipeline(ContrastiveEmbedder(), BinaryEmbedder(32))`` has codes in which rows
    are near that the embedder calls similar.

    Parameters
    ----------
    n_components : int or None, default=None
        Bits of a code, at most as many as there are columns and rows. None is as many.
    max_iter : int, default=50
        Most rounds of two steps: the signs given the axes, the axes given the signs.
    random_state : int, RandomState instance or None, default=None
        Seed of the rotation that the search starts from.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        The axes W.
    mean_ : ndarray of shape (n_features_in_,)
        Means of the columns.
    n_components_ : int
        Bits of a code.
    n_iter_ : int
        Rounds taken, fewer than `max_iter` where no bit changed any more.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    See Also
    --------
    EmbeddingIndex : Searches codes of bits by ``metric="hamming"``.
    sklearn.random_projection.GaussianRandomProjection : Its signs are another binary
        code, that learns nothing.

    References
    ----------
    Gong, Lazebnik, Gordo and Perronnin, "Iterative quantization: a Procrustean approach
    to learning binary codes for large-scale image retrieval", IEEE Transactions on
    Pattern Analysis and Machine Intelligence 35 (2013), doi:10.1109/TPAMI.2012.193.

    Salakhutdinov and Hinton, "Semantic hashing", International Journal of Approximate
    Reasoning 50 (2009), doi:10.1016/j.ijar.2008.11.006.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_repr import BinaryEmbedder
    >>> X = load_digits().data
    >>> BinaryEmbedder(16, random_state=0).fit_transform(X)[:2]
    array([[...]], dtype=uint8)
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "n_components": [constraints.COUNT, None],
        "max_iter": [constraints.COUNT],
        "random_state": ["random_state"],
    }

    components_: NDArray[np.float64]
    mean_: NDArray[np.float64]
    n_components_: int

    def __init__(
        self,
        n_components: int | None = None,
        *,
        max_iter: int = 50,
        random_state: RandomState = None,
    ):
        self.n_components = n_components
        self.max_iter = max_iter
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Table, y: Labels = None) -> Self:
        """Learn the axes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : None
            Ignored; here for scikit-learn's conventions.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with restored_on_failure(self):
            self._fit(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        return self

    def _fit(self, rows: NDArray[np.float64]) -> None:
        seeds = Seeds(self.random_state)
        with np.errstate(invalid="ignore"):  # rows that are all the same
            pca = PCA(self.n_components, random_state=seeds["components"]).fit(rows)
        values = (rows - pca.mean_) @ pca.components_.T
        k = values.shape[1]
        draws = np.random.default_rng(seeds["rotation"]).normal(size=(k, k))
        rotation = np.linalg.qr(draws)[0]
        signs = values @ rotation > 0
        self.n_iter_ = 0
        while self.n_iter_ < self.max_iter:
            self.n_iter_ += 1
            # the rotation that brings the components nearest to their signs
            left, _, right = np.linalg.svd(values.T @ np.where(signs, 1.0, -1.0))
            rotation = left @ right
            last, signs = signs, values @ rotation > 0
            if np.array_equal(last, signs):
                break
        self.components_ = rotation.T @ pca.components_
        self.mean_, self.n_components_ = pca.mean_, k

    def transform(self, X: Table) -> NDArray[np.uint8]:
        """Map rows to codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        codes : uint8 ndarray of shape (n_samples, n_components_)
            Zeros and ones.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        signs: NDArray[np.bool_] = (rows - self.mean_) @ self.components_.T > 0
        return signs.astype(np.uint8)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
