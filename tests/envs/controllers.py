"""Scripted controllers that read the state: proof that the tasks' goals can be reached within the horizon."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rig.envs import TASKS
from rig.envs.point import PointTask

Controller = Callable[[np.ndarray, np.ndarray], np.ndarray]
STEP = 0.02  # metres that the hand moves an action unit
TOUCH = 0.065  # metres between the centres of hand and puck that touch
NEAR = 0.03  # metres from its goal at which one of two pucks is left alone
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


def multi_push(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """f32[n, 2]: push one puck to its goal and then the other, in the order in which neither is in the other's way."""
    start = TASKS["multi_push"]().start_states(np.random.default_rng(0), len(state))
    hand, pucks, goals, starts = state[:, :2], *(x[:, 2:].reshape(-1, 2, 2) for x in (state, goal, start))
    room = [
        np.minimum(_gap(starts[:, 1 - i], starts[:, i], goals[:, i]), _gap(goals[:, i], starts[:, 1 - i], goals[:, 1 - i]))
        for i in (0, 1)
    ]
    left = np.linalg.norm(goals - pucks, axis=2)
    rows, first = np.arange(len(state)), (room[1] > room[0]).astype(int)
    active = np.where(left[rows, first] > NEAR, first, 1 - first)
    puck, left, done = pucks[rows, active], left[rows, active, None], (left < NEAR).all(axis=1)
    ahead = (goals[rows, active] - puck) / np.maximum(left, 1e-9)
    offset = hand - puck
    gap = -(offset * ahead).sum(axis=1, keepdims=True) - TOUCH
    beside = np.linalg.norm(offset + (gap + TOUCH) * ahead, axis=1, keepdims=True)
    stand = puck - (TOUCH + 0.015) * ahead
    blocked = ~done & np.any([_gap(pucks[:, i], hand, stand) < TOUCH - 0.002 for i in (0, 1)], axis=0)
    if blocked.any():
        stand[blocked] = _walk(hand[blocked], stand[blocked], pucks[blocked])
    onward = puck - (TOUCH - np.where(gap > 0.004, 0.0, np.minimum(STEP, 0.2 * left))) * ahead
    move = (np.where((beside < 0.015) & (gap < 0.03) & (gap > -0.01), onward, stand) - hand) / STEP
    move /= np.maximum(np.abs(move).max(axis=1, keepdims=True), 1.0)
    return np.where(done[:, None], 0.0, move).astype(np.float32)


def _walk(hand: np.ndarray, aim: np.ndarray, pucks: np.ndarray) -> np.ndarray:
    """f64[n, 2]: the next place on the hand's shortest way to its aim around the pucks [n, 2, 2], on a grid of 2 cm."""
    task = TASKS["multi_push"]
    axes = [np.arange(low, high + 1e-6, STEP) for low, high in zip(task.state_low[:2], task.state_high[:2], strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    free = (np.linalg.norm(grid - pucks[:, :, None, None], axis=-1) > TOUCH + 0.003).all(axis=1)
    way = np.full((len(hand), len(axes[0]) + 2, len(axes[1]) + 2), np.inf)  # metres from each place to the aim, with a border
    inner = way[:, 1:-1, 1:-1]
    from_aim, from_hand = (np.linalg.norm(grid - place[:, None, None], axis=-1) for place in (aim, hand))
    inner[:] = np.where(free & (from_aim < 1.5 * STEP), from_aim, np.inf)
    for _ in range(30):
        for i, j in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
            neighbour = way[:, 1 + i : way.shape[1] - 1 + i, 1 + j : way.shape[2] - 1 + j]
            np.minimum(inner, neighbour + STEP * np.hypot(i, j), out=inner)
        inner[~free] = np.inf
    # Half the way to the next place counts: staying where it is must not look as good as going on.
    total = np.where(from_hand < 1.6 * STEP, inner + 0.5 * from_hand, np.inf).reshape(len(hand), -1)
    return grid.reshape(-1, 2)[total.argmin(axis=1)]


def _gap(place: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """f32[n]: distances of places [n, 2] from the straight ways between starts and ends [n, 2]."""
    way = end - start
    share = ((place - start) * way).sum(1) / np.maximum((way * way).sum(1), 1e-9)
    return np.linalg.norm(place - start - share.clip(0, 1)[:, None] * way, axis=1)


def _ways(layout: tuple[str, ...]) -> dict[tuple[int, int], dict[tuple[int, int], tuple[int, int]]]:
    """Goal cell -> cell -> the next cell on a shortest way to the goal cell: breadth first from every free cell (row, column)."""
    free = {(row, column) for row, cells in enumerate(layout) for column, cell in enumerate(cells) if cell != "#"}
    ways = {}
    for goal in free:
        following, edge = {goal: goal}, [goal]
        for row, column in edge:
            for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if cell in free and cell not in following:
                    following[cell] = (row, column)
                    edge.append(cell)
        ways[goal] = following
    return ways


def maze(task: type[PointTask]) -> Controller:
    """A controller that goes from the middle of one cell to that of the next, and in the last one straight to the goal."""
    ways, width, height = _ways(task.layout), len(task.layout[0]), len(task.layout)

    def cells(places: np.ndarray) -> list[tuple[int, int]]:
        x, y = (places / task.cell).T
        return list(zip(np.floor(height / 2 - y).astype(int).tolist(), np.floor(x + width / 2).astype(int).tolist(), strict=True))

    def act(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
        aim = goal.copy()
        for world, (here, there) in enumerate(zip(cells(state), cells(goal), strict=True)):
            if here != there:
                row, column = ways[there][here]
                aim[world] = task.cell * (column + 0.5 - width / 2), task.cell * (height / 2 - row - 0.5)
        return reach(state, aim)

    return act


def door(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """f32[n, 3]: press the bar from behind, or the panel from before, as far as the goal's angle."""
    hinge, angle, left = np.array([0.16, 0.69]), state[:, 3], goal[:, 3] - state[:, 3]
    offset = state[:, :2] - hinge
    along = np.clip(-offset[:, 0] * np.cos(angle) - offset[:, 1] * np.sin(angle), 0.20, 0.26)
    # From the panel's middle, the pin touches the bar at 0.062 m and the hand touches the panel at 0.035 m. A hand that hits the
    # door at speed sends it gliding: come near first, then press in proportion.
    out, touch = offset[:, 0] * np.sin(angle) - offset[:, 1] * np.cos(angle), np.where(left > 0, 0.062, 0.035)
    touching = np.abs(out - touch) < 0.004
    following = angle + np.where(touching, np.clip(0.7 * left, -0.06, 0.06), 0.0)
    out = np.where(touching, touch, touch - 0.002 * np.sign(left))
    sine, cosine = np.sin(following), np.cos(following)
    aim = hinge + np.stack([out * sine - along * cosine, -out * cosine - along * sine], axis=1)
    move = np.concatenate([aim - state[:, :2], 0.12 - state[:, 2:3]], axis=1) / STEP
    return np.where(np.abs(left)[:, None] < 0.005, 0.0, np.clip(move, -1, 1)).astype(np.float32)


def pickup(state: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """f32[n, 3]: open above the block, go down around it, close, carry it to the goal."""
    hand, block, opening = state[:, :2], state[:, 2:4], state[:, 4]
    aligned, around = np.abs(hand[:, 0] - block[:, 0]) < 0.004, np.abs(hand[:, 1] - block[:, 1]) < 0.012
    grasped = aligned & around & (opening < 0.031)
    above = np.stack([block[:, 0], np.where(aligned & (opening > 0.05), block[:, 1] + 0.005, 0.08)], axis=1)
    aim = np.where((aligned & around)[:, None], hand, above)
    aim = np.where(grasped[:, None], hand + goal[:, 2:4] - block, aim)
    close = np.where(aligned & around, 1.0, -1.0)
    return np.clip(np.concatenate([(aim - hand) / STEP, close[:, None]], axis=1), -1, 1).astype(np.float32)


CONTROLLERS: dict[str, Controller] = {
    "reach": reach,
    "push": push,
    "multi_push": multi_push,
    "door": door,
    "pickup": pickup,
    **{name: maze(task) for name, task in TASKS.items() if issubclass(task, PointTask)},
}
