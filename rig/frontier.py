"""Goals at the edge of what was reached, and what is tried once there: how an agent comes to see more than it has."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rig.replay.ring import Ring

CHOICES, KNOWN = 100, 2000
"""Visited codes among which a frontier goal is chosen, and those that say how crowded each is."""
BANDWIDTH = 0.1
"""Standard deviation of the density's Gaussians, in standard deviations of the codes. Source: Pitis et al. 2020, appendix B."""


@dataclass(frozen=True)
class ExploreConfig:
    """What the agent does to see more than its imagined goals would show it."""

    goals: str = "imagined"  # what its episodes go for: imagined: draws from the prior | frontier: visited codes where few are
    start: str = "random"  # the first random_steps: random: held random actions | goals: the policy's own, towards its goals
    after: int = 0  # env steps of an episode after which it acts at random; 0: never [Pitis et al. 2020: once it is there]


PLAIN = ExploreConfig()
"""Imagined goals and the policy's own actions: RIG as published."""


def frontier_goals(replay: Ring, count: int, generator: torch.Generator) -> Tensor:
    """Goals f32[count, K]: each the least crowded of `CHOICES` codes that were visited, by a kernel density estimate.

    Source: Pitis et al. 2020 (MEGA, arXiv:2007.02832), equation 3 and appendix B, without its cutoff by value.
    """
    known = replay.visited(KNOWN, generator)
    centre, scale = known.mean(0), BANDWIDTH * known.std(0, correction=0).clamp(min=1e-6)
    choices = replay.visited(CHOICES * count, generator)
    crowd = (-0.5 * torch.cdist((choices - centre) / scale, (known - centre) / scale).square()).logsumexp(1).view(count, CHOICES)
    return choices.view(count, CHOICES, -1)[torch.arange(count, device=crowd.device), crowd.argmin(1)]
