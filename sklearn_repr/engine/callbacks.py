"""What the engine itself does between epochs."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from skorch.callbacks import Callback
from tqdm import tqdm

from sklearn_repr._contracts import (
    Batch,
    Names,
    Rows,
)
from sklearn_repr.data.batches import parts_in_memory
from sklearn_repr.engine.schedule import DIVISOR
from sklearn_repr.exceptions import NonFiniteLossError
from sklearn_repr.utils.validation import column_label

if TYPE_CHECKING:
    from sklearn_repr.engine.net import RepresentationNet

__all__ = ["FiniteLoss", "Patience", "ProgressBar", "StopTraining", "loss_fell"]


class StopTraining(Exception):  # noqa: N818 - no error, like StopIteration
    """Ends training in good order."""


class FiniteLoss(Callback):  # type: ignore[misc]
    """Raise a NonFiniteLossError once the loss is infinite or NaN.

    Parameters
    ----------
    column_names : sequence of str or None
        Names for the message.
    """

    def __init__(self, column_names: Names = None):
        self.column_names = column_names

    def on_epoch_end(
        self,
        net: RepresentationNet,
        dataset_train: Batch | None = None,
        dataset_valid: Batch | None = None,
        **kwargs: object,
    ) -> None:
        """Look at this epoch's losses."""
        row = net.history[-1]
        for rows, key in ((dataset_train, "train_loss"), (dataset_valid, "valid_loss")):
            if rows is not None and not math.isfinite(row[key]):
                self.fail(net, rows)

    def fail(self, net: RepresentationNet, rows: Rows) -> None:
        """Name the column with the largest encoded value."""
        parts = [
            part.values.abs().nan_to_num().amax(dim=0) for part in parts_in_memory(rows)
        ]
        largest = torch.stack(parts).amax(dim=0)
        column = int(largest.argmax())
        raise NonFiniteLossError(
            epoch=len(net.history),
            learning_rate=float(net.optimizer_.param_groups[0]["lr"]),
            column=column_label(self.column_names, column),
            largest=float(largest[column]),
        )


class Patience(Callback):  # type: ignore[misc]
    """Stop when the monitored loss no longer improves; give back the best weights.

    Parameters
    ----------
    n_iter_no_change : int
        Epochs without improvement before training ends.
    tol : float
        An improvement lowers the loss by more than `tol` times its magnitude.
    good_start : bool, default=False
        The start is a solution of its own, such as PCA: to find nothing better is then
        no failure, unless the weights hardly moved or the loss exploded.
    falls : int, default=0
        So many times, the learning rate is divided by 5 instead of ending training.

    Attributes
    ----------
    best_epoch_ : int
        The epoch with the lowest monitored loss; 0 is the start.
    best_loss_ : float
        That loss.
    finding_ : str or None
        What the losses say if training found nothing, with the numbers that say so.
    """

    def __init__(
        self, n_iter_no_change: int, tol: float, good_start: bool = False, falls: int = 0
    ):
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.good_start = good_start
        self.falls = falls

    def on_train_begin(self, net: RepresentationNet, **kwargs: object) -> None:
        """Forget earlier training."""
        self.best_loss_ = math.inf
        self.reference_ = math.inf
        self.waited_ = 0
        self.best_epoch_ = 0
        self.fallen_ = 0
        self.finding_: str | None = None
        self.weights_: dict[str, torch.Tensor] | None = None

    def on_epoch_begin(
        self, net: RepresentationNet, dataset_valid: Batch | None = None, **kwargs: object
    ) -> None:
        """Count the start as epoch 0 where there are rows to see it by."""
        held_out = dataset_valid is not None and net.criterion_.comparable
        if len(net.history) == 1 and held_out:
            self._consider(net, net.initial_loss_, epoch=0, keep=True)

    def on_epoch_end(
        self,
        net: RepresentationNet,
        dataset_train: Batch | None = None,
        dataset_valid: Batch | None = None,
        **kwargs: object,
    ) -> None:
        """Compare this epoch with the best so far."""
        comparable, settled = net.criterion_.comparable, net.criterion_.settled
        held_out = dataset_valid is not None and comparable
        epoch = len(net.history)
        loss = net.history[-1]["valid_loss" if held_out else "train_loss"]
        if held_out or settled:
            self._consider(net, loss, epoch=epoch, keep=held_out)
        if not (settled and comparable):
            self.waited_ = 0
        if self.waited_ >= self.n_iter_no_change and self.fallen_ < self.falls:
            self.waited_, self.fallen_ = 0, self.fallen_ + 1
            for group in net.optimizer_.param_groups:
                group["lr"] /= DIVISOR
        # by a flag, so that the callbacks that come after are told of this epoch too
        net.stop_ = self.waited_ >= self.n_iter_no_change
        if net.stop_ or epoch == net.max_epochs:
            if held_out and self.best_epoch_ == 0 and dataset_train is not None:
                self.finding_ = self._why_the_start_is_best(net, dataset_train)
            elif comparable and not (held_out or net.criterion_.scatters) and epoch > 1:
                self.finding_ = _why_it_did_not_fall(net.history[:, "train_loss"])

    def on_train_end(self, net: RepresentationNet, **kwargs: object) -> None:
        """Put the best weights back."""
        if self.weights_ is not None:
            net.module_.load_state_dict(self.weights_)
            net.criterion_.load_state_dict(self.learned_)
            self.weights_ = None

    def _why_the_start_is_best(self, net: RepresentationNet, rows: Batch) -> str | None:
        """Tell no progress at all from overfitting: by the training loss, noise fixed."""
        batches = net.get_iterator(rows)
        final = net.evaluate(batches, net.inputs_)["loss"]
        net.module_.load_state_dict(self.weights_)
        start = net.evaluate(batches, net.inputs_)["loss"]
        numbers = f"on the training rows it was {start:.6g} before and {final:.6g} after"
        if self.good_start:
            if abs(final - start) <= 1e-6 * abs(start):
                return f"the loss did not move from the start: {numbers}"
            return f"the loss rose: {numbers}" if final - start > abs(start) else None
        fell = final < start - 1e-6 * abs(start)
        return None if fell else f"the loss never fell: {numbers}"

    def _consider(
        self, net: RepresentationNet, loss: float, *, epoch: int, keep: bool
    ) -> None:
        if loss < self.best_loss_:
            self.best_loss_ = loss
            self.best_epoch_ = epoch
            if keep:
                self.weights_ = _copied(net.module_)
                self.learned_ = _copied(net.criterion_)
        if loss < self.reference_ - self.tol * abs(loss):
            self.reference_ = loss
            self.waited_ = 0
        else:
            self.waited_ += 1


def _why_it_did_not_fall(curve: Sequence[float]) -> str | None:
    if loss_fell(curve):
        return None
    steps = float(np.median(np.abs(np.diff(curve))))
    return (
        f"the loss fell by no more than it fluctuates: it went from {curve[0]:.6g} to"
        f" {curve[-1]:.6g} and moves by {steps:.2g} an epoch"
    )


def _copied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in module.state_dict().items()}


def loss_fell(curve: Sequence[float]) -> bool:
    """Tell a loss curve that falls from one that only fluctuates.

    Parameters
    ----------
    curve : sequence of float
        Loss per epoch.

    Returns
    -------
    fell : bool
        From four epochs on: whether the second half lies below the start by more than
        twice the median step between epochs. Before: whether the end is below the start.

    Examples
    --------
    >>> from sklearn_repr.engine.callbacks import loss_fell
    >>> loss_fell([4.0, 3.0, 2.5, 2.4]), loss_fell([1.0, 1.1, 0.9, 1.05])
    (True, False)
    """
    if len(curve) < 4:
        return curve[-1] < curve[0]
    noise = float(np.median(np.abs(np.diff(curve))))
    return float(np.mean(curve[len(curve) // 2 :])) < curve[0] - 2 * noise


class ProgressBar(Callback):  # type: ignore[misc]
    """One bar of epochs on stderr with the loss and the validation loss.

    Parameters
    ----------
    label : str
        Text before the bar.
    """

    def __init__(self, label: str):
        self.label = label

    def on_train_begin(self, net: RepresentationNet, **kwargs: object) -> None:
        """Draw the empty bar."""
        self.bar_ = tqdm(
            total=net.max_epochs, desc=self.label, unit="epoch", file=sys.stderr
        )

    def on_epoch_end(self, net: RepresentationNet, **kwargs: object) -> None:
        """Move on by one epoch."""
        row = net.history[-1]
        shown = {"loss": f"{row['train_loss']:.4g}"}
        if "valid_loss" in row:
            shown["validation loss"] = f"{row['valid_loss']:.4g}"
        self.bar_.set_postfix(shown, refresh=False)
        self.bar_.update()

    def on_train_end(self, net: RepresentationNet, **kwargs: object) -> None:
        """Leave the bar as it is."""
        self.close()

    def close(self) -> None:
        """Close the bar if it is open."""
        if hasattr(self, "bar_"):
            self.bar_.close()
            del self.bar_
