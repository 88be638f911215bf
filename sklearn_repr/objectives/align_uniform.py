"""Alignment and uniformity on the sphere, minimised directly."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, objective
from sklearn_repr.objectives._checks import check_constant
from sklearn_repr.objectives._views import two_views

__all__ = ["AlignUniform", "alignment", "uniformity"]


def alignment(first: Tensor, second: Tensor, power: float = 2.0) -> Tensor:
    r"""Distance between the unit vectors of two views.

    .. math:: \| z_i - z'_i \|^\alpha

    Parameters
    ----------
    first, second : Tensor of shape (n, p)
        The two views; scaled to unit length here.
    power : float, default=2.0
        :math:`\alpha`.

    Returns
    -------
    loss : Tensor of shape (n,)
        0 where the views point the same way.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.align_uniform import alignment
    >>> alignment(torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0]]))
    tensor([4.])
    """
    difference = functional.normalize(first, dim=1) - functional.normalize(second, dim=1)
    distance: Tensor = torch.linalg.vector_norm(difference, dim=1)
    return distance.pow(power)


def uniformity(z: Tensor, t: float = 2.0) -> Tensor:
    r"""Logarithm of the mean Gaussian potential between unit vectors.

    .. math:: \log \frac{2}{n (n - 1)} \sum_{i < j} e^{-t \|z_i - z_j\|^2}

    Parameters
    ----------
    z : Tensor of shape (n, p)
        One view; scaled to unit length here.
    t : float, default=2.0
        How fast distance stops to count.

    Returns
    -------
    loss : 0-d Tensor
        0 if all point the same way, at least -4 t; 0 for n = 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.align_uniform import uniformity
    >>> uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    tensor(-8.)
    """
    n = len(z)
    if n == 1:
        return 0 * z.sum()
    unit = functional.normalize(z, dim=1)
    squares = unit.square().sum(dim=1)
    distance = squares.unsqueeze(1) + squares - 2 * unit @ unit.T
    potential = (-t * distance).fill_diagonal_(-torch.inf)
    return potential.flatten().logsumexp(dim=0) - math.log(n * (n - 1))


@objective("align_uniform")
class AlignUniform(Objective):
    r"""Alignment of two views and uniformity of each; see :func:`uniformity`.

    .. math:: \frac1n \sum_i \| z_i - z'_i \|^\alpha + \tfrac12 (u(Z) + u(Z'))

    Parameters
    ----------
    power : float, default=2.0
        :math:`\alpha` of the alignment.
    t : float, default=2.0
        t of the uniformity.
    weights : mapping of str to float, optional
        Of the terms "alignment" and "uniformity".

    References
    ----------
    Wang and Isola, "Understanding contrastive representation learning through alignment
    and uniformity on the hypersphere", ICML 2020, arXiv:2005.10242.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import AlignUniform
    >>> views = Outputs(torch.ones(4, 3), projection=torch.eye(2, 3).repeat(2, 1))
    >>> AlignUniform().terms(views, Batch(torch.zeros(2, 5)))
    {'alignment': tensor([0., 0.]), 'uniformity': tensor(-4.)}
    """

    def __init__(
        self,
        power: float = 2.0,
        t: float = 2.0,
        weights: Mapping[str, float] | None = None,
    ):
        super().__init__(weights)
        self.power = check_constant(self, "power", power, above=0)
        self.t = check_constant(self, "t", t, above=0)

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the two terms; see :class:`Objective`."""
        first, second = two_views(outputs.projection, len(target), "AlignUniform")
        spread = uniformity(first, self.t) + uniformity(second, self.t)
        return {
            "alignment": alignment(first, second, self.power),
            "uniformity": spread / 2,
        }
