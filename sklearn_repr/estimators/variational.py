"""VariationalAutoencoder."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import (
    Batch,
    Callbacks,
    Categorical,
    Constraints,
    InputShape,
    LayerSizes,
    Optimizer,
    RandomState,
    Table,
)
from sklearn_repr.data import Codec
from sklearn_repr.data.codec import dense
from sklearn_repr.engine import RepresentationNet
from sklearn_repr.estimators._reconstructor import BaseReconstructor
from sklearn_repr.exceptions import CollapseWarning
from sklearn_repr.modules.factory import make_variational_network
from sklearn_repr.modules.variational import VariationalNetwork
from sklearn_repr.objectives import ELBO, Objective, TotalCorrelation
from sklearn_repr.objectives.elbo import (
    density_bound,
    gaussian_kl,
    log_likelihood,
)
from sklearn_repr.utils import constraints
from sklearn_repr.utils.devices import single_thread
from sklearn_repr.utils.draws import matched_draws, row_shifts, shifted_normal
from sklearn_repr.utils.randomness import Seeds, make_generator
from sklearn_repr.utils.validation import has_holes, parts_of

__all__ = ["VariationalAutoencoder"]

# Draws behind the expected log-likelihood in the evidence lower bound of a row
ELBO_DRAWS = 16
# A component that says less than this many nats about a row says nothing
UNUSED_NATS = 0.01
# Rows on which the use of components is measured
ROWS_TO_MEASURE = 10_000


class VariationalAutoencoder(BaseReconstructor):
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
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Which columns are categories: a mask, names or positions. "from_dtype" takes the
        columns of a frame that hold categories, text or booleans; None takes none.
    max_categories : int or None, default=32
        Most levels of a category that are kept apart; the rarer ones share one. None sets
        no limit.
    min_frequency : int, float or None, default=None
        Levels in fewer rows, or in a smaller share of the rows, share one.
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
    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        Distribution of the scaled columns given the code; "bernoulli" needs scaled values
        in [0, 1].
    decoder_variance : float or "learned", default="learned"
        Variance of gaussian columns, in scaled units; "learned" is one for all columns.
    objective : {"elbo", "beta_tcvae"}, default="elbo"
        "beta_tcvae" weighs the total correlation of the code by `beta`, and not the rest
        of the divergence, to disentangle components.
    beta : float, default=1.0
        Weight of the divergence; above 1 components are freer of each other but say less.
    kl_warm_up : int, default=0
        Epochs over which the weight grows from 0 to `beta`.
    free_bits : float, default=0.0
        Nats a component that cost nothing ("elbo" only).
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

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseReconstructor._parameter_constraints,
        **constraints.LAYERS,
        "architecture": [StrOptions({"mlp", "conv"})],
        "likelihood": [StrOptions({"gaussian", "bernoulli"})],
        "decoder_variance": [StrOptions({"learned"}), constraints.POSITIVE],
        "objective": [StrOptions({"elbo", "beta_tcvae"})],
        "beta": [constraints.NOT_NEGATIVE],
        "kl_warm_up": [Interval(Integral, 0, None, closed="left")],
        "free_bits": [constraints.NOT_NEGATIVE],
    }
    _shaping: ClassVar[tuple[str, ...]] = (
        *BaseReconstructor._shaping,
        "likelihood",
        "decoder_variance",
    )

    def __init__(
        self,
        n_components: int | float | str = "auto",
        *,
        scaling: str | None = "standard",
        categorical_features: Categorical = "from_dtype",
        max_categories: int | None = 32,
        min_frequency: float | None = None,
        architecture: str = "mlp",
        input_shape: InputShape = None,
        kernel_size: int = 3,
        stride: int = 2,
        hidden_layer_sizes: LayerSizes = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        layer_norm: bool = False,
        linear_skip: bool = True,
        init: str | None = "pca",
        likelihood: str = "gaussian",
        decoder_variance: float | str = "learned",
        objective: str = "elbo",
        beta: float = 1.0,
        kl_warm_up: int = 0,
        free_bits: float = 0.0,
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
        self.init = init
        self.likelihood = likelihood
        self.decoder_variance = decoder_variance
        self.objective = objective
        self.beta = beta
        self.kl_warm_up = kl_warm_up
        self.free_bits = free_bits
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

    def _wants_unit_interval(self) -> str | None:
        return "likelihood='bernoulli'" if self.likelihood == "bernoulli" else None

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        by_share = not self._width_is_given()
        starts_at_pca, subspace = self._starts_at_pca(), None
        if starts_at_pca or by_share:
            subspace = self._principal_subspace(rows)
        self._resolve_components(subspace, held_out)
        variance = self.decoder_variance
        return make_variational_network(
            self.architecture,
            rows.values.shape[1],
            self.n_components_,
            self._architecture_options(),
            linear_skip=self.linear_skip,
            bernoulli=self.likelihood == "bernoulli",
            variance=None if variance == "learned" else float(variance),
            subspace=subspace if starts_at_pca else None,
            dtype=rows.values.dtype,
        )

    def _build_objective(self, codec: Codec, module: nn.Module) -> Objective:
        options: dict[str, Any] = {
            "warm_up": self.kl_warm_up,
            "bernoulli": self.likelihood == "bernoulli",
            "blocks": codec.blocks_,
        }
        if self.objective == "elbo":
            return ELBO(self.beta, free_bits=self.free_bits, **options)
        if self.free_bits:
            raise ValueError("free_bits needs objective='elbo'.")
        return TotalCorrelation(self.beta, **options)

    def _after_training(self, net: RepresentationNet, rows: Batch) -> None:
        some = rows.some(ROWS_TO_MEASURE).values.to(net.device)
        with torch.inference_mode():
            mean, log_variance = net.module_.encoder(some)
            kl = gaussian_kl(mean, log_variance).mean(dim=0)
        self.kl_per_component_ = kl.cpu().double().numpy()
        varies = float(some.var(dim=0, correction=0).sum()) > 0
        if varies and self.kl_per_component_.max() < UNUSED_NATS:
            warnings.warn(
                "The posterior has collapsed to the prior: no component says more than"
                f" {UNUSED_NATS} nats about a row. Lower beta, set kl_warm_up or"
                " free_bits, or fix a smaller decoder_variance.",
                CollapseWarning,
                stacklevel=2,
            )

    def _log_likelihood(
        self, module: Any, x: Tensor, observed: Tensor | None, z: Tensor
    ) -> Tensor:
        """Return log p(x|z) of the observed cells of each row, shape (n,)."""
        table = self.net_.criterion_.table
        columns, noise = module.decoder(z), module.log_noise
        return log_likelihood(columns, x, noise, module.bernoulli, observed, table)

    def _row_error(
        self, module: nn.Module, x: Tensor, observed: Tensor | None = None
    ) -> Tensor:
        error = -self._log_likelihood(module, x, observed, module.encode(x))  # type: ignore[operator]
        if observed is None:
            return error
        table = self.net_.criterion_.table
        known = observed if table is None else table.of_cells(observed)
        return error * (known.shape[1] / known.sum(dim=1).clamp(min=1))

    def _cell_noise(self) -> NDArray[np.float64]:
        noise: Tensor = self.net_.module_.log_noise.detach()
        return (0.5 * noise).exp().double().cpu().numpy()

    def transform(self, X: Table, return_std: bool = False) -> Table:
        """Map rows to the mean of their posterior.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        return_std : bool, default=False
            Return the posterior's standard deviations too.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            Means; float32 if `X` is float32, else float64.
        std : ndarray of shape (n_samples, n_components_)
            Standard deviations, if asked for.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False, infers=True)
        module = self.net_.module_
        Z = self._infer(module.encode, rows, dtype=rows.dtype)
        if not return_std:
            return Z

        def deviations(module: VariationalNetwork, x: Tensor) -> Tensor:
            return (0.5 * module.encoder(x)[1]).exp()  # type: ignore[no-any-return]

        return Z, self._infer(deviations, rows, module=module, dtype=rows.dtype)

    def score_samples(
        self, X: Table, n_samples: int | None = None
    ) -> NDArray[np.float64]:
        r"""Bound the log-density of rows from below.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        n_samples : int or None, default=None
            None is the evidence lower bound (β = 1). K is the importance-weighted bound

            .. math:: \log \frac1K \sum_{k=1}^K \frac{p(x|z_k) p(z_k)}{q(z_k|x)}, \quad
                      z_k \sim q(z|x)

            which in expectation grows with K towards log p(x).

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Nats, of the density in the units of `X` (of scaled rows, if ``scaling`` is
            "quantile"). A row's draws depend on the row alone, so its score does not
            depend on its neighbours.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        self._check_scored(rows)
        if n_samples is None:
            points = matched_draws(ELBO_DRAWS, self.n_components_)
        else:
            check_scalar(n_samples, "n_samples", Integral, min_val=1)
            engine: Any = torch.quasirandom.SobolEngine
            sobol = engine(self.n_components_)
            points = sobol.draw(int(n_samples), dtype=torch.float64)

        holes = has_holes(rows)

        def bound(module: VariationalNetwork, x: Tensor) -> Tensor:
            observed = ~x.isnan() if holes else None
            if observed is not None:
                x = x.where(observed, torch.zeros_like(x))
            draws: Iterable[Tensor] = points.to(x)
            if n_samples is not None:
                # every row shifts the points by a hash of its own
                shifts = row_shifts(x, self.n_components_)
                draws = (shifted_normal(p, shifts).to(x) for p in points.to(x.device))
            likelihood = partial(self._log_likelihood, module, x, observed)
            mean, log_variance = module.encoder(x)
            return density_bound(
                likelihood, mean, log_variance, draws, weighted=n_samples is not None
            )

        bounds = self._infer(
            bound, rows, module=self.net_.module_, dtype=np.float64, fill=False
        )
        # log p of rows in their own units: scaling multiplied the density
        if self._codec.scaling == "quantile":
            return bounds
        volume = self._codec.log_scales()
        if holes:
            # added up in the same order as without holes, whatever the order of cells
            missing = (np.isnan(dense(part), order="C") for part in parts_of(rows))
            there = [np.where(part, 0.0, volume).sum(axis=1) for part in missing]
            bounds -= np.concatenate(there)
        else:
            bounds -= volume.sum()
        return bounds

    def sample(
        self, n_samples: int = 1, *, noise: bool = True, random_state: RandomState = None
    ) -> Table:
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            How many.
        noise : bool, default=True
            Draw columns from p(x|z); False returns their means.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_in_)
            Rows in original units; a DataFrame if ``set_output`` asks for one.
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        module = self.net_.module_
        generator = make_generator(Seeds(random_state)["sample"])
        codes = torch.randn(int(n_samples), self.n_components_, generator=generator)
        with torch.inference_mode(), single_thread():
            columns = module.decode(codes.to(module.log_noise)).cpu()
            if noise and module.bernoulli:
                columns = torch.bernoulli(columns, generator=generator)
            elif noise:
                spread = (0.5 * module.log_noise).exp().cpu()
                draws = torch.randn(columns.shape, generator=generator)
                # what is said of categories are no numbers
                n_numbers = self._codec.n_numbers_
                columns[:, :n_numbers] += (spread * draws.to(columns))[:, :n_numbers]
        chances = torch.rand(columns.shape, generator=generator) if noise else None
        decoded = self._codec.decode(
            columns, None if chances is None else chances.numpy()
        )
        return self._wrapped(decoded, None)
