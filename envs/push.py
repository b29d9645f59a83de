"""Push: slide a puck across the table to a place, by touching it."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np

from .hand import move_hand, place_hand
from .task import Factor, Task, Worlds, uniform_but

CLEARANCE = 0.07
"""Least distance between the centres of hand and puck in a drawn state, metres: they touch at 0.065."""


@final
class Push(Task):
    """Slide a puck across the table to a place, by touching it.

    State: hand x, y and puck x, y in metres. Success: puck within 5 cm, wherever the hand is.
    Source: SawyerPushAndReachXYEnv of multiworld (Nair et al. 2018, section 5), with a scene of primitives.
    """

    name: ClassVar[str] = "push"
    gym_id: ClassVar[str] = "rig/Push-v0"
    horizon: ClassVar[int] = 50
    state_names: ClassVar[tuple[str, ...]] = ("hand_x", "hand_y", "puck_x", "puck_y")
    state_units: ClassVar[tuple[str, ...]] = ("m", "m", "m", "m")
    factors: ClassVar[dict[str, Factor]] = {"hand": Factor((0, 1), "m", 0.05), "puck": Factor((2, 3), "m", 0.05)}
    judged: ClassVar[tuple[str, ...]] = ("puck",)
    camera: ClassVar[str] = "close"
    scene: ClassVar[str] = "push.xml"
    action_dim: ClassVar[int] = 2
    # The puck's part repeats the joint ranges in push.xml.
    state_low: ClassVar[tuple[float, ...]] = (-0.15, 0.50, -0.15, 0.50)
    state_high: ClassVar[tuple[float, ...]] = (0.15, 0.70, 0.15, 0.70)

    def start_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 4]: always hand (0, 0.52), puck (0, 0.60)."""
        return np.tile(np.array([0.0, 0.52, 0.0, 0.6], dtype=np.float32), (n, 1))

    def goal_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 4]: hand uniform in x ±0.10, y 0.55 to 0.65; puck uniform over the kept region, clear of the hand."""
        return _apart(rng, n, (-0.10, 0.55, *self.state_low[2:]), (0.10, 0.65, *self.state_high[2:]))

    def random_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 4]: hand and puck uniform over the kept region, clear of each other."""
        return _apart(rng, n, self.state_low, self.state_high)

    def write_state(self, worlds: Worlds, state: Any) -> None:
        """Put hand and puck at states [N, 4], at rest."""
        place_hand(worlds, state[:, :2])
        worlds.qpos[:, 7:9] = state[:, 2:]

    def read_state(self, worlds: Worlds, out: Any) -> None:
        """Write the hand's and the puck's x, y to out f32[N, 4]."""
        out[:, :2] = worlds.qpos[:, :2]
        out[:, 2:] = worlds.qpos[:, 7:9]

    def apply_action(self, worlds: Worlds, action: Any) -> None:
        """Move the hand's target by actions [N, 2] times 2 cm."""
        move_hand(worlds, action, self.state_low[:2], self.state_high[:2])


def _apart(rng: np.random.Generator, n: int, low: tuple[float, ...], high: tuple[float, ...]) -> np.ndarray:
    """f32[n, 4] drawn evenly between two corners, among the states that keep hand and puck apart."""
    return uniform_but(rng, n, low, high, lambda states: np.linalg.norm(states[:, :2] - states[:, 2:], axis=1) < CLEARANCE)
