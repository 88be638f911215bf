"""What estimators whose code is a distribution can do."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_repr._contracts import Batch
from sklearn_repr.data import NumericCodec
from sklearn_repr.engine import RepresentationNet, TrainingSettings
from sklearn_repr.estimators._reconstructor import BaseReconstructor
from sklearn_repr.exceptions import CollapseWarning
from sklearn_repr.modules.factory import make_variational_network
from sklearn_repr.modules.linear import principal_subspace
from sklearn_repr.objectives import ELBO, Objective, TotalCorrelation
from sklearn_repr.objectives.variational import (
    gaussian_kl,
    log_likelihood,
    log_normal,
)
from sklearn_repr.utils.devices import single_thread
from sklearn_repr.utils.draws import matched_draws, row_shifts, shifted_normal
from sklearn_repr.utils.randomness import Seeds, make_generator

__all__ = ["BaseVariational"]

# Draws behind the expected log-likelihood in the evidence lower bound of a row
ELBO_DRAWS = 16
# A component that says less than this many nats about a row says nothing
UNUSED = 0.01
# Rows by which the use of components is judged
ROWS_TO_JUDGE_BY = 10_000


def check_count(n_samples: Any) -> None:
    """Raise unless `n_samples` is a positive integer."""
    check_scalar(n_samples, "n_samples", Integral, min_val=1)


class BaseVariational(BaseReconstructor):
    """A posterior in place of a code; see :class:`BaseReconstructor`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseReconstructor._parameter_constraints,
        "architecture": [StrOptions({"mlp", "conv"})],
        "decoder": [StrOptions({"gaussian", "bernoulli"})],
        "decoder_variance": [
            StrOptions({"learned"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "objective": [StrOptions({"elbo", "beta_tcvae"})],
        "beta": [Interval(Real, 0, None, closed="left")],
        "warm_up": [Interval(Integral, 0, None, closed="left")],
        "free_bits": [Interval(Real, 0, None, closed="left")],
    }
    _shaping: ClassVar[tuple[str, ...]] = (
        *BaseReconstructor._shaping,
        "decoder",
        "decoder_variance",
    )

    def _training_settings(self, n_rows: int) -> TrainingSettings:
        settings = super()._training_settings(n_rows)
        linear = self._is_linear()
        good = self.init == "pca" and self.decoder == "gaussian"
        good = good and (self.linear_skip or linear)
        # a linear model overfits no more than probabilistic PCA does
        return replace(settings, hold_out=not linear, good_start=good)

    def _wants_unit_interval(self) -> str | None:
        return "decoder='bernoulli'" if self.decoder == "bernoulli" else None

    def _build_module(self, rows: Batch, held_out: Batch | None) -> nn.Module:
        starts_at_pca = self.init == "pca" and self.decoder == "gaussian"
        by_share = not isinstance(self.n_components, Integral)
        subspace = None
        if starts_at_pca or by_share:
            subspace = principal_subspace(rows.values)
        self._resolve_components(subspace, held_out)
        learned = self.decoder_variance == "learned"
        return make_variational_network(
            self.architecture,
            rows.values.shape[1],
            self.n_components_,
            self._architecture_options(),
            linear_skip=self.linear_skip,
            bernoulli=self.decoder == "bernoulli",
            variance=None if learned else float(self.decoder_variance),
            subspace=subspace if starts_at_pca else None,
            dtype=rows.values.dtype,
        )

    def _build_objective(self, codec: NumericCodec) -> Objective:
        bernoulli = self.decoder == "bernoulli"
        if self.objective == "beta_tcvae":
            if self.free_bits:
                raise ValueError("free_bits needs objective='elbo'.")
            return TotalCorrelation(self.beta, warm_up=self.warm_up, bernoulli=bernoulli)
        return ELBO(
            self.beta,
            warm_up=self.warm_up,
            free_bits=self.free_bits,
            bernoulli=bernoulli,
        )

    def _finish(self, net: RepresentationNet, rows: Batch) -> None:
        some = rows.some(ROWS_TO_JUDGE_BY).values.to(net.device)
        with torch.inference_mode():
            mean, log_variance = net.module_.encoder(some)
            kl = gaussian_kl(mean, log_variance).mean(dim=0)
        self.kl_per_component_ = kl.cpu().double().numpy()
        if (
            self.kl_per_component_.max() < UNUSED
            and float(some.var(dim=0, correction=0).sum()) > 0
        ):
            warnings.warn(
                "The posterior has collapsed to the prior: no component says more than"
                f" {UNUSED} nats about a row. Lower beta, set warm_up or free_bits, or"
                " fix a smaller decoder_variance.",
                CollapseWarning,
                stacklevel=2,
            )

    def _row_error(self, module: Any, x: Tensor) -> Tensor:
        return -_log_likelihood(module, x, module.encode(x))

    def transform(self, X: Any, return_std: bool = False) -> Any:
        """Map rows to the mean of their posterior.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        return_std : bool, default=False
            Return the posterior's standard deviations too.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components_)
            Means; float32 if `X` is float32, else float64.
        std : ndarray of shape (n_samples, n_components_)
            Standard deviations, if asked for.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False, infers=True)
        module = self.net_.module_
        Z = self._infer(module.encode, rows, dtype=rows.dtype)
        if not return_std:
            return Z

        def deviations(module: Any, x: Tensor) -> Tensor:
            return (0.5 * module.encoder(x)[1]).exp()  # type: ignore[no-any-return]

        return Z, self._infer(deviations, rows, module=module, dtype=rows.dtype)

    def score_samples(self, X: Any, n_samples: int | None = None) -> NDArray[np.float64]:
        r"""Bound the log-density of rows from below.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_in_)
            Rows.
        n_samples : int or None, default=None
            None is the evidence lower bound (β = 1). K is the importance-weighted bound

            .. math:: \log \frac1K \sum_{k=1}^K \frac{p(x|z_k) p(z_k)}{q(z_k|x)}, \quad
                      z_k \sim q(z|x)

            which in expectation grows with K towards log p(x).

        Returns
        -------
        score : ndarray of shape (n_samples,)
            Nats, of the density in the units of `X` (of scaled rows, if ``scaling`` is
            "quantile"). A row's draws depend on the row alone, so its score does not
            depend on its neighbours.
        """
        check_is_fitted(self)
        rows = self._validate(X, reset=False)
        self._check_scored(rows)
        if n_samples is None:
            points = matched_draws(ELBO_DRAWS, self.n_components_)
        else:
            check_count(n_samples)
            engine: Any = torch.quasirandom.SobolEngine
            sobol = engine(self.n_components_)
            points = sobol.draw(int(n_samples), dtype=torch.float64)

        def bound(module: Any, x: Tensor) -> Tensor:
            mean, log_variance = module.encoder(x)
            # the plain bound shares its draws, and needs no row's own shift
            shifts = None if n_samples is None else row_shifts(x, self.n_components_)
            parts = []
            for point in points.to(x.device):
                draw = point if shifts is None else shifted_normal(point, shifts)
                z = mean + (0.5 * log_variance).exp() * draw.to(x)
                part = _log_likelihood(module, x, z)
                if n_samples is not None:
                    prior = log_normal(z, 0.0, 0.0)
                    part = part + (prior - log_normal(z, mean, log_variance)).sum(dim=1)
                parts.append(part)
            if n_samples is not None:
                return torch.stack(parts).logsumexp(dim=0) - math.log(len(points))
            expected = torch.stack(parts).mean(dim=0)
            return expected - gaussian_kl(mean, log_variance).sum(dim=1)

        volume = (
            0.0 if self._codec.scaling == "quantile" else np.log(self._codec.scale_).sum()
        )
        bounds = self._infer(bound, rows, module=self.net_.module_, dtype=np.float64)
        bounds -= volume
        return bounds

    def sample(
        self, n_samples: int = 1, *, noise: bool = True, random_state: Any = None
    ) -> Any:
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            How many.
        noise : bool, default=True
            Draw columns from p(x|z); False returns their means.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features_in_)
            Rows in original units; a DataFrame if ``set_output`` asks for one.
        """
        check_is_fitted(self)
        check_count(n_samples)
        module = self.net_.module_
        generator = make_generator(Seeds(random_state)["sample"])
        codes = torch.randn(int(n_samples), self.n_components_, generator=generator)
        with torch.inference_mode(), single_thread():
            columns = module.decode(codes.to(module.log_noise)).cpu()
            if noise and module.bernoulli:
                columns = torch.bernoulli(columns, generator=generator)
            elif noise:
                spread = (0.5 * module.log_noise).exp().cpu()
                draws = torch.randn(columns.shape, generator=generator)
                columns = columns + spread * draws.to(columns)
        return self._wrapped(self._codec.decode(columns), None)


def _log_likelihood(module: Any, x: Tensor, z: Tensor) -> Tensor:
    return log_likelihood(module.decoder(z), x, module.log_noise, module.bernoulli)
