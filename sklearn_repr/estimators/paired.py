"""PairedEmbedder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn_repr.estimators._paired import BasePaired

__all__ = ["PairedEmbedder"]


class PairedEmbedder(BasePaired):
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
    learning_rate_init : float, default=0.001
        Learning rate; a skorch ``LRScheduler`` among `callbacks` can vary it.
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

    def __init__(
        self,
        n_components: int = 64,
        *,
        scaling: str | None = "standard",
        architecture: str | Callable[..., Any] = "mlp",
        y_architecture: str | Callable[..., Any] | None = None,
        input_shape: Any = None,
        y_input_shape: Any = None,
        kernel_size: int = 3,
        stride: int = 2,
        hidden_layer_sizes: Any = "auto",
        activation: str = "silu",
        dropout: float = 0.1,
        layer_norm: bool = False,
        init: str | None = "cca",
        alpha: float = 0.0,
        optimizer: str | Callable[..., Any] = "adam",
        learning_rate_init: float = 0.001,
        batch_size: int | str = "auto",
        max_iter: int = 200,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        callbacks: list[Any] | None = None,
        device: str = "auto",
        dtype: str = "float32",
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.n_components = n_components
        self.scaling = scaling
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
        self.learning_rate_init = learning_rate_init
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
