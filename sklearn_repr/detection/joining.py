"""Two kinds of abnormal joined to one score: abnormal to either is abnormal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["TailJoin"]

Scores = NDArray[np.float64]

# Quantile of training rows that is one unit above their median, or where most rows are
# alike the next one; and the one whose height in these units says how far a part tells
# some rows from the others
UNIT_QUANTILES, TAIL_QUANTILE = (0.75, 0.9, 0.98, 1.0), 0.98
# Power of the ratio of these heights, and the most that it can be
TAIL_POWER, MOST_APART = 2.0, 12.0
# Tail heights below this are no sign of anything
LEAST_HEIGHT = 0.3
# Logarithms this near are the same
ROUNDING = 1e-6
# A part of a row counts at least as this share of its mean over the training rows:
# below, nothing is more normal than anything else
LEAST_SHARE = 1e-2
TINY = float(np.finfo(np.float64).tiny)
# Score of a row that is as the median of the training rows in both parts
USUAL_SCORE = 4.0
# The larger of the parts decides, softly: a sum of powers
POWER = 4.0


class TailJoin:
    r"""The larger of two parts, in units of what is usual, softly.

    With the logarithm of part k in units of its training rows and the weights u,

    .. math:: z_k = \frac{\log s_k - \mathrm{median}}{\text{quartile} - \mathrm{median}},
              \qquad p_k = \log(1 + e^{u_k z_k}), \qquad
              p = \Big(\tfrac12 \sum_k p_k^4\Big)^{1/4}

    .. math:: a = \log(1 + e^{4 + z}) \quad\text{with}\quad p = \log(1 + e^z)

    The last line gives rows on both sides of the median their distance from it, in
    quartiles, so that a rule which looks at the spread of scores sees it; a usual row
    has the score 4. A sum would let one part's ordinary noise hide what the other part
    finds; the larger one does not. The weights follow the upper tails: :math:`h_k`, the
    0.98 quantile of :math:`z_k` in training, is high where a part sets some training rows
    apart, and the part that does so is likely the one that sees the outliers of this
    table:

    .. math:: \frac{u_1}{u_2} = \frac1w \Big(\frac{h_1}{h_2}\Big)^2, \qquad
              \max(u_1, u_2) = 1

    Parameters
    ----------
    weight : float
        w, of the second part.
    clean : bool, default=False
        No outlier is among the training rows, so that tails say nothing of outliers: the
        ratio of the weights is 1 / w.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_repr.detection.joining import TailJoin
    >>> parts = [np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 1.0, 2.0, 2.0])]
    >>> join = TailJoin(1.0).fit(parts)
    >>> sum(join(parts)).round(2)
    array([3.54, 3.61, 4.52, 5.62])
    """

    def __init__(self, weight: float, *, clean: bool = False):
        self.weight = weight
        self.clean = clean

    def fit(self, parts: Sequence[Scores]) -> TailJoin:
        """Learn from two parts of the training rows, each (n,)."""
        self.floors_ = [LEAST_SHARE * float(part.mean()) or 1.0 for part in parts]
        logs = self._logarithms(parts)
        self.medians_ = [float(np.median(log)) for log in logs]
        self.units_ = [_unit(log - m) for log, m in zip(logs, self.medians_, strict=True)]
        heights = [
            max(float(np.quantile(log, TAIL_QUANTILE) - m) / unit, LEAST_HEIGHT)
            for log, m, unit in zip(logs, self.medians_, self.units_, strict=True)
        ]
        apart = 1.0 if self.clean else (heights[0] / heights[1]) ** TAIL_POWER
        ratio = min(max(apart, 1 / MOST_APART), MOST_APART) / self.weight
        self.weights_ = min(1.0, ratio), min(1.0, 1 / ratio)
        return self

    def __call__(self, parts: Sequence[Scores]) -> list[Scores]:
        """Return what each part adds to the joined score, each (n,)."""
        logs = self._logarithms(parts)
        fitted = zip(logs, self.medians_, self.units_, self.weights_, strict=True)
        z = [u * (log - m) / unit for log, m, unit, u in fitted]
        # never 0, so that rows far more normal than the training rows have shares too
        positive = [np.maximum(np.logaddexp(0.0, part), TINY) for part in z]
        largest = np.maximum(*positive)
        # relative to the larger one, so that no power is beyond all floats
        powers = [(part / largest) ** POWER for part in positive]
        total = powers[0] + powers[1]
        joined = largest * (total / 2) ** (1 / POWER)
        # what p is the softplus of, which p alone is nearly 0 for
        height = joined + np.log(-np.expm1(-joined))
        joined = np.logaddexp(0.0, USUAL_SCORE + height)
        return [joined * power / total for power in powers]

    def _logarithms(self, parts: Sequence[Scores]) -> list[Scores]:
        pairs = zip(parts, self.floors_, strict=True)
        return [np.log(np.maximum(part, floor)) for part, floor in pairs]


def _unit(apart: Scores) -> float:
    """Return the first of the quantiles above the median that is not the median."""
    heights = np.quantile(apart, UNIT_QUANTILES)
    # parts without spread say nothing, whatever they are divided by
    return float(next((height for height in heights if height > ROUNDING), 1.0))
