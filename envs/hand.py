"""The hand that the table-top scenes share: a free body that follows a mocap body. Its x and y lead every state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mujoco
    import numpy as np

HEIGHT = 0.025
"""Of the hand's centre above the table, metres: 5 mm clear of it."""
ACTION_SCALE = 0.02
"""Metres that the target moves an action unit [multiworld]."""
LEASH = 0.025
"""How far ahead of the hand its target may be along x or y, metres. More than a free hand ever lags, so it matters only to a
blocked one: the target must not run away unseen, or the hand would ignore the first actions that lead back."""


def place_hand(data: mujoco.MjData, x: float, y: float) -> None:
    """Put the hand and its target at x, y (metres), upright; velocities are the caller's business."""
    data.mocap_pos[0] = (x, y, HEIGHT)
    data.mocap_quat[0] = (1.0, 0.0, 0.0, 0.0)
    data.qpos[:7] = (x, y, HEIGHT, 1.0, 0.0, 0.0, 0.0)


def move_hand(data: mujoco.MjData, action: np.ndarray, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    """Move the hand's target by action f32[2] in [-1, 1], kept between low and high (x, y in metres)."""
    target, hand = data.mocap_pos[0], data.qpos
    for axis in (0, 1):
        moved, at = float(target[axis]) + ACTION_SCALE * float(action[axis]), float(hand[axis])
        target[axis] = min(max(moved, at - LEASH, low[axis]), at + LEASH, high[axis])
