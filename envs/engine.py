"""What both physics engines have in common: what they refuse, what they draw, and how a snapshot is packed."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from .batch import BatchEnv, Observation, checked, checked_mask, pack_generator, unpack_generator

if TYPE_CHECKING:
    from .task import Task


class Engine(BatchEnv):
    """A BatchEnv over MuJoCo's physics. Subclasses are final: they place, step, film and pack the worlds."""

    physics_shape: tuple[int, int]
    """(N, P): of the array in a snapshot that holds the physics."""

    def __init__(self, task: Task, num_envs: int, *, seed: int, size: int, render: str) -> None:
        """Note what the worlds are. Raises ValueError for no worlds or no pixels at all."""
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs}: expected at least 1")
        if size < 1:
            raise ValueError(f"size={size}: expected at least 1 pixel")
        self.task, self.num_envs, self.renderer = task, num_envs, render
        self.frame_shape = (size, size, 3)
        self.action_dim, self.state_dim = task.action_dim, task.state_dim
        self._rng = np.random.Generator(np.random.PCG64(seed))

    def reset(self, mask: np.ndarray | None = None, state: np.ndarray | None = None) -> Observation:
        """See BatchEnv."""
        rows = np.flatnonzero(checked_mask(mask, self.num_envs))
        if state is None:
            chosen = self.task.start_states(self._rng, len(rows))
        else:
            if np.shape(state) != (self.num_envs, self.state_dim):
                raise ValueError(f"state has shape {np.shape(state)}: expected ({self.num_envs}, {self.state_dim})")
            chosen = checked("state", np.asarray(state)[rows], (len(rows), self.state_dim))
        self._place(rows, chosen)
        return self._observe()

    def step(self, action: np.ndarray) -> Observation:
        """See BatchEnv."""
        self._advance(self._checked_action(action))
        return self._observe()

    def sample_goals(self, n: int) -> np.ndarray:
        """See BatchEnv."""
        return self.task.goal_states(self._rng, n)

    def random_states(self, n: int) -> np.ndarray:
        """See BatchEnv."""
        return self.task.random_states(self._rng, n)

    def show(self, state: np.ndarray) -> np.ndarray:
        """See BatchEnv."""
        return self._film(checked("state", state, (len(state) if np.ndim(state) else 1, self.state_dim)))

    def snapshot(self) -> dict[str, np.ndarray]:
        """See BatchEnv. `physics` is what the engine integrates, [N, P]; `generator` is u64[6], PCG64's."""
        return {"physics": self._pack_physics(), "generator": pack_generator(self._rng)}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """See BatchEnv. A snapshot of another engine is refused too."""
        physics, generator = snapshot.get("physics"), snapshot.get("generator")
        if physics is None or generator is None or physics.shape != self.physics_shape or generator.shape != (6,):
            found = {key: value.shape for key, value in snapshot.items()}
            raise ValueError(
                "snapshot of another task or num_envs, or of another engine: "
                f"it holds {found}, expected physics {self.physics_shape}, generator (6,)"
            )
        unpack_generator(self._rng, generator)
        self._unpack_physics(physics)

    def _checked_action(self, action: Any) -> Any:
        """The action, clipped to [-1, 1]. Raises ValueError as `step`."""
        return np.clip(checked("action", action, (self.num_envs, self.action_dim)), -1.0, 1.0)

    @abstractmethod
    def _place(self, rows: np.ndarray, state: np.ndarray) -> None:
        """Put the worlds i64[n] into states f32[n, S], at rest and as if nothing had been before."""

    @abstractmethod
    def _advance(self, action: Any) -> None:
        """Step all worlds by actions f32[N, A] in [-1, 1]."""

    @abstractmethod
    def _observe(self) -> Observation:
        """What the worlds look like now."""

    @abstractmethod
    def _film(self, state: np.ndarray) -> np.ndarray:
        """u8[n, H, W, 3] of states f32[n, S], without the worlds."""

    @abstractmethod
    def _pack_physics(self) -> np.ndarray:
        """[N, P]: all that decides the next step of every world."""

    @abstractmethod
    def _unpack_physics(self, physics: np.ndarray) -> None:
        """The reverse, bit for bit."""
