"""RepresentationClassifier."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch import Tensor, nn

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
from sklearn_repr.engine.linear_heads import LinearMap, fit_logistic
from sklearn_repr.estimators._encoder import is_trainable
from sklearn_repr.estimators._few_labels import FewLabels, TableViews
from sklearn_repr.estimators._guesses import confident, propagated
from sklearn_repr.estimators._learned import Learned, as_table
from sklearn_repr.estimators._predictor import CONSISTENCY_WEIGHT, BasePredictor
from sklearn_repr.estimators.contrastive import ContrastiveEmbedder
from sklearn_repr.objectives import Objective
from sklearn_repr.objectives.predicted_targets import PredictedClasses
from sklearn_repr.utils import constraints
from sklearn_repr.utils.labels import distinct_labels, known_labels, read_labels
from sklearn_repr.utils.randomness import Seeds

__all__ = ["RepresentationClassifier"]


# What may be done with rows without label
SEMI_SUPERVISED = {"auto", "distillation", "propagation", "pseudo_labels", "consistency"}
# Labelled rows, in all and per class, from which on the encoder is tuned
MANY, MANY_OF_A_CLASS = 500, 30
# Widest encoded table that "auto" learns from by distillation
MOST_COLUMNS = 512
# Rows whose views are in memory at a time
ROWS_AT_A_TIME = 4096


class RepresentationClassifier(ClassifierMixin, BasePredictor):
    r"""Classes from a representation: f(x) = g(φ(x)), with few labels or many.

    φ learns from all rows, labelled or not, g from the labelled ones. g minimises the
    cross-entropy of the classes; a linear g on fixed codes is a logistic regression.

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
        the network's random start. "auto" is "fine_tune" from 500 labelled rows on, if
        there are 30 a class, and "probe" below that and for transformers.
    semi_supervised : str or None, default="auto"
        What unlabelled rows do for g. "distillation": they are labelled by teachers, of
        which one is g, and trees on the columns that learn from that give most of the
        answer (see Notes). "propagation" passes labels on over a graph of near codes, and
        "pseudo_labels" believes g where it is sure; from both g learns anew.
        "consistency" lets what is predicted of two views of a row agree, where φ is
        trained. None is nothing. "auto" is "distillation" where φ is an encoder of this
        package and is probed, on tables of at most 512 encoded columns, else None.
    head_layer_sizes : array-like of int, default=()
        Hidden layers of g. Without any, g is linear, and is solved for rather than
        trained where φ is fixed.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss of g; "balanced" makes all classes weigh alike.
        Rows of φ do not depend on it.
    label_smoothing : float, default=0.0
        Share in [0, 1) of every label that is spread evenly over all classes.
    alpha : float or "auto", default="auto"
        Penalty of a linear g on fixed codes, alpha / 2 · ‖W‖² beside the sum of the
        losses, ``1 / C`` of :class:`~sklearn.linear_model.LogisticRegression`; where
        weights are trained by gradient, weight decay. "auto" is 1, and no weight decay.
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
        Hold out a share of the labelled rows, the same of each class, stop when the loss
        on them no longer improves, and keep the weights that were best.
    validation_fraction : float, default=0.1
        Share of labelled rows to hold out, rounded down; never all rows of a class.
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
    classes_ : ndarray of shape (n_classes,)
        Labels in sorted order.
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
    RepresentationRegressor : The same for numbers.
    sklearn.semi_supervised.SelfTrainingClassifier : Pseudo-labels for any classifier.
    sklearn.semi_supervised.LabelSpreading : Labels spread over a graph of rows.

    Notes
    -----
    :func:`sklearn.base.clone`, and so every search and every ensemble, forgets the fit of
    an encoder that is a parameter, as of any other estimator: the clone fits it anew on
    the rows it gets. In a :class:`~sklearn.frozen.FrozenEstimator` it keeps its fit.

    Labels may be of any type. -1, NaN and None mark rows without one; in text, where
    NumPy would make "-1" of it, only None does. If -1 and 1 are the only labels, both are
    classes, as for every other classifier: one class and unlabelled rows would leave
    nothing to tell apart.

    "distillation" averages a logistic regression on the standardised columns, one on the
    codes, labels propagated over a graph by columns, ranks and codes, and, where there
    are several labels a class, extremely randomised trees. Squared and divided by their
    sum, these probabilities are what small regression trees learn on the columns of
    labelled and of at most 1,000 other rows. They give two thirds of the answer, the
    teachers but for the graph the rest, and no training rows are kept.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015),
    arXiv:1503.02531 ("distillation").

    Lee, "Pseudo-label: the simple and efficient semi-supervised learning method for deep
    neural networks", ICML workshop 2013 ("pseudo_labels").

    Zhou, Bousquet, Lal, Weston and Schölkopf, "Learning with local and global
    consistency", NeurIPS 2003 ("propagation").

    Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017,
    arXiv:1610.02242 ("consistency").

    Kumar, Raghunathan, Jones, Ma and Liang, "Fine-tuning can distort pretrained features
    and underperform out-of-distribution", ICLR 2022, arXiv:2202.10054 (fine-tuning starts
    at the probe).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_repr import AutoencoderTransformer, RepresentationClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> partly = y.copy()
    >>> partly[y.size // 10 :: 5] = partly[1::2] = -1
    >>> encoder = AutoencoderTransformer(2, max_iter=5)
    >>> model = RepresentationClassifier(encoder, random_state=0).fit(X, partly)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **BasePredictor._parameter_constraints,
        "semi_supervised": [
            StrOptions(SEMI_SUPERVISED),
            None,
        ],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "label_smoothing": [constraints.SHARE_BELOW_1],
    }

    classes_: Array

    def __init__(
        self,
        encoder: Any = None,
        *,
        mode: str = "auto",
        semi_supervised: str | None = "auto",
        head_layer_sizes: LayerSizes = (),
        class_weight: dict[Any, float] | str | None = None,
        label_smoothing: float = 0.0,
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
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
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
        """Learn the representation from all rows, and the classes from labelled ones.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Labels of any type; -1, NaN and None mean that a row has none. If all labels
            are -1 or 1, both are classes.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each row counts, not negative. A row of weight 0 is left out. If all
            weights are whole numbers, a row of weight 2 is two rows. Other weights weigh
            the loss of labelled rows, and rows in the encoder where it takes weights.
            None lets all rows count alike.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        return self._fit(X, y, sample_weight)

    # -- hooks -----------------------------------------------------------------------

    def _read(self, y: Labels) -> Array:
        return read_labels(y, type(self).__name__)

    def _encode_targets(self, y: Array) -> Array:
        name = type(self).__name__
        known = known_labels(y, two_signs=True)
        if not known.any():
            raise ValueError(
                f"{name} needs labelled rows, but y holds no label: all are -1, NaN or"
                " None."
            )
        check_classification_targets(y[known].tolist())
        classes, numbers = distinct_labels(y[known])
        refuse_written_minus_one(classes)
        if len(classes) < 2:
            raise ValueError(
                f"{name} needs rows of at least two classes, but y holds one class only:"
                f" {classes.tolist()}."
            )
        self.classes_ = classes
        targets = np.full((len(y), len(classes)), np.nan)
        smooth = self.label_smoothing
        targets[known] = (
            smooth / len(classes) + (1 - smooth) * np.eye(len(classes))[numbers]
        )
        return targets

    def _encoder_targets(self, targets: Array) -> Array:
        return np.asarray(np.where(np.isnan(targets[:, 0]), -1, self._keys(targets)))

    def _keys(self, targets: Array) -> Array:
        return np.asarray(np.nan_to_num(targets).argmax(axis=1))

    def _weigh(self, targets: Array, weights: Array) -> Array:
        numbers = self._keys(targets)
        if self.class_weight is None:
            return weights
        y = self.classes_[numbers]
        by_class = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        return np.asarray(weights * by_class[numbers])

    def _default_encoder(self) -> Any:
        return ContrastiveEmbedder()

    def _auto_mode(self, n_labelled: int) -> str:
        enough = n_labelled >= max(MANY, MANY_OF_A_CLASS * len(self.classes_))
        return "fine_tune" if enough else "probe"

    def _fit_linear(
        self, codes: Tensor, targets: Tensor, weights: Tensor, seeds: Seeds
    ) -> LinearMap:
        return fit_logistic(codes, targets, weights, self._penalty())

    def _guess(self, recipe: str, rows: Learned, seeds: Seeds) -> Array:
        mean, scale = self._encoder.moments(rows.codes)
        codes, _, weights = rows.tensors(mean, scale)
        if recipe == "propagation":
            guesses = propagated(codes.numpy(), rows.targets, rows.weights)
            return np.where(rows.known()[:, None], rows.targets, guesses)

        def fit(known: Array, guesses: Array) -> Array:
            parts = codes[known], torch.from_numpy(guesses), weights[known]
            return self._fit_linear(*parts, seeds)(codes).softmax(dim=1).numpy()

        return confident(fit, rows.targets)

    def _after_head(self, rows: Learned, layers: nn.Module, seeds: Seeds) -> None:
        self._few_labels = None
        if self.semi_supervised_ != "distillation":
            return
        own = self._encoder
        X = own.estimator._validate(own.selected(rows.X), reset=False)
        self._views = TableViews(own.estimator, X, seeds["quantiles"])
        self._moments = [part.numpy() for part in self._encoder.moments(rows.codes)]
        views = [*self._views.of(X), self._standardised(rows.codes)]
        parts = rows.targets, rows.weights, layers, self._penalty(), seeds["trees"]
        self._few_labels = FewLabels(views, *parts)

    def _standardised(self, codes: Array) -> Array:
        mean, scale = self._moments
        return np.asarray((codes - mean) / scale)

    def _penalty(self) -> float:
        return 1.0 if self.alpha == "auto" else float(self.alpha)

    def _build_objective(
        self, share: float | None, penalties: tuple[float, ...] = ()
    ) -> Objective:
        if share is None:
            return PredictedClasses()
        weights = {"cross_entropy": 1 / share, "consistency": CONSISTENCY_WEIGHT}
        return PredictedClasses(True, weights)

    def _check_recipe(self, recipe: str | None) -> None:
        super()._check_recipe(recipe)
        ours = is_trainable(self.encoder_)
        if recipe == "distillation" and not (self._is_linear_probe() and ours):
            raise ValueError(
                "semi_supervised='distillation' needs a linear head on fixed codes of an"
                " encoder of this package: set mode='probe' and head_layer_sizes=(), or"
                " another recipe."
            )

    def _is_linear_probe(self) -> bool:
        return self.mode_ == "probe" and not self._hidden()

    def _auto_recipe(self) -> str | None:
        encoder = self.encoder_
        table = hasattr(encoder, "categorical_features") and encoder.input_shape is None
        narrow = table and encoder._codec.n_encoded_ <= MOST_COLUMNS
        return "distillation" if narrow and self._is_linear_probe() else None

    # -- use -------------------------------------------------------------------------

    def _scores(self, X: Table) -> NDArray[np.float64]:
        """Return logits, or what has the same differences."""
        codes = self._coded(X)
        if self._few_labels is None:
            return self._head_values(codes)
        own, scores = self._encoder, []
        X = own.estimator._validate(own.selected(as_table(X, self)), reset=False)
        for start in range(0, len(codes), ROWS_AT_A_TIME):
            rows = slice(start, start + ROWS_AT_A_TIME)
            views = [*self._views.of(X[rows]), self._standardised(codes[rows])]
            scores.append(np.log(self._few_labels.of(views)))
        return np.concatenate(scores)

    def decision_function(self, X: Table) -> NDArray[np.float64]:
        """Return the logits of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,)
            Of two classes the logit of the second less that of the first.
        """
        logits = self._scores(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict(self, X: Table) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels, of the type that `fit` saw.
        """
        logits = self._scores(X)
        labels: Array = self.classes_[logits.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Table) -> NDArray[np.float64]:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Probabilities in the order of ``classes_``.
        """
        p: NDArray[np.float64] = softmax(self._scores(X), axis=1)
        return p

    def predict_log_proba(self, X: Table) -> NDArray[np.float64]:
        """Return the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            Logarithms in the order of ``classes_``.
        """
        log_p: NDArray[np.float64] = log_softmax(self._scores(X), axis=1)
        return log_p

    def score(self, X: Table, y: Labels, sample_weight: Weights = None) -> float:
        """Return the share of labelled rows whose class is predicted.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels. Rows without one, as in `fit`, are left out.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            How much each row counts; None lets all count alike.

        Returns
        -------
        score : float
            The accuracy.

        Raises
        ------
        ValueError
            If no row has a label, or one has a class that `fit` did not see.
        """
        check_is_fitted(self)
        y = self._read(y)
        check_consistent_length(X, y, sample_weight)
        seen = self.classes_.tolist()
        known = np.asarray(~pd.isna(y)) if -1 in seen else known_labels(y)
        unseen = [label for label in pd.unique(y[known]).tolist() if label not in seen]
        if unseen:
            raise ValueError(
                f"y holds classes that fit did not see: {unseen}. It saw {seen}."
            )
        if not known.any():
            raise ValueError("y holds no label to compare with: all are -1, NaN or None.")
        right = self.predict(X)[known] == y[known]
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        # labels of several types count, which accuracy_score does not take
        return float(accuracy_score(np.ones_like(right), right, sample_weight=weights))


def refuse_written_minus_one(classes: Array) -> None:
    """Refuse a -1 that became text beside labels that are words."""
    if classes.dtype.kind not in "OU":
        return
    words = [label for label in classes if isinstance(label, str)]
    if "-1" in words and not all(label.lstrip("-").isdigit() for label in words):
        raise ValueError(
            "y holds the text '-1' beside other text: NumPy has made text of a -1. Mark"
            " unlabelled rows by None, in a list or an array of objects."
        )
