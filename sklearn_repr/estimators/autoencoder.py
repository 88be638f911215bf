"""AutoencoderTransformer."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._outputs import Batch
from sklearn_repr.data import NumericCodec
from sklearn_repr.engine import infer
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.modules import make_autoencoder, principal_subspace
from sklearn_repr.objectives import LOSSES, Objective, Reconstruction
from sklearn_repr.utils.containers import wrap_table
from sklearn_repr.utils.scores import explained_share
from sklearn_repr.utils.validation import check_latent

__all__ = ["AutoencoderTransformer"]

# "auto" keeps as many components as PCA needs for this share of the variance
AUTO_SHARE = 0.9


class AutoencoderTransformer(BaseRepresentation):
    r"""Dimension reduction by an autoencoder.

    Learns an encoder φ and a decoder ψ that minimise

    .. math:: \frac{1}{n} \sum_i \sum_j \rho(x_{ij} - \psi(\phi(x_i))_j)

    over scaled columns. It stands where :class:`~sklearn.decomposition.PCA` stands: by
    default a linear path that starts at the PCA solution runs beside the network, and
    early stopping counts that start as epoch 0.

    Parameters
    ----------
    n_components : int, float or "auto", default="auto"
        Width of the code. A float in (0, 1) takes as many components as PCA on the
        scaled training rows needs to explain that share of the variance; "auto" is 0.9.
    scaling : {"standard", "robust", "quantile"} or None, default="standard"
        How columns are made comparable, through scikit-learn's scaler of that name.
        `inverse_transform` returns original units.
    architecture : "mlp" or callable, default="mlp"
        A torch module class or function called with keywords `n_features` and
        `n_components`. It returns a module with methods ``encode`` and ``decode``, or a
        pair (encoder, decoder) of modules.
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Hidden layers of the encoder; the decoder mirrors them. "auto" is two layers, the
        first twice as wide as the table (64 to 512), the second half of the first. An
        empty tuple makes encoder and decoder linear.
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
        Where linear maps start: at the PCA solution with a code of unit variance, or at
        random. Applies to the linear path, and to networks without hidden layers.
    loss : str or callable, default="squared_error"
        Loss per cell, summed over columns: "squared_error", "absolute_error" or "huber".
        A callable maps a tensor of residuals to a tensor of losses of the same shape.
    loss_scale : float, default=1.0
        Where "huber" turns from square to straight, in scaled units.
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
    dtype : {"float32", "float64"}, default="float32"
        Precision of the computation.
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
    loss_curve_ : list of float
        Training loss per epoch.
    validation_curve_ : list of float or None
        Loss on the held-out rows per epoch; None if none were held out.
    loss_terms_ : dict of str to list of float
        Every term of the loss per epoch, unweighted: "train_reconstruction", ...
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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseRepresentation._parameter_constraints,
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            StrOptions({"auto"}),
        ],
        "linear_skip": ["boolean"],
        "init": [StrOptions({"pca"}), None],
        "loss": [StrOptions(set(LOSSES)), callable],
        "loss_scale": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        n_components: int | float | str = "auto",
        *,
        scaling: str | None = "standard",
        architecture: str | Callable[..., Any] = "mlp",
        hidden_layer_sizes: Any = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        layer_norm: bool = False,
        linear_skip: bool = True,
        init: str | None = "pca",
        loss: str | Callable[[Tensor], Tensor] = "squared_error",
        loss_scale: float = 1.0,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.layer_norm = layer_norm
        self.linear_skip = linear_skip
        self.init = init
        self.loss = loss
        self.loss_scale = loss_scale
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

    def _build_module(self, rows: Batch) -> nn.Module:
        # not for init=None and a plain number: it costs a d x d eigendecomposition
        by_share = not isinstance(self.n_components, Integral)
        subspace = None
        if self.init == "pca" or by_share:
            subspace = principal_subspace(rows.values)
        if not by_share:
            self.n_components_ = int(self.n_components)
        elif subspace is not None and not (self.warm_start and hasattr(self, "net_")):
            share = AUTO_SHARE if self.n_components == "auto" else self.n_components
            self.n_components_ = subspace.count_for_share(float(share))
        return make_autoencoder(
            self.architecture,
            rows.values.shape[1],
            self.n_components_,
            self._mlp_options(),
            linear_skip=self.linear_skip,
            subspace=subspace if self.init == "pca" else None,
            dtype=rows.values.dtype,
        )

    def _build_objective(self, codec: NumericCodec) -> Objective:
        return Reconstruction(self.loss, scale=self.loss_scale, blocks=codec.blocks_)

    def inverse_transform(self, Z: Any) -> Any:
        """Map codes back to rows in original units.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components_)
            Codes, as `transform` returns them.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_in_)
            Rows; a DataFrame with the original column names if ``set_output`` asks for
            one.
        """
        check_is_fitted(self)
        codes = check_latent(Z, self.n_components_, type(self).__name__)
        decoded = infer(
            self.net_.module_.decode,
            lambda part: torch.from_numpy(np.array(part, dtype=self.dtype)),
            codes,
            self.net_.device,
        )
        return self._in_original_units(decoded, codes.dtype, Z)

    def reconstruct(self, X: Any) -> Any:
        """Encode and decode rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_in_)
            The same as ``inverse_transform(transform(X))``, bit for bit.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        module = self.net_.module_
        decoded = self._infer(lambda x: module.decode(module.encode(x)), rows)
        return self._in_original_units(decoded, rows.dtype, X)

    def reconstruction_error(self, X: Any) -> NDArray[np.float64]:
        """Measure how badly each row reconstructs.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        error : ndarray of shape (n_samples,)
            `loss`, summed over scaled columns: the term that training minimises.
        """
        check_is_fitted(self)
        X = self._validate(X, reset=False)
        module, objective = self.net_.module_, self.net_.criterion_

        def error(x: Tensor) -> Tensor:
            terms: dict[str, Tensor] = objective.terms(module(x), Batch(x))
            return terms["reconstruction"]

        return self._infer(error, X).astype(np.float64)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the R² of the reconstruction.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Share of the total variance of `X`, in original units, that its
            reconstruction explains. :func:`sklearn_repr.inspection.reconstruction_r2`
            gives the same number for PCA.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        return explained_share(rows, self.reconstruct(X))

    def _in_original_units(self, decoded: Any, dtype: Any, original: Any) -> Any:
        X = self._codec.decode(decoded).astype(dtype, copy=False)
        return wrap_table(X, self, original, getattr(self, "feature_names_in_", None))
