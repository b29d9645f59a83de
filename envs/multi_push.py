"""MultiPush: slide two pucks across the table, each to its place."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np

from .hand import move_hand, place_hand
from .task import Factor, Task, Worlds, uniform_but

CLEARANCE = (0.07, 0.07, 0.09)
"""Least distances between the centres of hand and puck 1, hand and puck 2, and the pucks in a drawn state, metres: they touch at
0.065 and 0.08."""


@final
class MultiPush(Task):
    """Slide two pucks across the table, each to its place, by touching them.

    State: hand x, y, red puck x, y and cyan puck x, y in metres. Success: both pucks within 5 cm, wherever the hand is.
    Source: the two-puck pushing of Nair et al. 2018, section 5, in the geometry of Push, with a scene of primitives.
    """

    name: ClassVar[str] = "multi_push"
    gym_id: ClassVar[str] = "rig/MultiPush-v0"
    horizon: ClassVar[int] = 100
    state_names: ClassVar[tuple[str, ...]] = ("hand_x", "hand_y", "puck1_x", "puck1_y", "puck2_x", "puck2_y")
    state_units: ClassVar[tuple[str, ...]] = ("m", "m", "m", "m", "m", "m")
    factors: ClassVar[dict[str, Factor]] = {
        "hand": Factor((0, 1), "m", 0.05),
        "puck1": Factor((2, 3), "m", 0.05),
        "puck2": Factor((4, 5), "m", 0.05),
    }
    judged: ClassVar[tuple[str, ...]] = ("puck1", "puck2")
    camera: ClassVar[str] = "middle"
    scene: ClassVar[str] = "multi_push.xml"
    action_dim: ClassVar[int] = 2
    # The pucks' part repeats the joint ranges in multi_push.xml. The hand has 2 cm more on every side.
    state_low: ClassVar[tuple[float, ...]] = (-0.17, 0.48, -0.15, 0.50, -0.15, 0.50)
    state_high: ClassVar[tuple[float, ...]] = (0.17, 0.72, 0.15, 0.70, 0.15, 0.70)

    def start_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 6]: always hand (0, 0.52), pucks (-0.08, 0.60) and (0.08, 0.60)."""
        return np.tile(np.array([0.0, 0.52, -0.08, 0.6, 0.08, 0.6], dtype=np.float32), (n, 1))

    def goal_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 6]: hand uniform in x ±0.10, y 0.55 to 0.65; pucks uniform over y, each on its side of the kept region and up to
        7 cm into the other's; all clear of each other. Doing nothing leaves a puck 8.5 cm away [multiworld: 8.7 cm].
        """
        return uniform_but(rng, n, (-0.10, 0.55, -0.15, 0.50, -0.07, 0.50), (0.10, 0.65, 0.07, 0.70, 0.15, 0.70), _near)

    def random_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 6]: hand and pucks uniform over the kept region, clear of each other."""
        return uniform_but(rng, n, self.state_low, self.state_high, _near)

    def write_state(self, worlds: Worlds, state: Any) -> None:
        """Put hand and pucks at states [N, 6], at rest."""
        place_hand(worlds, state[:, :2])
        worlds.qpos[:, 7:11] = state[:, 2:]

    def read_state(self, worlds: Worlds, out: Any) -> None:
        """Write the hand's and the pucks' x, y to out f32[N, 6]."""
        out[:, :2] = worlds.qpos[:, :2]
        out[:, 2:] = worlds.qpos[:, 7:11]

    def apply_action(self, worlds: Worlds, action: Any) -> None:
        """Move the hand's target by actions [N, 2] times 2 cm."""
        move_hand(worlds, action, self.state_low[:2], self.state_high[:2])


def _near(states: np.ndarray) -> np.ndarray:
    """bool[n]: whether any two things of states f32[n, 6] are nearer than `CLEARANCE`."""
    hand, one, two = states[:, :2], states[:, 2:4], states[:, 4:]
    gaps = [np.linalg.norm(a - b, axis=1) for a, b in ((hand, one), (hand, two), (one, two))]
    return np.any([gap < least for gap, least in zip(gaps, CLEARANCE, strict=True)], axis=0)
