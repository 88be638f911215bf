"""MaskedAutoencoder."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from torch import Tensor, nn

from sklearn_repr._contracts import (
    Batch,
    Callbacks,
    Constraints,
    InputShape,
    LayerSizes,
    LevelOrRange,
    Optimizer,
    RandomState,
)
from sklearn_repr.corruptions import Corruption, MaskedCells
from sklearn_repr.data import Codec
from sklearn_repr.data.batches import is_lazy, products_of
from sklearn_repr.engine import RepresentationNet
from sklearn_repr.estimators._reconstructor import BaseReconstructor
from sklearn_repr.modules import principal_subspace
from sklearn_repr.modules.factors import (
    best_width,
    fit_factors,
    fit_factors_to_products,
)
from sklearn_repr.modules.masked import make_masked_network, path_width
from sklearn_repr.objectives import Objective, Reconstruction
from sklearn_repr.objectives.losses import residual_losses
from sklearn_repr.utils import constraints
from sklearn_repr.utils.randomness import make_generator
from sklearn_repr.utils.validation import check_share

__all__ = ["MaskedAutoencoder"]

# Rows that the start is fitted to, and by which "auto" chooses the width of the code
ROWS_TO_START_FROM = 4096
ROWS_TO_CHOOSE_BY = 1024
# "auto" tries codes up to this width
WIDEST_AUTO = 64
# and of sparse tables that are not encoded as a whole so many columns times width squared
SPARSE_WEIGHTS = 2**21


class MaskedAutoencoder(BaseReconstructor):
    r"""Representation and imputation by an autoencoder that predicts hidden cells.

    Learns an encoder φ and a decoder ψ that minimise

    .. math:: \frac{1}{n} \sum_i \frac{d}{|m_i|} \sum_{j \in m_i}
              \rho(x_{ij} - \psi(\phi(x_{i, \setminus m_i}))_j)

    where :math:`m_i` are cells of row i, hidden anew in every epoch, that were observed.
    The encoder is told which cells it sees, so that tables with missing cells, NaN, need
    no preparation: these are never in the loss, and :meth:`impute` fills them. Rows to
    transform are seen whole.

    The linear path beside the networks is factor analysis: its code is the posterior mean
    given the visible cells, and it starts near the maximum likelihood, found by the EM
    algorithm from the PCA solution. A code wider than 128 is filled by it in part.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        Width of the code. A float in (0, 1) takes as many components as PCA of the scaled
        training rows, with column means for missing cells, needs to explain that share of
        the variance of the held-out rows; "auto" is the fewest with which factor analysis
        predicts hidden cells of the held-out rows about as well as with any number up to
        64.
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
    architecture : "mlp" or "transformer", default="mlp"
        The encoder: a perceptron on cells and their visibility, or attention among cells
        or patches. The decoder is a perceptron.
    input_shape : tuple of int or None, default=None
        What a row is: (channels, height, width) or (channels, length); patches or windows
        of it are hidden and attended to. None hides single cells.
    patch_size : int, default=4
        Side of a patch or length of a window; without `input_shape`, of no effect.
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Hidden layers of the encoder; the decoder mirrors them. "auto" is two layers, the
        first twice as wide as the table (64 to 512), the second half of the first. With
        "transformer" one entry per block, all the same multiple of 16; "auto" is
        (64, 64), and the decoder keeps to the first rule. An empty tuple leaves the
        linear path alone.
    activation : str, default="silu"
        Activation of hidden layers: "identity", "logistic", "tanh", "relu",
        "leaky_relu", "elu", "gelu" or "silu".
    dropout : float, default=0.0
        Probability in [0, 1) of dropping a hidden unit in training.
    layer_norm : bool, default=False
        Normalise hidden layers before their activation.
    linear_skip : bool, default=True
        Put a linear path beside encoder and decoder.
    init : "pca" or None, default="pca"
        Where the linear path starts: at factor analysis, found from PCA, or at random.
    loss : str or callable, default="squared_error"
        Loss per hidden cell: "squared_error", "absolute_error", "huber",
        "pseudo_huber" (L1-L2), "cauchy", "geman_mcclure", "fair", "correntropy" or
        "log_cosh". A callable maps a tensor of residuals to a tensor of losses of the
        same shape. The formulas are in :mod:`sklearn_repr.objectives.losses`.
    loss_scale : float or "auto", default=1.0
        Scale of the robust losses, in scaled units: c, or σ of "correntropy". "auto" fits
        it to the residuals at the start of training.
    mask_ratio : float or (float, float), default=(0.0, 0.5)
        Share of a row's cells, patches or windows to hide in training, at least one and
        not all. A range (low, high) is drawn from, uniformly, for every row; one that
        comes close to zero teaches the network what whole rows look like.
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
        Rows per step. "auto" grows with the table, from 32 to 256.
    max_iter : int, default=100
        Most epochs to train; all of them under "one_cycle" and "cosine".
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
        Seed of weights, shuffling, held-out rows and hidden cells. None differs from call
        to call.
    verbose : int, default=0
        1 draws a progress bar on stderr.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    n_components_ : int
        Width of the code.
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
    DenoisingAutoencoder : Undoes corruption that it is not told of.
    sklearn.impute.IterativeImputer : Fills missing cells by regressions of columns.

    References
    ----------
    He et al., "Masked autoencoders are scalable vision learners", CVPR 2022,
    arXiv:2111.06377.

    Rubin and Thayer, "EM algorithms for ML factor analysis", Psychometrika 47 (1982),
    doi:10.1007/BF02293851.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import MaskedAutoencoder
    >>> X = load_iris().data.copy()
    >>> X[::7, 2] = np.nan
    >>> autoencoder = MaskedAutoencoder(max_iter=20, random_state=0).fit(X)
    >>> bool(np.isnan(autoencoder.impute(X)).any())
    False
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseReconstructor._parameter_constraints,
        "architecture": [StrOptions({"mlp", "transformer"})],
        "patch_size": [constraints.COUNT],
        "layer_norm": ["boolean"],
        "loss": [StrOptions(set(residual_losses())), callable],
        "loss_scale": [constraints.POSITIVE, constraints.AUTO],
        "mask_ratio": [constraints.SHARE_BELOW_1, tuple, list],
    }
    _shaping: ClassVar[tuple[str, ...]] = (*BaseReconstructor._shaping, "patch_size")
    _sees_holes = True

    def __init__(
        self,
        n_components: int | float | str = "auto",
        *,
        scaling: str | None = "standard",
        categorical_features: Any = "from_dtype",
        max_categories: int | None = 32,
        min_frequency: float | None = None,
        architecture: str = "mlp",
        input_shape: InputShape = None,
        patch_size: int = 4,
        hidden_layer_sizes: LayerSizes = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        layer_norm: bool = False,
        linear_skip: bool = True,
        init: str | None = "pca",
        loss: str | Callable[[Tensor], Tensor] = "squared_error",
        loss_scale: float | str = 1.0,
        mask_ratio: LevelOrRange = (0.0, 0.5),
        alpha: float = 0.0,
        optimizer: Optimizer = "adam",
        learning_rate: str = "one_cycle",
        learning_rate_init: float = 0.003,
        gradient_clip: float | None = None,
        batch_size: int | str = "auto",
        max_iter: int = 100,
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
        self.patch_size = patch_size
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.linear_skip = linear_skip
        self.init = init
        self.loss = loss
        self.loss_scale = loss_scale
        self.mask_ratio = mask_ratio
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

    def _patches(self) -> NDArray[np.int64]:
        return self._codec.patches(self._row_shape(), int(self.patch_size))

    def _build_corruption(self) -> Corruption:
        return MaskedCells(check_share("mask_ratio", self.mask_ratio), self._patches())

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        self._resolve_width(rows, held_out)
        model = None
        if self.init == "pca":
            width = path_width(rows.values.shape[1], self.n_components_)
            products = products_of(rows)
            if products is not None and products.complete:
                model = fit_factors_to_products(products, width)
            else:
                model = fit_factors(rows.some(ROWS_TO_START_FROM).values, width)
        return make_masked_network(
            self.architecture,
            self._patches(),
            self.n_components_,
            self._architecture_options(),
            linear_skip=self.linear_skip,
            model=model,
            dtype=rows.values.dtype,
        )

    def _resolve_width(self, rows: Batch, held_out: Batch | None) -> None:
        """Set n_components_."""
        if self._width_is_given() or self._continues():
            self._resolve_components(None, held_out)
        elif self.n_components == "auto":
            self.n_components_ = self._predictive_width(rows, held_out or rows)
        else:
            # missing cells as column means: what scaled rows are centred on
            known = rows.sample().values.nan_to_num()
            others = held_out and Batch(held_out.sample().values.nan_to_num())
            self._resolve_components(principal_subspace(known), others)

    def _predictive_width(self, rows: Batch, others: Batch) -> int:
        """Return with how many factors of `rows` hidden cells of `others` are found."""
        n, d = rows.values.shape
        others, sparse_rows = others.some(ROWS_TO_CHOOSE_BY), is_lazy(rows)
        # few rows are hidden in many ways, so that the draw does not decide
        n_copies = 1 if sparse_rows else -(-ROWS_TO_CHOOSE_BY // len(others))
        others = others.take(torch.arange(len(others)).repeat(n_copies))
        inputs, mask = self._build_corruption()(others.values, make_generator(0))
        compared = torch.as_tensor(mask)
        if others.observed is not None:
            compared = compared & others.observed
        widest = max(1, min(d - 1, n // 2, WIDEST_AUTO))
        if sparse_rows:
            widest = min(widest, max(1, isqrt(SPARSE_WEIGHTS // d)))
        some = rows.some(ROWS_TO_CHOOSE_BY).values
        return best_width(some, inputs, others.values.double(), compared, widest)

    def _build_objective(self, codec: Codec, module: nn.Module) -> Objective:
        return Reconstruction(
            self.loss, scale=self.loss_scale, blocks=codec.blocks_, masked_only=True
        )

    def _after_training(self, net: RepresentationNet, rows: Batch) -> None:
        """Measure how far hidden numbers are from what they are rebuilt to.

        Draws need it, and no row is kept by which they could measure it themselves.
        """
        some = rows.some(ROWS_TO_CHOOSE_BY).to(net.device)
        generator = make_generator(0, some.values.device)
        seen, mask = self._build_corruption()(some.values, generator)
        judged = torch.as_tensor(mask) & ~some.values.isnan()
        with torch.inference_mode():
            outputs = net.module_(seen)
        width = self._codec.n_numbers_
        residual = (outputs.reconstruction - some.values)[:, :width].double()
        judged = judged[:, :width]
        total = residual.where(judged, torch.zeros_like(residual)).square().sum(dim=0)
        spread = (total / judged.sum(dim=0).clamp(min=1)).sqrt()
        self._hidden_error: NDArray[np.float64] = spread.cpu().numpy()

    def _cell_noise(self) -> NDArray[np.float64]:
        return self._hidden_error

    def _row_error(
        self, module: nn.Module, x: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        objective: Objective = self.net_.criterion_
        return objective.terms(module(x), Batch(x, observed))["reconstruction"]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # attention compares every cell with every other
        tags.input_tags.sparse = self.architecture != "transformer"
        return tags
