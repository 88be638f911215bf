"""Trees as arrays, which files carry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_repr._contracts import Array

__all__ = ["Forest"]


class Forest:
    """A forest of scikit-learn as arrays; it says the same, bit for bit.

    Parameters
    ----------
    forest : ExtraTreesClassifier or ExtraTreesRegressor
        Fitted on rows without missing cells.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import ExtraTreesRegressor
    >>> from sklearn_repr.estimators._forest import Forest
    >>> X = np.arange(4.0).reshape(-1, 1)
    >>> forest = Forest(ExtraTreesRegressor(2, random_state=0).fit(X, X.ravel()))
    >>> forest.of(X).ravel()
    array([0., 1., 2., 3.])
    """

    def __init__(self, forest: Any):
        trees = [own.tree_ for own in forest.estimators_]
        self.depth = max(tree.max_depth for tree in trees)
        self.roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
        children = []
        for tree, root in zip(trees, self.roots, strict=True):
            own = np.stack([tree.children_left, tree.children_right], axis=1)
            # leaves lead to themselves
            own = np.where(own < 0, np.arange(len(own))[:, None], own)
            children.append(root + own)
        self.children = np.concatenate(children)
        self.column = np.maximum(np.concatenate([tree.feature for tree in trees]), 0)
        self.threshold = np.concatenate([tree.threshold for tree in trees])
        values = np.concatenate([tree.value for tree in trees])
        self.value = values.reshape(len(values), -1)

    def of(self, X: Array) -> NDArray[np.float64]:
        """Return the means over trees of what they say of rows, (n, k)."""
        cells = np.asarray(X, dtype=np.float32)
        rows = np.arange(len(cells))[:, None]
        node = np.tile(self.roots, (len(cells), 1))
        for _ in range(self.depth):
            goes_right = cells[rows, self.column[node]] > self.threshold[node]
            node = self.children[node, goes_right.astype(np.intp)]
        total = np.zeros((len(cells), self.value.shape[1]))
        # one tree after the other, as scikit-learn adds
        for own in node.T:
            total += self.value[own]
        found: NDArray[np.float64] = total / len(self.roots)
        return found
