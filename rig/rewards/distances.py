"""Rewards that a distance in the latent frame gives by itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rig.rewards.base import Reward, weighted_distance


@dataclass(frozen=True)
class LatentDistanceConfig:
    """Settings of the latent distance: none."""

    name: str = "latent_distance"


class LatentDistance(Reward):
    """-d, d = ‖W(u' - u_g)‖: at most 0, in the units of the latent frame.

    Source: Nair et al. 2018, section 4.3, eq. 3.
    """

    Config = LatentDistanceConfig

    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """See Reward."""
        return -weighted_distance(latent, goal, weight)


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
