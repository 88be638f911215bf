"""ContrastiveEmbedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr import corruptions, objectives
from sklearn_repr._contracts import (
    Architecture,
    Batch,
    Callbacks,
    Constraints,
    InputShape,
    Labels,
    LayerSizes,
    LevelOrRange,
    Optimizer,
    RandomState,
    Table,
)
from sklearn_repr.corruptions.views import TwoViews, warn_of_same_views
from sklearn_repr.data import Codec
from sklearn_repr.data.batches import batch_sizes, parts_in_memory
from sklearn_repr.data.blocks import encode_compared
from sklearn_repr.engine import RepresentationNet, TrainingSettings, evaluate
from sklearn_repr.engine.quality import QUALITY_PREFIX
from sklearn_repr.engine.training import epoch_curves
from sklearn_repr.estimators._base import BaseRepresentation, encode
from sklearn_repr.modules import make_contrastive_network
from sklearn_repr.modules.factory import embedder_sizes
from sklearn_repr.modules.readout import unit_length
from sklearn_repr.objectives import Composite, Objective, Reconstruction
from sklearn_repr.utils import constraints
from sklearn_repr.utils.labels import encode_labels

__all__ = ["ContrastiveEmbedder"]

# Rows that are compared with each other in score, whatever the training batch was
SCORE_BATCH = 256
# Rows from which the readout takes its axes, and of sparse tables that are not encoded
# as a whole
ROWS_TO_READ = 10_000
SPARSE_ROWS_TO_READ = 2_500
# the budget where `max_iter` is None, and the fewest epochs of a limited number of steps
MOST_EPOCHS = 100
MOST_STEPS = 800
FEWEST_EPOCHS = 5


def encode_to_unit_length(module: Any, x: Tensor) -> Tensor:
    """Map encoded rows to unit vectors."""
    return unit_length(module.encode(x))


class ContrastiveEmbedder(BaseRepresentation):
    r"""Embedding in which two views of a row agree and rows stay apart.

    A row and its positive, which is itself or a row near it, are corrupted, an encoder
    embeds both views, and a projection head feeds an objective that looks at the two. A
    linear map brings either view back to the row. `transform` reads the encoder's layers
    on the uncorrupted row; the heads are dropped. With cosine similarities s of
    projections, p(i) the other view, and weight w, the default minimises

    .. math:: \ell_i = -\log \frac{\exp(s_{i,p(i)} / \tau)}
              {\sum_{k \ne i} \exp(s_{ik} / \tau)}
              + \frac{w}{d} \| \hat x_i - x_i \|^2

    Parameters
    ----------
    n_components : int, default=128
        Width of the embedding.
    readout : {"auto", "layers", "last"}, default="auto"
        What `transform` returns. "layers" is made of the square roots of all hidden
        layers, each with the same total variance: their principal components, not
        whitened but rotated so that all have the same variance. "last" is the encoder's
        output. "auto" is "layers" for "mlp" and "last" elsewhere.
    normalize : bool, default=True
        Scale embeddings to unit length in `transform`.
    scaling : str or None, default="value_and_rank"
        How columns are made comparable: "standard", "robust" and "quantile" by
        scikit-learn's scaler of that name, "value_and_rank" by the mean of standardised
        value and standardised rank. None leaves them as they are.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Which columns are categories: a mask, names or positions. "from_dtype" takes the
        columns of a frame that hold categories, text or booleans; None takes none.
    max_categories : int or None, default=32
        Most levels of a category that are kept apart; the rarer ones share one. None sets
        no limit.
    min_frequency : int, float or None, default=None
        Levels in fewer rows, or in a smaller share of the rows, share one.
    architecture : "mlp", "conv" or callable, default="mlp"
        "conv" takes a row for an image or a sequence of `input_shape`: strided
        convolutions. A torch module class or function is called with keywords
        `n_features` and `n_components`; it returns the encoder: a module, or one with a
        method ``encode``.
    input_shape : tuple of int or None, default=None
        What a row is: (channels, height, width) or (channels, length). For "conv", and
        for corruptions that move images.
    kernel_size : int, default=3
        Width of the convolutions of "conv".
    stride : int, default=2
        Step of the convolutions of "conv".
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Hidden layers of the encoder. "auto" is three layers of 256, the first of fewer
        where the table has more than 4,096 columns; for "conv" they are channels, and
        "auto" is 16 and 32.
    activation : str, default="relu"
        Activation of hidden layers: "identity", "logistic", "tanh", "relu",
        "leaky_relu", "elu", "gelu" or "silu".
    dropout : float, default=0.0
        Probability in [0, 1) of dropping a hidden unit in training.
    layer_norm : bool, default=True
        Normalise hidden layers before their activation.
    projection_dim : int, default=64
        Width of the projection head's hidden layer and output.
    predictor : bool, default=True
        Give "byol" and "simsiam" a second head, which predicts the target from the
        projection. Without it they collapse.
    target_momentum : float, default=0.99
        Where targets are made by a moving average of the network's weights, as in BYOL
        and JEPA, its momentum. It rises from this to 1 over all epochs, by half a cosine;
        0 copies the weights at first.
    objective : str or Objective, default="nt_xent"
        What is asked of views. Other rows repel: "nt_xent" (SimCLR, InfoNCE), "supcon"
        (all rows of the same class attract; needs y), "triplet" (semi-hard negatives),
        "align_uniform". Columns of the projection are kept apart: "vicreg",
        "barlow_twins". A view predicts the other, which is only as good as predictor and
        target keep it from collapsing: "byol", "simsiam". An instance of a class of
        :mod:`sklearn_repr.objectives` brings constants of its own.
    temperature : float or None, default=None
        :math:`\tau` of objectives that have one, which divides the similarities. None is
        their own default, 0.5 of "nt_xent" and "supcon"; with others, and with an
        instance, a number is an error.
    learn_temperature : bool, default=False
        Learn the temperature of "nt_xent", from `temperature` on.
    reconstruction_weight : float, default=1.0
        Weight of a second term beside the objective's: the mean squared error, per column
        of the scaled table, of a linear map from the encoder's output of either view back
        to the clean row. 0 is none.
    pairs : {"auto", "row", "label", "time", "neighbors"}, default="auto"
        Which row the second view is made of: the same; another of the same class (needs
        y; a row without label, or alone in its class, is paired with itself); one of the
        `n_neighbors` rows before and after, where rows are in order of time; one of the
        `n_neighbors` nearest rows of the scaled table. "auto" is "neighbors" for "mlp"
        with an objective that reads no labels, and "row" elsewhere.
    n_neighbors : int, default=5
        How many rows are near, for `pairs` "neighbors" and, each way, "time".
    views : str, callable or list, default="swap"
        How each of the two views of a row is made; a list is applied in its order, and
        holds names, pairs (name, level), callables or corruptions of
        :mod:`sklearn_repr.corruptions`. A callable maps a tensor of scaled rows to one of
        the same shape. Of any row: "gaussian" adds noise in proportion to each column's
        spread, "multiplicative" multiplies by noise, "masking" sets cells to zero,
        "salt_and_pepper" to their column's extremes, "swap" to another row's value,
        "scarf" exactly ⌊level · d⌋ cells of each row to draws from their columns,
        "subset" exactly as many to zero; "mixup" mixes in another row by a factor of
        `level`. Of images: "crop" (and resize), "horizontal_flip", "vertical_flip",
        "rotation", "translation", "blur", "brightness", "contrast", "cutout". Of
        sequences: "jitter", "scaling", "time_crop", "window_masking", "blur".
    corruption_level : float, (float, float) or "auto", default="auto"
        How strong views that bring no level of their own are; a range is drawn from for
        every row. Standard deviations for "gaussian", "multiplicative", "brightness",
        "jitter" and "scaling", degrees for "rotation", pixels or steps for "blur", the
        probability of a flip, else a share in [0, 1]: of cells, of the area for "crop",
        of the side for "translation" and "cutout", of the length for "time_crop" and
        "window_masking". "auto" is 0.3, but 0.5 for flips, "brightness", "contrast" and
        "time_crop", 0.6 for "crop", 0.4 for "cutout", 0.1 for "translation", 1 for "blur"
        and 15 for "rotation".
    latent_mixup : float, default=0.0
        In training, mix the embedding of every view, before the projection head, with
        that of another by a share drawn from [0, latent_mixup].
    alpha : float, default=0.0
        Weight decay: adds alpha · W to the gradient of every weight matrix W, as the
        penalty alpha / 2 · ‖W‖² would ("adamw" decouples it from the gradient).
    optimizer : {"adam", "adamw", "sgd"} or callable, default="adamw"
        A torch optimizer class, or a function of parameter groups and `lr`.
    learning_rate : {"constant", "one_cycle", "cosine", "plateau"}, default="one_cycle"
        How the learning rate moves. "one_cycle" starts at a 25th of `learning_rate_init`,
        reaches it after 30% of all steps and falls to next to nothing, by half cosines;
        "cosine" falls from it to next to nothing by half a cosine. Training then runs all
        its epochs, whatever the loss does, so that `n_iter_no_change` and `tol` must be
        left as they are. "plateau" lowers it when the loss no longer improves.
    learning_rate_init : float, default=0.003
        Learning rate; a skorch ``LRScheduler`` among `callbacks` can vary it.
    gradient_clip : float or None, default=None
        Largest norm of the gradient of all weights together; a longer gradient is scaled
        down to it. None leaves gradients as they are.
    batch_size : int or "auto", default="auto"
        Rows per step, at least 2; each is compared with the others. "auto" is 128.
    chunk_size : int or None, default=None
        Views that are in memory at a time, for batches larger than memory allows; the
        gradient is the same (GradCache), at the price of one more forward pass. None
        means all of a batch.
    max_iter : int or None, default=None
        Most epochs to train. None is 100, or fewer by `max_steps`.
    max_steps : int, "auto" or None, default="auto"
        Most steps to train, rounded up to whole epochs. Of these there are, where
        `max_iter` allows, at least five, and no more than rows. "auto" is 800 where
        `max_iter` is None, and no limit where it is given; None is no limit.
    early_stopping : bool, default=False
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
        Seed of weights, shuffling, held-out rows and corruption. None differs from call
        to call.
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
        Every term of the loss per epoch, unweighted: "train_nt_xent", ...
    best_loss_ : float
        Lowest monitored loss, the start included where rows were held out.
    best_epoch_ : int
        Epoch whose weights were kept, 0 for the start; without held-out rows to compare
        epochs by, the last.
    embedding_curves_ : dict of str to list of float
        Measures per epoch, on at most 256 training rows: "alignment" of views,
        "uniformity", "effective_rank" and "spread" (0 to 1) of the embedding, and
        "projection_spread". From the eleventh epoch on, of fewer than 2,560 rows, most
        epochs are not measured and repeat the last value; the last epoch is. Also in
        ``net_.history``.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    Warns
    -----
    CollapseWarning
        If embeddings or projections of all rows point nearly the same way after training,
        or embeddings vary along next to one direction.

    See Also
    --------
    AutoencoderTransformer : Learns by reconstruction, and can invert its transform.

    Notes
    -----
    ``fit(X, y)`` reads y only where `objective` or `pairs` needs labels, which may be of
    any type; -1 and NaN mean that a row has none. Such a row is attracted by its own
    other view only, and takes part as one of the others.

    References
    ----------
    Chen, Kornblith, Norouzi and Hinton, "A simple framework for contrastive learning of
    visual representations", ICML 2020, arXiv:2002.05709.

    Khosla et al., arXiv:2004.11362 ("supcon"); Schroff et al., arXiv:1503.03832
    ("triplet"); Bardes et al., arXiv:2105.04906 ("vicreg"); Zbontar et al.,
    arXiv:2103.03230 ("barlow_twins"); Grill et al., arXiv:2006.07733 ("byol"); Chen and
    He, arXiv:2011.10566 ("simsiam"); Wang and Isola, arXiv:2005.10242 ("align_uniform").

    Bahri, Jiang, Tay and Metzler, "SCARF: self-supervised contrastive learning using
    random feature corruption", ICLR 2022, arXiv:2106.15147.

    Yoon, Zhang, Jordon and van der Schaar, "VIME: extending the success of self- and
    semi-supervised learning to tabular domain", NeurIPS 2020 (rows rebuilt from swapped
    cells).

    Dwibedi et al., "With a little help from my friends: nearest-neighbor contrastive
    learning of visual representations", ICCV 2021, arXiv:2104.14548 (neighbours).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import ContrastiveEmbedder
    >>> X = load_iris().data
    >>> ContrastiveEmbedder(8, max_iter=5, random_state=0).fit_transform(X).shape
    (150, 8)
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseRepresentation._parameter_constraints,
        **constraints.LAYERS,
        "readout": [StrOptions({"auto", "layers", "last"})],
        "normalize": ["boolean"],
        "scaling": [StrOptions(constraints.SCALINGS | {"value_and_rank"}), None],
        "projection_dim": [constraints.COUNT],
        "predictor": ["boolean"],
        "target_momentum": [constraints.SHARE],
        "objective": [constraints.Registered(objectives.objective), Objective],
        "temperature": [constraints.POSITIVE, None],
        "learn_temperature": ["boolean"],
        "reconstruction_weight": [constraints.NOT_NEGATIVE],
        "pairs": [constraints.Registered(corruptions.pairs, ["auto", "row"])],
        "n_neighbors": [constraints.COUNT],
        "views": [constraints.Registered(corruptions.corruption), callable, list, tuple],
        "corruption_level": [constraints.NOT_NEGATIVE, constraints.AUTO, list, tuple],
        "latent_mixup": [constraints.SHARE],
        "batch_size": [constraints.AUTO, constraints.TWO_OR_MORE],
        "chunk_size": [constraints.COUNT, None],
        "max_iter": [constraints.COUNT, None],
        "max_steps": [constraints.COUNT, constraints.AUTO, None],
    }
    _shaping = (*BaseRepresentation._shaping, "readout", "projection_dim", "predictor")
    # a row alone has nothing to be contrasted with
    _min_rows = 2
    _watches_embedding = True

    def __init__(
        self,
        n_components: int = 128,
        *,
        readout: str = "auto",
        normalize: bool = True,
        scaling: str | None = "value_and_rank",
        categorical_features: Any = "from_dtype",
        max_categories: int | None = 32,
        min_frequency: float | None = None,
        architecture: Architecture = "mlp",
        input_shape: InputShape = None,
        kernel_size: int = 3,
        stride: int = 2,
        hidden_layer_sizes: LayerSizes = "auto",
        activation: str = "relu",
        dropout: float = 0.0,
        layer_norm: bool = True,
        projection_dim: int = 64,
        predictor: bool = True,
        target_momentum: float = 0.99,
        objective: str | Objective = "nt_xent",
        temperature: float | None = None,
        learn_temperature: bool = False,
        reconstruction_weight: float = 1.0,
        pairs: str = "auto",
        n_neighbors: int = 5,
        views: str | Callable[[Tensor], Tensor] | Sequence[object] = "swap",
        corruption_level: LevelOrRange | str = "auto",
        latent_mixup: float = 0.0,
        alpha: float = 0.0,
        optimizer: Optimizer = "adamw",
        learning_rate: str = "one_cycle",
        learning_rate_init: float = 0.003,
        gradient_clip: float | None = None,
        batch_size: int | str = "auto",
        chunk_size: int | None = None,
        max_iter: int | None = None,
        max_steps: int | str | None = "auto",
        early_stopping: bool = False,
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
        self.readout = readout
        self.normalize = normalize
        self.scaling = scaling
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency
        self.architecture = architecture
        self.input_shape = input_shape
        self.kernel_size = kernel_size
        self.stride = stride
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.projection_dim = projection_dim
        self.predictor = predictor
        self.target_momentum = target_momentum
        self.objective = objective
        self.temperature = temperature
        self.learn_temperature = learn_temperature
        self.reconstruction_weight = reconstruction_weight
        self.pairs = pairs
        self.n_neighbors = n_neighbors
        self.views = views
        self.corruption_level = corruption_level
        self.latent_mixup = latent_mixup
        self.alpha = alpha
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.gradient_clip = gradient_clip
        self.batch_size = batch_size
        self.chunk_size = chunk_size
        self.max_iter = max_iter
        self.max_steps = max_steps
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

    def _after_encoding(self, rows: Batch, y: Labels) -> None:
        rows.labels = self._encode_labels(y, len(rows))
        warn_of_same_views(self._build_corruption(), rows.values.shape[1])

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        settings = super()._training_settings(n_rows)
        epochs = MOST_EPOCHS if self.max_iter is None else self.max_iter
        most_steps = self.max_steps
        if isinstance(most_steps, str):
            most_steps = MOST_STEPS if self.max_iter is None else None
        if most_steps is not None:
            held_out = self.early_stopping * self.validation_fraction
            trained = n_rows - int(held_out * n_rows)
            steps = len(batch_sizes(trained, settings.batch_size))
            wanted = min(-(-most_steps // steps), n_rows)
            epochs = min(epochs, max(wanted, FEWEST_EPOCHS))
        return replace(settings, max_iter=epochs, chunk_size=self.chunk_size)

    def _auto_batch_size(self, n_rows: int) -> int:
        return 128

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        self.n_components_ = int(self.n_components)
        options = self._architecture_options()
        if self.architecture == "mlp" and isinstance(options.hidden_layer_sizes, str):
            sizes = embedder_sizes(rows.values.shape[1])
            options = replace(options, hidden_layer_sizes=sizes)
        objective = self._make_objective()
        settings = self._training_settings(len(rows) + len(held_out or ()))
        n_batches = len(batch_sizes(len(rows), settings.batch_size))
        return make_contrastive_network(
            self.architecture,
            rows.values.shape[1],
            self.n_components_,
            options,
            projection_dim=int(self.projection_dim),
            reconstructs=self.reconstruction_weight > 0,
            all_layers=self._reads_layers(),
            latent_mixup=self.latent_mixup,
            batch_norm=objective.batch_norm_heads,
            predicts=objective.needs_prediction,
            has_predictor=self.predictor,
            momentum=self.target_momentum if objective.needs_target else None,
            n_steps=settings.max_iter * n_batches,
        )

    def _build_objective(self, codec: Codec, module: nn.Module) -> Objective:
        objective = self._make_objective()
        if self.reconstruction_weight > 0:
            weight = self.reconstruction_weight / self.n_features_in_
            objective = Composite(
                [objective, Reconstruction(blocks=codec.blocks_)],
                {**objective.weights, "reconstruction": weight},
            )
        if objective.needs_labels and self._pairing() not in ("row", "label"):
            raise ValueError(
                f"objective={self.objective!r} takes all rows of a class for positives:"
                f" choose pairs='row' or 'label', not {self.pairs!r}."
            )
        if self._continues() and list(objective.parameters()):
            state = self.net_.criterion_.state_dict()
            if state.keys() == objective.state_dict().keys():
                objective.load_state_dict(state)
        return objective

    def _build_corruption(self) -> corruptions.Corruption:
        level, shape = self.corruption_level, self._row_shape()
        views = corruptions.make_views(self.views, level, input_shape=shape)
        # pairs bring two rows for each, of which every one is corrupted once
        return TwoViews(views) if self._pairing() == "row" else views

    def _build_pairs(self) -> corruptions.Pairs | None:
        name = self._pairing()
        if name == "row":
            return None
        near = corruptions.pairs[name].takes("n_neighbors")
        return corruptions.make_pairs(
            name, n_neighbors=self.n_neighbors if near else None
        )

    def _after_training(self, net: RepresentationNet, rows: Batch) -> None:
        before = self._option("embedding_curves_", {}) if self.warm_start else {}
        curves = epoch_curves(net, QUALITY_PREFIX).items()
        self.embedding_curves_ = {k: before.get(k, []) + curve for k, curve in curves}
        if net.module_.readout is not None:
            parts = parts_in_memory(rows, ROWS_TO_READ, SPARSE_ROWS_TO_READ)
            net.module_.fit_readout(part.values.to(net.device) for part in parts)
        # unfitted: they hold no rows
        self._views, self._pairs = self._grouped_corruption(), self._build_pairs()

    # -- what parameters stand for ---------------------------------------------------

    def _draws_globally(self) -> bool:
        return self.latent_mixup > 0 or super()._draws_globally()

    def _pairing(self) -> str:
        """Resolve ``pairs="auto"``."""
        if self.pairs != "auto":
            return self.pairs
        return (
            "row" if self.architecture != "mlp" or self._needs_labels() else "neighbors"
        )

    def _reads_layers(self) -> bool:
        """Resolve ``readout="auto"``."""
        table = self.architecture == "mlp"
        if self.readout == "layers" and not table:
            raise ValueError(
                "readout='layers' needs architecture='mlp', whose layers are known; got"
                f" architecture={self.architecture!r}. Set readout='last'."
            )
        return table and self.readout != "last"

    def _make_objective(self) -> Objective:
        return objectives.make_objective(
            self.objective,
            temperature=self.temperature,
            learn_temperature=self.learn_temperature or None,
        )

    def _shape_params(self) -> dict[str, object]:
        objective = self._make_objective()
        own_head = objective.needs_prediction or objective.batch_norm_heads
        kind = type(objective).__name__ if own_head else "one without a head of its own"
        rebuilds = self.reconstruction_weight > 0
        extra = {"objective": kind, "reconstruction_weight > 0": rebuilds}
        return {**super()._shape_params(), **extra}

    def _needs_labels(self) -> bool:
        objective: Any = self.objective
        if objective in objectives.objective:
            objective = objectives.objective[objective].make
        return self.pairs == "label" or bool(getattr(objective, "needs_labels", False))

    def _encode_labels(self, y: Labels, n_rows: int) -> Tensor | None:
        if not self._needs_labels():
            return None
        wants = (
            "pairs='label'" if self.pairs == "label" else f"objective={self.objective!r}"
        )
        return encode_labels(y, n_rows, wants)

    # -- use -------------------------------------------------------------------------

    def _embedding(self) -> Callable[..., Tensor]:
        return encode_to_unit_length if self.normalize else encode

    def score(self, X: Table, y: Labels = None) -> float:
        """Return the negative loss on fixed views of the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            At least two rows; the same rows always get the same score.
        y : array-like of shape (n_samples,) or None, default=None
            Labels, where `objective` or `pairs` needs them.

        Returns
        -------
        score : float
            Negative mean of the loss over batches of 256 rows. Compare it on the same
            rows, between models that share `objective`, `pairs`, `views`,
            `corruption_level` and `temperature`: they set the difficulty of the task.
        """
        check_is_fitted(self)
        rows = encode_compared(self._codec, self._validate(X, reset=False))
        rows.labels = self._encode_labels(y, len(rows))
        return -evaluate(self.net_, rows, self._views, SCORE_BATCH, self._pairs)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._needs_labels()
        return tags
