"""Squared errors of denoised rows, weighted by noise level."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective

__all__ = ["DenoisingScore"]


class DenoisingScore(Objective):
    r"""Mean squared error of denoised columns, of the same size at every noise level.

    .. math:: \ell = \frac{\sigma^2 + \sigma_d^2}{(\sigma \sigma_d)^2} \cdot
              \frac1d \|D(x + \sigma \varepsilon; \sigma) - x\|^2

    with :math:`\sigma_d = 1`, the deviation of clean columns. At the minimum
    :math:`(D(x; \sigma) - x) / \sigma^2` is the score, the gradient of the log-density of
    rows with noise of that level.

    Parameters
    ----------
    observed_only : bool, default=True
        Whether cells that were not observed do not count.

    References
    ----------
    Karras, Aittala, Aila and Laine, "Elucidating the design space of diffusion-based
    generative models", NeurIPS 2022, arXiv:2206.00364, equation 8.

    Vincent, "A connection between score matching and denoising autoencoders", Neural
    Computation 23 (2011), doi:10.1162/NECO_a_00142.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import DenoisingScore
    >>> clean, denoised = torch.zeros(1, 2), torch.ones(1, 2)
    >>> outputs = Outputs(
    ...     denoised, prediction=denoised, target=clean, log_noise=torch.zeros(1, 1)
    ... )
    >>> DenoisingScore().terms(outputs, Batch(clean))
    {'denoising': tensor([2.])}
    """

    # noise of other levels has another loss
    scatters = True
    needs_prediction = True
    needs_target = True

    def __init__(self, *, observed_only: bool = True):
        super().__init__()
        self.observed_only = observed_only

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row; see :class:`Objective`."""
        denoised, clean, log_variance = (
            outputs.prediction,
            outputs.target,
            outputs.log_noise,
        )
        if denoised is None or clean is None or log_variance is None:
            raise ValueError("DenoisingScore needs a module that takes noise away.")
        errors = (denoised - clean).square()
        weight = 1 + (-log_variance).exp()
        observed = target.observed if self.observed_only else None
        if observed is None:
            return {"denoising": errors.mean(dim=1) * weight[:, 0]}
        errors = errors.where(observed, torch.zeros_like(errors)).sum(dim=1)
        return {"denoising": errors / observed.sum(dim=1).clamp(min=1) * weight[:, 0]}
