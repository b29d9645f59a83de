"""Rewards: how good it is to be at one code where another was meant, in a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor


def weighted_distance(latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
    """‖W(u - u_g)‖ f32[B] of agent coordinates u and u_g f32[B, K], W = diag(weight f32[K])."""
    return ((latent - goal) * weight).norm(dim=1)


class Reward(ABC):
    """A pure function of where the agent is and where it was meant to be, with settings."""

    Config: ClassVar[type[Any]]

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def __call__(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """(u_next f32[B, K], u_goal f32[B, K], weight f32[K]) -> f32[B], in the coordinates of the latent frame.

        `weight` is the frame's: all ones but for slow.
        """


@dataclass(frozen=True)
class LatentDistanceConfig:
    """Settings of the latent distance: none."""

    name: str = "latent_distance"


class LatentDistance(Reward):
    """-d, d = ‖W(u' - u_g)‖: at most 0, in the units of the latent frame.

    Source: Nair et al. 2018, section 4.3, eq. 3.
    """

    Config = LatentDistanceConfig

    def __call__(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
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

    def __call__(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        distance = weighted_distance(latent, goal, weight)
        return -distance / (distance + self.config.scale)


REWARDS: dict[str, type[Reward]] = {"latent_distance": LatentDistance, "reciprocal": Reciprocal}
