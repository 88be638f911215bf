"""A step of a variational network with every gradient by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sklearn_repr._contracts import Batch
from sklearn_repr.engine.gradients import own_grad
from sklearn_repr.modules.fused import FusedPerceptron, fuse
from sklearn_repr.modules.variational import BOUND, GaussianEncoder, VariationalNetwork
from sklearn_repr.objectives.variational import ELBO, LOG_2PI

__all__ = ["BoundStep", "bound_step"]


class BoundStep:
    r"""Loss and gradients of the evidence lower bound with normal columns.

    With residual :math:`r = \hat x - x`, noise :math:`\sigma^2`, draws :math:`z = \mu + s
    \epsilon`, :math:`s = e^{v / 2}`, and the gradient g of z through the decoder, per row

    .. math:: \frac{\partial}{\partial \hat x} = \frac{r}{\sigma^2}, \quad
              \frac{\partial}{\partial \log \sigma^2} = \sum_j \frac12
              \Big(1 - \frac{r_j^2}{\sigma^2}\Big), \quad
              \frac{\partial}{\partial \mu} = g + \beta \mu, \quad
              \frac{\partial}{\partial v} = \frac12 (g s \epsilon + \beta (s^2 - 1))

    Parameters
    ----------
    net : RepresentationNet
        Its objective is the bound, whose weight of the divergence is read in every step.
    parts : tuple of FusedPerceptron
        The encoder's network, the decoder and, where there is one, the encoder's linear
        path. Gradients are left where automatic differentiation leaves them.
    """

    def __init__(self, net: Any, parts: tuple[FusedPerceptron, ...]):
        self.objective = net.criterion_
        self.log_noise = net.module_.log_noise
        self.learned = [self.log_noise] if self.log_noise.requires_grad else []
        self.network, self.decoder, *self.path = parts
        for parameter in self.learned:
            own_grad(parameter)
        self.grads = {id(part): list(map(own_grad, part.parameters)) for part in parts}

    def __call__(self, inputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        share, beta = 1.0 / len(inputs), self.objective.weights.get("kl", 1.0)
        there: list[Tensor] = []
        back: list[Tensor] = []
        with torch.inference_mode():
            moments = self.network.forward(inputs, there)
            mean, raw = moments.chunk(2, dim=1)
            for path in self.path:
                mean = path.forward(inputs, []).add_(mean)
            log_variance = raw.clamp(-BOUND, BOUND)
            deviation = (0.5 * log_variance).exp_()
            noisy = deviation * torch.randn_like(mean)
            residual = self.decoder.forward(mean + noisy, back).sub_(batch.values)

            precision = (-self.log_noise).exp()
            squares = precision * residual.square().sum()
            d = residual.shape[1]
            constant = d * (self.log_noise + LOG_2PI)
            rebuilt = (squares * share).add_(constant).mul_(0.5)
            variance = deviation.square()
            kl = (variance - log_variance).add_(mean.square()).sub_(1.0)
            kl = kl.sum().mul_(0.5 * share)

            for log_noise in self.learned:
                log_noise.grad.copy_((d - squares * share).mul_(0.5))
            through = self._backward(
                self.decoder, residual.mul_(precision * share), back, wants_rows=True
            )
            flowing = torch.empty_like(moments)
            to_mean, to_raw = flowing.chunk(2, dim=1)
            torch.add(through, mean, alpha=beta * share, out=to_mean)
            torch.mul(through, noisy, out=to_raw)
            to_raw.add_(variance.sub_(1.0), alpha=beta * share).mul_(0.5)
            to_raw.mul_(log_variance == raw)  # where it was not cut off
            for path in self.path:
                self._backward(path, to_mean, [inputs])
            self._backward(self.network, flowing, there)
        return {"loss": rebuilt + beta * kl, "reconstruction": rebuilt, "kl": kl}

    def _backward(
        self,
        part: FusedPerceptron,
        grad: Tensor,
        kept: list[Tensor],
        wants_rows: bool = False,
    ) -> Any:
        grads = self.grads[id(part)]
        return part.backward(grad, kept, out=grads, wants_rows=wants_rows)[0]


def bound_step(net: Any) -> BoundStep | None:
    """Return the step by hand for a net that it is known to fit, else None.

    Parameters
    ----------
    net : RepresentationNet
        Initialised, and without hooks.

    Returns
    -------
    step : BoundStep or None
        None for any other objective, Bernoulli columns, free bits, and networks that are
        not perceptrons.
    """
    module, objective = net.module_, net.criterion_
    if type(module) is not VariationalNetwork or type(objective) is not ELBO:
        return None
    encoder, plain = module.encoder, not (objective.free_bits or objective.bernoulli)
    if type(encoder) is not GaussianEncoder or not plain:
        return None
    halves = [encoder.network, module.decoder]
    halves += [] if encoder.linear is None else [encoder.linear]
    parts = [fuse(half, watched=False) for half in halves]
    if any(part is None for part in parts):
        return None
    return BoundStep(net, tuple(part for part in parts if part is not None))
