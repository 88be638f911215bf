"""Embeddings mixed with each other in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LatentMixup"]


class LatentMixup(nn.Module):
    r"""Mix every embedding with that of another row of the batch, in training only.

    .. math:: \tilde h_i = (1 - \lambda_i) h_i + \lambda_i h_{j(i)}, \quad
              \lambda_i \sim U(0, \lambda), \quad j(i) \ne i

    Drawn from torch's global generator, as dropout is.

    Parameters
    ----------
    level : float
        :math:`\lambda`, in [0, 1].

    References
    ----------
    Verma et al., "Towards domain-agnostic contrastive learning", ICML 2021,
    arXiv:2011.04419 (mixup noise in hidden states).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.modules.mixing import LatentMixup
    >>> mix = LatentMixup(0.2)
    >>> bool((mix(torch.eye(3)).diag() >= 0.8).all())
    True
    >>> bool((mix.eval()(torch.eye(3)) == torch.eye(3)).all())
    True
    """

    def __init__(self, level: float):
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        """Mix rows of (n, d)."""
        n = len(x)
        if not self.training or n < 2:
            return x
        offset = torch.randint(1, n, (n,), device=x.device)
        others = x[(torch.arange(n, device=x.device) + offset) % n]
        share = self.level * torch.rand(n, 1, device=x.device, dtype=x.dtype)
        return torch.lerp(x, others, share)
