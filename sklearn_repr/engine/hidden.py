"""A step of a masked autoencoder with every gradient by hand."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from sklearn_repr._contracts import Batch
from sklearn_repr.engine.gradients import is_squared_error, own_grad
from sklearn_repr.modules.factors import FLOOR, evidence
from sklearn_repr.modules.fused import FusedPerceptron, fuse
from sklearn_repr.modules.masked import MaskedNetwork, MaskInputs, PosteriorPath

__all__ = ["HiddenStep", "PosteriorStep", "hidden_step"]


class HiddenStep:
    """Loss and gradients of hidden cells, whose error is squared.

    Parameters
    ----------
    encoder, decoder : FusedPerceptron or None
        The networks. Gradients are left where automatic differentiation leaves them.
    path : PosteriorStep or None
        The linear path.
    """

    def __init__(
        self,
        encoder: FusedPerceptron | None,
        decoder: FusedPerceptron | None,
        path: PosteriorStep | None,
    ):
        self.encoder = encoder
        self.decoder = decoder
        self.path = path
        self.grads = [
            [] if part is None else list(map(own_grad, part.parameters))
            for part in (encoder, decoder)
        ]

    def __call__(self, inputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return "loss" and the terms of a batch by name."""
        there: list[Tensor] = []
        back: list[Tensor] = []
        encoder, decoder, path = self.encoder, self.decoder, self.path
        with torch.inference_mode():
            hidden = inputs.isnan()
            codes, rebuilt = [], []
            if path is not None:
                codes.append(path.encode(inputs))
            if encoder is not None:
                cells = inputs.masked_fill(hidden, 0.0)
                seen = (~hidden).to(inputs)
                codes.append(encoder.forward(torch.cat([cells, seen], dim=1), there))
            z = codes[0] if len(codes) == 1 else codes[0].add_(codes[1])
            if path is not None:
                rebuilt.append(path.decode(z))
            if decoder is not None:
                rebuilt.append(decoder.forward(z, back))
            residual = rebuilt[0] if len(rebuilt) == 1 else rebuilt[0].add_(rebuilt[1])

            counted = cast(Tensor, batch.mask)
            if batch.observed is not None:
                counted = counted & batch.observed
            residual = residual.sub_(batch.values).masked_fill_(~counted, 0.0)
            share = residual.shape[1] / counted.sum(dim=1, keepdim=True).clamp_(min=1)
            weighted = residual * share
            loss = weighted.mul(residual).sum() / len(inputs)
            grad = weighted.mul_(2 / len(inputs))

            flowing: Tensor | None = None
            if decoder is not None:
                flowing = decoder.backward(
                    grad, back, out=self.grads[1], wants_rows=True
                )[0]
            if path is not None:
                flowing = path.backward(grad, flowing)
            if encoder is not None:
                encoder.backward(cast(Tensor, flowing), there, out=self.grads[0])
        return {"loss": loss, "reconstruction": loss}


class PosteriorStep:
    r"""The linear path of a masked autoencoder, with its gradient by hand.

    A row's code solves :math:`A z = p` with :math:`A = I + \sum_j v_j s_j w_j^\top`,
    :math:`p = \sum_j r_j s_j`, visibility v, residuals :math:`r_j = v_j (x_j - \mu_j)`
    and :math:`s_j = w_j / \psi_j`. Of the gradient g of the code, with :math:`A u = g`,

    .. math:: \frac{\partial}{\partial s_j} = r_j u - v_j (z^\top w_j) u, \quad
              \frac{\partial}{\partial w_j} = - v_j (u^\top s_j) z, \quad
              \frac{\partial}{\partial \mu_j} = - v_j u^\top s_j

    Parameters
    ----------
    path : PosteriorPath
        Its gradients are left where automatic differentiation leaves them.
    """

    def __init__(self, path: PosteriorPath):
        self.path = path
        self.weight, self.mean = path.weight.detach(), path.mean.detach()
        self.log_noise = path.log_noise.detach()

    def encode(self, x: Tensor) -> Tensor:
        """Return codes, and keep what `backward` needs."""
        self.own = self.log_noise.exp()
        self.noise = self.own + FLOOR * self.weight.square().sum(dim=1)
        self.seen = x
        precision, pull = evidence(x, self.mean, self.weight, self.noise)
        self.factors = torch.linalg.lu_factor_ex(precision)[:2]
        self.code = torch.linalg.lu_solve(*self.factors, pull.unsqueeze(2)).squeeze(2)
        missing = self.path.missing
        return (
            nn.functional.pad(self.code, (0, missing)) if missing else self.code.clone()
        )

    def decode(self, z: Tensor) -> Tensor:
        """Return rows."""
        self.whole = z[:, : self.weight.shape[1]]
        return torch.addmm(self.mean, self.whole, self.weight.t())

    def backward(self, grad: Tensor, flowing: Tensor | None) -> Tensor:
        """Return the gradient of codes, given that of rows and what else flows there."""
        k = self.weight.shape[1]
        through = torch.mm(grad, self.weight)
        if flowing is None:
            flowing = through
        else:
            flowing[:, :k].add_(through)
        to_weight, to_mean = torch.mm(grad.t(), self.whole), grad.sum(dim=0)

        to_code = flowing[:, :k].unsqueeze(2)
        u = torch.linalg.lu_solve(*self.factors, to_code).squeeze(2)
        visible = ~self.seen.isnan()
        scaled = self.weight / self.noise.unsqueeze(1)
        # how far a cell is from what the code says of it
        left = (self.seen - self.mean).sub_(torch.mm(self.code, self.weight.t()))
        pulled = torch.mm(u, scaled.t()).mul_(visible)
        to_scaled = torch.mm(left.masked_fill_(~visible, 0.0).t(), u)
        to_weight.sub_(torch.mm(pulled.t(), self.code))
        to_mean.sub_(pulled.sum(dim=0))
        to_noise = (to_scaled * scaled).sum(dim=1).div_(self.noise).neg_()
        to_weight.add_(to_scaled.div_(self.noise.unsqueeze(1)))
        to_weight.add_(self.weight * (2 * FLOOR * to_noise).unsqueeze(1))
        path = self.path
        for parameter, found in (
            (path.weight, to_weight),
            (path.mean, to_mean),
            (path.log_noise, to_noise.mul_(self.own)),
        ):
            own_grad(parameter).copy_(found)
        return flowing


def hidden_step(net: Any) -> HiddenStep | None:
    """Return the step by hand for a net that it is known to fit, else None.

    Parameters
    ----------
    net : RepresentationNet
        Initialised, and without hooks.

    Returns
    -------
    step : HiddenStep or None
        None for other modules and losses, transformers and dropout.
    """
    module, objective = net.module_, net.criterion_
    if type(module) is not MaskedNetwork or objective.weights:
        return None
    if not (is_squared_error(objective) and objective.masked_only):
        return None
    encoder, decoder, path = module.encoder, module.decoder, module.path
    if not all(p.requires_grad for p in module.parameters()):
        return None
    first = second = step = None
    if encoder is not None:
        first = fuse(encoder.network, False) if type(encoder) is MaskInputs else None
    if decoder is not None:
        second = fuse(decoder, False)
    if type(path) is PosteriorPath:
        step = PosteriorStep(path)
    given, known = (encoder, decoder, path), (first, second, step)
    if any((a is None) != (b is None) for a, b in zip(given, known, strict=True)):
        return None
    return HiddenStep(first, second, step)
