"""What a joint-embedding predictor does; its parameters stand in joint_embedding.py."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import Batch
from sklearn_repr.corruptions import Corruption, HiddenBeside
from sklearn_repr.data import NumericCodec
from sklearn_repr.data.batches import batch_sizes
from sklearn_repr.engine import RepresentationNet, TrainingSettings, evaluate
from sklearn_repr.estimators._base import BaseRepresentation
from sklearn_repr.estimators._parts import resolve_mask_ratio
from sklearn_repr.exceptions import CollapseWarning
from sklearn_repr.modules import ACTIVATIONS
from sklearn_repr.modules.jepa import JointEmbeddingNetwork, make_joint_embedding_network
from sklearn_repr.objectives import JointEmbedding, Objective
from sklearn_repr.objectives.joint_embedding import EMBEDDING_LOSSES
from sklearn_repr.utils.patches import patch_grid, patch_numbers
from sklearn_repr.utils.randomness import local_torch_seed
from sklearn_repr.utils.spread import effective_rank
from sklearn_repr.utils.validation import check_input_shape

__all__ = ["BaseJointEmbedding"]

# Rows from which the readout takes its axes, and by which collapse is noticed
ROWS_TO_READ = 4096
ROWS_TO_WATCH = 256
# Rows per batch in score, whatever the training batch was
SCORE_BATCH = 256
# Collapsed are tokens of which less than this share varies from row to row, and of which
# more did at the start; or whose directions in use, beyond the first, fell below
VARYING = 0.01
RANK_KEPT = 0.1
AUTO = (32, 32)


class BaseJointEmbedding(BaseRepresentation):
    """Hooks and score; see :class:`BaseRepresentation`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: constraint
            for name, constraint in BaseRepresentation._parameter_constraints.items()
            if name not in ("architecture", "kernel_size", "stride", "layer_norm")
        },
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "scaling": [
            StrOptions({"standard", "robust", "quantile", "value_and_rank"}),
            None,
        ],
        "patch_size": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions(set(EMBEDDING_LOSSES))],
        "learning_rate": [StrOptions({"constant", "one_cycle"})],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "variance_weight": [Interval(Real, 0, None, closed="left")],
        "mask_ratio": [Interval(Real, 0, 1, closed="left"), tuple, list],
        "masking": [StrOptions({"random", "block"})],
    }
    _shaping: ClassVar[tuple[str, ...]] = (
        "n_components",
        "input_shape",
        "patch_size",
        "hidden_layer_sizes",
        "activation",
    )

    def _draws_globally(self) -> bool:
        return bool(self.dropout or self.callbacks or callable(self.optimizer))

    def _auto_batch_size(self, n_rows: int) -> int:
        # targets are standardised over the rows of a batch
        return max(64, super()._auto_batch_size(n_rows))

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        settings = super()._training_settings(n_rows)
        return replace(settings, learning_rate=self.learning_rate)

    def _build_corruption(self) -> Corruption:
        shape, grid = self._shape(), None
        if self.masking == "block" and shape is not None:
            grid = patch_grid(shape, int(self.patch_size))
        return HiddenBeside(resolve_mask_ratio(self.mask_ratio), self._patches(), grid)

    def _shape(self) -> tuple[int, ...] | None:
        shape = self.input_shape
        return None if shape is None else check_input_shape(shape, self.n_features_in_)

    def _patches(self) -> Any:
        return patch_numbers(self.n_features_in_, self._shape(), int(self.patch_size))

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        self.n_components_ = int(self.n_components)
        sizes = self._architecture_options().hidden_layer_sizes
        widths = AUTO if isinstance(sizes, str) else tuple(sizes)
        if len(set(widths)) != 1 or int(widths[0]) % 16:
            raise ValueError(
                "hidden_layer_sizes must be 'auto' or one or more equal widths, a"
                f" multiple of 16, one for every block of attention; got {sizes!r}."
            )
        batch_size = self._training_settings(len(rows)).batch_size
        network = make_joint_embedding_network(
            self._patches(),
            self.n_components_,
            width=int(widths[0]),
            depth=len(widths),
            activation=ACTIVATIONS[self.activation],
            dropout=self.dropout,
            momentum=float(self.momentum),
            n_steps=self.max_iter * len(batch_sizes(len(rows), batch_size)),
        ).to(rows.values.dtype)
        network.at_start.copy_(_measures(network, rows))
        return network

    def _build_objective(self, codec: NumericCodec) -> Objective:
        return JointEmbedding(self.loss, float(self.variance_weight))

    def _finish(self, net: RepresentationNet, rows: Batch) -> None:
        module: JointEmbeddingNetwork = net.module_
        rows = rows.to(net.device)
        some = rows.some(ROWS_TO_READ).values
        # a few axes of very many are approximated by random projections
        with torch.no_grad(), local_torch_seed(0):
            module.readout.fit(module.layers_of(some))
        self._hide = self._build_corruption()  # it holds no rows
        _warn_if_collapsed(module.at_start.tolist(), _measures(module, rows).tolist())

    def score(self, X: Any, y: Any = None) -> float:
        """Return the negative loss on fixed masks of the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows; the same rows always get the same score.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Negative mean of the loss. Targets are each model's own, and those of a
            collapsed model are the easiest to predict: it says how predictable the
            embedding is, not how good. Choose between models by a probe.
        """
        check_is_fitted(self)
        rows = self._codec.encode(self._validate(X, reset=False))
        return -evaluate(self.net_, rows, self._hide, SCORE_BATCH)


def _measures(network: JointEmbeddingNetwork, rows: Batch) -> Tensor:
    """Return the share of the tokens that varies from row to row, and effective rank."""
    training = network.training
    network.eval()
    _, *learned = network.layers_of(rows.some(ROWS_TO_WATCH).values)
    tokens = torch.cat(learned, dim=1).double()
    network.train(training)
    size = tokens.square().sum(dim=1).mean()
    share = tokens.var(dim=0, correction=0).sum() / size.clamp(min=1e-300)
    return torch.stack([share, effective_rank(tokens.to(rows.values.dtype))])


def _warn_if_collapsed(before: list[float], after: list[float]) -> None:
    if after[0] < VARYING < before[0] / 2:
        finding = f"only {after[0]:.2g} of their size varies from row to row"
    elif max(after[1] - 1, 0) < RANK_KEPT * max(before[1] - 1, 0):
        finding = f"they vary along {after[1]:.3g} directions, of {before[1]:.3g} before"
    else:
        return
    warnings.warn(
        f"The representation collapsed: embeddings of all rows are nearly the same;"
        f" {finding}. Raise momentum (0.999) or variance_weight, lower learning_rate_init"
        " or max_iter.",
        CollapseWarning,
        stacklevel=2,
    )
