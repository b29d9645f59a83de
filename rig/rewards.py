"""Rewards: pure functions of where the agent is and where it was meant to be, in a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from torch import Tensor

Function = Callable[[Tensor, Tensor, Tensor], Tensor]


class Reward(Protocol):
    """(u_next f32[B, K], u_goal f32[B, K], weight f32[K]) -> f32[B], in the coordinates of the latent frame."""

    Config: type[Any]

    def __call__(self, latent: Tensor, goal: Tensor, weight: Tensor, /) -> Tensor: ...


def configured(config: type[Any]) -> Callable[[Function], Reward]:
    """Give a reward function the dataclass of its settings."""

    def give(function: Function) -> Reward:
        setattr(function, "Config", config)  # noqa: B010  a plain assignment to a function is no typed attribute
        return cast(Reward, function)

    return give


@dataclass(frozen=True)
class LatentDistanceConfig:
    """Settings of the latent distance: none."""

    name: str = "latent_distance"


@configured(LatentDistanceConfig)
def latent_distance(latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
    """-‖W(u' - u_g)‖, at most 0, in the units of the latent frame; W = diag(weight), the frame's (all ones but for slow).

    Source: Nair et al. 2018, section 4.3, eq. 3.
    """
    return -((latent - goal) * weight).norm(dim=1)


REWARDS: dict[str, Reward] = {"latent_distance": latent_distance}
