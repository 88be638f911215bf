"""ADBench's four kinds of outliers, generated from the inliers of a table.

Han, Hu, Huang, Jiang and Zhao, "ADBench: anomaly detection benchmark", NeurIPS 2022,
section 3.2, with its constants. For "local", "clustered" and "global" outliers the
inliers too are drawn, from a mixture of normals that is fitted to the real ones, with the
number of components that has the lowest BIC:

- local: from the same mixture, its covariances times 5
- clustered: from the same mixture, its means times 5
- global: uniform, in each column from 1.1 times the least inlier to 1.1 times the largest
- dependency: columns are independent of each other, each distributed as among inliers

ADBench draws the last kind's inliers from a vine copula and its outliers from kernel
densities. Here its inliers are the real ones, and an outlier takes every cell from a row
of its own: no cell is unusual alone, not even in columns of few values, which a kernel
would smear.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from sklearn.mixture import GaussianMixture

KINDS = ("local", "clustered", "global", "dependency")
N_COMPONENTS = range(1, 10)
# The mixture is fitted to so many rows, which bounds the time that wide tables take
MOST_ROWS = 2000


def synthetic_tables(inliers, n_outliers, seed):
    """Return X and y (1 = outlier) by kind, with as many inliers as were given."""
    rng = np.random.RandomState(seed)
    mixture = fit_mixture(inliers, rng)
    drawn = {kind: sample(mixture, len(inliers), rng) for kind in KINDS[:3]}
    drawn["dependency"] = inliers
    scaled = {"local": {"covariances_": 5.0}, "clustered": {"means_": 5.0}}
    outliers = {
        kind: sample(mixture, n_outliers, rng, **factors)
        for kind, factors in scaled.items()
    }
    low, high = 1.1 * drawn["global"].min(axis=0), 1.1 * drawn["global"].max(axis=0)
    shape = n_outliers, inliers.shape[1]
    outliers["global"] = rng.uniform(low, high, size=shape)
    rows = rng.randint(len(inliers), size=shape)
    outliers["dependency"] = np.take_along_axis(inliers, rows, axis=0)
    y = np.repeat([0, 1], [len(inliers), n_outliers])
    return {kind: (np.r_[drawn[kind], outliers[kind]], y) for kind in KINDS}


def fit_mixture(inliers, rng):
    rows = inliers[rng.permutation(len(inliers))[:MOST_ROWS]]
    counts = [count for count in N_COMPONENTS if count <= len(rows)]
    mixtures = [GaussianMixture(count, random_state=0).fit(rows) for count in counts]
    return min(mixtures, key=lambda mixture: mixture.bic(rows))


def sample(mixture, count, rng, **factors):
    """Draw from a mixture of which some attributes are multiplied by a factor."""
    changed = copy(mixture)
    for name, factor in factors.items():
        setattr(changed, name, factor * getattr(mixture, name))
    # a generator that moves on, where a seed would draw the same numbers again
    return changed.set_params(random_state=rng).sample(count)[0]
