"""ContrastivePredictiveCoder."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_repr._contracts import (
    Architecture,
    Batch,
    Callbacks,
    Constraints,
    InputShape,
    Labels,
    LayerSizes,
    Optimizer,
    RandomState,
    Table,
)
from sklearn_repr.data import Codec
from sklearn_repr.engine import RepresentationNet, evaluate
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.modules.predictive import make_predictive_network
from sklearn_repr.objectives import Objective, PredictiveInfoNCE
from sklearn_repr.utils import constraints
from sklearn_repr.utils.validation import check_compared

__all__ = ["ContrastivePredictiveCoder"]

# Rows that are compared with each other in score, whatever the training batch was
SCORE_BATCH = 256


class ContrastivePredictiveCoder(BaseRepresentation):
    r"""Embedding of sequences from which their own future can be told from others.

    Contrastive predictive coding: strided convolutions map the sequence of a row to
    frames :math:`z_t`, a gated recurrent unit sums up those so far in a context
    :math:`c_t`, and a linear map of the context predicts each of the next frames, so that
    the true one can be told from negatives:

    .. math:: \ell_k = -\log \frac{\exp(z_{t+k}^\top W_k c_t)}
              {\sum_{z} \exp(z^\top W_k c_t)}

    averaged over times t and steps ahead k. Nothing looks ahead: a context depends on the
    sequence up to the end of its own frame alone.

    Parameters
    ----------
    n_components : int, default=64
        Width of frames, contexts and so of the embedding.
    readout : {"context", "context_mean", "encoder_mean"}, default="context_mean"
        What `transform` returns: the last context, the mean of all contexts, or the mean
        frame.
    scaling : {"standard", "robust", "quantile"} or None, default="standard"
        How columns are made comparable, through scikit-learn's scaler of that name.
    architecture : "conv" or callable, default="conv"
        "conv" is strided convolutions whose windows end at the step they stand for, with
        zeros before the sequence. A torch module class or function is called with
        keywords `n_channels` and `n_components`; it returns a module from
        (n, channels, length) to (n, n_components, frames), and must not look ahead
        itself.
    input_shape : tuple of int or None, default=None
        (channels, length) of the sequence that a row is, channel after channel. None
        takes the columns for the steps of a single channel.
    kernel_size : int, default=3
        Width of the convolutions of "conv".
    stride : int, default=2
        Step of the convolutions of "conv".
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Channels behind each convolution. "auto" is 32 and 64; such convolutions do not
        stride where fewer than 4 frames would be left.
    activation : str, default="silu"
        Activation of hidden layers: "identity", "logistic", "tanh", "relu",
        "leaky_relu", "elu", "gelu" or "silu".
    dropout : float, default=0.0
        Probability in [0, 1) of dropping a hidden unit in training.
    layer_norm : bool, default=False
        Normalise hidden layers before their activation.
    prediction_steps : int or "auto", default="auto"
        How many frames ahead to predict, fewer than there are. "auto" is half of the
        frames, but at most 4; of a sequence of one frame, which has no future, the
        context predicts that frame.
    negatives : {"rows", "times", "both"}, default="rows"
        What a future is told from: the same time of the other rows in the batch, the
        other times of the same row, or both. Other rows teach what marks a sequence,
        other times what changes within it.
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
        Rows per step, at least 2; each is compared with the others. "auto" grows with the
        table, from 32 to 256.
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
        Seed of weights, shuffling and held-out rows. None differs from call to call.
    verbose : int, default=0
        1 draws a progress bar on stderr.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    n_components_ : int
        Width of the embedding.
    n_frames_ : int
        Frames of a sequence.
    loss_curve_ : list of float
        Training loss per epoch.
    validation_curve_ : list of float or None
        Loss on the held-out rows per epoch; None if none were held out.
    loss_terms_ : dict of str to list of float
        Every term of the loss per epoch: "train_info_nce_1", one step ahead, ...
    best_loss_ : float
        Lowest monitored loss, the start included where rows were held out.
    best_epoch_ : int
        Epoch whose weights were kept, 0 for the start; without held-out rows to compare
        epochs by, the last.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    See Also
    --------
    ContrastiveEmbedder : Contrasts two views of a row, sequences among them.

    References
    ----------
    van den Oord, Li and Vinyals, "Representation learning with contrastive predictive
    coding" (2018), arXiv:1807.03748.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr import ContrastivePredictiveCoder
    >>> X = np.random.default_rng(0).normal(size=(50, 2 * 24))
    >>> coder = ContrastivePredictiveCoder(
    ...     8, input_shape=(2, 24), max_iter=2, random_state=0
    ... )
    >>> coder.fit_transform(X).shape
    (50, 8)
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **{
            name: allowed
            for name, allowed in BaseRepresentation._parameter_constraints.items()
            if name not in constraints.CATEGORIES  # sequences are of numbers
        },
        **constraints.LAYERS,
        "architecture": [StrOptions({"conv"}), callable],
        "readout": [StrOptions({"context", "context_mean", "encoder_mean"})],
        "prediction_steps": [
            constraints.AUTO,
            constraints.COUNT,
        ],
        "negatives": [StrOptions({"rows", "times", "both"})],
        "batch_size": [constraints.AUTO, constraints.TWO_OR_MORE],
    }

    _shaping = (*BaseRepresentation._shaping, "prediction_steps")
    # a row alone has nothing to be contrasted with
    _min_rows = 2

    def __init__(
        self,
        n_components: int = 64,
        *,
        readout: str = "context_mean",
        scaling: str | None = "standard",
        architecture: Architecture = "conv",
        input_shape: InputShape = None,
        kernel_size: int = 3,
        stride: int = 2,
        hidden_layer_sizes: LayerSizes = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        layer_norm: bool = False,
        prediction_steps: int | str = "auto",
        negatives: str = "rows",
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
        self.readout = readout
        self.scaling = scaling
        self.architecture = architecture
        self.input_shape = input_shape
        self.kernel_size = kernel_size
        self.stride = stride
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.prediction_steps = prediction_steps
        self.negatives = negatives
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

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        self.n_components_ = int(self.n_components)
        network = make_predictive_network(
            self.architecture,
            self._sequence_shape(),
            self.n_components_,
            self._architecture_options(),
            n_steps=self.prediction_steps,
            output=self.readout,
        )
        if network.n_frames == 1 and self.negatives == "times":
            raise ValueError(
                "negatives='times' needs at least 2 frames, but a row has 1. Choose"
                " negatives='rows' or a smaller stride."
            )
        return network

    def _sequence_shape(self) -> tuple[int, ...]:
        """Resolve `input_shape`; a table is taken for sequences of one channel."""
        shape = self._row_shape() or (1, self.n_features_in_)
        if len(shape) != 2:
            raise ValueError(
                f"input_shape={shape} is an image's: a sequence has (channels, length)."
            )
        return shape

    def _build_objective(self, codec: Codec, module: Any) -> Objective:
        # a single frame has no future: the context is asked for the frame itself
        first = 1 if module.n_frames > 1 else 0
        return PredictiveInfoNCE(module.n_steps, first, self.negatives)

    def _after_training(self, net: RepresentationNet, rows: Batch) -> None:
        self.n_frames_ = net.module_.n_frames

    def score(self, X: Table, y: Labels = None) -> float:
        """Return the negative loss on the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_in_)
            At least two rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Negative mean of the loss over batches of 256 rows. Compare it on the same
            rows, between models that share `prediction_steps`, `negatives` and the number
            of frames: they set the difficulty of the task.
        """
        check_is_fitted(self)
        rows = self._codec.encode(check_compared(self._validate(X, reset=False)))
        return -evaluate(self.net_, rows, None, SCORE_BATCH)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # a sequence has no columns that are mostly zero
        tags.input_tags.sparse = False
        return tags
