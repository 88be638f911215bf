"""AutoencoderTransformer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval
from torch import Tensor, nn

from sklearn_repr._contracts import (
    Architecture,
    Batch,
    Callbacks,
    Categorical,
    Constraints,
    InputShape,
    LayerSizes,
    Optimizer,
    RandomState,
)
from sklearn_repr.data import Codec
from sklearn_repr.data.batches import parts_in_memory, products_of
from sklearn_repr.engine import RepresentationNet, infer
from sklearn_repr.estimators._reconstructor import BaseReconstructor
from sklearn_repr.modules import make_autoencoder
from sklearn_repr.modules.code import make_code
from sklearn_repr.modules.rotation import rotate_code
from sklearn_repr.objectives import (
    Composite,
    Objective,
    Reconstruction,
    cell_loss,
    make_penalties,
    penalty,
    penalty_weights,
)
from sklearn_repr.objectives.losses import BINARY
from sklearn_repr.utils import constraints

__all__ = ["AutoencoderTransformer"]

# Rows whose codes decide how the code is rotated
ROWS_TO_ROTATE_BY = 10_000


class AutoencoderTransformer(BaseReconstructor):
    r"""Dimension reduction by an autoencoder.

    Learns an encoder φ and a decoder ψ that minimise

    .. math:: \frac{1}{n} \sum_i \sum_j \rho(x_{ij} - \psi(\phi(x_i))_j)

    over scaled columns. It stands where :class:`~sklearn.decomposition.PCA` stands: by
    default a linear path that starts at the PCA solution runs beside the network, and
    early stopping counts that start as epoch 0.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        Width of the code. A float in (0, 1) takes as many components as PCA of the scaled
        training rows needs to explain that share of the variance of the held-out rows;
        "auto" is 0.9.
    scaling : {"standard", "robust", "quantile"} or None, default="standard"
        How columns are made comparable, through scikit-learn's scaler of that name.
        `inverse_transform` returns original units.
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
        convolutions, and transposed ones back. A torch module class or function is called
        with keywords `n_features` and `n_components`; it returns a module with methods
        ``encode`` and ``decode``, or a pair (encoder, decoder) of modules.
    input_shape : tuple of int or None, default=None
        What a row is: (channels, height, width) or (channels, length). For "conv", and
        for corruptions that move images.
    kernel_size : int, default=3
        Width of the convolutions of "conv".
    stride : int, default=2
        Step of the convolutions of "conv".
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Hidden layers of the encoder; the decoder mirrors them. "auto" is two layers, the
        first twice as wide as the table (64 to 512), the second half of the first; for
        "conv" they are channels, and "auto" is 16 and 32. An empty tuple makes encoder
        and decoder linear.
    activation : str, default="silu"
        Activation of hidden layers: "identity", "logistic", "tanh", "relu",
        "leaky_relu", "elu", "gelu" or "silu".
    dropout : float, default=0.0
        Probability in [0, 1) of dropping a hidden unit in training.
    layer_norm : bool, default=False
        Normalise hidden layers before their activation.
    linear_skip : bool, default=True
        Put a linear path beside encoder and decoder.
    tied_weights : bool, default=False
        Let the decoder's weights be the encoder's, transposed.
    init : "pca" or None, default="pca"
        Where linear maps start: at the PCA solution with a code of unit variance, or at
        random. Applies to the linear path, and to networks without hidden layers.
    loss : str or callable, default="squared_error"
        Loss per cell, summed over columns: "squared_error", "absolute_error", "huber",
        "pseudo_huber" (L1-L2), "cauchy", "geman_mcclure", "fair", "correntropy",
        "log_cosh", or "binary_cross_entropy" for scaled values in [0, 1]. A callable maps
        a tensor of residuals to a tensor of losses of the same shape. The formulas are in
        :mod:`sklearn_repr.objectives.losses`.
    loss_scale : float or "auto", default=1.0
        Scale of the robust losses, in scaled units: c, or σ of "correntropy". "auto" fits
        it to the residuals at the start of training.
    penalty : str, list of str or None, default=None
        Penalties Ω: "l1" on the weights; "activity_l1" on the code; "kl_sparsity" on the
        mean of each unit of a logistic code; "topk", no penalty but a code of which only
        the largest units stay; "contractive", the squared norm of the encoder's Jacobian;
        "orthogonal" columns of the decoder; "decorrelation" of the code.
    penalty_weight : float or array-like of float, default=0.001
        Weight of the penalties: one for all, or one each.
    sparsity_target : float, default=0.05
        Mean activation for "kl_sparsity", share of active units for "topk".
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
        Rows per step. "auto" grows with the table, from 32 to 256.
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
        Seed of weights, shuffling, held-out rows and corruption. None differs from call
        to call.
    verbose : int, default=0
        1 draws a progress bar on stderr.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    n_components_ : int
        Width of the code.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        Share of the variance of the scaled rows that each component explains linearly,
        decreasing. The code is rotated after training, without a change to what it
        rebuilds, so that its components are uncorrelated and in this order; for a linear
        network they are PCA's. Missing for an own `architecture` and for sparse codes and
        weights, which a rotation would undo.
    loss_curve_ : list of float
        Training loss per epoch.
    validation_curve_ : list of float or None
        Loss on the held-out rows per epoch; None if none were held out.
    loss_terms_ : dict of str to list of float
        Every term of the loss per epoch, unweighted: "train_reconstruction", ...
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
    DenoisingAutoencoder : Reconstructs rows from corrupted copies of them.
    ReconstructionOutlierDetector : Finds rows that do not reconstruct.

    References
    ----------
    Bourlard and Kamp, "Auto-association by multilayer perceptrons and singular value
    decomposition", Biological Cybernetics 59 (1988), doi:10.1007/BF00332918.

    Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural
    networks", Science 313 (2006), doi:10.1126/science.1127647.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import AutoencoderTransformer
    >>> X = load_iris().data
    >>> autoencoder = AutoencoderTransformer(2, max_iter=20, random_state=0).fit(X)
    >>> autoencoder.transform(X).shape
    (150, 2)
    >>> autoencoder.score(X) > 0.9
    True
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseReconstructor._parameter_constraints,
        **constraints.LAYERS,
        "tied_weights": ["boolean"],
        "loss": [constraints.Registered(cell_loss), callable],
        "loss_scale": [constraints.POSITIVE, constraints.AUTO],
        "penalty": [constraints.Registered(penalty), list, tuple, None],
        "penalty_weight": [constraints.NOT_NEGATIVE, "array-like"],
        "sparsity_target": [Interval(Real, 0, 1, closed="neither")],
    }
    _shaping: ClassVar[tuple[str, ...]] = (*BaseReconstructor._shaping, "tied_weights")

    explained_variance_ratio_: NDArray[np.float64]

    def __init__(
        self,
        n_components: int | float | str = "auto",
        *,
        scaling: str | None = "standard",
        categorical_features: Categorical = "from_dtype",
        max_categories: int | None = 32,
        min_frequency: float | None = None,
        architecture: Architecture = "mlp",
        input_shape: InputShape = None,
        kernel_size: int = 3,
        stride: int = 2,
        hidden_layer_sizes: LayerSizes = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        layer_norm: bool = False,
        linear_skip: bool = True,
        tied_weights: bool = False,
        init: str | None = "pca",
        loss: str | Callable[[Tensor], Tensor] = "squared_error",
        loss_scale: float | str = 1.0,
        penalty: str | Sequence[str] | None = None,
        penalty_weight: ArrayLike = 0.001,
        sparsity_target: float = 0.05,
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
        self.input_shape = input_shape
        self.kernel_size = kernel_size
        self.stride = stride
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.linear_skip = linear_skip
        self.tied_weights = tied_weights
        self.init = init
        self.loss = loss
        self.loss_scale = loss_scale
        self.penalty = penalty
        self.penalty_weight = penalty_weight
        self.sparsity_target = sparsity_target
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

    def _penalties(self) -> dict[str, float]:
        return penalty_weights(self.penalty, self.penalty_weight)

    def _wants_unit_interval(self) -> str | None:
        return f"loss={BINARY!r}" if self.loss == BINARY else None

    def _starts_at_pca(self) -> bool:
        # rates have no linear start either
        return super()._starts_at_pca() and "kl_sparsity" not in self._penalties()

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        # no eigenvectors for init=None and a plain number: they cost d³
        by_share = not self._width_is_given()
        starts_at_pca, subspace = self._starts_at_pca(), None
        if starts_at_pca or by_share:
            exact = by_share or self._is_linear()
            wanted = None if exact else int(self.n_components)
            subspace = self._principal_subspace(rows, wanted)
        self._resolve_components(subspace, held_out)
        width = rows.values.shape[1]
        self._warn_if_overcomplete(width, self.n_components_)
        return make_autoencoder(
            self.architecture,
            width,
            self.n_components_,
            self._architecture_options(),
            linear_skip=self.linear_skip,
            tied_weights=self.tied_weights,
            code=make_code(self._penalties(), self.sparsity_target, self.n_components_),
            link=nn.Sigmoid() if self.loss == BINARY else None,
            subspace=subspace if starts_at_pca else None,
            dtype=rows.values.dtype,
        )

    def _warn_if_overcomplete(self, width: int, n_components: int) -> None:
        regularised = any(self._penalties().values()) or self.alpha or self.dropout
        chosen = self._width_is_given()
        if regularised or not chosen or n_components < width:
            return
        if self._build_corruption() is None:
            warnings.warn(
                f"The code is as wide as the table or wider (n_components="
                f"{n_components}, {width} columns) and nothing keeps it from"
                " copying its input. Lower n_components, set penalty or alpha, or use"
                " DenoisingAutoencoder.",
                UserWarning,
                stacklevel=2,
            )

    def _build_objective(self, codec: Codec, module: nn.Module) -> Objective:
        reconstruction = Reconstruction(
            self.loss, scale=self.loss_scale, blocks=codec.blocks_
        )
        weights = self._penalties()
        terms = make_penalties(weights, self.sparsity_target)
        return Composite([reconstruction, *terms], weights) if terms else reconstruction

    def _after_training(self, net: RepresentationNet, rows: Batch) -> None:
        """Rotate the code to its principal axes, which changes no reconstruction."""
        if hasattr(self, "explained_variance_ratio_"):
            del self.explained_variance_ratio_
        # what is asked of single units or weights, a rotation would undo
        sparse = set(penalty.names(sparse=True)) & set(self._penalties())
        if callable(self.architecture) or sparse:
            return
        module = net.module_
        products = products_of(rows, ROWS_TO_ROTATE_BY)
        parts = parts_in_memory(rows, ROWS_TO_ROTATE_BY)
        if products is None:
            parts = iter([rows.some(ROWS_TO_ROTATE_BY)])
        codes, centred = [], None
        for values in (part.values for part in parts):
            cells = values.cpu().numpy()
            codes.append(infer(module.encode, torch.from_numpy, cells, net.device))
        if products is None:
            centred = values.to(net.device).double()
            centred -= centred.mean(dim=0)
            total = float(torch.linalg.vector_norm(centred)) ** 2 / len(centred)
        else:
            total = float(products.variance.sum())
        variance = rotate_code(
            module,
            products if centred is None else centred,
            torch.from_numpy(np.concatenate(codes)).to(net.device),
            keep_lengths="contractive" in self._penalties(),
        )
        shares = variance.cpu().numpy()
        self.explained_variance_ratio_ = shares / total if total else 0 * shares

    def _row_error(
        self, module: nn.Module, x: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        objective = self.net_.criterion_
        if isinstance(objective, Composite):
            objective = objective.objectives[0]
        terms: dict[str, Tensor] = objective.terms(module(x), Batch(x, observed))
        return terms["reconstruction"]
