"""Gaussian densities over codes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rig.goals.base import GoalSampler
from rig.nets import Adam
from rig.types import Report, need_covariance, silent


@dataclass(frozen=True)
class GaussianConfig:
    """Settings of the diagonal Gaussian: none."""

    name: str = "gaussian"


@dataclass(frozen=True)
class DescendedGaussianConfig:
    """Settings of the diagonal Gaussian that is found by descent."""

    name: str = "gaussian_kl"
    steps: int = 2000  # gradient steps
    learning_rate: float = 0.05  # of Adam, falling to a tenth


@dataclass(frozen=True)
class FullGaussianConfig:
    """Settings of the Gaussian with full covariance: none."""

    name: str = "gaussian_full"


@dataclass(frozen=True)
class StandardNormalConfig:
    """Settings of the unit Gaussian: none."""

    name: str = "standard_normal"


def shares(latent: Tensor, weight: Tensor | None = None) -> Tensor:
    """What each of codes f32[M, D] counts, f64[M] of sum 1: its weight, or all alike where there is none."""
    if weight is not None:
        return weight
    return torch.full((len(latent),), 1 / len(latent), dtype=torch.float64, device=latent.device)


def moments(latent: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean f64[D] and covariance f64[D, D] of codes f32[M, D] that count by `weight` f64[M], of sum 1."""
    codes = latent.double()
    mean = weight @ codes
    return mean, (codes - mean).T @ (weight[:, None] * (codes - mean))


def cholesky_factor(covariance: Tensor) -> Tensor:
    """L f64[D, D] of a covariance f64[D, D] = L Lᵀ; a jitter of 1e-6 of the mean variance keeps it positive definite."""
    jitter = 1e-6 * covariance.diagonal().mean().clamp(min=1e-6)
    return torch.linalg.cholesky(covariance + jitter * torch.eye(len(covariance), device=covariance.device))


class _Normal(GoalSampler):
    """N(mean, L Lᵀ), L lower triangular: what the samplers below are made of."""

    mean: Tensor
    cholesky: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        need_covariance(latent_dim, "goals=replayed")
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("cholesky", torch.eye(latent_dim))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw imagined goals f32[count, D]."""
        noise = torch.randn((count, len(self.mean)), generator=generator, device=self.mean.device)
        return self.mean + noise @ self.cholesky.T

    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats, f32[B]."""
        white = torch.linalg.solve_triangular(self.cholesky, (latent - self.mean).T, upper=False)
        log_det = self.cholesky.diagonal().log().sum()
        return -0.5 * white.square().sum(0) - log_det - 0.5 * len(self.mean) * math.log(2 * math.pi)


class Gaussian(_Normal):
    """Diagonal Gaussian, in closed form from the mean and variance of the encoder's means.

    Source: Nair et al. 2018, Algorithm 1, line 3.
    """

    Config = GaussianConfig

    def __init__(self, config: GaussianConfig, latent_dim: int) -> None:
        super().__init__(latent_dim)

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Maximum likelihood on codes f32[M, D], weighted by f64[M] where given."""
        if weight is None:
            mean, deviation = latent.mean(0), latent.std(0, correction=0)
        else:
            mean, covariance = moments(latent, weight)
            deviation = covariance.diagonal().sqrt()
        self.mean.copy_(mean)
        self.cholesky.copy_(torch.diag(deviation.clamp(min=1e-6)))


class DescendedGaussian(_Normal):
    """Diagonal Gaussian by gradient descent on KL(codes ‖ N(m, σ²)), the codes as the Gaussian of their own mean and variance.

    KL = Σ log σ/s + (s² + (μ - m)²) / 2σ² - 1/2 over the latents, μ and s² being the codes'. It ends where `gaussian` is by its
    closed form, which a test holds it to. Source: Kullback & Leibler 1951; Nair et al. 2018, Algorithm 1, line 3.
    """

    Config = DescendedGaussianConfig

    def __init__(self, config: DescendedGaussianConfig, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.config = config

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Descend on codes f32[M, D], weighted by f64[M] where given, from N(0, 1) in each latent's root mean square.

        In that unit the KL is the same, and means that are hundreds of deviations from zero are reached.
        """
        mean, covariance = moments(latent, shares(latent, weight))
        variance = covariance.diagonal().clamp(min=1e-12)
        unit = (variance + mean.square()).sqrt()
        mean, variance = mean / unit, variance / unit.square()
        centre, log_deviation = nn.Parameter(torch.zeros_like(mean)), nn.Parameter(torch.zeros_like(mean))
        descent = Adam([centre, log_deviation], self.config.learning_rate, anneal=self.config.steps)
        for _ in range(self.config.steps):
            spread = (2 * log_deviation).exp()
            divergence = log_deviation - 0.5 * variance.log() + (variance + (mean - centre).square()) / (2 * spread) - 0.5
            descent.minimise(divergence.sum())
        self.mean.copy_(unit * centre.detach())
        self.cholesky.copy_(torch.diag(unit * log_deviation.detach().exp()))


class FullGaussian(_Normal):
    """Gaussian with full covariance: imagines no goals that contradict how the latents move together.

    Source: maximum likelihood; the diagonal one is Nair et al. 2018, Algorithm 1, line 3.
    """

    Config = FullGaussianConfig

    def __init__(self, config: FullGaussianConfig, latent_dim: int) -> None:
        super().__init__(latent_dim)

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Maximum likelihood on codes f32[M, D], weighted by f64[M] where given."""
        if weight is None:
            mean, covariance = latent.mean(0), latent.double().T.cov(correction=0).reshape(latent.shape[1], -1)
        else:
            mean, covariance = moments(latent, weight)
        self.mean.copy_(mean)
        self.cholesky.copy_(cholesky_factor(covariance))


class StandardNormal(_Normal):
    """N(0, I), the prior of the VAE itself; fitted to nothing.

    Source: Kingma & Welling 2014.
    """

    Config = StandardNormalConfig

    def __init__(self, config: StandardNormalConfig, latent_dim: int) -> None:
        super().__init__(latent_dim)

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Nothing is fitted."""
