"""Penalties that keep the axes of the code apart."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, mean_of_rows, penalty

__all__ = ["Decorrelation", "OrthogonalDecoder"]


@penalty("decorrelation")
class Decorrelation(Objective):
    r"""Squared correlations between the units of the code.

    .. math:: \Omega = \sum_{k < l} \mathrm{corr}(z_k, z_l)^2

    over the rows of the batch.

    References
    ----------
    Cogswell et al., "Reducing overfitting in deep networks by decorrelating
    representations", ICLR 2016, arXiv:1511.06068 (with covariances).

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import Decorrelation
    >>> same = Outputs(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    >>> penalty = Decorrelation().terms(same, Batch(torch.zeros(2, 1)))
    >>> round(float(penalty["decorrelation"]), 4)
    1.0
    """

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the penalty of the batch; see :class:`Objective`."""
        z = outputs.embedding - mean_of_rows(outputs.embedding, target)
        if target.weights is not None:
            copies = len(z) // len(target)
            z = z * target.weights.repeat(copies).sqrt().unsqueeze(1)
        # a unit without spread has no correlation, not an infinite one
        z = z / z.square().sum(dim=0).add(torch.finfo(z.dtype).eps).sqrt()
        correlation = z.T @ z
        return {"decorrelation": correlation.triu(diagonal=1).square().sum()}


@penalty("orthogonal")
class OrthogonalDecoder(Objective):
    r"""Squared cosines between the columns of the decoder's first linear maps.

    .. math:: \Omega = \sum_{k < l} \cos(w_k, w_l)^2

    over the columns :math:`w_k`, the directions in which the units of the code act.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import OrthogonalDecoder
    >>> outputs = Outputs(torch.zeros(1, 2), directions=[torch.eye(2)])
    >>> float(OrthogonalDecoder().terms(outputs, Batch(torch.zeros(1, 2)))["orthogonal"])
    0.0
    """

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the penalty of the batch; see :class:`Objective`."""
        maps = outputs.directions
        if not maps:
            raise ValueError(
                "The orthogonal penalty needs a decoder that begins with a linear map."
            )
        total = outputs.embedding.new_zeros(())
        for weight in maps:
            columns = torch.nn.functional.normalize(weight, dim=0)
            total = total + (columns.T @ columns).triu(diagonal=1).square().sum()
        return {"orthogonal": total}
