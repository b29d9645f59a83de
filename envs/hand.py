"""The hands of the scenes: bodies that follow a mocap body, which actions move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .task import Worlds

HEIGHT = 0.025
"""Of the table-top hand's centre above the table, metres: 5 mm clear of it."""
ACTION_SCALE = 0.02
"""Metres that the target moves an action unit [multiworld]."""
LEASH = 0.025
"""How far ahead of the hand its target may be along an axis, metres. More than a free hand ever lags, so it matters only to a
blocked one: the target must not run away unseen, or the hand would ignore the first actions that lead back."""


def place_hand(worlds: Worlds, place: Any) -> None:
    """Put table-top hands and their targets at x, y [N, 2] (metres), upright; velocities are the caller's business."""
    for position, quaternion in ((worlds.mocap_pos[:, 0], worlds.mocap_quat[:, 0]), (worlds.qpos[:, :3], worlds.qpos[:, 3:7])):
        position[:, :2], position[:, 2] = place, HEIGHT
        quaternion[:, 0], quaternion[:, 1:] = 1.0, 0.0


def move_hand(worlds: Worlds, action: Any, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    """Move table-top hands' targets by actions [N, 2] in [-1, 1], kept between low and high (x, y in metres)."""
    move_target(worlds.mocap_pos[:, 0], worlds.qpos, action, low, high)


def move_target(target: Any, hand: Any, action: Any, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    """Move targets [N, K] of hands at [N, K] by actions [N, K] in [-1, 1], kept between low and high (metres).

    K is the number of axes in low; what the arrays hold beyond them is left alone.
    """
    for axis in range(len(low)):
        moved, at = target[:, axis] + ACTION_SCALE * action[:, axis], hand[:, axis]
        target[:, axis] = moved.clip(at - LEASH, at + LEASH).clip(low[axis], high[axis])
