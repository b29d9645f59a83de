"""Rewards that a distance in the latent frame gives by itself, or with a figure or two taken from the exploration frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rig.rewards.base import Centred, Reward, pair_distances, weighted_distance
from rig.types import Coordinates, Density, Picturer, living, need_covariance

NORMS = ("l2", "l1", "squared")
"""Every way of making one number of the differences."""
COVARIANCES = ("codes", "posterior")
"""What a Mahalanobis distance can be measured by."""
LOOKED_AT = 2048
"""Most frames whose posteriors are averaged."""
PAIRS = 10_000
"""Pairs of frames whose distances a threshold is chosen by."""


@dataclass(frozen=True)
class LatentDistanceConfig:
    """Settings of the latent distance."""

    name: str = "latent_distance"
    norm: str = "l2"  # l2: the Euclidean length | l1: the sum of absolute differences | squared: half the squared length


class LatentDistance(Reward):
    """-d, d = ‖W(u' - u_g)‖: at most 0, without a lower bound, in the units of the latent frame (their squares for `squared`).

    Source: Nair et al. 2018, section 4.3, eq. 3; `squared` is its log-likelihood under a unit Gaussian, but for a constant.
    """

    Config = LatentDistanceConfig

    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """See Reward."""
        if self.config.norm == "l2":
            return -weighted_distance(latent, goal, weight)
        apart = (latent - goal) * weight
        return -apart.abs().sum(1) if self.config.norm == "l1" else -0.5 * apart.square().sum(1)


@dataclass(frozen=True)
class ReciprocalConfig:
    """Settings of the reciprocal reward."""

    name: str = "reciprocal"
    scale: float = 0.5  # distance, in the units of the latent frame, that is worth half of being there


class Reciprocal(Reward):
    """1 / (1 + d / scale) - 1, d = ‖W(u' - u_g)‖: from 0 at the goal down to -1 far away, -1/2 at `scale`.

    A centimetre counts the more the nearer the goal is. Under the distance itself the last centimetres, and whatever weighs
    little beside what does not move, are lost in the error of the values. Source: the reciprocal tolerance of Tassa et al. 2018
    (arXiv:1801.00690; `reciprocal` in dm_control's rewards), less 1, so that nothing is better than being there.
    """

    Config = ReciprocalConfig

    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """See Reward."""
        distance = weighted_distance(latent, goal, weight)
        return -distance / (distance + self.config.scale)


@dataclass(frozen=True)
class SparseConfig:
    """Settings of the sparse reward."""

    name: str = "sparse"
    quantile: float = 0.05  # share of pairs of exploration frames that count as being at the same place


class Sparse(Reward):
    """0 where d = ‖W(u' - u_g)‖ is at most a threshold, else -1: the number of steps that are yet to be made, counted down.

    The threshold is the distance that a share `quantile` of random pairs of exploration frames do not exceed, so that it fits any
    encoder. Source: Andrychowicz et al. 2017 (HER, arXiv:1707.01495), section 4.1.
    """

    Config = SparseConfig
    threshold: Tensor

    def __init__(self, config: SparseConfig) -> None:
        super().__init__(config)
        self.register_buffer("threshold", torch.zeros(()))

    def fit(self, observed: Tensor, episodes: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        """See Reward."""
        every = episodes.flatten(0, 1)
        one, other = torch.randint(len(every), (2, PAIRS), generator=generator, device=every.device)
        self.threshold.copy_(pair_distances(every, one, other, weight).quantile(self.config.quantile))

    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """See Reward."""
        return -(weighted_distance(latent, goal, weight) > self.threshold).float()


@dataclass(frozen=True)
class MahalanobisConfig:
    """Settings of the Mahalanobis distance."""

    name: str = "mahalanobis"
    covariance: str = "codes"  # of what: codes: exploration frames' coordinates | posterior: q(z|x), on average over these frames


class Mahalanobis(Reward):
    """-d, d² = (u' - u_g)ᵀ Σ⁻¹ (u' - u_g), Σ a covariance of agent coordinates: at most 0, in deviations.

    It knows no weights. With the covariance of exploration frames every direction counts by how far it varies: it is the
    Euclidean distance of whitened codes. With the encoder's posterior it counts by how surely the encoder tells of it. Source:
    Nair et al. 2018, section 4.3, where Σ is that of the posterior.
    """

    Config = MahalanobisConfig
    whitening: Tensor

    def attach(self, encoder: Picturer, goals: Density, frame: Coordinates) -> None:
        """See Reward. Raises ValueError for codes that are too long, or without a posterior whose covariance is asked for."""
        need_covariance(frame.dim, "reward=latent_distance")
        self.parts = (encoder, frame)  # in a tuple, or they would be taken for parts of this module and of its state
        if self.config.covariance == "posterior" and not encoder.has_density:
            raise ValueError("its covariance=posterior needs q(z|x), and this encoder has none; try reward.covariance=codes")

    def resize(self, dim: int, device: torch.device) -> None:
        """See Reward."""
        self.register_buffer("whitening", torch.eye(dim, device=device))

    def fit(self, observed: Tensor, episodes: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        """See Reward."""
        covariance = self._covariance(observed, episodes.flatten(0, 1).double())
        variance, axes = torch.linalg.eigh(covariance)
        self.resize(len(covariance), episodes.device)
        self.whitening.copy_(axes * living(variance, 1e-9).rsqrt())

    def _covariance(self, observed: Tensor, coordinates: Tensor) -> Tensor:
        """Σ f64[K, K] from observations [E, T, …] and their coordinates f64[E·T, K]."""
        if self.config.covariance == "codes":
            return coordinates.T.cov(correction=0).reshape(coordinates.shape[1], -1)
        encoder, frame = self.parts
        every = observed.flatten(0, 1)
        some = torch.linspace(0, len(every) - 1, min(LOOKED_AT, len(every)), device=every.device).long()
        return (frame.full @ encoder.posterior_covariance(every[some]) @ frame.full.T).double()

    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """See Reward."""
        return -((latent - goal) @ self.whitening).norm(dim=1)


@dataclass(frozen=True)
class CosineConfig:
    """Settings of the cosine: none."""

    name: str = "cosine"


class Cosine(Centred):
    """cos(W(u' - m), W(u_g - m)) - 1, m the mean of the exploration frames' coordinates: from 0 in the goal's direction to -2.

    How far a code is from the mean does not count, so that places in one direction of it are all the same. Source: the similarity
    of contrastive codes, as in Oord et al. 2018 (arXiv:1807.03748) and what follows from it.
    """

    Config = CosineConfig

    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """See Reward."""
        ours, theirs = (latent - self.mean) * weight, (goal - self.mean) * weight
        return torch.cosine_similarity(ours, theirs, dim=1) - 1
