"""A mixture of Gaussians over codes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rig.goals.base import GoalSampler
from rig.goals.gaussian import cholesky_factor, moments, shares
from rig.types import Report, need_covariance, silent

ROUNDS, GAIN = 200, 1e-6
"""Rounds of EM at most, and the gain of log-likelihood a code in nats below which no more are made."""


@dataclass(frozen=True)
class MixtureConfig:
    """Settings of the mixture of Gaussians."""

    name: str = "mixture"
    components: int = 8  # Gaussians, each with a full covariance


class Mixture(GoalSampler):
    """Σ π_k N(m_k, L_k L_kᵀ) by expectation-maximisation: a density with several heaps, or one that bends.

    Means begin at codes far from each other, drawn always alike (k-means++), covariances at that of all codes. A component keeps
    a thousandth of that covariance, so that none falls onto a single code.
    Source: Dempster et al. 1977; Arthur & Vassilvitskii 2007 for the beginning.
    """

    Config = MixtureConfig
    share: Tensor
    mean: Tensor
    cholesky: Tensor

    def __init__(self, config: MixtureConfig, latent_dim: int) -> None:
        super().__init__()
        need_covariance(latent_dim, "goals=replayed")
        count = config.components
        self.register_buffer("share", torch.full((count,), 1 / count))
        self.register_buffer("mean", torch.zeros(count, latent_dim))
        self.register_buffer("cholesky", torch.eye(latent_dim).repeat(count, 1, 1))

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Maximum likelihood, or a local one, on codes f32[M, D], weighted by f64[M] where given."""
        codes, counts = latent.double(), shares(latent, weight)
        _, everywhere = moments(latent, counts)
        floor = 1e-3 * everywhere
        share = torch.full(self.share.shape, 1 / len(self.share), dtype=torch.float64, device=codes.device)
        mean = _far_apart(codes, counts, len(share))
        cholesky = cholesky_factor(everywhere).repeat(len(share), 1, 1)
        before = -math.inf
        for _ in range(ROUNDS):
            joint = _log_joint(codes, share, mean, cholesky)
            total = joint.logsumexp(1)
            likelihood = float(counts @ total)
            if likelihood - before < GAIN:
                break
            before = likelihood
            belongs = (joint - total[:, None]).exp() * counts[:, None]
            share = belongs.sum(0).clamp(min=1e-12)
            parts = [moments(latent, column / size) for column, size in zip(belongs.T, share, strict=True)]
            mean = torch.stack([centre for centre, _ in parts])
            cholesky = torch.stack([cholesky_factor(covariance + floor) for _, covariance in parts])
        self.share.copy_(share / share.sum())
        self.mean.copy_(mean)
        self.cholesky.copy_(cholesky)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw imagined goals f32[count, D]."""
        place = torch.rand(count, generator=generator, device=self.mean.device)
        chosen = torch.searchsorted(self.share.cumsum(0), place).clamp(max=len(self.share) - 1)
        noise = torch.randn((count, self.mean.shape[1]), generator=generator, device=self.mean.device)
        return self.mean[chosen] + torch.einsum("bij,bj->bi", self.cholesky[chosen], noise)

    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats, f32[B]."""
        parts = (part.double() for part in (latent, self.share, self.mean, self.cholesky))
        return _log_joint(*parts).logsumexp(1).float()


def _log_joint(codes: Tensor, share: Tensor, mean: Tensor, cholesky: Tensor) -> Tensor:
    """log π_k N(z | m_k, L_k L_kᵀ) f64[B, K]."""
    white = torch.linalg.solve_triangular(cholesky, (codes - mean[:, None]).transpose(1, 2), upper=False)
    log_det = cholesky.diagonal(dim1=1, dim2=2).log().sum(1)
    return share.log() - log_det - 0.5 * codes.shape[1] * math.log(2 * math.pi) - 0.5 * white.square().sum(1).T


def _far_apart(codes: Tensor, counts: Tensor, number: int) -> Tensor:
    """`number` codes f64[number, D], each drawn in proportion to its weight and squared distance from those before it."""
    always = torch.Generator(codes.device).manual_seed(0)
    scaled = codes / codes.std(0, correction=0).clamp(min=1e-12)
    chosen = [torch.multinomial(counts, 1, generator=always)]
    nearest = torch.full((len(codes),), torch.inf, dtype=codes.dtype, device=codes.device)
    for _ in range(number - 1):
        nearest = torch.minimum(nearest, (scaled - scaled[chosen[-1]]).square().sum(1))
        chance = counts * nearest
        chosen.append(torch.multinomial(chance if bool(chance.sum() > 0) else counts, 1, generator=always))
    return codes[torch.cat(chosen)]
