"""What an embedder of pairs does; its parameters are documented in paired.py."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_repr._contracts import Batch
from sklearn_repr.data import NumericCodec, Pair, PairCodec
from sklearn_repr.engine import TrainingSettings
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.modules.canonical import canonical_maps
from sklearn_repr.modules.paired import (
    PairedNetwork,
    make_side,
    start_at_canonical_maps,
)
from sklearn_repr.objectives import Objective, SymmetricInfoNCE
from sklearn_repr.utils.containers import wrap_table
from sklearn_repr.utils.randomness import Seeds
from sklearn_repr.utils.retrieval import top_match_share
from sklearn_repr.utils.validation import validate_partner

__all__ = ["BasePaired"]

# Rows that the start is fitted to
ROWS_TO_START_FROM = 10_000


class BasePaired(BaseRepresentation):
    """Rows of two tables that belong together; see :class:`BaseRepresentation`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseRepresentation._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "y_architecture": [StrOptions({"mlp", "conv"}), callable, None],
        "y_input_shape": ["array-like", None],
        "init": [StrOptions({"cca"}), None],
    }
    _shaping: ClassVar[tuple[str, ...]] = (
        *BaseRepresentation._shaping,
        "y_architecture",
        "y_input_shape",
        "init",
    )
    # a pair alone has nothing to be contrasted with
    _min_rows = 2

    _codec: Any
    n_y_features_in_: int
    y_feature_names_in_: NDArray[Any]

    def _auto_batch_size(self, n_rows: int) -> int:
        return 256

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        settings = super()._training_settings(n_rows)
        return replace(settings, good_start=self.init == "cca")

    def _draws_globally(self) -> bool:
        return super()._draws_globally() or callable(self.y_architecture)

    def _lends_rows(self) -> bool:
        return super()._lends_rows() and self.y_architecture in (None, "mlp")

    def _validate_training(self, X: Any, y: Any, *, reset: bool) -> Pair:
        return self._validate_pair(X, y, reset=reset)

    def _validate_pair(self, X: Any, y: Any, *, reset: bool) -> Pair:
        pair = Pair(self._validate(X, reset=reset), self._validate_y(y, reset=reset))
        check_consistent_length(pair.X, pair.y)
        return pair

    def _validate_y(self, y: Any, *, reset: bool) -> Any:
        y, names = validate_partner(
            y,
            who=type(self).__name__,
            largest=float(
                np.finfo(self._weight_dtype() if reset else self._codec.dtype).max
            ),
            n_columns=None if reset else self.n_y_features_in_,
            names=None if reset else getattr(self, "y_feature_names_in_", None),
        )
        if reset:
            self.n_y_features_in_ = y.shape[1]
            if names is not None:
                self.y_feature_names_in_ = names
            elif hasattr(self, "y_feature_names_in_"):
                del self.y_feature_names_in_
        return y

    def _fit_codec(self, X: Any, seeds: Seeds) -> Any:
        names = getattr(self, "y_feature_names_in_", None)
        other = NumericCodec(
            self.scaling, self._weight_dtype(), seeds["scaling"], input_name="y"
        )
        return PairCodec(super()._fit_codec(X.X, seeds), other.fit(X.y, names))

    def _column_names(self) -> Any:
        return [
            f"{side}: {name}"
            for side, names, count in (
                ("X", getattr(self, "feature_names_in_", None), self.n_features_in_),
                ("y", getattr(self, "y_feature_names_in_", None), self.n_y_features_in_),
            )
            for name in (range(count) if names is None else names)
        ]

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        self.n_components_ = int(self.n_components)
        sides = []
        for architecture, shape, width in (
            (self.architecture, self.input_shape, self.n_features_in_),
            (
                self.y_architecture or self.architecture,
                self.input_shape if self.y_input_shape is None else self.y_input_shape,
                self.n_y_features_in_,
            ),
        ):
            options = replace(self._architecture_options(), input_shape=shape)
            if architecture == "mlp" and options.hidden_layer_sizes == "auto":
                options = replace(options, hidden_layer_sizes=_auto_sizes(width))
            skip = self.init == "cca"
            side = make_side(
                architecture, width, self.n_components_, options, linear_skip=skip
            )
            sides.append(side)
        network = PairedNetwork(sides[0], sides[1], self.n_features_in_)
        network = network.to(rows.values.dtype)
        continuing = self.warm_start and hasattr(self, "net_")
        if self.init == "cca" and not continuing:
            some = rows.some(ROWS_TO_START_FROM).values
            x, y = some.tensor_split([self.n_features_in_], dim=1)
            maps = canonical_maps(x, y, self.n_components_)
            if maps is not None:
                start_at_canonical_maps(network, maps, some)
        return network

    def _build_objective(self, codec: Any) -> Objective:
        return SymmetricInfoNCE()

    # -- use -------------------------------------------------------------------------

    def transform(self, X: Any, y: Any = None) -> Any:
        """Map rows to unit embeddings: those of `X`, or of both sides.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of the first side.
        y : {array-like, sparse matrix} of shape (n_samples, n_y_features), default=None
            Rows of the second side; of one dimension, a single column.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_) or tuple of two of them
            The embedding of `X`; with `y`, also that of `y`. float32 where the rows are,
            else float64.
        """
        check_is_fitted(self)
        if y is None:
            return self._embed_x(self._validate(X, reset=False))
        pair = self._validate_pair(X, y, reset=False)
        return self._embed_x(pair.X), self._in_container(self._embed_y(pair.y), y)

    def transform_y(self, y: Any) -> Any:
        """Map rows of the second side to unit embeddings.

        Parameters
        ----------
        y : {array-like, sparse matrix} of shape (n_samples, n_y_features)
            Rows of the second side; of one dimension, a single column.

        Returns
        -------
        Z : ndarray or DataFrame of shape (n_samples, n_components_)
            Their embedding, in the space of that of `X`; a DataFrame if ``set_output``
            asks for one.
        """
        check_is_fitted(self)
        return self._in_container(self._embed_y(self._validate_y(y, reset=False)), y)

    def _embed_x(self, rows: Any) -> NDArray[Any]:
        encode, codec = self.net_.module_.encode, self._codec.first
        return self._infer(encode, rows, codec=codec, dtype=rows.dtype)

    def _embed_y(self, rows: Any) -> NDArray[Any]:
        encode, codec = self.net_.module_.encode_partner, self._codec.second
        return self._infer(encode, rows, codec=codec, dtype=rows.dtype)

    def _in_container(self, Z: NDArray[Any], original: Any) -> Any:
        return wrap_table(Z, self, original, self.get_feature_names_out())

    def score(self, X: Any, y: Any) -> float:
        """Return how often a row finds its partner among the given ones.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of the first side.
        y : {array-like, sparse matrix} of shape (n_samples, n_y_features)
            Their partners.

        Returns
        -------
        score : float
            Top-1 retrieval accuracy, the mean over both directions; chance is
            1 / n_samples. Among m equally similar rows a partner counts 1 / m. The more
            rows, the harder.
            :func:`sklearn_repr.inspection.retrieval_accuracy` gives the same number for
            the embeddings of CCA.
        """
        check_is_fitted(self)
        pair = self._validate_pair(X, y, reset=False)
        return top_match_share(self._embed_x(pair.X), self._embed_y(pair.y))

    def kneighbors(
        self,
        X: Any = None,
        y: Any = None,
        *,
        gallery: Any,
        n_neighbors: int = 5,
        return_distance: bool = True,
    ) -> Any:
        """Find the rows of one side that are most similar to rows of the other.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_queries, n_features), default=None
            Rows of the first side, whose partners are sought in `gallery`.
        y : {array-like, sparse matrix} of shape (n_queries, n_y_features), default=None
            Or rows of the second side; one of the two must be given.
        gallery : {array-like, sparse matrix} of shape (n_gallery, n_columns)
            Rows of the other side to choose from. The fitted estimator holds no rows.
        n_neighbors : int, default=5
            How many to find for every query, at most n_gallery.
        return_distance : bool, default=True
            Whether to return distances too.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors)
            1 - cosine, ascending; not if `return_distance` is False.
        indices : ndarray of shape (n_queries, n_neighbors)
            Rows of `gallery`.
        """
        check_is_fitted(self)
        if (X is None) == (y is None):
            raise ValueError(
                "kneighbors needs either X or y as queries, and rows of the other side as"
                " gallery; got " + ("neither." if X is None else "both.")
            )
        x_rows = self._validate(gallery if X is None else X, reset=False)
        y_rows = self._validate_y(gallery if y is None else y, reset=False)
        first, second = self._embed_x(x_rows), self._embed_y(y_rows)
        queries, rows = (first, second) if y is None else (second, first)
        search = NearestNeighbors(metric="cosine", algorithm="brute").fit(rows)
        return search.kneighbors(queries, n_neighbors, return_distance)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def _auto_sizes(n_features: int) -> tuple[int, int]:
    """Return twice the width of the table, between 256 and 512, then half.

    Contrasts take more units than reconstruction does.
    """
    width = min(512, max(256, 2 ** (2 * n_features - 1).bit_length()))
    return width, width // 2
