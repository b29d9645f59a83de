"""Pickup: grasp a block with two fingers and lift it to a place."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np

from .hand import move_target
from .task import Factor, Task, Worlds, uniform

# Lengths of pickup.xml, metres.
HALF, FINGER, TIP = 0.015, 0.010, 0.012
"""Half of the block's height and width; a finger's thickness; how far finger tips reach below the middle of the hand."""
CLEARANCE = 0.002
"""Between block and fingers in drawn states without a grasp, metres."""
GRASP = 2 * HALF - 1e-5
"""Opening of a gripper that holds the block: the contacts give way by that little."""
GRIP_SCALE = 0.02
"""Metres by which an action unit moves the target of the opening."""
SQUEEZE = 0.025
"""How far from the opening its target may be, metres: a leash as the hand's, and what bounds the force of a grasp to 5 N."""
HELD = (-0.012, -0.003)
"""Where the block's middle may be below the hand's in a drawn grasp, metres."""


@final
class Pickup(Task):
    """Grasp a block with two fingers and lift it to a place, in the y-z plane.

    State: hand y, z, block y, z and the opening between the fingers, in metres. Action: displacement of the hand along y, z, and
    how much the fingers close; 0 keeps their grip. The hand is the middle between the finger tips. Success: block within 2 cm.
    Source: SawyerPickAndPlaceEnvYZ of multiworld as Skew-Fit used it (Pong et al. 2019, arXiv:1903.03698), with a
    scene of primitives.
    """

    name: ClassVar[str] = "pickup"
    gym_id: ClassVar[str] = "rig/Pickup-v0"
    horizon: ClassVar[int] = 50
    state_names: ClassVar[tuple[str, ...]] = ("hand_y", "hand_z", "block_y", "block_z", "opening")
    state_units: ClassVar[tuple[str, ...]] = ("m", "m", "m", "m", "m")
    factors: ClassVar[dict[str, Factor]] = {
        "hand": Factor((0, 1), "m", 0.02),
        "block": Factor((2, 3), "m", 0.02),
        "gripper": Factor((4,), "m", 0.01),
    }
    judged: ClassVar[tuple[str, ...]] = ("block",)
    camera: ClassVar[str] = "side"
    scene: ClassVar[str] = "pickup.xml"
    action_dim: ClassVar[int] = 3
    # These repeat the joint ranges in pickup.xml; the block's height also the table's.
    state_low: ClassVar[tuple[float, ...]] = (0.55, 0.02, 0.55, HALF, 0.0)
    state_high: ClassVar[tuple[float, ...]] = (0.65, 0.10, 0.65, 0.097, 0.06)

    def start_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 5]: always the open gripper at (0.6, 0.08) above the block at (0.6, 0.015)."""
        return np.tile(np.array([0.6, 0.08, 0.6, HALF, 0.06], dtype=np.float32), (n, 1))

    def goal_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 5]: the block held in 3 of 4, the hand uniform over its region; else on the table [multiworld]."""
        return self._draw(rng, n, held=0.75)

    def random_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 5]: the block held in 1 of 2, the hand uniform over its region; else on the table, clear of the fingers."""
        return self._draw(rng, n, held=0.5)

    def write_state(self, worlds: Worlds, state: Any) -> None:
        """Put hand, block and fingers at states [N, 5], at rest. Where the opening is a grasp's, the fingers squeeze."""
        worlds.mocap_pos[:, 0, 1:] = state[:, :2]
        worlds.qpos[:, :2], worlds.qpos[:, 2:4] = state[:, 2:4], state[:, :2]
        worlds.qpos[:, 4], worlds.qpos[:, 5] = state[:, 4] / 2, state[:, 4] / 2
        between = (abs(state[:, 0] - state[:, 2]) < CLEARANCE) & (abs(state[:, 4] - GRASP) < 2e-5)
        worlds.ctrl[:, 0] = (state[:, 4] - SQUEEZE * between) / 2
        worlds.ctrl[:, 1] = worlds.ctrl[:, 0]

    def read_state(self, worlds: Worlds, out: Any) -> None:
        """Write hand y, z, block y, z and opening to out f32[N, 5]."""
        out[:, :2], out[:, 2:4] = worlds.qpos[:, 2:4], worlds.qpos[:, :2]
        out[:, 4] = worlds.qpos[:, 4] + worlds.qpos[:, 5]

    def apply_action(self, worlds: Worlds, action: Any) -> None:
        """Move the hand's target and the opening's by actions [N, 3] times 2 cm."""
        move_target(worlds.mocap_pos[:, 0, 1:], worlds.qpos[:, 2:4], action, self.state_low[:2], self.state_high[:2])
        opening = worlds.qpos[:, 4] + worlds.qpos[:, 5]
        target = worlds.ctrl[:, 0] + worlds.ctrl[:, 1] - GRIP_SCALE * action[:, 2]
        target = target.clip(opening - SQUEEZE, opening + SQUEEZE).clip(self.state_low[4], self.state_high[4])
        worlds.ctrl[:, 0], worlds.ctrl[:, 1] = target / 2, target / 2

    def _draw(self, rng: np.random.Generator, n: int, held: float) -> np.ndarray:
        """f32[n, 5]: the block held in a share of the states, on the table in the others."""
        states = uniform(rng, n, self.state_low, self.state_high)
        states[:, 3] = HALF
        while (touching := ~_clear(states)).any():
            states[touching] = uniform(rng, int(touching.sum()), self.state_low, self.state_high)
            states[touching, 3] = HALF
        grasp = rng.random(n) < held
        below = rng.uniform(*HELD, int(grasp.sum()))
        states[grasp, 2] = states[grasp, 0]
        states[grasp, 3] = np.maximum(states[grasp, 1] + below, HALF)
        states[grasp, 4] = GRASP
        return states


def _clear(states: np.ndarray) -> np.ndarray:
    """bool[n]: whether the fingers are above, around or beside a block on the table, in states f32[n, 5]; never as in a grasp."""
    beside, half = abs(states[:, 0] - states[:, 2]), states[:, 4] / 2
    above = states[:, 1] - TIP > 2 * HALF + CLEARANCE
    around = beside + HALF < half - CLEARANCE
    outside = beside - HALF > half + FINGER + CLEARANCE
    return (above | around | outside) & (abs(states[:, 4] - GRASP) > 1e-4)
