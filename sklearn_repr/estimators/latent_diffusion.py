"""LatentDiffusion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import DensityMixin, _fit_context
from sklearn.utils import check_array, check_consistent_length, check_scalar
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_is_fitted,
)
from torch import Tensor, nn

from sklearn_repr._contracts import (
    Array,
    Batch,
    Callbacks,
    Categorical,
    Constraints,
    Labels,
    LayerSizes,
    Optimizer,
    RandomState,
    Table,
    Weights,
)
from sklearn_repr.corruptions import NoiseLevels
from sklearn_repr.data import Codec, NumericCodec, TableCodec, choose_codec
from sklearn_repr.data.batches import batch_sizes
from sklearn_repr.data.conditions import Conditions, to_draw_by
from sklearn_repr.data.drawn import decode_drawn
from sklearn_repr.data.original import Original
from sklearn_repr.engine import TrainingSettings
from sklearn_repr.engine.diffusion import arcs, log_density
from sklearn_repr.engine.drawing import Sampler
from sklearn_repr.estimators._trained import BaseTrained
from sklearn_repr.modules.denoiser import Denoiser, GaussianPath, NoiseLevelMLP
from sklearn_repr.objectives import DenoisingScore, Objective
from sklearn_repr.utils import constraints
from sklearn_repr.utils.draws import row_shifts
from sklearn_repr.utils.randomness import Seeds, make_generator, seeded_clone

__all__ = ["LatentDiffusion"]

# Columns up to which a density is computed exactly, and random directions beyond
EXACT_COLUMNS, DIRECTIONS = 16, 8
# Rows of which densities are computed at a time: each is copied for every column
DENSITY_CHUNK = 8
# Columns up to which normal rows are denoised in closed form beside the network, and the
# share of all steps over which weights are averaged
MOST_AXES, AVERAGED = 1024, 0.1
# Rows that `sample_blocks` yields at a time
BLOCK = 2**16


class LatentDiffusion(DensityMixin, BaseTrained):
    r"""Diffusion model of a table, or of any estimator's code of it: rows to draw from.

    A network learns to take noise of every strength away,

    .. math:: D(x; \sigma) = E[x_0 \mid x_0 + \sigma \varepsilon = x],

    which says in which direction rows become more probable. `sample` follows it from pure
    noise to rows; with `y` in `fit`, to rows of a class, or of a number. What is diffused
    is the table itself, its numbers as normal scores of their ranks and its categories as
    indicators, or the code of `autoencoder`.

    Parameters
    ----------
    autoencoder : estimator, "identity" or None, default=None
        What maps rows to a code and back: any estimator with `transform` and
        `inverse_transform`, such as :class:`VariationalAutoencoder`, PCA or a pipeline.
        It is cloned and fitted. "identity" is the scaled table itself, and so is None.
    scaling : str or None, default="normal_scores"
        How numbers are made comparable: "normal_scores" by their ranks, mapped to a
        normal distribution, so that they are drawn from the values that were seen;
        "standard", "robust" and "quantile" through scikit-learn's scaler of that name.
        A code is always standardised.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Which columns are categories: a mask, names or positions. "from_dtype" takes the
        columns of a frame that hold categories, text or booleans; None takes none.
    max_categories : int or None, default=32
        Most levels of a category that are kept apart; the rarer ones share one. None sets
        no limit.
    min_frequency : int, float or None, default=None
        Levels in fewer rows, or in a smaller share of the rows, share one.
    missing : {"draw", "fill"}, default="draw"
        What becomes of missing cells: "draw" draws them as often as they are missing, and
        where they are; "fill" draws full rows. Of the table itself: a code says itself
        what is missing.
    hidden_layer_sizes : array-like of int or "auto", default="auto"
        Widths of the network's residual blocks; the first is that of what flows between
        them. "auto" is two of 256.
    activation : str, default="silu"
        Activation of hidden layers: "identity", "logistic", "tanh", "relu",
        "leaky_relu", "elu", "gelu" or "silu".
    dropout : float, default=0.0
        Probability in [0, 1) of dropping a hidden unit in training.
    guidance : float, default=1.0
        Of rows that are drawn by `y`: 1 draws from their conditional distribution, 0
        ignores `y`, and more than 1 keeps away from what does not fit it, at the price of
        variety.
    sampling_steps : int, default=18
        Steps of the sampler from noise to rows, and of the integral behind densities.
    churn : float, default=0.0
        How much noise is added and taken away again while rows are drawn, all steps
        together. At 0 rows are a function of the noise that they start from.
    alpha : float, default=0.0
        Weight decay: adds alpha · W to the gradient of every weight matrix W, as the
        penalty alpha / 2 · ‖W‖² would ("adamw" decouples it from the gradient).
    optimizer : {"adam", "adamw", "sgd"} or callable, default="adam"
        A torch optimizer class, or a function of parameter groups and `lr`.
    learning_rate : {"constant", "one_cycle", "cosine", "plateau"}, default="cosine"
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
        Rows per step. "auto" is 256.
    max_iter : int, default=600
        Most epochs to train.
    max_steps : int or None, default=4000
        Most steps to train, rounded up to whole epochs, of which there are then no more
        than rows; None sets no limit.
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
        Seed of weights, shuffling, held-out rows and noise in training. None differs from
        call to call.
    verbose : int, default=0
        1 draws a progress bar on stderr.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    autoencoder_ : estimator or None
        The fitted clone of `autoencoder`; None where the table itself is diffused.
    classes_ : ndarray or None
        What rows can be drawn by; None without classes.
    loss_curve_ : list of float
        Training loss per epoch.
    validation_curve_ : list of float or None
        Loss on the held-out rows per epoch; None if none were held out.
    loss_terms_ : dict of str to list of float
        Every term of the loss per epoch, unweighted: "train_denoising", ...
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
    VariationalAutoencoder : Draws rows too, and is a representation.
    sklearn.neighbors.KernelDensity : Densities of few columns.

    References
    ----------
    Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based
    generative models", NeurIPS 2022, arXiv:2206.00364.

    Zhang et al., "Mixed-type tabular data synthesis with score-based diffusion in latent
    space", ICLR 2024, arXiv:2310.09656.

    Kotelnikov, Baranchuk, Rubachev and Babenko, "TabDDPM: modelling tabular data with
    diffusion models", ICML 2023, arXiv:2209.15421.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import LatentDiffusion
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = LatentDiffusion(max_steps=100, random_state=0).fit(X, y)
    >>> model.sample(y=[0, 0, 1, 2], random_state=0).shape
    (4, 4)
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BaseTrained._parameter_constraints,
        "autoencoder": [
            HasMethods(["fit", "transform", "inverse_transform"]),
            StrOptions({"identity"}),
            None,
        ],
        "scaling": [StrOptions(constraints.SCALINGS | {"normal_scores"}), None],
        "missing": [StrOptions({"draw", "fill"})],
        "guidance": [constraints.NOT_NEGATIVE],
        "sampling_steps": [constraints.TWO_OR_MORE],
        "churn": [constraints.NOT_NEGATIVE],
        "max_steps": [constraints.COUNT, None],
    }
    _parameter_constraints.pop("input_shape")
    _shaping: ClassVar[tuple[str, ...]] = (*BaseTrained._shaping, "missing")

    autoencoder_: Any
    _conditions: Conditions | None
    _original: Original

    def __init__(
        self,
        autoencoder: Any = None,
        *,
        scaling: str | None = "normal_scores",
        categorical_features: Categorical = "from_dtype",
        max_categories: int | None = 32,
        min_frequency: float | None = None,
        missing: str = "draw",
        hidden_layer_sizes: LayerSizes = "auto",
        activation: str = "silu",
        dropout: float = 0.0,
        guidance: float = 1.0,
        sampling_steps: int = 18,
        churn: float = 0.0,
        alpha: float = 0.0,
        optimizer: Optimizer = "adam",
        learning_rate: str = "cosine",
        learning_rate_init: float = 0.001,
        gradient_clip: float | None = None,
        batch_size: int | str = "auto",
        max_iter: int = 600,
        max_steps: int | None = 4000,
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
        self.autoencoder = autoencoder
        self.scaling = scaling
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.min_frequency = min_frequency
        self.missing = missing
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.guidance = guidance
        self.sampling_steps = sampling_steps
        self.churn = churn
        self.alpha = alpha
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.gradient_clip = gradient_clip
        self.batch_size = batch_size
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

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: Labels = None) -> Self:
        """Learn the distribution of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or None, default=None
            What rows are to be drawn by: classes, or numbers where some are not whole.
            Of a row whose class is -1, NaN or None, or whose number is NaN, nothing is
            known. None means that rows are drawn by nothing.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        return self._fit(X, y)

    # -- hooks -----------------------------------------------------------------------

    def _is_latent(self) -> bool:
        return self.autoencoder is not None and not isinstance(self.autoencoder, str)

    def _validate_training(
        self, X: Table, y: Labels, sample_weight: Weights, *, reset: bool
    ) -> Table:
        if y is not None:
            check_consistent_length(X, y)
        if not self._is_latent():
            self.autoencoder_ = None
            rows = self._validate(X, reset=reset)
        else:
            _check_feature_names(self, X, reset=reset)
            _check_n_features(self, X, reset=reset)
            self._columns = None
            if reset:
                seeds = Seeds(self.random_state)
                self.autoencoder_ = seeded_clone(self.autoencoder, seeds).fit(X)
            rows = self._code(X)
        if reset:
            self._original = Original(X, self._columns)
        return rows

    def _code(self, X: Table) -> Array:
        """Return the autoencoder's code of rows."""
        code = self.autoencoder_.transform(X)
        return np.asarray(check_array(code, dtype=[np.float64, np.float32]))

    def _fit_codec(self, X: Table, seeds: Seeds, weights: Weights) -> Codec:
        names = None if self._is_latent() else getattr(self, "feature_names_in_", None)
        scaling = "standard" if self._is_latent() else self.scaling
        numbers = NumericCodec(scaling, self._weight_dtype(), seeds["scaling"], fill=True)
        codec = choose_codec(numbers, self._columns, X)
        if isinstance(codec, TableCodec):
            codec.indicators = codec.hole_levels = self.missing == "draw"
        return codec.fit(X, names, weights)

    def _after_encoding(self, rows: Batch, y: Labels) -> None:
        if not self._continues():
            self._conditions = None if y is None else Conditions().learn(y)
        elif (y is None) != (self._conditions is None):
            now, before = ("out", "") if y is None else ("", "out")
            raise ValueError(
                f"warm_start=True cannot continue: the last fit was with{before} y, and"
                f" this one is with{now}. Set warm_start=False."
            )
        if self._conditions is not None:
            rows.labels = self._conditions.labels(y)
        self.classes_ = None if self._conditions is None else self._conditions.classes_

    def _shape_params(self) -> dict[str, Any]:
        coder = str(self.autoencoder) if self._is_latent() else "identity"
        return {**super()._shape_params(), "autoencoder": coder}

    def _auto_batch_size(self, n_rows: int) -> int:
        return 256

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        # the start is that of normal rows
        settings = replace(super()._training_settings(n_rows), good_start=True)
        if self.max_steps is None:
            return settings
        held_out = self.early_stopping * self.validation_fraction
        steps = len(batch_sizes(n_rows - int(held_out * n_rows), settings.batch_size))
        epochs = min(self.max_iter, -(-self.max_steps // steps), n_rows)
        return replace(settings, max_iter=epochs)

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        options = self._architecture_options()
        auto = isinstance(options.hidden_layer_sizes, str)
        width = rows.values.shape[1]
        network = NoiseLevelMLP(
            width,
            (256, 256) if auto else tuple(options.hidden_layer_sizes),  # type: ignore[arg-type]
            activation=self.activation,
            dropout=self.dropout,
            n_classes=None if self._conditions is None else self._conditions.n_classes,
        )
        settings = self._training_settings(len(rows) + len(held_out or ()))
        n_batches = len(batch_sizes(len(rows), settings.batch_size))
        averaged = max(1.0, settings.max_iter * n_batches * AVERAGED)
        path = self._gaussian_path(rows, network)
        return Denoiser(network, width, path, 1 - 1 / averaged)

    def _gaussian_path(self, rows: Batch, network: NoiseLevelMLP) -> GaussianPath | None:
        """Return the closed form for normal rows; None of too many columns."""
        if rows.values.shape[1] > MOST_AXES:
            return None
        some = rows.sample()
        corruption = self._build_corruption().fit(some.values)
        clean = corruption.drawn_anew(some.values, make_generator(0))
        if network.condition is None or some.labels is None:
            return GaussianPath(clean)
        condition = some.labels.to(clean.dtype).unsqueeze(1)
        return GaussianPath(clean, network.condition.columns(condition))

    def _build_objective(self, codec: Codec, module: nn.Module) -> Objective:
        return DenoisingScore(observed_only=self.missing == "fill")

    def _build_corruption(self) -> NoiseLevels:
        numbers = self._numbers()
        by_ranks = numbers is not None and numbers.scaling == "normal_scores"
        return NoiseLevels(edges=numbers.curve_.edges() if by_ranks else None)

    def _numbers(self) -> Any:
        """Return the codec of numbers, None where there are none."""
        if not self._codec.n_numbers_:
            return None
        return getattr(self._codec, "numbers", self._codec)

    # -- use -------------------------------------------------------------------------

    def _sampler(self, guidance: float = 1.0, churn: float = 0.0) -> Sampler:
        module = self.net_.module_
        dtype = next(module.parameters()).dtype
        device = torch.device(self.net_.device)
        return Sampler(module, self.sampling_steps, guidance, churn, dtype, device)

    def _draws(
        self, n_samples: int | None, y: Labels, random_state: RandomState
    ) -> tuple[Sampler, Tensor, int]:
        check_is_fitted(self)
        condition = to_draw_by(self._conditions, n_samples, y)
        sampler = self._sampler(self.guidance, self.churn)
        return sampler, condition, Seeds(random_state)["sample"]

    def sample(
        self,
        n_samples: int | None = None,
        y: Labels = None,
        *,
        random_state: RandomState = None,
    ) -> Table:
        """Draw rows.

        Parameters
        ----------
        n_samples : int or None, default=None
            How many. None is as many as `y` has entries, or one.
        y : array-like of shape (n_samples,), scalar or None, default=None
            What each row is drawn by: classes, or numbers, as `fit` saw them. None draws
            by nothing.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws. A row depends on the seed and its number alone: fewer rows
            are the first of more.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_in_)
            Rows like those that `fit` saw: a frame of the same library with the same
            names, labels and types, within the range of each column.
        """
        sampler, condition, seed = self._draws(n_samples, y, random_state)
        return self._table(sampler.draw(0, condition, seed))

    def sample_blocks(
        self,
        n_samples: int | None = None,
        y: Labels = None,
        *,
        random_state: RandomState = None,
    ) -> Iterator[Table]:
        """Draw the same rows as :meth:`sample`, some at a time.

        Parameters
        ----------
        n_samples, y, random_state : object
            See :meth:`sample`.

        Yields
        ------
        X : ndarray or DataFrame of shape (at most 65536, n_features_in_)
            Rows; memory does not grow with their number.
        """
        sampler, condition, seed = self._draws(n_samples, y, random_state)
        for start in range(0, len(condition), BLOCK):
            part = condition[start : start + BLOCK]
            yield self._table(sampler.draw(start, part, seed))

    def interpolate(self, a: Table, b: Table, n_points: int = 5) -> Table:
        """Return rows on the way from some rows to others.

        Parameters
        ----------
        a, b : array-like of shape (n_samples, n_features_in_)
            Where each way begins and ends.
        n_points : int, default=5
            Rows on each way, its two ends included.

        Returns
        -------
        X : DataFrame or ndarray of shape (n_samples * n_points, n_features_in_)
            The rows of the first way, then those of the second, and so on.

        Notes
        -----
        Rows are followed to the noise that they are drawn from, which is interpolated on
        the arc between them, and back: all that lies between is as probable as rows are.
        Ends are rebuilt as well as `sampling_steps` allow.
        """
        check_is_fitted(self)
        check_scalar(n_points, "n_points", Integral, min_val=2)
        check_consistent_length(a, b)
        sampler = self._sampler()
        noise = []
        for rows in (a, b):
            values = self._codec.encode(self._rows(rows)).values
            noise.append(torch.from_numpy(sampler.follow(values, backwards=True)))
        ways = arcs(noise[0], noise[1], n_points)
        return self._table(sampler.follow(ways.flatten(0, 1)))

    def score_samples(self, X: Table) -> NDArray[np.float64]:
        """Compute the log-density of rows by the probability flow.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Nats, of the density in the units of `X` where `scaling` is linear, and of
            encoded rows under "normal_scores" and "quantile"; of the code where there is
            an `autoencoder`. Exact up to 16 encoded columns, but for `sampling_steps`;
            beyond, traces are estimated in eight random directions, which a row has for
            its own.
        """
        check_is_fitted(self)
        rows = self._rows(X)
        field, n_steps = self.net_.module_.field, self.sampling_steps

        def density(x: Tensor) -> Tensor:
            n, d = x.shape
            signs = None
            if d > EXACT_COLUMNS:
                shifts = row_shifts(x, DIRECTIONS * d).view(n, DIRECTIONS, d)
                signs = torch.where(shifts < 0.5, -1.0, 1.0).to(x)
            return log_density(lambda y, s: field(y, s, y[:, :0]), x, n_steps, signs)

        scores = self._infer(density, rows, dtype=np.float64, chunk=DENSITY_CHUNK)
        numbers = self._numbers()
        if numbers is not None and numbers.curve_ is None:
            scores -= numbers.log_scales().sum()
        return scores

    def score(self, X: Table, y: Labels = None) -> float:
        """Return the mean log-density of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            See :meth:`score_samples`.
        """
        return float(self.score_samples(X).mean())

    def _rows(self, X: Table) -> Table:
        return self._code(X) if self._is_latent() else self._validate(X, reset=False)

    def _table(self, encoded: Array) -> Table:
        """Return encoded rows as a table like the one that `fit` saw."""
        rows = decode_drawn(self._codec, encoded)
        if self._is_latent():
            rows = self.autoencoder_.inverse_transform(rows)
        return self._original.restore(rows)
