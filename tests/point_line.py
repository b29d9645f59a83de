"""A world of one point on a line, in which everything that should happen can be counted, and the plainest parts of an agent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rig.encoders import Encoder
from rig.goals import GoalSampler
from rig.learners.base import Learner
from rig.rewards import LatentDistance, LatentDistanceConfig
from rig.types import Batch, Report, silent

WIDTH, WORLDS = 8, 3
LATENT_DISTANCE = LatentDistance(LatentDistanceConfig())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Film:
    """An observation whose state must not be looked at."""

    def __init__(self, frame: np.ndarray) -> None:
        self.frame = frame

    @property
    def state(self) -> np.ndarray:
        raise AssertionError("the agent looked at the simulator's state")


class States:
    """An observation whose frame must not be looked at."""

    def __init__(self, state: np.ndarray) -> None:
        self.state = state

    @property
    def frame(self) -> np.ndarray:
        raise AssertionError("the oracle looked at a frame")


class PointLine:
    """Worlds of a point on a line of 8 pixels. An action of 1 moves it by half a pixel; it is filmed as a row of greys."""

    action_dim, state_dim, frame_shape, arrays = 1, 1, (1, WIDTH, 3), np

    def __init__(self, seed: int = 0, worlds: int = WORLDS, sees: str = "frame") -> None:
        self.num_envs, self.sees, self.rng = worlds, sees, np.random.default_rng(seed)
        self.position = np.zeros((worlds, 1), np.float32)
        self.actions: list[np.ndarray] = []
        self.positions: list[np.ndarray] = []  # of every observation that was given out
        self.resets: list[Any] = []

    def random_states(self, n: int) -> np.ndarray:
        return self.rng.uniform(0, WIDTH - 1, (n, 1)).astype(np.float32)

    def reset(self, mask: np.ndarray | None = None, state: np.ndarray | None = None) -> Any:
        self.resets.append(state)
        self.position = np.full((self.num_envs, 1), 2, np.float32) if state is None else state
        return self.observe()

    def step(self, action: np.ndarray) -> Any:
        assert action.shape == (self.num_envs, 1) and np.abs(action).max() <= 1
        self.actions.append(action.copy())
        self.position = np.clip(self.position + 0.5 * action, 0, WIDTH - 1)
        return self.observe()

    def observe(self) -> Any:
        self.positions.append(self.position.copy())
        if self.sees == "state":
            return States(self.position.copy())
        grey = np.clip(1 - np.abs(np.arange(WIDTH) - self.position), 0, 1) * 255
        return Film(np.repeat(grey.round().astype(np.uint8)[:, None, :, None], 3, axis=3))


class Centroid(Encoder):
    """The point's place, read off its picture; counts the frames that it is shown."""

    can_decode = False

    def __init__(self) -> None:
        super().__init__()
        self.latent_dim, self.seen, self.fitted = 1, 0, torch.empty(0)

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Any) -> dict[str, float]:
        self.fitted, self.version = episodes.flatten(0, 1), self.version + 1
        return {"reconstruction": 0.25}

    def encode(self, observed: Tensor) -> Tensor:
        self.seen += len(observed)
        grey = observed[:, 0, :, 0].float()
        return (grey * torch.arange(WIDTH)).sum(1, keepdim=True) / grey.sum(1, keepdim=True)


class Reader(Encoder):
    """The oracle's like: the state is the code."""

    observes = "state"

    def __init__(self) -> None:
        super().__init__()
        self.latent_dim = 1

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Any) -> dict[str, float]:
        return {}

    def encode(self, observed: Tensor) -> Tensor:
        return observed.clone()


class Numbered(GoalSampler):
    """Goals 1000, 1001, …: each imagined one can be recognised."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = 0
        self.fitted = torch.empty(0)

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        self.fitted = latent

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        self.drawn += count
        return 1000.0 + torch.arange(self.drawn - count, self.drawn)[:, None]

    def log_prob(self, latent: Tensor) -> Tensor:
        return torch.zeros(len(latent))


class Recorder(Learner):
    """Notes what it is asked to act on and to learn from; always goes right."""

    def __init__(self) -> None:
        super().__init__()
        self.acted: list[tuple[Tensor, Tensor, bool]] = []
        self.batches: list[Batch] = []

    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        self.acted.append((latent.clone(), goal.clone(), generator is not None))
        return torch.ones(len(latent), 1)

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        self.batches.append(batch)
        return {"critic_loss": torch.tensor(float(len(self.batches)))}


def film_of(positions: Tensor) -> Tensor:
    """What positions f32[E, T, 1] look like: f32[E·T, 1, 8, 3], not yet rounded to whole greys."""
    grey = (1 - (torch.arange(WIDTH) - positions.flatten(0, 1)).abs()).clamp(min=0) * 255
    return grey[:, None, :, None].expand(-1, 1, -1, 3)


def check_exploration(actions: np.ndarray, hold: float) -> None:
    """Actions [worlds, episodes, steps]: uniform, held for `hold` steps on average, drawn anew where an episode begins."""
    assert np.abs(actions).max() > 0.9 and abs(actions[:, :, 0].mean()) < 0.2
    assert actions[:, :, 0].std() == pytest.approx(3**-0.5, abs=0.1)
    redrawn = actions[:, :, 1:] != actions[:, :, :-1]
    assert redrawn.mean() == pytest.approx(1 / hold, abs=0.06)
    assert (actions[:, 1:, 0] != actions[:, :-1, -1]).all()
    assert len(np.unique(actions[:, :, 0])) == actions[:, :, 0].size  # each world has actions of its own
    assert hold == 1 or not (redrawn == redrawn[:1]).all()  # and changes them at times of its own
