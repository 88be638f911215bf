"""EmbeddingIndex."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.utils import Tags, check_array, check_scalar, get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_repr._contracts import Array, Constraints, Labels, Table
from sklearn_repr.utils.fitted import is_fitted
from sklearn_repr.utils.hamming import hamming_distances, hamming_neighbors, pack_bits
from sklearn_repr.utils.optional import import_optional
from sklearn_repr.utils.state import restored_on_failure

__all__ = ["EmbeddingIndex"]

# Links of a row in the graph of "hnsw", and how many rows are looked at when a row is
# added, and at least when one is sought
LINKS, LOOKED_AT_IN_FIT, LOOKED_AT = 32, 100, 64
# Numbers that are in memory when distances to what was found are computed
CELLS_AT_A_TIME = 2**20


class EmbeddingIndex(BaseEstimator):
    r"""Search by example: the rows of a table whose embeddings are nearest.

    `fit` embeds a table and keeps the embeddings, not the rows; `kneighbors` embeds other
    rows and finds those of the table that are near, as
    :class:`~sklearn.neighbors.NearestNeighbors` does, which is inside.

    Parameters
    ----------
    estimator : transformer or None, default=None
        What embeds rows: an embedder of this package, PCA, a pipeline. One that is fitted
        is used as it is; one that is not is cloned, and fitted in `fit`. A clone of the
        index has an unfitted one; :class:`~sklearn.frozen.FrozenEstimator` keeps it
        fitted there too. None searches the rows themselves, which may be embeddings.
    metric : {"euclidean", "cosine", "hamming"}, default="euclidean"
        Distance of embeddings. "cosine" is 1 - cosine, and 1 for a row of zeros.
        "hamming" is the number of bits that differ, for codes of zeros and ones such as
        :class:`BinaryEmbedder` makes; they are kept packed, eight bits a byte.
    index : {"exact", "hnsw"}, default="exact"
        "exact" compares with all rows, or by a tree. "hnsw" follows a graph of neighbours
        and finds nearly all of the nearest ones without looking at most rows; it needs
        faiss (``pip install 'sklearn_repr[index]'``), and a metric other than "hamming".

    Attributes
    ----------
    estimator_ : transformer or None
        The fitted transformer.
    embedding_ : ndarray of shape (n_samples_fit_, n_components)
        Embedding of the table: of unit length under "cosine", packed under "hamming".
    n_samples_fit_ : int
        Rows of the table.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    See Also
    --------
    PairedEmbedder : Its `kneighbors` searches one table by rows of another.
    sklearn_repr.inspection.recall_at_k : How good what is found is, by labels or pairs.

    Notes
    -----
    Files and pickles hold the embedding, and the tree or graph is built again at the
    first search.

    References
    ----------
    Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
    hierarchical navigable small world graphs", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 42 (2020), arXiv:1603.09320.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_repr import EmbeddingIndex
    >>> X, y = load_digits(return_X_y=True)
    >>> index = EmbeddingIndex(PCA(16)).fit(X[:1000])
    >>> found = index.kneighbors(X[1000:1002], n_neighbors=3, return_distance=False)
    >>> y[1000:1002], y[found]
    (array([1, 4]), array([[1, 1, 1],
           [4, 4, 4]]))
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "estimator": [HasMethods(["fit", "transform"]), None],
        "metric": [StrOptions({"euclidean", "cosine", "hamming"})],
        "index": [StrOptions({"exact", "hnsw"})],
    }

    estimator_: Any
    embedding_: NDArray[Any]
    n_samples_fit_: int

    def __init__(
        self,
        estimator: Any = None,
        *,
        metric: str = "euclidean",
        index: str = "exact",
    ):
        self.estimator = estimator
        self.metric = metric
        self.index = index

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: Labels = None) -> Self:
        """Embed a table and make its embeddings ready for search.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            The table, in whatever form `estimator` takes.
        y : array-like or None, default=None
            Labels for an `estimator` that is fitted here and learns from them.

        Returns
        -------
        self : object
            The fitted index.
        """
        if self.index == "hnsw" and self.metric == "hamming":
            raise ValueError(
                "index='hnsw' has no metric='hamming': packed codes are compared exactly."
                " Set index='exact'."
            )
        if self.index == "hnsw":
            import_faiss()
        with restored_on_failure(self):
            if self.estimator is None:
                self.estimator_ = None
            elif is_fitted(self.estimator):
                self.estimator_ = self.estimator
            else:
                self.estimator_ = clone(self.estimator).fit(X, y)
            # what `kneighbors` goes by, whatever parameters are set to after `fit`
            self._searched_by = self.metric, self.index
            self.embedding_ = self._embed(X, reset=True)
            self.n_samples_fit_ = len(self.embedding_)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self.estimator_, name):
                    setattr(self, name, getattr(self.estimator_, name))
                elif self.estimator_ is not None and hasattr(self, name):
                    delattr(self, name)
            self._search = self._make_search()
        return self

    def kneighbors(
        self, X: Table = None, n_neighbors: int = 5, return_distance: bool = True
    ) -> Array | tuple[Array, Array]:
        """Find the rows of the table that are nearest to given rows.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_queries, n_features), default=None
            The examples to search by. None takes every row of the table, which does not
            find itself.
        n_neighbors : int, default=5
            How many rows to find for each.
        return_distance : bool, default=True
            Whether to return distances too.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors)
            Distances, ascending; not if `return_distance` is False.
        indices : ndarray of shape (n_queries, n_neighbors)
            Positions in the table.
        """
        check_is_fitted(self)
        check_scalar(n_neighbors, "n_neighbors", Integral, min_val=1)
        alone = X is None
        if n_neighbors > self.n_samples_fit_ - alone:
            raise ValueError(
                f"n_neighbors={n_neighbors} is more than the"
                f" {self.n_samples_fit_ - alone} rows that a query can find."
            )
        queries = self.embedding_ if alone else self._embed(X, reset=False)
        found = self._found(queries, n_neighbors + alone)
        if alone:
            own = found == np.arange(len(found))[:, np.newaxis]
            # among many rows that are the same, a row need not have found itself
            own[~own.any(axis=1), -1] = True
            found = found[~own].reshape(len(found), n_neighbors)
        distances = self._distances(queries, found)
        # by distance, and rows that are as far by position
        order = np.lexsort((found, distances), axis=1)
        found = np.take_along_axis(found, order, axis=1)
        if not return_distance:
            return found
        return np.take_along_axis(distances, order, axis=1), found

    # -- embedding -------------------------------------------------------------------

    def _embed(self, X: Table, *, reset: bool) -> NDArray[Any]:
        """Return the embedding of rows as it is searched."""
        floats, metric = [np.float64, np.float32], self._searched_by[0]
        if self.estimator_ is None:
            Z = validate_data(self, X, reset=reset, dtype=floats)
        else:
            Z = self.estimator_.transform(X)
            Z = check_array(Z, dtype=floats, input_name="embedding")
        if metric == "cosine":
            return np.asarray(normalize(Z))
        if metric == "euclidean":
            return np.asarray(Z)
        other = ((Z != 0) & (Z != 1)).any(axis=0)
        if other.any():
            column = int(other.argmax())
            value = Z[(Z[:, column] != 0) & (Z[:, column] != 1), column][0]
            raise ValueError(
                "metric='hamming' compares codes of zeros and ones, but column"
                f" {column} of the embedding holds {value:g}. Put a BinaryEmbedder behind"
                " the estimator, or set another metric."
            )
        return pack_bits(Z == 1)

    # -- search ----------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Return what files and pickles hold: no trees, no graphs."""
        return {**super().__getstate__(), "_search": None}

    def _make_search(self) -> Any:
        metric, index = self._searched_by
        if metric == "hamming":
            return None
        if metric == "euclidean":
            self._centre = np.median(self.embedding_, axis=0)
            self._scale = float(np.abs(self.embedding_ - self._centre).max()) or 1.0
        if index == "exact":
            return NearestNeighbors(metric=metric).fit(self._placed(self.embedding_))
        faiss = import_faiss()
        by = faiss.METRIC_L2 if metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
        graph = faiss.IndexHNSWFlat(self.embedding_.shape[1], LINKS, by)
        graph.hnsw.efConstruction = LOOKED_AT_IN_FIT
        with one_thread(faiss):
            graph.add(self._placed(self.embedding_).astype(np.float32))
        return graph

    def _placed(self, Z: NDArray[Any]) -> NDArray[Any]:
        """Move embeddings near the origin, where rounding does not hide who is near."""
        if self._searched_by[0] == "cosine":
            return Z
        return np.asarray((Z - self._centre) / self._scale)

    def _found(self, queries: NDArray[Any], k: int) -> NDArray[np.int64]:
        """Return the positions of the k nearest rows."""
        metric, index = self._searched_by
        if metric == "hamming":
            return hamming_neighbors(queries, self.embedding_, k)
        if self._search is None:
            self._search = self._make_search()
        queries = self._placed(queries)
        if index == "exact":
            return np.asarray(self._search.kneighbors(queries, k, return_distance=False))
        self._search.hnsw.efSearch = max(LOOKED_AT, 2 * k)
        found = np.asarray(self._search.search(queries.astype(np.float32), k)[1])
        # rows that the graph does not lead to, for instance behind many equal ones
        short = (found < 0).any(axis=1)
        if short.any():
            exact = NearestNeighbors(metric=metric).fit(self._placed(self.embedding_))
            found[short] = exact.kneighbors(queries[short], k, return_distance=False)
        return found

    def _distances(self, queries: NDArray[Any], found: NDArray[np.int64]) -> Array:
        """Return distances to what was found, from the differences of the embeddings."""
        rows, metric = self.embedding_, self._searched_by[0]
        distances = np.empty(found.shape)
        size = max(1, CELLS_AT_A_TIME // (found.shape[1] * rows.shape[1]))
        for start in range(0, len(found), size):
            part = slice(start, start + size)
            near, query = rows[found[part]], queries[part, np.newaxis]
            if metric == "hamming":
                distances[part] = hamming_distances(query, near)
                continue
            squares = np.square(near.astype(np.float64) - query).sum(axis=2)
            if metric == "euclidean":
                distances[part] = np.sqrt(squares)
            else:  # of unit length, but for zeros, which are like nothing
                some = near.any(axis=2) & query.any(axis=2)
                distances[part] = np.where(some, squares / 2.0, 1.0)
        return distances

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        if self.estimator is not None:
            tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def import_faiss() -> Any:
    """Import faiss, or say which extra has it."""
    return import_optional("faiss", extra="index", purpose="index='hnsw'")


@contextmanager
def one_thread(faiss: Any) -> Iterator[None]:
    """Let faiss compute on one thread: with several, a graph depends on their pace."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
