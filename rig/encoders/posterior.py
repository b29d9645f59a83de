"""Gaussian posteriors q(z|x) of a code, made of a net's output."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LOG_VARIANCE = (-12.0, 4.0)
"""Bounds of a posterior's log-variance: within what a float's exponential bears."""
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def log_standard_normal(latent: Tensor) -> Tensor:
    """log N(z; 0, I) in nats, f32[...], of codes f32[..., D]: the prior of every variational autoencoder here."""
    return -0.5 * latent.square().sum(-1) - HALF_LOG_TAU * latent.shape[-1]


class DiagonalGaussian(NamedTuple):
    """N(μ, diag σ²). Source: Kingma & Welling 2014, appendix B."""

    mean: Tensor
    """f32[B, D]."""
    log_variance: Tensor
    """f32[B, D]."""

    @staticmethod
    def outputs(latent_dim: int) -> int:
        """How many outputs a net needs for `latent_dim` latents."""
        return 2 * latent_dim

    @classmethod
    def of(cls, outputs: Tensor) -> DiagonalGaussian:
        """From a net's outputs [B, 2D] of any floating type."""
        mean, log_variance = outputs.float().chunk(2, dim=1)
        return cls(mean, log_variance.clamp(*LOG_VARIANCE))

    def sample(self, noise: Tensor) -> Tensor:
        """Codes f32[..., B, D] of standard normal noise f32[..., B, D]: reparameterisation (same source, section 2.4)."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def log_prob(self, noise: Tensor) -> Tensor:
        """log q(z|x) in nats, f32[..., B], of the codes that `sample` makes of this noise."""
        return log_standard_normal(noise) - 0.5 * self.log_variance.sum(1)

    def covariance(self) -> Tensor:
        """f32[B, D, D]."""
        return torch.diag_embed(self.log_variance.exp())

    def kl(self) -> Tensor:
        """KL(q ‖ N(0, I)) in nats, f32[B], in closed form."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).sum(1)


class FullGaussian(NamedTuple):
    """N(μ, L Lᵀ), L lower triangular: latents may depend on each other given the picture. Source: Kingma & Welling 2019, 2.5."""

    mean: Tensor
    """f32[B, D]."""
    cholesky: Tensor
    """L, f32[B, D, D], its diagonal above zero."""

    @staticmethod
    def outputs(latent_dim: int) -> int:
        """See DiagonalGaussian."""
        return 2 * latent_dim + latent_dim * (latent_dim - 1) // 2

    @classmethod
    def of(cls, outputs: Tensor) -> FullGaussian:
        """From a net's outputs [B, 2D + D(D - 1)/2] of any floating type: μ, log of L's squared diagonal, L below it."""
        outputs = outputs.float()
        dim = math.isqrt(2 * outputs.shape[1] + 2) - 1  # 2D + D(D - 1)/2 = ((D + 1)(D + 2) - 2)/2
        mean, log_variance, below = outputs.split((dim, dim, outputs.shape[1] - 2 * dim), dim=1)
        row, column = torch.tril_indices(dim, dim, -1, device=outputs.device)
        cholesky = torch.diag_embed((0.5 * log_variance.clamp(*LOG_VARIANCE)).exp())
        return cls(mean, cholesky.index_put((torch.arange(len(mean), device=mean.device)[:, None], row, column), below))

    def sample(self, noise: Tensor) -> Tensor:
        """See DiagonalGaussian: μ + L ε."""
        return self.mean + (self.cholesky @ noise[..., None]).squeeze(-1)

    def log_prob(self, noise: Tensor) -> Tensor:
        """See DiagonalGaussian."""
        return log_standard_normal(noise) - self._log_diagonal()

    def covariance(self) -> Tensor:
        """See DiagonalGaussian."""
        return self.cholesky @ self.cholesky.mT

    def kl(self) -> Tensor:
        """See DiagonalGaussian."""
        spread = self.cholesky.square().sum((1, 2)) + self.mean.square().sum(1) - self.mean.shape[1]
        return 0.5 * spread - self._log_diagonal()

    def _log_diagonal(self) -> Tensor:
        return self.cholesky.diagonal(dim1=1, dim2=2).log().sum(1)


Posterior = DiagonalGaussian | FullGaussian
