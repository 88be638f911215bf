"""PairedEmbedder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_repr._contracts import (
    Architecture,
    Array,
    Batch,
    Callbacks,
    Categorical,
    Constraints,
    InputShape,
    LayerSizes,
    Names,
    Optimizer,
    RandomState,
    Table,
    Weights,
)
from sklearn_repr.data import (
    Columns,
    NumericCodec,
    Pair,
    PairCodec,
    choose_codec,
)
from sklearn_repr.data.batches import sides_of
from sklearn_repr.data.columns import find_categories
from sklearn_repr.engine import TrainingSettings
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.modules.canonical import canonical_maps, canonical_maps_of_scores
from sklearn_repr.modules.factory import narrowed
from sklearn_repr.modules.paired import (
    PairedNetwork,
    make_side,
    start_at_canonical_maps,
)
from sklearn_repr.objectives import Objective, SymmetricInfoNCE
from sklearn_repr.utils import constraints
from sklearn_repr.utils.containers import wrap_table
from sklearn_repr.utils.randomness import Seeds
from sklearn_repr.utils.retrieval import top_match_share
from sklearn_repr.utils.validation import validate_partner

__all__ = ["PairedEmbedder"]

# Rows that the start is fitted to
ROWS_TO_START_FROM = 10_000


def auto_sizes(n_features: int) -> tuple[int, int]:
    """Return twice the width of the table, between 256 and 512, then half.

    Contrasts take more units than reconstruction does.
    """
    width = min(512, max(256, 2 ** (2 * n_features - 1).bit_length()))
    width = narrowed(width, n_features)
    return width, width // 2


class PairedEmbedder(BaseRepresentation):
    r"""One space for two tables, in which rows that belong together are close.

    CLIP on any two modalities: an encoder for either side maps rows to unit vectors u and
    v, and both are trained to find a row's partner among those of the batch,

    .. math:: \ell_i = -\frac12 \log \frac{e^{s u_i^\top v_i}}{\sum_k e^{s u_i^\top v_k}}
              -\frac12 \log \frac{e^{s u_i^\top v_i}}{\sum_k e^{s u_k^\top v_i}}

    with a learned inverse temperature s of at most 100. It is used as
    :class:`~sklearn.cross_decomposition.CCA` is: ``fit(X, y)``, ``transform(X)``,
    ``transform(X, y)``. Training starts at canonical correlation analysis, of which it is
    the nonlinear counterpart.

    Parameters
    ----------
    n_components : int, default=64
        Width of the embedding, of unit length: at least 2 to be of use. A single
        component is 1 or -1 and has no gradient: it stays the sign of what training
        starts from, with ``init="cca"`` the first canonical variable.
    scaling : {"standard", "robust", "quantile"} or None, default="standard"
        How columns of either side are made comparable, through scikit-learn's scaler of
        that name.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Which columns are categories: a mask, names or positions. "from_dtype" takes the
        columns of a frame that hold categories, text or booleans; None takes none.
    max_categories : int or None, default=32
        Most levels of a category that are kept apart; the rarer ones share one. None sets
        no limit.
    min_frequency : int, float or None, default=None
        Levels in fewer rows, or in a smaller share of the rows, share one.
    architecture : "mlp", "conv" or callable, default="mlp"
        The encoder of `X`. "conv" takes a row for an image or a sequence of
        `input_shape`: strided convolutions. A torch module class or function is called
        with keywords `n_features` and `n_components`; it returns the encoder: a module,
        or one with a method ``encode``.
    y_architecture : "mlp", "conv", callable or None, default=None
        The encoder of `y`; None means one of the same architecture.
    input_shape : tuple of int or None, default=None
        What a row of `X` is: (channels, height, width) or (channels, length). Only for
        "conv".
    y_input_shape : tuple of int or None, default=None
        What a row of `y` is; None means `input_shape`.
    kernel_size : int, default=3
        Width of the convolutions of "conv".
    stride : int, default=2
        Step of the convolutions of "conv".
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Hidden layers of both encoders. "auto" is two layers, the first twice as wide as
        the table (256 to 512), the second half of the first; for "conv" they are
        channels, and "auto" is 16 and 32. An empty tuple leaves linear maps.
    activation : str, default="silu"
        Activation of hidden layers: "identity", "logistic", "tanh", "relu",
        "leaky_relu", "elu", "gelu" or "silu".
    dropout : float, default=0.1
        Probability in [0, 1) of dropping a hidden unit in training.
    layer_norm : bool, default=False
        Normalise hidden layers before their activation.
    init : "cca" or None, default="cca"
        "cca" puts a linear path beside the layers of "mlp" and "conv", which starts at
        canonical directions, weighted by their correlation on held-out rows; None starts
        at random, without that path.
    alpha : float, default=0.0
        Weight decay: adds alpha · W to the gradient of every weight matrix W, as the
        penalty alpha / 2 · ‖W‖² would ("adamw" decouples it from the gradient).
    optimizer : {"adam", "adamw", "sgd"} or callable, default="adam"
        A torch optimizer class, or a function of parameter groups and `lr`.
    learning_rate : {"constant", "one_cycle", "cosine", "plateau"}, default="constant"
        How the learning rate moves. "one_cycle" starts at a 25th of `learning_rate_init`,
        reaches it after 30% of all steps and falls to next to nothing, by half cosines;
        "cosine" falls from it to next to nothing by half a cosine. Training then runs all
        its epochs, whatever the loss does, so that `n_iter_no_change` and `tol` must be
        left as they are. "plateau" lowers it when the loss no longer improves.
    learning_rate_init : float, default=0.001
        Learning rate; a skorch ``LRScheduler`` among `callbacks` can vary it.
    gradient_clip : float or None, default=None
        Largest norm of the gradient of all weights together; a longer gradient is scaled
        down to it. None leaves gradients as they are.
    batch_size : int or "auto", default="auto"
        Pairs per step, at least 2; each is compared with the others. "auto" is 256.
    max_iter : int, default=200
        Most epochs to train.
    early_stopping : bool, default=True
        Hold out a random share of the rows, stop when the loss on them no longer
        improves, and keep the weights that were best. Without it, or with too few rows
        to hold any out, the training loss decides when to stop.
    validation_fraction : float, default=0.1
        Share of rows to hold out, rounded down.
    n_iter_no_change : int, default=10
        Epochs without improvement after which training stops.
    tol : float, default=0.0001
        An improvement lowers the loss by more than `tol` times its magnitude.
    warm_start : bool, default=False
        Continue from the last fit's weights and scaling instead of starting anew.
    callbacks : list of skorch callbacks or None, default=None
        Callbacks, or pairs (name, callback); copied before training.
    device : str, default="auto"
        "auto" takes CUDA where there is one and the CPU otherwise; or a name of torch's.
    dtype : {"float32", "float64", "bfloat16"}, default="float32"
        Precision of the computation. "bfloat16" trains in mixed precision where the
        device computes in it, with weights in float32, and is "float32" elsewhere;
        rows are always mapped and scored in float32 then.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, shuffling, held-out rows and dropout. None differs from call to
        call.
    verbose : int, default=0
        1 draws a progress bar on stderr.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    n_components_ : int
        Width of the embedding.
    loss_curve_ : list of float
        Training loss per epoch.
    validation_curve_ : list of float or None
        Loss on the held-out rows per epoch; None if none were held out.
    loss_terms_ : dict of str to list of float
        Every term of the loss per epoch, unweighted: "train_info_nce", ...
    best_loss_ : float
        Lowest monitored loss, the start included where rows were held out.
    best_epoch_ : int
        Epoch whose weights were kept, 0 for the start; without held-out rows to compare
        epochs by, the last.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Number of columns of `X` seen in fit.
    n_y_features_in_ : int
        Number of columns of `y` seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns of `X`, if fit saw a table with string names.
    y_feature_names_in_ : ndarray of shape (n_y_features_in_,)
        Names of the columns of `y`, if fit saw a table with string names.

    See Also
    --------
    sklearn.cross_decomposition.CCA : Linear directions of highest correlation.
    ContrastiveEmbedder : Contrasts two corrupted views of one table.

    Notes
    -----
    ``fit_transform(X, y)`` returns the embedding of `X` alone, so that a step of a
    pipeline can follow; that of CCA returns both sides.

    References
    ----------
    Radford et al., "Learning transferable visual models from natural language
    supervision", ICML 2021, arXiv:2103.00020.

    Hotelling, "Relations between two sets of variates", Biometrika 28 (1936),
    doi:10.1093/biomet/28.3-4.321.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_repr import PairedEmbedder
    >>> X = load_digits().data
    >>> upper, lower = X[:, :32], X[:, 32:]
    >>> embedder = PairedEmbedder(random_state=0).fit(upper[:1500], lower[:1500])
    >>> distances, indices = embedder.kneighbors(upper[-3:], gallery=lower[1500:])
    >>> indices.shape
    (3, 5)
    >>> embedder.score(upper[1500:], lower[1500:]) > 0.2  # chance is 1 / 297
    True
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseRepresentation._parameter_constraints,
        **constraints.LAYERS,
        "y_architecture": [StrOptions({"mlp", "conv"}), callable, None],
        "y_input_shape": ["array-like", None],
        "init": [StrOptions({"cca"}), None],
        "batch_size": [constraints.AUTO, constraints.TWO_OR_MORE],
    }
    _shaping = (*BaseRepresentation._shaping, "y_architecture", "y_input_shape", "init")
    # a pair alone has nothing to be contrasted with
    _min_rows = 2

    _codec: Any  # a PairCodec
    # how a second frame with categories is read
    _y_columns: Columns | None
    n_y_features_in_: int
    y_feature_names_in_: Names

    def __init__(
        self,
        n_components: int = 64,
        *,
        scaling: str | None = "standard",
        categorical_features: Categorical = "from_dtype",
        max_categories: int | None = 32,
        min_frequency: float | None = None,
        architecture: Architecture = "mlp",
        y_architecture: Architecture | None = None,
        input_shape: InputShape = None,
        y_input_shape: InputShape = None,
        kernel_size: int = 3,
        stride: int = 2,
        hidden_layer_sizes: LayerSizes = "auto",
        activation: str = "silu",
        dropout: float = 0.1,
        layer_norm: bool = False,
        init: str | None = "cca",
        alpha: float = 0.0,
        optimizer: Optimizer = "adam",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        gradient_clip: float | None = None,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        callbacks: Callbacks = None,
        device: str = "auto",
        dtype: str = "float32",
        random_state: RandomState = None,
        verbose: int = 0,
    ):
        self.n_components = n_components
        self.scaling = scaling
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency
        self.architecture = architecture
        self.y_architecture = y_architecture
        self.input_shape = input_shape
        self.y_input_shape = y_input_shape
        self.kernel_size = kernel_size
        self.stride = stride
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.init = init
        self.alpha = alpha
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.gradient_clip = gradient_clip
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    # -- hooks -----------------------------------------------------------------------

    def _validate_training(
        self, X: Table, y: Table, sample_weight: Weights, *, reset: bool
    ) -> Pair:
        return self._validate_pair(X, y, reset=reset)

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        settings = super()._training_settings(n_rows)
        return replace(settings, good_start=self.init == "cca")

    def _auto_batch_size(self, n_rows: int) -> int:
        return 256

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        self.n_components_ = int(self.n_components)
        y_shape, codec = self._y_shape(), self._codec
        first, second = codec.first.n_encoded_, codec.second.n_encoded_
        y_architecture = self.y_architecture or self.architecture
        network = PairedNetwork(
            self._build_side(self.architecture, self.input_shape, first),
            self._build_side(y_architecture, y_shape, second),
            first,
        ).to(rows.values.dtype)
        if self.init == "cca" and not self._continues():
            some = rows.some(ROWS_TO_START_FROM).values
            x, y = some.tensor_split([first], dim=1)
            sides = sides_of(rows, ROWS_TO_START_FROM)
            if sides is None:
                maps = canonical_maps(x, y, self.n_components_)
            else:
                maps = canonical_maps_of_scores(*sides, self.n_components_)
            if maps is not None:
                start_at_canonical_maps(network, maps, some)
        return network

    def _y_shape(self) -> InputShape:
        return self.input_shape if self.y_input_shape is None else self.y_input_shape

    def _build_side(
        self, architecture: Architecture, shape: InputShape, width: int
    ) -> nn.Module:
        options = replace(self._architecture_options(), input_shape=shape)
        if architecture == "mlp" and options.hidden_layer_sizes == "auto":
            options = replace(options, hidden_layer_sizes=auto_sizes(width))
        skip = self.init == "cca"
        return make_side(
            architecture, width, self.n_components_, options, linear_skip=skip
        )

    def _build_objective(self, codec: Any, module: nn.Module) -> Objective:
        return SymmetricInfoNCE()

    # -- two tables instead of one ---------------------------------------------------

    def _draws_globally(self) -> bool:
        return super()._draws_globally() or callable(self.y_architecture)

    def _leaves_rows_unchanged(self) -> bool:
        own = self.y_architecture in (None, "mlp")
        return super()._leaves_rows_unchanged() and own

    def _validate_pair(self, X: Table, y: Table, *, reset: bool) -> Pair:
        pair = Pair(self._validate(X, reset=reset), self._validate_y(y, reset=reset))
        check_consistent_length(pair.X, pair.y)
        return pair

    def _validate_y(self, y: Table, *, reset: bool) -> Table:
        if reset:
            limits = self.max_categories, self.min_frequency
            self._y_columns = find_categories(y, "from_dtype", *limits)
        columns = self._y_columns
        y, names = validate_partner(
            y,
            who=type(self).__name__,
            largest=float(
                np.finfo(self._weight_dtype() if reset else self._codec.dtype).max
            ),
            n_columns=None if reset else self.n_y_features_in_,
            names=None if reset else getattr(self, "y_feature_names_in_", None),
            read=None if columns is None else columns.read,
        )
        if reset:
            self.n_y_features_in_ = y.shape[1]
            if names is not None:
                self.y_feature_names_in_ = names
            elif hasattr(self, "y_feature_names_in_"):
                del self.y_feature_names_in_
        return y

    def _fit_codec(self, X: Pair, seeds: Seeds, weights: Weights) -> Any:
        names = getattr(self, "y_feature_names_in_", None)
        numbers = NumericCodec(
            self.scaling,
            self._weight_dtype(),
            seeds["scaling"],
            input_name="y",
            fill=True,
        )
        shaped = self._y_shape() is not None
        other = choose_codec(numbers, self._y_columns, X.y, shaped=shaped)
        return PairCodec(super()._fit_codec(X.X, seeds, None), other.fit(X.y, names))

    # -- use -------------------------------------------------------------------------

    def transform(self, X: Table, y: Table = None) -> Table:
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

    def transform_y(self, y: Table) -> Table:
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

    def _embed_x(self, rows: Table) -> Array:
        encode, codec = self.net_.module_.encode, self._codec.first
        return self._infer(encode, rows, codec=codec, dtype=rows.dtype)

    def _embed_y(self, rows: Table) -> Array:
        encode, codec = self.net_.module_.encode_partner, self._codec.second
        return self._infer(encode, rows, codec=codec, dtype=rows.dtype)

    def _in_container(self, Z: Array, original: Table) -> Table:
        return wrap_table(Z, self, original, self.get_feature_names_out())

    def score(self, X: Table, y: Table) -> float:
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
        X: Table = None,
        y: Table = None,
        *,
        gallery: Table,
        n_neighbors: int = 5,
        return_distance: bool = True,
    ) -> Array | tuple[Array, Array]:
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
        found: Array | tuple[Array, Array]
        found = search.kneighbors(queries, n_neighbors, return_distance)
        return found

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags
