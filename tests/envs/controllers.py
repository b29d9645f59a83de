"""Scripted controllers that read the state: proof that the tasks' goals can be reached within the horizon."""

from __future__ import annotations

import numpy as np

STEP = 0.02  # metres that the hand moves an action unit
TOUCH = 0.065  # metres between the centres of hand and puck that touch
ORBIT = 0.09  # metres from the puck at which the hand walks around it


def reach(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """f32[n, 2]: straight to the goal, states and goals f32[n, 2]."""
    return np.clip((goal - state) / STEP, -1, 1).astype(np.float32)


def push(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """f32[n, 2]: walk around the puck until it lies between hand and goal, then push, gently."""
    hand, puck = state[:, :2], state[:, 2:]
    way = goal[:, 2:] - puck
    left = np.linalg.norm(way, axis=1, keepdims=True)
    ahead = way / np.maximum(left, 1e-9)
    offset = hand - puck
    angle, wanted = np.arctan2(offset[:, 1], offset[:, 0]), np.arctan2(-ahead[:, 1], -ahead[:, 0])
    turn = (wanted - angle + np.pi) % (2 * np.pi) - np.pi
    following = angle + np.clip(turn, -STEP / ORBIT, STEP / ORBIT)
    around = puck + ORBIT * np.stack([np.cos(following), np.sin(following)], axis=1)
    # A hit sends the puck gliding 3 to 4 times as far as the hand moved in that step: come near first, then push in proportion.
    gap = -(offset * ahead).sum(axis=1, keepdims=True) - TOUCH
    behind = hand + ahead * np.where(gap > 0.004, gap, np.minimum(STEP, 0.2 * left))
    behind += (puck - hand) - ((puck - hand) * ahead).sum(axis=1, keepdims=True) * ahead
    aim = np.where(np.abs(turn)[:, None] < 0.3, behind, around)
    move = (aim - hand) / STEP
    move /= np.maximum(np.abs(move).max(axis=1, keepdims=True), 1.0)
    return np.where(left < 0.01, 0.0, move).astype(np.float32)


CONTROLLERS = {"reach": reach, "push": push}
