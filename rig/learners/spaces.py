"""An environment for those who only ask for its spaces. Imports Gymnasium, so it is itself imported late."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Spaces(gymnasium.Env[Any, Any]):
    """What stable-baselines3 asks an environment for before training: its spaces. Never reset nor stepped."""

    def __init__(self, observation_dim: int, action_dim: int) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (observation_dim,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
