"""Reach: bring the hand to a place above the table."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np

from .hand import move_hand, place_hand
from .task import Factor, Task, Worlds, uniform


@final
class Reach(Task):
    """Bring the hand to a place above the table.

    State: hand x, y in metres. Success: hand within 6 cm.
    Source: SawyerReachXYEnv of multiworld (Nair et al. 2018, section 5), with a scene of primitives.
    """

    name: ClassVar[str] = "reach"
    gym_id: ClassVar[str] = "rig/Reach-v0"
    horizon: ClassVar[int] = 50
    state_names: ClassVar[tuple[str, ...]] = ("hand_x", "hand_y")
    state_units: ClassVar[tuple[str, ...]] = ("m", "m")
    factors: ClassVar[dict[str, Factor]] = {"hand": Factor((0, 1), "m", 0.06)}
    judged: ClassVar[tuple[str, ...]] = ("hand",)
    camera: ClassVar[str] = "wide"
    scene: ClassVar[str] = "reach.xml"
    action_dim: ClassVar[int] = 2
    state_low: ClassVar[tuple[float, ...]] = (-0.2, 0.55)
    state_high: ClassVar[tuple[float, ...]] = (0.2, 0.75)

    def start_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 2]: always (0, 0.6)."""
        return np.tile(np.array([0.0, 0.6], dtype=np.float32), (n, 1))

    def goal_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 2]: uniform over the kept region."""
        return uniform(rng, n, self.state_low, self.state_high)

    def random_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 2]: uniform over the kept region."""
        return uniform(rng, n, self.state_low, self.state_high)

    def write_state(self, worlds: Worlds, state: Any) -> None:
        """Put the hand at states [N, 2], at rest."""
        place_hand(worlds, state)

    def read_state(self, worlds: Worlds, out: Any) -> None:
        """Write the hand's x, y to out f32[N, 2]."""
        out[:] = worlds.qpos[:, :2]

    def apply_action(self, worlds: Worlds, action: Any) -> None:
        """Move the hand's target by actions [N, 2] times 2 cm."""
        move_hand(worlds, action, self.state_low, self.state_high)
