"""What a reward is, and the distance that most are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from rig.types import Coordinates, Density, Picturer


def weighted_distance(latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
    """‖W(u - u_g)‖ f32[B] of agent coordinates u and u_g f32[B, K], W = diag(weight f32[K])."""
    return ((latent - goal) * weight).norm(dim=1)


def pair_distances(coordinates: Tensor, one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Weighted distances f32[P] of pairs of rows i64[P] of f32[M, K], some at a time: codes may be as long as a picture."""
    pairs = zip(one.split(1024), other.split(1024), strict=True)
    return torch.cat([weighted_distance(coordinates[a], coordinates[b], weight) for a, b in pairs])


class Reward(nn.Module, ABC):
    """How good it is to be at one code where another was meant: pure once it is fitted, and most need no fit."""

    Config: ClassVar[type[Any]]
    reads: ClassVar[Literal["coordinates", "state"]] = "coordinates"
    """What `forward` is given: agent coordinates, or simulator state in their place."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """(u_next f32[B, K], u_goal f32[B, K], weight f32[K]) -> f32[B], in the coordinates of the latent frame.

        `weight` is the frame's: all ones but for slow.
        """

    def attach(self, encoder: Picturer, goals: Density, frame: Coordinates) -> None:
        """Be handed the rest of the representation, before anything else; kept outside `state_dict`.

        Raises ValueError where it has not what this reward needs. Most need nothing of it.
        """
        return

    def resize(self, dim: int, device: torch.device) -> None:
        """Make room for `dim` agent coordinates on a device, as before loading the state of a fitted reward."""

    def fit(self, observed: Tensor, episodes: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        """Learn from exploration: observations [E, T, …], consecutive along T, and their agent coordinates f32[E, T, K].

        weight f32[K] as above.
        """


class Centred(Reward):
    """A reward that knows the mean of the exploration frames' coordinates, `mean` f32[K]."""

    mean: Tensor

    def resize(self, dim: int, device: torch.device) -> None:
        """See Reward."""
        self.register_buffer("mean", torch.zeros(dim, device=device))

    def fit(self, observed: Tensor, episodes: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        """See Reward."""
        self.resize(episodes.shape[2], episodes.device)
        self.mean.copy_(episodes.mean((0, 1)))
