"""Off-policy goal-conditioned learners, by name."""

from __future__ import annotations

from rig.learners.base import Learner
from rig.learners.ddpg import DDPG
from rig.learners.sac import SAC
from rig.learners.td3 import TD3

LEARNERS: dict[str, type[Learner]] = {"td3": TD3, "ddpg": DDPG, "sac": SAC}

__all__ = ["DDPG", "LEARNERS", "SAC", "TD3", "Learner"]
