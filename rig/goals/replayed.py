"""Goals that were seen: codes of visited frames, alike or skewed towards rare ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rig.goals.base import GoalSampler
from rig.goals.gaussian import cholesky_factor, moments, shares
from rig.types import WIDEST, Report, silent


@dataclass(frozen=True)
class ReplayedConfig:
    """Settings of goals drawn from visited frames."""

    name: str = "replayed"
    codes: int = 4096  # codes kept to draw from, each as often as it weighs


class Replayed(GoalSampler):
    """Codes of visited frames, drawn as they weigh: places that the agent, or exploration, has been at.

    A drawn code has no density; `log_prob` is that of a kernel density estimate on the codes kept.
    Source: the empirical distribution of Pong et al. 2019 (arXiv:1903.03698), section 3.1, before it is skewed.
    """

    Config = ReplayedConfig
    table: Tensor

    def __init__(self, config: ReplayedConfig, latent_dim: int) -> None:
        super().__init__()
        self.has_density = latent_dim <= WIDEST  # its kernels have the covariance of the codes
        self.register_buffer("table", torch.zeros(config.codes, latent_dim))

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Keep codes f32[M, D], each about as often as `weight` f64[M] says: systematic resampling, which draws nothing.

        Source: Carpenter et al. 1999.
        """
        count = len(self.table)
        place = (torch.arange(count, device=latent.device, dtype=torch.float64) + 0.5) / count
        weight = torch.ones(len(latent), device=latent.device, dtype=torch.float64) if weight is None else weight
        chosen = torch.searchsorted(weight.cumsum(0) / weight.sum(), place)
        self.table.copy_(latent[chosen.clamp(max=len(latent) - 1)])

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw goals f32[count, D] among the codes kept."""
        return self.table[torch.randint(len(self.table), (count,), generator=generator, device=self.table.device)]

    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats, f32[B], of the kernel density estimate."""
        return kernel_log_density(self.table, latent)


@dataclass(frozen=True)
class SkewedConfig(ReplayedConfig):
    """Settings of goals drawn from visited frames as Skew-Fit weighs them, by `skew.power`, which is below 0 with these."""

    name: str = "skewed"


class Skewed(Replayed):
    """Codes of visited frames, rare ones the more: the goals of Skew-Fit. `goals=skewed` sets skew.power=-1.

    Any other sampler is skewed by `skew.power` too: it is fitted to codes that weigh so.
    Source: Pong et al. 2019 (arXiv:1903.03698), section 3.2, goals from the skewed replay.
    """

    Config = SkewedConfig


def kernel_log_density(seen: Tensor, points: Tensor) -> Tensor:
    """log p in nats, f32[B], of points f32[B, D]: a kernel density estimate on those seen, f32[M, D].

    Its kernels are Gaussians of their covariance times Scott's factor. Source: Scott 1992, section 6.
    """
    count, dim = seen.shape
    mean, covariance = moments(seen, shares(seen))
    cholesky = cholesky_factor(covariance) * count ** (-1 / (dim + 4))

    def white(place: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(cholesky, (place - mean).T, upper=False).T

    centres = white(seen)
    near = [(-0.5 * torch.cdist(chunk, centres).square()).logsumexp(1) for chunk in white(points).split(512)]
    scale = math.log(count) + 0.5 * dim * math.log(2 * math.pi) + cholesky.diagonal().log().sum()
    return (torch.cat(near) - scale).float()
