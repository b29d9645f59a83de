"""Rewards: how good it is to be at one code where another was meant, in a table."""

from __future__ import annotations

from rig.rewards.base import Reward, pair_distances, weighted_distance
from rig.rewards.distances import (
    Cosine,
    CosineConfig,
    LatentDistance,
    LatentDistanceConfig,
    Mahalanobis,
    MahalanobisConfig,
    Reciprocal,
    ReciprocalConfig,
    Sparse,
    SparseConfig,
)  # fmt: skip
from rig.rewards.seen import LogProb, LogProbConfig, OracleReward, OracleRewardConfig, Pixel, PixelConfig
from rig.rewards.temporal import Temporal, TemporalConfig

REWARDS: dict[str, type[Reward]] = {
    "latent_distance": LatentDistance, "reciprocal": Reciprocal, "mahalanobis": Mahalanobis, "cosine": Cosine, "sparse": Sparse,
    "temporal": Temporal, "log_prob": LogProb, "pixel": Pixel, "oracle": OracleReward,
}  # fmt: skip

__all__ = [
    "REWARDS", "Cosine", "CosineConfig", "LatentDistance", "LatentDistanceConfig", "LogProb", "LogProbConfig", "Mahalanobis",
    "MahalanobisConfig", "OracleReward", "OracleRewardConfig", "Pixel", "PixelConfig", "Reciprocal", "ReciprocalConfig", "Reward",
    "Sparse", "SparseConfig", "Temporal", "TemporalConfig", "pair_distances", "weighted_distance",
]  # fmt: skip
