"""Where goals come from (densities over codes), and the coordinates they are aimed at in, by name."""

from __future__ import annotations

from typing import Any

from rig.goals.base import GoalSampler
from rig.goals.dataset import Dataset
from rig.goals.flow import Flow
from rig.goals.frame import IdentityConfig, LatentFrame, SlowConfig, StandardisedConfig, WhitenedConfig
from rig.goals.gaussian import DescendedGaussian, FullGaussian, Gaussian, StandardNormal
from rig.goals.mixture import Mixture
from rig.goals.pixelcnn import PixelCNN
from rig.goals.replayed import Replayed, Skewed

GOALS: dict[str, type[GoalSampler]] = {
    "gaussian": Gaussian, "gaussian_full": FullGaussian, "gaussian_kl": DescendedGaussian, "standard_normal": StandardNormal,
    "mixture": Mixture, "flow": Flow, "replayed": Replayed, "skewed": Skewed, "pixelcnn": PixelCNN,
    "dataset": Dataset,
}  # fmt: skip

FRAMES: dict[str, type[Any]] = {
    "identity": IdentityConfig,
    "standardised": StandardisedConfig,
    "whitened": WhitenedConfig,
    "slow": SlowConfig,
}

__all__ = [
    "FRAMES", "GOALS", "Dataset", "DescendedGaussian", "Flow", "FullGaussian", "Gaussian", "GoalSampler", "LatentFrame",
    "Mixture", "PixelCNN", "Replayed", "Skewed", "StandardNormal",
]  # fmt: skip
