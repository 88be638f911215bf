"""What two aligned embeddings are worth for finding one side by the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from sklearn_repr.utils.retrieval import top_match_share

__all__ = ["retrieval_accuracy"]


def retrieval_accuracy(Z1: ArrayLike, Z2: ArrayLike) -> float:
    r"""Share of rows whose partner is the most similar row of the other embedding.

    .. math:: \frac{1}{2n} \sum_i [i = \arg\max_k \cos(u_i, v_k)]
              + [i = \arg\max_k \cos(u_k, v_i)]

    Parameters
    ----------
    Z1, Z2 : array-like of shape (n_samples, n_components)
        Embeddings u and v of two sides, row by row, of the same width.

    Returns
    -------
    score : float
        Top-1 accuracy, averaged over both directions; chance is 1 / n. Among m equally
        similar rows a partner counts 1 / m. The more rows, the harder: compare numbers of
        the same rows.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> from sklearn.cross_decomposition import CCA
    >>> from sklearn.datasets import load_linnerud
    >>> from sklearn_repr.inspection import retrieval_accuracy
    >>> X, Y = load_linnerud(return_X_y=True)
    >>> 0 < retrieval_accuracy(*CCA(2).fit(X, Y).transform(X, Y)) < 1
    True
    """
    first = check_array(Z1, dtype=np.float64, input_name="Z1")
    second = check_array(Z2, dtype=np.float64, input_name="Z2")
    if first.shape != second.shape:
        raise ValueError(
            "Z1 and Z2 must hold the two sides of the same rows; got shapes"
            f" {first.shape} and {second.shape}."
        )
    return top_match_share(first, second)
