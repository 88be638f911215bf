"""VariationalAutoencoder."""

from __future__ import annotations

from typing import Any

from sklearn_repr.estimators._variational import BaseVariational

__all__ = ["VariationalAutoencoder"]


class VariationalAutoencoder(BaseVariational):
    r"""Autoencoder whose code is a distribution, and which can be drawn from.

    Learns q(z|x) = N(μ(x), diag σ²(x)) and p(x|z) by maximising the evidence lower bound

    .. math:: E_{q(z|x)} \log p(x|z) - \beta \, \mathrm{KL}(q(z|x) \| N(0, I))
              \le \log p(x) \quad (\beta = 1)

    `transform` returns μ(x). Without hidden layers it is probabilistic PCA.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        Width of the code. A float in (0, 1) takes as many components as PCA of the scaled
        training rows needs to explain that share of the variance of the held-out rows;
        "auto" is 0.9.
    scaling : {"standard", "robust", "quantile"} or None, default="standard"
        How columns are made comparable, through scikit-learn's scaler of that name.
        `inverse_transform` returns original units.
    architecture : "mlp" or "conv", default="mlp"
        "conv" takes a row for an image or a sequence of `input_shape`: strided
        convolutions, and transposed ones back.
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
    init : "pca" or None, default="pca"
        Where linear maps start: at probabilistic PCA, or at random. Applies to the linear
        path, and to networks without hidden layers.
    decoder : {"gaussian", "bernoulli"}, default="gaussian"
        Distribution of the scaled columns given the code; "bernoulli" needs scaled values
        in [0, 1].
    decoder_variance : float or "learned", default="learned"
        Variance of gaussian columns, in scaled units; "learned" is one for all columns.
    objective : {"elbo", "beta_tcvae"}, default="elbo"
        "beta_tcvae" weighs the total correlation of the code by `beta`, and not the rest
        of the divergence, to disentangle components.
    beta : float, default=1.0
        Weight of the divergence; above 1 components are freer of each other but say less.
    warm_up : int, default=0
        Epochs over which the weight grows from 0 to `beta`.
    free_bits : float, default=0.0
        Nats a component that cost nothing ("elbo" only).
    alpha : float, default=0.0
        Weight decay: adds alpha · W to the gradient of every weight matrix W, as the
        penalty alpha / 2 · ‖W‖² would ("adamw" decouples it from the gradient).
    optimizer : {"adam", "adamw", "sgd"} or callable, default="adam"
        A torch optimizer class, or a function of parameter groups and `lr`.
    learning_rate_init : float, default=0.001
        Learning rate; a skorch ``LRScheduler`` among `callbacks` can vary it.
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
    kl_per_component_ : ndarray of shape (n_components_,)
        Mean divergence of each component's posterior from the prior, in nats; next to
        nothing where a component is unused.
    loss_curve_ : list of float
        Training loss per epoch.
    validation_curve_ : list of float or None
        Loss on the held-out rows per epoch; None if none were held out.
    loss_terms_ : dict of str to list of float
        Every term of the loss per epoch, unweighted: "train_kl", ...
    best_loss_ : float
        Lowest monitored loss, the start included where rows were held out.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    See Also
    --------
    AutoencoderTransformer : The same without a distribution.

    References
    ----------
    Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, arXiv:1312.6114.

    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016,
    arXiv:1509.00519.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import VariationalAutoencoder
    >>> X = load_iris().data
    >>> vae = VariationalAutoencoder(2, max_iter=20, random_state=0).fit(X)
    >>> vae.transform(X).shape, vae.sample(5, random_state=0).shape
    ((150, 2), (5, 4))
    """

    def __init__(
        self,
        n_components: int | float | str = "auto",
        *,
        scaling: str | None = "standard",
        architecture: str = "mlp",
        input_shape: Any = None,
        kernel_size: int = 3,
        stride: int = 2,
        hidden_layer_sizes: Any = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        layer_norm: bool = False,
        linear_skip: bool = True,
        init: str | None = "pca",
        decoder: str = "gaussian",
        decoder_variance: float | str = "learned",
        objective: str = "elbo",
        beta: float = 1.0,
        warm_up: int = 0,
        free_bits: float = 0.0,
        alpha: float = 0.0,
        optimizer: Any = "adam",
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
        self.input_shape = input_shape
        self.kernel_size = kernel_size
        self.stride = stride
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.linear_skip = linear_skip
        self.init = init
        self.decoder = decoder
        self.decoder_variance = decoder_variance
        self.objective = objective
        self.beta = beta
        self.warm_up = warm_up
        self.free_bits = free_bits
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
