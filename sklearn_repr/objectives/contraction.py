"""The contractive penalty: how much the code moves when the row moves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective
from sklearn_repr.objectives._checks import check_constant

__all__ = ["Contraction", "jacobian_norm", "jacobian_norm_estimate"]

# Codes up to this width have their Jacobian computed exactly
EXACT_WIDTH = 16


def jacobian_norm(encode: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    r"""Squared Frobenius norm of the encoder's Jacobian at every row, exactly.

    Parameters
    ----------
    encode : callable
        Maps (n, d) to (n, k), each row by itself.
    x : Tensor of shape (n, d)
        Rows.

    Returns
    -------
    norm : Tensor of shape (n,)
        :math:`\|J_\phi(x_i)\|_F^2`, differentiable in the encoder's weights.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives import jacobian_norm
    >>> jacobian_norm(lambda x: 2 * x, torch.ones(1, 3))
    tensor([12.])
    """
    # rows do not touch each other: the Jacobian of the sum holds every row's own
    jacobian: Tensor = torch.func.jacrev(lambda rows: encode(rows).sum(dim=0))(x)
    return jacobian.square().sum(dim=(0, 2))


def jacobian_norm_estimate(
    encode: Callable[[Tensor], Tensor], x: Tensor, n_probes: int
) -> Tensor:
    r"""Hutchinson's unbiased estimate of :func:`jacobian_norm`.

    .. math:: \|J\|_F^2 = E_v \|J^\top v\|^2, \quad v_k = \pm 1

    Parameters
    ----------
    encode : callable
        Maps (n, d) to (n, k), each row by itself.
    x : Tensor of shape (n, d)
        Rows.
    n_probes : int
        Random vectors a row, from torch's global generator.

    Returns
    -------
    norm : Tensor of shape (n,)
        The estimate.

    References
    ----------
    Hutchinson, "A stochastic estimator of the trace of the influence matrix",
    Communications in Statistics 19 (1990), doi:10.1080/03610919008812866.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives.contraction import jacobian_norm_estimate
    >>> jacobian_norm_estimate(lambda x: 2 * x, torch.ones(1, 3), 1)
    tensor([12.])
    """
    codes, pull_back = torch.func.vjp(encode, x)[:2]
    total = torch.zeros_like(x[:, 0])
    for _ in range(n_probes):
        signs = torch.randint_like(codes, 2).mul_(2).sub_(1)
        total = total + pull_back(signs)[0].square().sum(dim=1)
    return total / n_probes


class Contraction(Objective):
    r"""Squared Frobenius norm of the encoder's Jacobian, :math:`\|J_\phi(x_i)\|_F^2`.

    Parameters
    ----------
    n_probes : int, default=1
        Codes wider than 16 of an encoder with hidden layers are judged by this many
        random probes a row; the estimate is unbiased, and its noise averages out over
        rows and steps. All others are judged exactly: a single layer s(W x + b) by
        :math:`\sum_k s'(a_k)^2 \|w_k\|^2`, narrow codes by automatic differentiation.

    References
    ----------
    Rifai et al., "Contractive auto-encoders: explicit invariance during feature
    extraction", ICML 2011.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr._contracts import Batch, Outputs
    >>> from sklearn_repr.objectives import Contraction
    >>> x = torch.ones(1, 3)
    >>> outputs = Outputs(2 * x, inputs=x, encode=lambda x: 2 * x)
    >>> Contraction().terms(outputs, Batch(x))
    {'contractive': tensor([12.])}
    """

    uses_global_generator = True
    second_order = True

    def __init__(self, n_probes: int = 1):
        super().__init__()
        self.n_probes = check_constant(self, "n_probes", n_probes, least=1, whole=True)

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the penalty of every row; see :class:`Objective`."""
        encode, x = outputs.encode, outputs.inputs
        if encode is None or x is None:
            raise ValueError(
                "The contractive penalty needs a module that says its encoder."
            )
        if outputs.slope is not None and outputs.weights is not None:
            weight = outputs.weights()["encoder.0.weight"]
            rows = outputs.slope.square() @ weight.square().sum(dim=1)
        elif outputs.embedding.shape[1] <= EXACT_WIDTH:
            rows = jacobian_norm(encode, x)
        else:
            rows = jacobian_norm_estimate(encode, x, self.n_probes)
        return {"contractive": rows.view(-1, len(target)).mean(dim=0)}
