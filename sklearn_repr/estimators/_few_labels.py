"""Classes from few labels: teachers that see little, and trees that learn from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from torch import nn

from sklearn_repr._contracts import Array, Table
from sklearn_repr.data import NumericCodec, choose_codec
from sklearn_repr.engine.linear_heads import fit_logistic, said_of
from sklearn_repr.estimators._forest import Forest
from sklearn_repr.estimators._guesses import propagated, shares
from sklearn_repr.estimators._learned import known_rows

__all__ = ["FewLabels", "TableViews"]

# Unlabelled rows of the graph and of the trees, beside the labelled ones
GRAPH_ROWS, TREE_ROWS = 5000, 1000
# Of the student: how many trees, rows in a leaf, the power that guesses are raised to,
# what labelled rows weigh in all at least, and its share of the answer
STUDENT_TREES, LEAF, POWER, LABEL_SHARE, STUDENT = 40, 3, 2.0, 0.1, 2 / 3
# Of the trees that learn from labels: how many, their share of what is taught at so many
# labels a class, and what of this they have in the answer
TREES, TREES_SHARE, ENOUGH, KEPT = 60, 0.5, 5, 0.4
# Quantiles of a normal distribution beyond this are cut
FARTHEST = 3.0


class TableViews:
    """Columns of a table, standardised and by their ranks.

    Parameters
    ----------
    encoder : BaseRepresentation
        Fitted; it reads the table.
    X : {ndarray, CSR matrix} of shape (n, n_features)
        Rows as the encoder has validated them.
    seed : int
        Of the rows from which quantiles are taken.
    """

    def __init__(self, encoder: Any, X: Table, seed: int):
        self.codecs = []
        names = getattr(encoder, "feature_names_in_", None)
        for scaling in ("standard", "quantile"):
            numbers = NumericCodec(scaling, "float64", seed, fill=True)
            codec = choose_codec(numbers, encoder._columns, X, shaped=False)
            self.codecs.append(codec.fit(X, names, None))

    def of(self, X: Table) -> list[Array]:
        """Return both views of rows."""
        plain, ranks = (codec.encode(X).values.numpy() for codec in self.codecs)
        return [plain, np.clip(ranks, -FARTHEST, FARTHEST)]


class FewLabels:
    r"""Classify by what teachers and a student say.

    Teachers are a logistic regression on the columns, one on the codes, targets that are
    propagated over a graph by columns, ranks and codes together, and, for more than one
    label a class, trees on the columns. Their mean, squared and divided by its sum, is
    what a student learns: regression trees on the columns of labelled and unlabelled
    rows. The answer is mostly the student's, and the teachers' but for the graph, so that
    no training rows are kept.

    Parameters
    ----------
    views : list of float64 ndarray of shape (n, d)
        Columns, ranks and codes, each standardised.
    targets : float64 ndarray of shape (n, k)
        Probabilities of classes; NaN in rows of which they are unknown.
    weights : float64 ndarray of shape (n,)
        How much each row counts.
    layer : torch.nn.Module
        The logistic regression on codes.
    penalty : float
        That of the logistic regression.
    seed : int
        Of trees and of the rows that are taken.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015),
    arXiv:1503.02531.
    """

    def __init__(
        self,
        views: list[Array],
        targets: Array,
        weights: Array,
        layer: nn.Module,
        penalty: float,
        seed: int,
    ):
        known = known_rows(targets)
        labelled, others = np.flatnonzero(known), np.flatnonzero(~known)
        order = np.random.default_rng(seed).permutation(others)
        some = np.concatenate([labelled, order[:GRAPH_ROWS]])
        joined = side_by_side([view[some] for view in views])
        # the first of these rows are what the student learns from
        n = min(len(labelled) + TREE_ROWS, len(some))
        few = some[:n]
        graph = propagated(joined, targets[some], weights[some])[:n]

        columns, own = views[0], slice(len(labelled))
        parts = torch.from_numpy(targets[labelled]), torch.from_numpy(weights[labelled])
        found = fit_logistic(torch.from_numpy(columns[labelled]), *parts, penalty)
        self.layers = [found.layer().requires_grad_(False), layer]
        guesses = (2 * self._by_layers([view[few] for view in views]) + graph) / 3
        per_class = len(labelled) / targets.shape[1]
        share = TREES_SHARE * min(1.0, (per_class - 1) / (ENOUGH - 1))
        self.share = KEPT * share
        if share > 0:
            trees = ExtraTreesClassifier(TREES, random_state=seed)
            classes = targets[labelled].argmax(axis=1)
            trees.fit(columns[labelled], classes, weights[labelled])
            self.trees = Forest(trees)
            by_trees = self.trees.of(columns[few])
            guesses = (1 - share) * guesses + share * by_trees
        guesses[own] = targets[labelled]
        counts = weights[few].copy()
        counts[own] *= max(1.0, LABEL_SHARE * n / len(labelled))
        student = ExtraTreesRegressor(
            STUDENT_TREES, min_samples_leaf=LEAF, max_features=0.5, random_state=seed
        )
        student.fit(columns[few], shares(guesses**POWER), counts)
        self.student = Forest(student)

    def _by_layers(self, views: list[Array]) -> NDArray[np.float64]:
        pairs = zip(self.layers, (views[0], views[2]), strict=True)
        said = [probabilities(*pair) for pair in pairs]
        return np.asarray(sum(said) / len(said))

    def of(self, views: list[Array]) -> NDArray[np.float64]:
        """Return the probabilities of the classes of rows."""
        columns = views[0]
        learned = shares(self.student.of(columns))
        p = (1 - STUDENT) * self._by_layers(views) + STUDENT * learned
        if self.share > 0:
            p = (1 - self.share) * p + self.share * self.trees.of(columns)
        return p


def side_by_side(views: list[Array]) -> Array:
    """Join views, such that rows have the same mean squared length in each."""
    return np.hstack([view / np.sqrt(view.shape[1]) for view in views])


def probabilities(layer: nn.Module, rows: Array) -> NDArray[np.float64]:
    """Return the softmax of a linear map of rows."""
    found: NDArray[np.float64] = softmax(said_of(layer, rows), axis=1)
    return found
