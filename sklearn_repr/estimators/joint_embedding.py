"""JointEmbeddingPredictor."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import (
    Batch,
    Callbacks,
    Categorical,
    Constraints,
    InputShape,
    Labels,
    LayerSizes,
    LevelOrRange,
    Optimizer,
    RandomState,
    Table,
)
from sklearn_repr.corruptions import Corruption, MaskedAndWhole
from sklearn_repr.data import Codec
from sklearn_repr.data.batches import batch_sizes
from sklearn_repr.engine import RepresentationNet, evaluate
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.exceptions import CollapseWarning
from sklearn_repr.modules import ACTIVATIONS
from sklearn_repr.modules.jepa import JointEmbeddingNetwork, make_joint_embedding_network
from sklearn_repr.objectives import JointEmbedding, Objective
from sklearn_repr.objectives.predicted_tokens import EMBEDDING_LOSSES
from sklearn_repr.utils import constraints
from sklearn_repr.utils.patches import patch_grid
from sklearn_repr.utils.randomness import local_torch_seed
from sklearn_repr.utils.spread import effective_rank
from sklearn_repr.utils.validation import check_share

__all__ = ["JointEmbeddingPredictor"]

# Rows from which the readout takes its axes, and by which collapse is noticed
ROWS_TO_READ = 4096
ROWS_TO_WATCH = 256
# Rows per batch in score, whatever the training batch was
SCORE_BATCH = 256
# Collapsed are tokens of which less than this share varies from row to row, and of which
# more did at the start; or whose directions in use, beyond the first, fell below
VARYING = 0.01
RANK_KEPT = 0.1
# "auto" widths of the blocks of attention
AUTO_WIDTHS = (32, 32)


def token_measures(network: JointEmbeddingNetwork, rows: Batch) -> Tensor:
    """Return the share of the tokens that varies from row to row, and effective rank."""
    training = network.training
    network.eval()
    _, *learned = network.layers_of(rows.some(ROWS_TO_WATCH).values)
    tokens = torch.cat(learned, dim=1).double()
    network.train(training)
    size = tokens.square().sum(dim=1).mean()
    share = tokens.var(dim=0, correction=0).sum() / size.clamp(min=1e-300)
    return torch.stack([share, effective_rank(tokens.to(rows.values.dtype))])


def warn_if_collapsed(before: list[float], after: list[float]) -> None:
    if after[0] < VARYING < before[0] / 2:
        finding = f"only {after[0]:.2g} of their size varies from row to row"
    elif max(after[1] - 1, 0) < RANK_KEPT * max(before[1] - 1, 0):
        finding = f"they vary along {after[1]:.3g} directions, of {before[1]:.3g} before"
    else:
        return
    warnings.warn(
        f"The representation collapsed: embeddings of all rows are nearly the same;"
        f" {finding}. Raise target_momentum (0.999) or variance_weight, lower"
        " learning_rate_init or max_iter.",
        CollapseWarning,
        stacklevel=2,
    )


class JointEmbeddingPredictor(BaseRepresentation):
    r"""Embedding learned by predicting the embeddings of what is hidden.

    JEPA on rows: a row is cut into patches (columns of a table, squares of an image,
    windows of a sequence), some of which are hidden. A transformer φ gathers the visible
    ones in a code; a predictor g is told where a hidden one stands and predicts from the
    code what a slower copy :math:`\bar\phi` of the transformer, which sees the whole row,
    makes of it:

    .. math:: \frac{1}{|m_i|} \sum_{t \in m_i}
              \rho\big(g(\phi(x_{i, \setminus m_i}), t) - \bar\phi(x_i)_t\big)

    where targets are standardised over the rows of a batch and have no gradient. Nothing
    is rebuilt: what cannot be predicted of a cell, its noise, need not be kept.

    `transform` joins the row, the tokens that :math:`\bar\phi` makes of all of it, and
    its code: three blocks of equal total variance, of which it returns the first
    principal components, not whitened but rotated so that all have the same variance.

    Parameters
    ----------
    n_components : int, default=128
        Width of the embedding. Where rows do not vary along as many axes, those there
        are are spread over all components.
    scaling : str or None, default="standard"
        How columns are made comparable: "standard", "robust" and "quantile" by
        scikit-learn's scaler of that name, "value_and_rank" by the mean of standardised
        value and standardised rank. None leaves them as they are, which suits images.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Which columns are categories: a mask, names or positions. "from_dtype" takes the
        columns of a frame that hold categories, text or booleans; None takes none.
    max_categories : int or None, default=32
        Most levels of a category that are kept apart; the rarer ones share one. None sets
        no limit.
    min_frequency : int, float or None, default=None
        Levels in fewer rows, or in a smaller share of the rows, share one.
    input_shape : tuple of int or None, default=None
        What a row is: (channels, height, width) or (channels, length); patches or windows
        of it are hidden and predicted. None hides single columns.
    patch_size : int, default=4
        Side of a patch or length of a window; without `input_shape`, of no effect.
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Width of the tokens, one entry per block of the transformer, all the same multiple
        of 16; "auto" is (32, 32). The code is four times as wide (less if there are fewer
        patches), the predictor twice.
    activation : str, default="silu"
        Activation of hidden layers: "identity", "logistic", "tanh", "relu",
        "leaky_relu", "elu", "gelu" or "silu".
    dropout : float, default=0.0
        Probability in [0, 1) of dropping a hidden unit in training.
    target_momentum : float, default=0.999
        Where targets are made by a moving average of the network's weights, as in BYOL
        and JEPA, its momentum. It rises from this to 1 over all epochs, by half a cosine;
        0 copies the weights at first.
    loss : {"smooth_l1", "squared_error"}, default="smooth_l1"
        ρ per entry: smooth L1, as in I-JEPA's code, or the square, as in its paper.
    variance_weight : float, default=0.0
        Weight of a guard against collapse: how far the columns of the code fall short of
        unit standard deviation in a batch, as in VICReg.
    mask_ratio : float or (float, float), default=(0.2, 0.6)
        Share of a row's cells, patches or windows to hide in training, at least one and
        not all. A range (low, high) is drawn from, uniformly, for every row; one that
        comes close to zero teaches the network what whole rows look like.
    masking : {"random", "block"}, default="random"
        Which patches or windows are hidden, with `input_shape`: "random" draws them one
        by one; "block" hides about the share `mask_ratio` in up to four blocks of
        neighbours, for images of an aspect between 0.75 and 1.5, and what is outside a
        block of at least 85% of the image, as I-JEPA does. Columns of tables have no
        neighbours and are drawn one by one.
    alpha : float, default=0.0
        Weight decay: adds alpha · W to the gradient of every weight matrix W, as the
        penalty alpha / 2 · ‖W‖² would ("adamw" decouples it from the gradient).
    optimizer : {"adam", "adamw", "sgd"} or callable, default="adam"
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
        Rows per step. "auto" grows with the table, from 64 to 256.
    max_iter : int, default=50
        Most epochs to train.
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
        Seed of weights, shuffling, held-out rows and hidden cells. None differs from call
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
        Every term of the loss per epoch, unweighted: "train_prediction", ...
    best_loss_ : float
        Lowest training loss.
    best_epoch_ : int
        Epoch whose weights were kept, 0 for the start; without held-out rows to compare
        epochs by, the last.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    Warns
    -----
    CollapseWarning
        If the embeddings of all rows became nearly the same, or vary along a small part
        of the directions that they had before training.

    See Also
    --------
    MaskedAutoencoder : Predicts the hidden cells themselves, and imputes.
    ContrastiveEmbedder : Compares views of whole rows.

    Notes
    -----
    The loss does not measure the embedding: a collapsed one is the easiest to predict.
    So it neither ends training nor chooses weights: with `early_stopping` held-out rows
    only give a curve to look at.

    In I-JEPA the predictor sees all visible tokens and targets are normalised over their
    entries. On tables of a few hundred rows that taught a probe nothing that it did not
    find in an untrained network: most of a token is its position, and tokens that pass
    their cells on have no need to say what cells share. Here targets are what differs
    from row to row, and all that the predictor knows has to pass through one code.
    What came of it, beside raw features, PCA and an untrained network, stands in
    ``docs/developer/representation_joint.md``: linear probes gain by it, most on tables
    and with all labels; neighbours are better found among raw columns or principal
    components. Images want ``scaling=None`` with values of the order of 1, and patches of
    a fourth to an eighth of their side.

    A table of one column has nothing to predict its only patch from. With two columns,
    one predicts the other.

    References
    ----------
    Assran et al., "Self-supervised learning from images with a joint-embedding predictive
    architecture", CVPR 2023, arXiv:2301.08243.

    Thimonier et al., "T-JEPA: augmentation-free self-supervised learning for tabular
    data", ICLR 2025, arXiv:2410.05016.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import JointEmbeddingPredictor
    >>> X = load_iris().data
    >>> embedder = JointEmbeddingPredictor(8, max_iter=20, random_state=0)
    >>> embedder.fit_transform(X).shape
    (150, 8)
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseRepresentation._parameter_constraints,
        "scaling": [StrOptions(constraints.SCALINGS | {"value_and_rank"}), None],
        "patch_size": [constraints.COUNT],
        "target_momentum": [constraints.SHARE],
        "loss": [StrOptions(set(EMBEDDING_LOSSES))],
        "variance_weight": [constraints.NOT_NEGATIVE],
        "mask_ratio": [constraints.SHARE_BELOW_1, tuple, list],
        "masking": [StrOptions({"random", "block"})],
    }
    _shaping = (*BaseRepresentation._shaping, "patch_size")

    def __init__(
        self,
        n_components: int = 128,
        *,
        scaling: str | None = "standard",
        categorical_features: Categorical = "from_dtype",
        max_categories: int | None = 32,
        min_frequency: float | None = None,
        input_shape: InputShape = None,
        patch_size: int = 4,
        hidden_layer_sizes: LayerSizes = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        target_momentum: float = 0.999,
        loss: str = "smooth_l1",
        variance_weight: float = 0.0,
        mask_ratio: LevelOrRange = (0.2, 0.6),
        masking: str = "random",
        alpha: float = 0.0,
        optimizer: Optimizer = "adam",
        learning_rate: str = "one_cycle",
        learning_rate_init: float = 0.003,
        gradient_clip: float | None = None,
        batch_size: int | str = "auto",
        max_iter: int = 50,
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
        self.scaling = scaling
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency
        self.input_shape = input_shape
        self.patch_size = patch_size
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.target_momentum = target_momentum
        self.loss = loss
        self.variance_weight = variance_weight
        self.mask_ratio = mask_ratio
        self.masking = masking
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

    def _auto_batch_size(self, n_rows: int) -> int:
        # targets are standardised over the rows of a batch
        return max(64, super()._auto_batch_size(n_rows))

    def _patches(self) -> NDArray[np.int64]:
        return self._codec.patches(self._row_shape(), int(self.patch_size))

    def _build_corruption(self) -> Corruption:
        shape, grid = self._row_shape(), None
        if self.masking == "block" and shape is not None:
            grid = patch_grid(shape, int(self.patch_size))
        level = check_share("mask_ratio", self.mask_ratio)
        return MaskedAndWhole(level, self._patches(), grid)

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        self.n_components_ = int(self.n_components)
        sizes = self._architecture_options().hidden_layer_sizes
        widths = AUTO_WIDTHS if isinstance(sizes, str) else tuple(sizes)
        if len(set(widths)) != 1 or int(widths[0]) % 16:
            raise ValueError(
                "hidden_layer_sizes must be 'auto' or one or more equal widths, a"
                f" multiple of 16, one for every block of attention; got {sizes!r}."
            )
        batch_size = self._training_settings(len(rows)).batch_size
        network = make_joint_embedding_network(
            self._patches(),
            self.n_components_,
            width=int(widths[0]),
            depth=len(widths),
            activation=ACTIVATIONS[self.activation],
            dropout=self.dropout,
            momentum=float(self.target_momentum),
            n_steps=self.max_iter * len(batch_sizes(len(rows), batch_size)),
        ).to(rows.values.dtype)
        network.at_start.copy_(token_measures(network, rows))
        return network

    def _build_objective(self, codec: Codec, module: nn.Module) -> Objective:
        return JointEmbedding(self.loss, float(self.variance_weight))

    def _after_training(self, net: RepresentationNet, rows: Batch) -> None:
        module: JointEmbeddingNetwork = net.module_
        rows = rows.to(net.device)
        some = rows.some(ROWS_TO_READ).values
        # a few axes of very many are approximated by random projections
        with torch.no_grad(), local_torch_seed(0):
            module.readout.fit(module.layers_of(some))
        self._hide = self._build_corruption()  # it holds no rows
        warn_if_collapsed(module.at_start.tolist(), token_measures(module, rows).tolist())

    def score(self, X: Table, y: Labels = None) -> float:
        """Return the negative loss on fixed masks of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            Rows; the same rows always get the same score.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Negative mean of the loss. Targets are each model's own, and those of a
            collapsed model are the easiest to predict: it says how predictable the
            embedding is, not how good. Choose between models by a probe.
        """
        check_is_fitted(self)
        rows = self._codec.encode(self._validate(X, reset=False))
        return -evaluate(self.net_, rows, self._hide, SCORE_BATCH)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # attention compares every cell with every other
        tags.input_tags.sparse = False
        return tags
