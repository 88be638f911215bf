"""InfoNCE between two modalities, in both directions, as in CLIP."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective

__all__ = ["SymmetricInfoNCE", "symmetric_info_nce"]


def symmetric_info_nce(first: Tensor, second: Tensor, scale: float | Tensor) -> Tensor:
    r"""Cross entropy of finding a row's partner among all, averaged over directions.

    .. math:: \ell_i = -\frac12 \log \frac{e^{s u_i^\top v_i}}{\sum_k e^{s u_i^\top v_k}}
              -\frac12 \log \frac{e^{s u_i^\top v_i}}{\sum_k e^{s u_k^\top v_i}}

    with the cosine similarity of embeddings u of one modality and v of the other, and the
    inverse temperature s. Rows of the same modality are not compared with each other.

    Parameters
    ----------
    first, second : Tensor of shape (N, p)
        Embeddings of the two modalities, row by row; of any length.
    scale : float or 0-d Tensor
        s > 0.

    Returns
    -------
    loss : Tensor of shape (N,)
        0 for N = 1, log N when all embeddings of a modality are the same.

    References
    ----------
    Radford et al., "Learning transferable visual models from natural language
    supervision", ICML 2021, arXiv:2103.00020, figure 3.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives import symmetric_info_nce
    >>> same = torch.ones(3, 2)
    >>> symmetric_info_nce(same, same, 10.0)  # log(3)
    tensor([1.0986, 1.0986, 1.0986])
    """
    first, second = (
        functional.normalize(first, dim=1),
        functional.normalize(second, dim=1),
    )
    similarity = scale * first @ second.T
    rows = torch.arange(len(first), device=first.device)
    forth = functional.cross_entropy(similarity, rows, reduction="none")
    back = functional.cross_entropy(similarity.T, rows, reduction="none")
    return (forth + back) / 2


class SymmetricInfoNCE(Objective):
    """InfoNCE between the two sides of every row; see :func:`symmetric_info_nce`.

    Parameters
    ----------
    weights : mapping of str to float, optional
        See :class:`Objective`.

    Notes
    -----
    The module gives the inverse temperature, which it learns, by
    ``Outputs.log_scale``.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import SymmetricInfoNCE
    >>> sides = Outputs(
    ...     torch.ones(2, 3), projection=torch.ones(4, 3), log_scale=torch.tensor(0.0)
    ... )
    >>> SymmetricInfoNCE().terms(sides, Batch(torch.zeros(2, 5)))
    {'info_nce': tensor([0.6931, 0.6931])}
    """

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the loss of every row; see :class:`Objective`."""
        sides, log_scale = outputs.projection, outputs.log_scale
        if sides is None or log_scale is None or len(sides) != 2 * len(target):
            raise ValueError(
                "SymmetricInfoNCE needs the projections of both sides of every row, one"
                " side behind the other, and log_scale."
            )
        first, second = torch.split(sides, len(target))
        return {"info_nce": symmetric_info_nce(first, second, log_scale.exp())}
