"""Rows mixed with others by a small factor."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sklearn_repr._contracts import Corrupted
from sklearn_repr.corruptions._base import Corruption, corruption, draw_level

__all__ = ["Mixup"]


@corruption("mixup", default_level=0.3, share=True)
class Mixup(Corruption):
    r"""Mix every row with another row of the batch.

    .. math:: \tilde x_i = (1 - \lambda) x_i + \lambda x_{j(i)}, \quad j(i) \ne i

    The other row is drawn uniformly from the rest of the batch. Correlated columns
    change together. A batch of one row stays as it is.

    Parameters
    ----------
    level : float or (float, float)
        :math:`\lambda`, in [0, 1]; below 0.5 the row itself has the larger weight.

    References
    ----------
    Verma et al., "Towards domain-agnostic contrastive learning", ICML 2021,
    arXiv:2011.04419.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.corruptions import Mixup
    >>> Mixup(0.25)(torch.tensor([[0.0], [1.0]]), torch.Generator()).values
    tensor([[0.2500],
            [0.7500]])
    """

    def __call__(self, values: Tensor, generator: Generator) -> Corrupted:
        """Mix rows; see :class:`Corruption`."""
        n = len(values)
        level = draw_level(self.level, values, generator)
        offset = torch.randint(
            1, max(n, 2), (n,), generator=generator, device=values.device
        )
        others = values[(torch.arange(n, device=values.device) + offset) % n]
        return Corrupted(values + level * (others - values))
