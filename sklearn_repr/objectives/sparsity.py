"""Penalties that keep activations or weights sparse."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, mean_of_rows, penalty
from sklearn_repr.objectives._checks import check_constant

__all__ = ["ActivityL1", "KLSparsity", "WeightL1"]


@penalty("activity_l1", sparse=True)
class ActivityL1(Objective):
    r"""Absolute activations of the code, summed: :math:`\Omega_i = \sum_k |z_{ik}|`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import ActivityL1
    >>> outputs = Outputs(torch.tensor([[1.0, -2.0]]))
    >>> ActivityL1().terms(outputs, Batch(torch.zeros(1, 1)))
    {'activity_l1': tensor([3.])}
    """

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the penalty of every row; see :class:`Objective`."""
        rows = outputs.embedding.abs().sum(dim=1)
        return {"activity_l1": rows.view(-1, len(target)).mean(dim=0)}


@penalty("kl_sparsity", sparse=True, code="logistic")
class KLSparsity(Objective):
    r"""Divergence of each unit's mean activation from a target rate.

    .. math:: \Omega = \sum_k \rho \log \frac{\rho}{\hat\rho_k}
              + (1 - \rho) \log \frac{1 - \rho}{1 - \hat\rho_k}

    where :math:`\hat\rho_k` is the mean of unit k over the batch. Units must lie in
    (0, 1), as those of a code with a logistic activation do.

    Parameters
    ----------
    target : float, default=0.05
        :math:`\rho`, in (0, 1).

    References
    ----------
    Ng, "Sparse autoencoder", CS294A lecture notes, Stanford, 2011.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import KLSparsity
    >>> half = Outputs(torch.full((4, 2), 0.5))
    >>> KLSparsity(0.5).terms(half, Batch(torch.zeros(4, 1)))
    {'kl_sparsity': tensor(0.)}
    """

    def __init__(self, target: float = 0.05):
        super().__init__()
        self.target = check_constant(self, "target", target, above=0, below=1)

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the penalty of the batch; see :class:`Objective`."""
        rho = torch.as_tensor(self.target).to(outputs.embedding)
        tiny = torch.finfo(outputs.embedding.dtype).eps
        mean = mean_of_rows(outputs.embedding, target).clamp(tiny, 1 - tiny)
        kl = torch.xlogy(rho, rho / mean) + torch.xlogy(1 - rho, (1 - rho) / (1 - mean))
        return {"kl_sparsity": kl.sum()}


@penalty("l1", sparse=True)
class WeightL1(Objective):
    r"""Absolute weights of encoder and decoder, summed: :math:`\Omega = \sum |W|`.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import WeightL1
    >>> weights = {"encoder.weight": torch.tensor([[1.0, -2.0]])}
    >>> outputs = Outputs(torch.zeros(1, 1), weights=weights)
    >>> WeightL1().terms(outputs, Batch(torch.zeros(1, 2)))
    {'l1': tensor(3.)}
    """

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the penalty of the batch; see :class:`Objective`."""
        if outputs.weights is None:
            raise ValueError("The l1 penalty needs a module that says its weights.")
        sizes = [w.abs().sum() for w in outputs.weights.values() if w.ndim > 1]
        return {"l1": torch.stack(sizes).sum()}
