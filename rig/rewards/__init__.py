"""Rewards: how good it is to be at one code where another was meant, in a table."""

from __future__ import annotations

from rig.rewards.base import Reward, weighted_distance
from rig.rewards.distances import LatentDistance, LatentDistanceConfig, Reciprocal, ReciprocalConfig
from rig.rewards.temporal import Temporal, TemporalConfig

REWARDS: dict[str, type[Reward]] = {"latent_distance": LatentDistance, "reciprocal": Reciprocal, "temporal": Temporal}

__all__ = [
    "REWARDS", "LatentDistance", "LatentDistanceConfig", "Reciprocal", "ReciprocalConfig", "Reward", "Temporal", "TemporalConfig",
    "weighted_distance",
]  # fmt: skip
