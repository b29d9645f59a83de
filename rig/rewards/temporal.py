"""A reward that counts steps: a distance that is learnt from what follows what."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from rig.nets import Adam, initialise
from rig.rewards.base import Reward

EMBEDDED = 16
"""Dimensions in which the learnt distance is Euclidean."""
PAIRS = 512
"""Pairs of frames, and likewise steps, that a gradient step sees."""
SLACK = 0.1
"""Root mean square by which steps may be longer than 1. Published: 0.25, which lets the few steps at full speed be 1.7 long."""
NEAR, SHARPNESS = 15.0, 0.1
"""Distances grow where they are below about `NEAR`, less and less beyond: softplus(SHARPNESS · (NEAR - d)). Source: there."""


@dataclass(frozen=True)
class TemporalConfig:
    """Settings of the temporal distance."""

    name: str = "temporal"
    scale: float = 15.0  # env steps that are worth 1 of reward
    width: int = 64  # units of the two hidden layers that embed a code
    steps: int = 2000  # gradient steps
    learning_rate: float = 1e-3


class Temporal(Reward):
    """-d / scale, d = ‖φ(u') - φ(u_g)‖ the number of env steps that it takes at least: 0 at the goal, without a lower bound.

    φ drives frames of exploration apart as far as it can while no single step is longer than 1, so that its distances are those
    of the shortest ways, not of the ways that were gone: a puck, which a hand must come to first, counts for more than the hand.
    Euclidean, hence the same there and back, which the published one need not be. Learnt before the policy, in the coordinates of
    the latent frame, which keep their meaning when the encoder learns on. Source: Wang et al. 2023 (QRL, arXiv:2304.01203), its
    objective and the Lagrange multiplier of its constraint.
    """

    Config = TemporalConfig
    embedding: nn.Sequential

    def resize(self, dim: int, device: torch.device) -> None:
        """See Reward."""
        width = self.config.width
        self.embedding = nn.Sequential(
            nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, EMBEDDED)
        ).to(device)

    def distance(self, latent: Tensor, goal: Tensor) -> Tensor:
        """Steps f32[B] between agent coordinates f32[B, K], with a gradient."""
        away = self.embedding(latent) - self.embedding(goal)
        return (away.square().sum(1) + 1e-12).sqrt()

    @torch.no_grad()
    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """See Reward."""
        return -self.distance(latent, goal) / self.config.scale

    def fit(self, observed: Tensor, episodes: Tensor, weight: Tensor, generator: torch.Generator) -> None:
        """See Reward."""
        device = episodes.device
        self.resize(episodes.shape[2], torch.device("cpu"))
        seed = int(torch.randint(2**31, (), generator=generator, device=device))
        initialise(self.embedding, torch.Generator().manual_seed(seed))
        self.embedding.to(device)
        multiplier = nn.Parameter(torch.zeros((), device=device))
        optimiser = Adam(self.embedding.parameters(), self.config.learning_rate)
        dual = Adam([multiplier], 0.05)
        every, before, after = episodes.flatten(0, 1), episodes[:, :-1].flatten(0, 1), episodes[:, 1:].flatten(0, 1)
        for _ in range(self.config.steps):
            first, second = torch.randint(len(every), (2, PAIRS), generator=generator, device=device)
            step = torch.randint(len(before), (PAIRS,), generator=generator, device=device)
            apart = self.distance(every[first], every[second])
            too_long = (self.distance(before[step], after[step]) - 1).clamp(min=0).square().mean() - SLACK**2
            price = softplus(multiplier)
            optimiser.minimise(softplus(SHARPNESS * (NEAR - apart)).mean() / SHARPNESS + price.detach() * too_long)
            dual.minimise(-price * too_long.detach())
