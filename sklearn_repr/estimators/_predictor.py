"""What a classifier and a regressor on a representation share."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, is_classifier
from sklearn.utils import Tags, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)
from torch import Tensor, nn

from sklearn_repr._contracts import (
    Array,
    Batch,
    Constraints,
    Labels,
    Rows,
    Table,
    Weights,
)
from sklearn_repr.data.batches import Split, bounded, usual_batch_size
from sklearn_repr.data.repeats import arrange
from sklearn_repr.engine import TrainingSettings, train
from sklearn_repr.engine.linear_heads import LinearMap, said_of
from sklearn_repr.engine.optimizer import OPTIMIZERS
from sklearn_repr.engine.packing import Packable
from sklearn_repr.engine.training import epoch_curves
from sklearn_repr.estimators._encoder import (
    as_they_are,
    fitted_encoder,
    is_trainable,
    unwrapped,
)
from sklearn_repr.estimators._learned import (
    Learned,
    as_table,
    known_rows,
    looked_at,
)
from sklearn_repr.modules import make_mlp
from sklearn_repr.modules.predictor import Head, Predictor
from sklearn_repr.objectives import Objective
from sklearn_repr.utils import constraints
from sklearn_repr.utils.devices import single_thread
from sklearn_repr.utils.randomness import Seeds, local_torch_seed
from sklearn_repr.utils.sampling import rows_at
from sklearn_repr.utils.state import restored_on_failure
from sklearn_repr.utils.validation import check_layer_sizes

__all__ = ["BasePredictor"]

# Where encoder and head are tuned, the encoder's share of the learning rate
ENCODER_SHARE = 0.1
# What unlabelled rows weigh together, as a share of what labelled ones do
UNLABELLED_SHARE = 0.3
# Weight of the variance between two views, beside the error of labelled rows
CONSISTENCY_WEIGHT = 1.0


class BasePredictor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Packable):
    """A head g on a representation φ: f(x) = g(φ(x)).

    A subclass reads targets (`_read`, `_encode_targets`), finds a linear head for fixed
    codes (`_fit_linear`), and says what training minimises (`_build_objective`).
    """

    _parameter_constraints: ClassVar[Constraints] = {
        "encoder": [HasMethods(["fit", "transform"]), None],
        "mode": [StrOptions({"auto", "probe", "fine_tune", "end_to_end"})],
        "semi_supervised": [StrOptions({"auto", "consistency"}), None],
        "head_layer_sizes": ["array-like", constraints.COUNT],
        "alpha": [constraints.AUTO, constraints.NOT_NEGATIVE],
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "learning_rate": [StrOptions({"constant", "one_cycle", "cosine", "plateau"})],
        "learning_rate_init": [constraints.POSITIVE],
        "encoder_learning_rate": [constraints.AUTO, constraints.NOT_NEGATIVE],
        "batch_size": [constraints.AUTO, constraints.COUNT],
        "max_iter": [constraints.COUNT],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [constraints.COUNT],
        "tol": [constraints.NOT_NEGATIVE],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # -- hooks -----------------------------------------------------------------------

    def _read(self, y: Labels) -> Array:
        """Return targets as an array, one entry or row for each row of the table."""
        raise NotImplementedError

    def _encode_targets(self, y: Array) -> Array:
        """Return what a head is to predict, (n, k), NaN where it is unknown."""
        raise NotImplementedError

    def _encoder_targets(self, targets: Array) -> Array:
        """Return targets as an encoder that wants them takes them."""
        raise NotImplementedError

    def _keys(self, targets: Array) -> Array:
        """Return by what held-out rows are to be like the others, (n,)."""
        raise NotImplementedError

    def _weigh(self, targets: Array, weights: Array) -> Array:
        """Return the weights of labelled rows in the loss of a head."""
        return weights

    def _default_encoder(self) -> Any:
        raise NotImplementedError

    def _auto_mode(self, n_labelled: int) -> str:
        """Resolve ``mode="auto"`` for an encoder that can be trained."""
        raise NotImplementedError

    def _fit_linear(
        self, codes: Tensor, targets: Tensor, weights: Tensor, seeds: Seeds
    ) -> LinearMap:
        """Return the best linear map of standardised codes."""
        raise NotImplementedError

    def _check_recipe(self, recipe: str | None) -> None:
        """Raise unless unlabelled rows can be used so under the other parameters."""
        if recipe == "consistency" and self.mode_ == "probe":
            raise ValueError(
                "semi_supervised='consistency' needs an encoder that is trained: set"
                " mode='fine_tune' or 'end_to_end', or another recipe."
            )

    def _auto_recipe(self) -> str | None:
        """Resolve ``semi_supervised="auto"``."""
        return None

    def _guess(self, recipe: str, rows: Learned, seeds: Seeds) -> Array:
        """Return targets of all rows, NaN where nothing is believed of one."""
        raise NotImplementedError

    def _after_head(self, rows: Learned, layers: nn.Module, seeds: Seeds) -> None:
        """Learn more from rows with and without labels."""

    def _build_objective(
        self, share: float | None, penalties: tuple[float, ...] = ()
    ) -> Objective:
        """Return what is minimised; of two views if a share of the rows is labelled."""
        raise NotImplementedError

    # -- fit -------------------------------------------------------------------------

    def _fit(self, X: Table, y: Labels, sample_weight: Weights) -> Self:
        with restored_on_failure(self), torch.inference_mode(False):
            y = self._read(y)
            X = as_table(X, self)
            check_consistent_length(X, y)
            validate_data(self, X, reset=True, skip_check_array=True)
            X, weights, origin = arrange(X, sample_weight)
            targets = self._encode_targets(y if origin is None else y[origin])
            known = known_rows(targets)
            seeds = Seeds(self.random_state)
            self.mode_ = self._resolved_mode(int(known.sum()))
            own = self._default_encoder() if self.encoder is None else self.encoder
            parts = self._encoder_targets(targets), known, weights, seeds, self.mode_
            self._encoder = fitted_encoder(own, X, *parts)
            self.encoder_ = self._encoder.estimator
            self.loss_curve_: list[float] = []
            self.validation_curve_: list[float] | None = None
            few = looked_at(known)
            X = rows_at(X, few)
            weights = np.ones(len(few)) if weights is None else weights[few]
            codes = np.array(self._encoder.codes(X), dtype=np.float64)
            rows = Learned(X, codes, targets[few], weights)
            known = rows.known()
            weights[known] = self._weigh(rows.targets[known], weights[known])
            with single_thread():
                head = self._fit_head(rows, seeds)
                # in double precision, as codes of float64 rows are
                self.head_ = head.cpu().double().requires_grad_(False)
                self._after_head(rows, head.layers, seeds)
            self.n_components_ = len(head.mean)
        return self

    def _hidden(self) -> tuple[int, ...]:
        return tuple(map(int, check_layer_sizes(self.head_layer_sizes)))

    def _resolved_mode(self, n_labelled: int) -> str:
        trainable = self.encoder is None or is_trainable(self.encoder)
        if self.mode == "auto":
            return self._auto_mode(n_labelled) if trainable else "probe"
        if self.mode != "probe" and not trainable:
            raise ValueError(
                f"mode={self.mode!r} trains the encoder, which must be an estimator of"
                f" this package that trains a network; got {self.encoder!r}. Set"
                " mode='probe'."
            )
        return str(self.mode)

    def _fit_head(self, rows: Learned, seeds: Seeds) -> Head:
        """Fit a head on fixed codes, and train on from there if that is asked for."""
        mean, scale = self._encoder.moments(rows.codes)
        penalties: tuple[float, ...] = ()
        rows, held_out = self._hold_out(rows, seeds)
        rows = self._with_unlabelled(rows, seeds)
        hidden = self._hidden()
        if hidden or self.mode_ == "end_to_end":
            with local_torch_seed(seeds["head"]):
                sizes = [len(mean), *hidden, rows.targets.shape[1]]
                head = Head(mean, scale, make_mlp(sizes, activation="relu"))
            if self.mode_ != "end_to_end":
                head = self._train(head, rows.labelled(), held_out, seeds, joint=False)
        else:
            found = self._fit_linear(*rows.labelled().tensors(mean, scale), seeds)
            self.n_iter_ = found.n_iter
            # of a mean over rows, as training minimises it
            total = float(rows.labelled().weights.sum())
            penalties = tuple(penalty / total for penalty in found.penalties)
            head = Head(mean, scale, found.layer())
        if self.mode_ != "probe":
            head = self._train(head, rows, held_out, seeds, penalties, joint=True)
        return head

    def _hold_out(self, rows: Learned, seeds: Seeds) -> tuple[Learned, Learned | None]:
        """Set labelled rows aside by which early stopping goes."""
        by_gradient = self.mode_ != "probe" or self._hidden()
        if not (self.early_stopping and by_gradient):
            return rows, None
        parts = self._keys(rows.targets), self.validation_fraction, seeds["split"]
        return rows.held_out(*parts, each_kept=is_classifier(self))

    def _with_unlabelled(self, rows: Learned, seeds: Seeds) -> Learned:
        """Return labelled rows, and others with what they are good for."""
        recipe = self.semi_supervised
        known = rows.known()
        if recipe == "auto":
            recipe = self._auto_recipe()
        if known.all():
            recipe = None
        self._check_recipe(recipe)
        self.semi_supervised_ = recipe
        if recipe in (None, "distillation"):
            return rows.labelled()
        if recipe == "consistency":
            return rows
        guesses = self._guess(recipe, rows, seeds)
        others = int((known_rows(guesses) & ~known).sum())
        share = UNLABELLED_SHARE * rows.weights[known].sum() / max(1, others)
        weights = np.where(known, rows.weights, share)
        return rows._replace(targets=guesses, weights=weights).labelled()

    def _train(
        self,
        head: Head,
        rows: Learned,
        held_out: Learned | None,
        seeds: Seeds,
        penalties: tuple[float, ...] = (),
        *,
        joint: bool,
    ) -> Head:
        """Train a head by gradient, and the encoder with it if they are `joint`."""
        encoder = self.encoder_
        if joint:
            module = Predictor(encoder.net_.module_, encoder._embedding(), head)
        else:
            module = Predictor(nn.Identity(), as_they_are, head)
        train_rows = self._batch(rows, joint)
        aside = None if held_out is None else self._batch(held_out, joint)
        views, share = None, None
        if joint and self.semi_supervised_ == "consistency":
            views = self._encoder.two_views()
            share = float(rows.known().mean())
        objective = self._build_objective(share, penalties)
        # what few labelled rows of a batch cost is no sign by itself
        objective.comparable = share is None or aside is not None
        net = train(
            module,
            objective,
            Split(train_rows, train_rows, aside),
            corruption=views,
            settings=self._settings(len(train_rows), joint),
            seeds=seeds,
            column_names=encoder._codec.encoded_names() if joint else None,
            global_generator=joint and encoder._draws_globally(),
        )
        curves = epoch_curves(net, "")
        self.loss_curve_ = curves["train_loss"]
        self.validation_curve_ = curves.get("valid_loss")
        self.n_iter_ = len(self.loss_curve_)
        return head

    def _batch(self, rows: Learned, joint: bool) -> Rows:
        """Return rows as a module is trained on them."""
        codes = torch.from_numpy(rows.codes).float()
        batch: Any = self._encoder.rows(rows.X) if joint else Batch(codes)
        dtype = batch.values.dtype
        batch.labels = torch.from_numpy(rows.targets).to(dtype)
        if (rows.weights != rows.weights[0]).any():
            batch.weights = torch.from_numpy(rows.weights).to(dtype)
        return batch.with_mean_weight()  # type: ignore[no-any-return]

    def _settings(self, n_rows: int, joint: bool) -> TrainingSettings:
        encoder, rate, share = self.encoder_, self.encoder_learning_rate, 1.0
        if joint and not isinstance(rate, str):
            share = rate / self.learning_rate_init
        elif joint and self.mode_ == "fine_tune":
            share = ENCODER_SHARE
        size = self.batch_size
        if size == "auto":
            size = usual_batch_size(n_rows)
            size = bounded(size, encoder._codec.n_encoded_) if joint else size
        device = torch.device(encoder.net_.device) if joint else torch.device("cpu")
        return TrainingSettings(
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            learning_rate_init=self.learning_rate_init,
            encoder_rate=share,
            batch_size=size,
            max_iter=self.max_iter,
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            alpha=0.0 if self.alpha == "auto" else self.alpha,
            device=device,
            good_start=joint and self.mode_ == "fine_tune",
            label=type(self).__name__,
            verbose=int(self.verbose),
            mixed=joint and encoder.dtype == "bfloat16",
        )

    # -- use -------------------------------------------------------------------------

    def transform(self, X: Table) -> Array:
        """Map rows to their codes, the tuned ones where the encoder was tuned.

        Parameters
        ----------
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            What ``encoder_`` returns.
        """
        return self._coded(X)

    def _coded(self, X: Table) -> Array:
        check_is_fitted(self)
        X = as_table(X, self)
        validate_data(self, X, reset=False, skip_check_array=True)
        return self._encoder.codes(X)

    def _head_values(self, codes: Array) -> NDArray[np.float64]:
        """Return what the head says of codes, (n, k)."""
        return said_of(self.head_, codes)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        own = unwrapped(self.encoder)
        of_encoder = get_tags(self._default_encoder() if own is None else own)
        for name in ("sparse", "allow_nan", "categorical"):
            setattr(tags.input_tags, name, getattr(of_encoder.input_tags, name))
        kept = of_encoder.transformer_tags
        tags.transformer_tags.preserves_dtype = kept.preserves_dtype if kept else []
        tags.target_tags.required = True
        return tags
