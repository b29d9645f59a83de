"""Off-policy goal-conditioned learners, by name."""

from __future__ import annotations

from rig.learners.base import Learner
from rig.learners.ddpg import DDPG
from rig.learners.sac import SAC
from rig.learners.sb3 import SACFromSB3, TD3FromSB3
from rig.learners.td3 import TD3

LEARNERS: dict[str, type[Learner]] = {
    "td3": TD3,
    "ddpg": DDPG,
    "sac": SAC,
    "sb3_td3": TD3FromSB3,
    "sb3_sac": SACFromSB3,
}

__all__ = ["DDPG", "LEARNERS", "SAC", "TD3", "Learner", "SACFromSB3", "TD3FromSB3"]
