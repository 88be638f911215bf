"""The contractive penalty: how much the code moves when the row moves."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch, Outputs
from sklearn_repr.objectives._base import Objective, penalty
from sklearn_repr.objectives._checks import check_constant

__all__ = ["Contraction", "jacobian_norm", "jacobian_norm_estimate"]

# Codes up to this width have their Jacobian computed exactly
EXACT_WIDTH = 16


def jacobian_norm(embedding: Tensor, inputs: Tensor) -> Tensor:
    r"""Squared Frobenius norm of the encoder's Jacobian at every row, exactly.

    Parameters
    ----------
    embedding : Tensor of shape (n, k)
        What the encoder makes of the rows, each by itself.
    inputs : Tensor of shape (n, d)
        The rows, which require a gradient.

    Returns
    -------
    norm : Tensor of shape (n,)
        :math:`\|J_\phi(x_i)\|_F^2`, differentiable in the encoder's weights.

    Examples
    --------
    >>> import torch
    >>> from sklearn_repr.objectives import jacobian_norm
    >>> x = torch.ones(1, 3, requires_grad=True)
    >>> jacobian_norm(2 * x, x).detach()
    tensor([12.])
    """
    total = torch.zeros_like(inputs[:, 0])
    for unit in embedding.unbind(dim=1):
        # rows do not touch each other: the gradient of the sum holds every row's own
        total = total + _gradient(unit.sum(), inputs).square().sum(dim=1)
    return total


def jacobian_norm_estimate(embedding: Tensor, inputs: Tensor, n_probes: int) -> Tensor:
    r"""Hutchinson's unbiased estimate of :func:`jacobian_norm`.

    .. math:: \|J\|_F^2 = E_v \|J^\top v\|^2, \quad v_k = \pm 1

    Parameters
    ----------
    embedding : Tensor of shape (n, k)
        What the encoder makes of the rows, each by itself.
    inputs : Tensor of shape (n, d)
        The rows, which require a gradient.
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
    >>> x = torch.ones(1, 3, requires_grad=True)
    >>> jacobian_norm_estimate(2 * x, x, 1).detach()
    tensor([12.])
    """
    total = torch.zeros_like(inputs[:, 0])
    for _ in range(n_probes):
        signs = torch.randint_like(embedding, 2).mul_(2).sub_(1)
        total = total + _gradient((embedding * signs).sum(), inputs).square().sum(dim=1)
    return total / n_probes


def _gradient(of: Tensor, inputs: Tensor) -> Tensor:
    return torch.autograd.grad(of, inputs, create_graph=True)[0]


@penalty("contractive")
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
    >>> x = torch.ones(1, 3, requires_grad=True)
    >>> outputs = Outputs(2 * x, inputs=x)
    >>> Contraction().terms(outputs, Batch(x))["contractive"].detach()
    tensor([12.])
    """

    uses_global_generator = True
    needs_input_gradient = True

    def __init__(self, n_probes: int = 1):
        super().__init__()
        self.n_probes = check_constant(self, "n_probes", n_probes, least=1, whole=True)

    def terms(self, outputs: Outputs, target: Batch) -> dict[str, Tensor]:
        """Return the penalty of every row; see :class:`Objective`."""
        embedding, inputs = outputs.embedding, outputs.inputs
        if inputs is None:
            raise ValueError(
                "The contractive penalty needs a module that says what it was given."
            )
        if outputs.slope is not None and outputs.weights is not None:
            weight = outputs.weights["encoder.0.weight"]
            rows = outputs.slope.square() @ weight.square().sum(dim=1)
        elif embedding.shape[1] <= EXACT_WIDTH:
            rows = jacobian_norm(embedding, inputs)
        else:
            rows = jacobian_norm_estimate(embedding, inputs, self.n_probes)
        return {"contractive": rows.view(-1, len(target)).mean(dim=0)}
