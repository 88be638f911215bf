"""RepresentationRegressor."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch import Tensor

from sklearn_repr._contracts import (
    Array,
    Constraints,
    Labels,
    LayerSizes,
    Optimizer,
    RandomState,
    Table,
    Weights,
)
from sklearn_repr.engine.linear_heads import LinearMap, fit_ridge
from sklearn_repr.estimators._predictor import CONSISTENCY_WEIGHT, BasePredictor
from sklearn_repr.estimators.contrastive import ContrastiveEmbedder
from sklearn_repr.objectives import Objective
from sklearn_repr.objectives.predicted_targets import PredictedNumbers
from sklearn_repr.utils.labels import read_numbers
from sklearn_repr.utils.randomness import Seeds

__all__ = ["RepresentationRegressor"]

# Labelled rows from which on the encoder is tuned
MANY = 500
# Candidates for the penalty of a linear head
PENALTIES = tuple(float(p) for p in np.logspace(-2, 4, 13))


class RepresentationRegressor(RegressorMixin, BasePredictor):
    r"""Numbers from a representation: f(x) = g(φ(x)), with few targets or many.

    φ learns from all rows, g from those whose target is known. g minimises the squared
    error of standardised targets; a linear g on fixed codes is a ridge regression.

    Parameters
    ----------
    encoder : estimator or None, default=None
        The representation φ: an estimator of this package that trains a network, or, for
        probing, any transformer of scikit-learn. One that is not fitted is cloned and
        learns from all rows, labelled or not; one that is fitted, as it is or in a
        :class:`~sklearn.frozen.FrozenEstimator`, is kept, and serves any table that has
        its columns, which it finds by name. None is a :class:`ContrastiveEmbedder`.
    mode : {"auto", "probe", "fine_tune", "end_to_end"}, default="auto"
        "probe" leaves φ as it is and learns g on its codes. "fine_tune" starts there and
        trains both; of a fitted encoder it tunes a copy. "end_to_end" trains both from
        the network's random start. "auto" is "fine_tune" from 500 labelled rows on, and
        "probe" below that and for transformers.
    semi_supervised : {"auto", "consistency"} or None, default="auto"
        What unlabelled rows do for g. "consistency" lets what is predicted of two views
        of a row agree, where φ is trained. None is nothing, and "auto" is None.
    head_layer_sizes : array-like of int, default=()
        Hidden layers of g. Without any, g is linear, and is solved for rather than
        trained where φ is fixed.
    alpha : float or "auto", default="auto"
        Penalty of a linear g on fixed codes, alpha · ‖W‖² beside the sum of squared
        errors, as in :class:`~sklearn.linear_model.Ridge`; where weights are trained by
        gradient, weight decay. "auto" is, for a ridge regression, what leaves the least
        error on rows that are left out in turn, and no weight decay. Fine-tuning starts
        at the ridge regression and keeps its penalty.
    optimizer : {"adam", "adamw", "sgd"} or callable, default="adamw"
        A torch optimizer class, or a function of parameter groups and `lr`. This and all
        that follows up to `tol` is about training by gradient: of φ, or of a g with
        hidden layers.
    learning_rate : {"constant", "one_cycle", "cosine", "plateau"}, default="one_cycle"
        How the learning rate moves. "one_cycle" starts at a 25th of `learning_rate_init`,
        reaches it after 30% of all steps and falls to next to nothing, by half cosines;
        "cosine" falls from it to next to nothing by half a cosine. Training then runs all
        its epochs, whatever the loss does: `n_iter_no_change` and `tol` are without
        effect. "plateau" lowers it when the loss no longer improves.
    learning_rate_init : float, default=0.003
        Learning rate of g.
    encoder_learning_rate : float or "auto", default="auto"
        Learning rate of φ. "auto" is `learning_rate_init` for "end_to_end" and a tenth of
        it for "fine_tune".
    batch_size : int or "auto", default="auto"
        Rows per step. "auto" makes some 20 batches, each of 32 to 256 rows, fewer where a
        table has more than 4,096 columns.
    max_iter : int, default=100
        Most epochs to train.
    early_stopping : bool, default=False
        Hold out a share of the labelled rows, evenly over the order of the first target,
        stop when the loss on them no longer improves, and keep the weights that were
        best.
    validation_fraction : float, default=0.1
        Share of labelled rows to hold out, rounded down.
    n_iter_no_change : int, default=10
        Epochs without improvement after which training stops.
    tol : float, default=0.0001
        An improvement lowers the loss by more than `tol` times its magnitude.
    random_state : int, RandomState instance or None, default=None
        Seed of the encoder, where it has none of its own, of the head, shuffling and
        held-out rows. None differs from call to call.
    verbose : int, default=0
        1 draws a progress bar on stderr.

    Attributes
    ----------
    encoder_ : estimator
        φ as it is used: the frozen estimator itself, or a fitted or tuned copy.
    head_ : torch.nn.Module
        g: standardised codes, and layers behind them.
    mode_ : str
        What ``mode="auto"`` became.
    semi_supervised_ : str or None
        What ``semi_supervised="auto"`` became; None too where all rows are labelled.
    n_components_ : int
        Width of the code.
    n_iter_ : int
        Epochs trained, or steps of the solver.
    loss_curve_ : list of float
        Training loss per epoch; empty where nothing was trained by gradient.
    validation_curve_ : list of float or None
        Loss on the held-out rows per epoch; None if none were held out.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if fit saw a table with string names.

    See Also
    --------
    RepresentationClassifier : The same for classes.
    sklearn.linear_model.RidgeCV : A linear map of the columns themselves.

    Notes
    -----
    :func:`sklearn.base.clone`, and so every search and every ensemble, forgets the fit of
    an encoder that is a parameter, as of any other estimator: the clone fits it anew on
    the rows it gets. In a :class:`~sklearn.frozen.FrozenEstimator` it keeps its fit.

    References
    ----------
    Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017,
    arXiv:1610.02242 ("consistency").

    Kumar, Raghunathan, Jones, Ma and Liang, "Fine-tuning can distort pretrained features
    and underperform out-of-distribution", ICLR 2022, arXiv:2202.10054 (fine-tuning starts
    at the probe).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_repr import AutoencoderTransformer, RepresentationRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> y[::2] = float("nan")
    >>> encoder = AutoencoderTransformer(5, max_iter=5)
    >>> model = RepresentationRegressor(encoder, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.3
    True
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BasePredictor._parameter_constraints
    }

    def __init__(
        self,
        encoder: Any = None,
        *,
        mode: str = "auto",
        semi_supervised: str | None = "auto",
        head_layer_sizes: LayerSizes = (),
        alpha: float | str = "auto",
        optimizer: Optimizer = "adamw",
        learning_rate: str = "one_cycle",
        learning_rate_init: float = 0.003,
        encoder_learning_rate: float | str = "auto",
        batch_size: int | str = "auto",
        max_iter: int = 100,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        random_state: RandomState = None,
        verbose: int = 0,
    ):
        self.encoder = encoder
        self.mode = mode
        self.semi_supervised = semi_supervised
        self.head_layer_sizes = head_layer_sizes
        self.alpha = alpha
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.encoder_learning_rate = encoder_learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: Labels, sample_weight: Weights = None) -> Self:
        """Learn the representation from all rows, and targets from rows that have them.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Numbers; NaN where one is unknown.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each row counts, not negative. A row of weight 0 is left out. If all
            weights are whole numbers, a row of weight 2 is two rows. Other weights weigh
            the loss of labelled rows, and rows in the encoder where it takes weights.
            None lets all rows count alike.

        Returns
        -------
        self : object
            The fitted regressor.
        """
        return self._fit(X, y, sample_weight)

    # -- hooks -----------------------------------------------------------------------

    def _read(self, y: Labels) -> Array:
        return read_numbers(y, type(self).__name__)

    def _encode_targets(self, y: Array) -> Array:
        targets = y.reshape(len(y), -1)
        unknown = np.isnan(targets).all(axis=0)
        if unknown.any():
            which = "y" if y.ndim == 1 else f"column {int(unknown.argmax())} of y"
            raise ValueError(
                f"{type(self).__name__} needs rows with known targets, but {which} holds"
                " no number: all are NaN."
            )
        self._one_dimensional = y.ndim == 1
        self._center, scale = np.nanmean(targets, axis=0), np.nanstd(targets, axis=0)
        self._scale = np.where(scale > 0, scale, 1.0)
        return np.asarray((targets - self._center) / self._scale)

    def _encoder_targets(self, targets: Array) -> Array:
        return self._in_units(targets)

    def _keys(self, targets: Array) -> Array:
        return np.asarray(targets[:, 0])

    def _default_encoder(self) -> Any:
        return ContrastiveEmbedder()

    def _auto_mode(self, n_labelled: int) -> str:
        return "fine_tune" if n_labelled >= MANY else "probe"

    def _fit_linear(
        self, codes: Tensor, targets: Tensor, weights: Tensor, seeds: Seeds
    ) -> LinearMap:
        penalties = PENALTIES if self.alpha == "auto" else (float(self.alpha),)
        k, d = targets.shape[1], codes.shape[1]
        weight, bias, chosen = (codes.new_zeros(s) for s in ((k, d), k, k))
        known = ~targets.isnan()
        # outputs that are known of the same rows are fitted together
        patterns, group = torch.unique(known, dim=1, return_inverse=True)
        for number, rows in enumerate(patterns.T):
            own = group == number
            parts = codes[rows], targets[rows][:, own], weights[rows]
            fitted = fit_ridge(*parts, penalties)
            weight[own], bias[own] = fitted.weight, fitted.bias
            chosen[own] = torch.tensor(fitted.penalties).to(chosen)
        return LinearMap(weight, bias, 1, tuple(chosen.tolist()))

    def _build_objective(
        self, share: float | None, penalties: tuple[float, ...] = ()
    ) -> Objective:
        if share is None:
            return PredictedNumbers(penalties=penalties)
        weights = {"squared_error": 1 / share, "consistency": CONSISTENCY_WEIGHT}
        return PredictedNumbers(True, penalties, weights)

    # -- use -------------------------------------------------------------------------

    def predict(self, X: Table) -> Array:
        """Return what is expected of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Numbers, in the units of `y` in `fit`.
        """
        return self._in_units(self._head_values(self._coded(X)))

    def _in_units(self, numbers: Array) -> Array:
        found: Array = numbers * self._scale + self._center
        return found[:, 0] if self._one_dimensional else found

    def score(self, X: Table, y: Labels, sample_weight: Weights = None) -> float:
        """Return R² on the rows whose targets are known.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets. Rows of which one is NaN are left out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each row counts; None lets all count alike.

        Returns
        -------
        score : float
            R², the mean over outputs.
        """
        check_is_fitted(self)
        y = self._read(y)
        check_consistent_length(X, y, sample_weight)
        known = ~np.isnan(y.reshape(len(y), -1)).any(axis=1)
        if not known.any():
            raise ValueError(
                "y holds no known target to compare with: every row has a NaN."
            )
        predicted = self.predict(X)
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(r2_score(y[known], predicted[known], sample_weight=weights))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
