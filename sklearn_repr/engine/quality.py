"""Whether the embedding spreads or collapses while it is trained."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from skorch.callbacks import Callback

from sklearn_repr._contracts import Batch
from sklearn_repr.exceptions import CollapseWarning
from sklearn_repr.objectives.align_uniform import alignment, uniformity
from sklearn_repr.utils.memory import give_back
from sklearn_repr.utils.spread import effective_rank, spread

if TYPE_CHECKING:
    from sklearn_repr.engine.net import RepresentationNet

__all__ = ["QUALITY_PREFIX", "EmbeddingQuality"]

QUALITY_PREFIX = "embedding_"
# Training rows that are looked at, evenly spread over all, and those in two views
ROWS = 256
# Cells of these rows beyond which memory is given back before a look
MANY_CELLS = 2**19
ALIGNED = 64
# Epochs that are all looked at; after them so many times the rows looked at are trained
# on between two looks, or looking would take much of the time of a small table
FIRST = 10
PAUSE = 10
# Collapsed is what spreads less than this, and spread more at some time
SPREAD = 0.1
# Directions in use, beyond the first, below this share of what they were
RANK_KEPT = 0.1


class EmbeddingQuality(Callback):  # type: ignore[misc]
    """Record alignment, uniformity, effective rank and spread.

    All are taken on at most 256 training rows: alignment between two views of 64 of them
    (or between positives), the others on the rows themselves. ``start_`` holds what they
    were before training.

    They are taken after each of the first ten epochs, after the last, and between them
    once ten times as many rows as are looked at were trained on, which is after every
    epoch from 2,560 rows on. An epoch without a look repeats the last one's values.
    """

    def on_train_begin(self, net: RepresentationNet, **kwargs: object) -> None:
        """Forget earlier training."""
        self.start_: dict[str, float] = {}
        self.end_: dict[str, float] = {}
        self.epochs_ = self.pause_ = 0

    def on_epoch_begin(
        self, net: RepresentationNet, dataset_train: Batch | None = None, **kwargs: object
    ) -> None:
        """Look at the embedding before training."""
        if not self.start_ and dataset_train is not None:
            self.rows_ = dataset_train.some(ROWS)
            self.start_ = self.measure(net, self.rows_)
            self.last_ = self.start_
            self.most_ = dict(self.start_)
            self.supervised_ = net.criterion_.needs_labels

    def on_epoch_end(
        self, net: RepresentationNet, dataset_train: Batch | None = None, **kwargs: object
    ) -> None:
        """Write to the net's history what the embedding is like."""
        self.epochs_ += 1
        self.pause_ += 0 if dataset_train is None else len(dataset_train)
        last = net.stop_ or len(net.history) == net.max_epochs
        if self.epochs_ <= FIRST or last or self.pause_ >= PAUSE * len(self.rows_):
            self.last_, self.pause_ = self.measure(net, self.rows_), 0
        for name, value in self.last_.items():
            net.history.record(QUALITY_PREFIX + name, value)
            self.most_[name] = max(value, self.most_[name])

    def on_train_end(self, net: RepresentationNet, **kwargs: object) -> None:
        """Look at the embedding that is kept."""
        if self.start_:
            self.end_ = self.measure(net, self.rows_)
            del self.rows_

    def measure(self, net: RepresentationNet, rows: Batch) -> dict[str, float]:
        """Return the measures by name.

        Parameters
        ----------
        net : RepresentationNet
            In training.
        rows : Batch
            Some of its training rows.

        Returns
        -------
        measures : dict of str to float
            "alignment", "uniformity", "effective_rank" and "spread" of the embedding, and
            "projection_spread" where there is a projection.
        """
        if rows.values.numel() > MANY_CELLS:
            give_back()
        noise, seeded = net.inputs_.fixed(net.seeds["validation"], rows.values.device)
        net._set_training(False)
        with torch.no_grad(), seeded:
            some = rows.some(ALIGNED)
            views, _ = net.inputs_.of(some, noise)
            outputs = net.module_(torch.cat([rows.values, views]))
            clean, seen = outputs.embedding.tensor_split([len(rows)])
            first, second, *_ = seen.split(len(some))
            measures = {
                "alignment": alignment(first, second).mean(),
                "uniformity": uniformity(clean),
                "effective_rank": effective_rank(clean),
                "spread": spread(clean),
            }
            if outputs.projection is not None:
                measures["projection_spread"] = spread(outputs.projection[: len(rows)])
        return {name: float(value) for name, value in measures.items()}

    def warn_if_collapsed(self) -> None:
        """Compare the trained embedding with what it was before training.

        Warns
        -----
        CollapseWarning
            If all embeddings, or all projections, point the same way, or if next to all
            variation is along one direction.
        """
        if not self.end_:
            return
        for name in ("spread", "projection_spread"):
            most, end = self.most_.get(name, 0.0), self.end_.get(name, 1.0)
            # the weights that were kept may be earlier ones than the last
            if max(end, self.last_.get(name, 1.0)) < SPREAD < most / 2:
                what = "embedding" if name == "spread" else "projection"
                _warn(
                    f"{what}s of all rows point nearly the same way (their spread is"
                    f" {end:.2g} of 1, and was {most:.2g})"
                )
                return
        before, after = (
            max(measures["effective_rank"] - 1, 0.0)
            for measures in (self.start_, self.end_)
        )
        # rows of few classes, all attracted to their class, need no more directions
        if after < RANK_KEPT * before and not self.supervised_:
            _warn(
                f"embeddings vary along {1 + after:.3g} directions only (before training,"
                f" {1 + before:.3g})"
            )


def _warn(finding: str) -> None:
    warnings.warn(
        f"The representation collapsed: the {finding}. Use an objective that keeps rows"
        " apart ('nt_xent', 'vicreg', 'barlow_twins'); with 'byol' and 'simsiam' keep"
        " predictor=True; lower learning_rate_init or corruption_level, or raise"
        " batch_size.",
        CollapseWarning,
        stacklevel=2,
    )
