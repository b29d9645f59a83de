"""What the agent sees of the worlds: N of them, stepped and filmed together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from .task import Task


class Observation(NamedTuple):
    """What N worlds look like now. The arrays are the caller's own: later steps never change them."""

    frame: np.ndarray
    """u8[N, H, W, 3], RGB, row 0 at the top."""
    state: np.ndarray
    """f32[N, S], the task's state, for metrics and the oracle encoder only."""


class BatchEnv(ABC):
    """N worlds of one task. It knows no reward, no horizon and no "done": goals and time limits are the agent's.

    One generator, seeded at construction, makes everything that is drawn.
    """

    task: Task
    num_envs: int
    frame_shape: tuple[int, int, int]
    """(H, W, 3)."""
    action_dim: int
    state_dim: int
    renderer: str
    """warp or gl."""

    @abstractmethod
    def reset(self, mask: np.ndarray | None = None, state: np.ndarray | None = None) -> Observation:
        """Begin again in the worlds of mask bool[N] (all by default), at state f32[N, S] or at the task's start.

        Rows of `state` outside the mask are ignored, and those worlds are left as they are. Raises ValueError on a wrong
        shape and on a value that is not finite.
        """

    @abstractmethod
    def step(self, action: np.ndarray) -> Observation:
        """Apply action f32[N, A], clipped to [-1, 1], for one env step of 40 ms.

        Raises ValueError on a wrong shape and on a value that is not finite.
        """

    @abstractmethod
    def sample_goals(self, n: int) -> np.ndarray:
        """f32[n, S]: goals of the task's own distribution."""

    @abstractmethod
    def random_states(self, n: int) -> np.ndarray:
        """f32[n, S]: states spread evenly over the kept region."""

    @abstractmethod
    def show(self, state: np.ndarray) -> np.ndarray:
        """u8[n, H, W, 3]: what states f32[n, S] look like at rest, for any n. The worlds are not disturbed.

        Raises ValueError on a wrong shape and on a value that is not finite.
        """

    @abstractmethod
    def snapshot(self) -> dict[str, np.ndarray]:
        """Everything that decides what comes next: the physics of every world and the generator's state."""

    @abstractmethod
    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Go back to a snapshot of the same task and number of worlds, bit for bit. Raises ValueError on any other."""

    @abstractmethod
    def close(self) -> None:
        """Give back threads and renderers. A closed env must not be used again; closing twice is harmless."""
