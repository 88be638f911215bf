"""DenoisingAutoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from numpy.typing import ArrayLike
from torch import Tensor

from sklearn_repr._contracts import (
    Architecture,
    Callbacks,
    Categorical,
    Constraints,
    InputShape,
    LayerSizes,
    LevelOrRange,
    Optimizer,
    RandomState,
)
from sklearn_repr.corruptions import (
    Copies,
    Corruption,
    corruption,
    make_corruption,
)
from sklearn_repr.estimators.autoencoder import AutoencoderTransformer
from sklearn_repr.utils import constraints

__all__ = ["DenoisingAutoencoder"]


class DenoisingAutoencoder(AutoencoderTransformer):
    r"""Dimension reduction by an autoencoder that undoes corruption.

    Learns an encoder φ and a decoder ψ that minimise

    .. math:: \frac{1}{n} \sum_i \sum_j \rho(x_{ij} - \psi(\phi(\tilde x_i))_j)

    where :math:`\tilde x_i` is a corrupted copy of row i, drawn anew in every epoch. Rows
    to transform are not corrupted.

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
    corruption : str or callable, default="gaussian"
        What happens to rows before the encoder: "gaussian" adds noise in proportion to
        each column's spread, "multiplicative" multiplies by noise, "masking" sets cells
        to zero, "salt_and_pepper" to their column's extremes, "swap" to another row's
        value, "scarf" exactly ⌊level · d⌋ cells of each row to draws from their columns;
        "rotation" and "translation" move images of `input_shape`. The other views of
        :class:`ContrastiveEmbedder` can be named too. A callable maps a tensor of scaled
        rows to one of the same shape.
    corruption_level : float or (float, float), default=0.3
        Standard deviations for "gaussian" and "multiplicative", degrees for "rotation",
        share of the side for "translation", else the share of cells in [0, 1]; a callable
        ignores it. A range (low, high) is drawn from, uniformly, for every row.
    n_corruptions : int, default=1
        Corrupted copies of every row in a step; their losses are averaged.
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
    AutoencoderTransformer : The same without corruption.

    References
    ----------
    Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked denoising autoencoders",
    Journal of Machine Learning Research 11 (2010) 3371-3408.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import DenoisingAutoencoder
    >>> X = load_iris().data
    >>> denoiser = DenoisingAutoencoder(2, corruption="swap", max_iter=5, random_state=0)
    >>> denoiser.fit_transform(X).shape
    (150, 2)
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **AutoencoderTransformer._parameter_constraints,
        "corruption": [
            constraints.Registered(corruption),
            callable,
        ],
        "corruption_level": [constraints.NOT_NEGATIVE, tuple, list],
        "n_corruptions": [constraints.COUNT],
    }

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
        corruption: str | Callable[[Tensor], Tensor] = "gaussian",
        corruption_level: LevelOrRange = 0.3,
        n_corruptions: int = 1,
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
        super().__init__(
            n_components,
            scaling=scaling,
            categorical_features=categorical_features,
            max_categories=max_categories,
            min_frequency=min_frequency,
            architecture=architecture,
            input_shape=input_shape,
            kernel_size=kernel_size,
            stride=stride,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            dropout=dropout,
            layer_norm=layer_norm,
            linear_skip=linear_skip,
            tied_weights=tied_weights,
            init=init,
            loss=loss,
            loss_scale=loss_scale,
            penalty=penalty,
            penalty_weight=penalty_weight,
            sparsity_target=sparsity_target,
            alpha=alpha,
            optimizer=optimizer,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            gradient_clip=gradient_clip,
            batch_size=batch_size,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            callbacks=callbacks,
            device=device,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.n_corruptions = n_corruptions

    def _build_corruption(self) -> Corruption:
        corruption = make_corruption(
            self.corruption, self.corruption_level, input_shape=self._row_shape()
        )
        one = self.n_corruptions == 1
        return corruption if one else Copies(corruption, self.n_corruptions)
