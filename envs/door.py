"""Door: pull a door open to an angle, with a hook behind its handle."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np

from .hand import move_target
from .task import Factor, Task, Worlds, uniform, uniform_but

# Lengths of door.xml, metres, and the clearance that drawn states keep from every contact.
HINGE_X, HINGE_Y, FACE = 0.16, 0.69, 0.01
OVER = 0.165
"""Height of the hand above which its pin passes over the handle."""
FREE = 0.028
"""Distance of the hand from the panel's face above which it is clear of the panel."""
FRONT = 0.09
"""Distance of the hand from the panel's face above which its pin is clear of the handle from outside."""
HOOKED = ((0.175, FREE, 0.10), (0.325, 0.049, 0.155))
"""Where the pin is clear of panel, bar and legs while it is behind the handle: two corners of the hand's distance along the panel
from the hinge, distance from the panel's face, and height."""
WIDEST = 0.83
"""Radians to which goals open the door [multiworld]."""


@final
class Door(Task):
    """Pull a door open to an angle, with a hook behind its handle.

    State: hand x, y, z in metres and the hinge's angle in radians. Action: displacement of the hand along x, y, z. It starts
    hooked to the closed door. Success: angle within 0.02 rad, wherever the hand is.
    Source: SawyerDoorHookEnv of multiworld as Skew-Fit used it (Pong et al. 2019, arXiv:1903.03698), with a
    scene of primitives.
    """

    name: ClassVar[str] = "door"
    gym_id: ClassVar[str] = "rig/Door-v0"
    horizon: ClassVar[int] = 50
    state_names: ClassVar[tuple[str, ...]] = ("hand_x", "hand_y", "hand_z", "door_angle")
    state_units: ClassVar[tuple[str, ...]] = ("m", "m", "m", "rad")
    factors: ClassVar[dict[str, Factor]] = {"hand": Factor((0, 1, 2), "m", 0.03), "door": Factor((3,), "rad", 0.02)}
    judged: ClassVar[tuple[str, ...]] = ("door",)
    camera: ClassVar[str] = "door"
    scene: ClassVar[str] = "door.xml"
    action_dim: ClassVar[int] = 3
    # These repeat the joint ranges in door.xml.
    state_low: ClassVar[tuple[float, ...]] = (-0.10, 0.45, 0.10, 0.0)
    state_high: ClassVar[tuple[float, ...]] = (0.10, 0.65, 0.20, 1.0472)

    def start_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 4]: always hooked to the closed door, hand (-0.05, 0.645, 0.12)."""
        return np.tile(np.array([-0.05, 0.645, 0.12, 0.0], dtype=np.float32), (n, 1))

    def goal_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 4]: angle uniform in 0 to 0.83 rad, the hand hooked to the handle."""
        low, high = np.array(self.state_low, dtype=np.float32), np.array(self.state_high, dtype=np.float32)
        states = np.zeros((n, 4), dtype=np.float32)
        states[:, 3] = rng.uniform(0.0, WIDEST, n)
        # The angle stays as it was drawn, so that it is uniform: only the hand's place behind the handle is drawn again.
        while (outside := ((states < low) | (states > high)).any(axis=1)).any():
            along, out, height = uniform(rng, int(outside.sum()), *HOOKED).T
            states[outside, :3] = np.stack([*_place(along, out, states[outside, 3]), height], axis=1)
        return states

    def random_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 4]: one half as goals are, one half uniform over the kept region, the hand clear of door and handle."""
        states = uniform_but(rng, n, self.state_low, self.state_high, lambda states: ~_clear(states))
        hooked = rng.random(n) < 0.5
        states[hooked] = self.goal_states(rng, int(hooked.sum()))
        return states

    def write_state(self, worlds: Worlds, state: Any) -> None:
        """Put hand and door at states [N, 4], at rest."""
        worlds.mocap_pos[:, 0] = state[:, :3]
        worlds.qpos[:, 0], worlds.qpos[:, 1:4] = state[:, 3], state[:, :3]

    def read_state(self, worlds: Worlds, out: Any) -> None:
        """Write the hand's x, y, z and the hinge's angle to out f32[N, 4]."""
        out[:, :3], out[:, 3] = worlds.qpos[:, 1:4], worlds.qpos[:, 0]

    def apply_action(self, worlds: Worlds, action: Any) -> None:
        """Move the hand's target by actions [N, 3] times 2 cm."""
        move_target(worlds.mocap_pos[:, 0], worlds.qpos[:, 1:4], action, self.state_low[:3], self.state_high[:3])


def _place(along: np.ndarray, out: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x, y f32[n] of points of a door at angles [n]: `along` the panel from the hinge, `out` of its face, metres."""
    out = out + FACE
    sine, cosine = np.sin(angle), np.cos(angle)
    return HINGE_X - along * cosine + out * sine, HINGE_Y - along * sine - out * cosine


def _clear(states: np.ndarray) -> np.ndarray:
    """bool[n]: whether the hand is in front of the panel and its pin above or before the handle, in states f32[n, 4]."""
    out = (states[:, 0] - HINGE_X) * np.sin(states[:, 3]) - (states[:, 1] - HINGE_Y) * np.cos(states[:, 3]) - FACE
    return (out > FRONT) | ((out > FREE) & (states[:, 2] > OVER))
