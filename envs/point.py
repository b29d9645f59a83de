"""What the tasks of the point share: a ball on a floor, between walls that a layout draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .camera import PLAIN, Look, load_model
from .task import ASSETS, Task, Worlds, uniform_but

if TYPE_CHECKING:
    import mujoco

RADIUS = 0.025
"""Of the ball in point.xml, metres."""
ACTION_SCALE = 0.02
"""Metres that the ball's target moves an action unit."""
LEASH = 0.025
"""How far ahead of the ball its target may be along x or y, metres. More than a free ball ever lags, so it matters only to a
blocked one: its target must not run on into the wall, or the ball would ignore the first actions that lead back."""
HEIGHT = 0.03
"""Of the walls, metres: twice that of the ball's centre in point.xml, so that they meet it at its widest."""
COLOUR = (0.5, 0.5, 0.52, 1.0)
"""Of the walls. They never move: all they need is to be told from the floor and from the ball."""


class PointTask(Task):
    """A ball that goes where it is sent unless a wall is in its way. Abstract: a task adds its layout and what follows from it.

    State: x, y of the ball in metres, from the middle of the layout; +x is on the right of the picture and +y at its top. Starts,
    goals and random states are even over all places where the ball touches no wall.
    """

    layout: ClassVar[tuple[str, ...]]
    """Rows of cells from the top, `#` for a wall; the outermost cells are walls."""
    cell: ClassVar[float]
    """Side of a cell, metres."""
    state_names: ClassVar[tuple[str, ...]] = ("point_x", "point_y")
    state_units: ClassVar[tuple[str, ...]] = ("m", "m")
    judged: ClassVar[tuple[str, ...]] = ("point",)
    camera: ClassVar[str] = "above"
    scene: ClassVar[str] = "point.xml"
    action_dim: ClassVar[int] = 2

    def model(self, look: Look = PLAIN) -> mujoco.MjModel:
        """A fresh compiled model of the scene with the task's walls in it, through one camera. Raises ValueError as `Task`."""
        return load_model(ASSETS / self.scene, look.through(self.camera), self._add_walls)

    def start_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 2]: anywhere [D4RL; multiworld]."""
        return self.random_states(rng, n)

    def goal_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 2]: anywhere."""
        return self.random_states(rng, n)

    def random_states(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """f32[n, 2]: uniform over the places where the ball touches no wall."""
        boxes = walls(self.layout, self.cell)
        return uniform_but(rng, n, self.state_low, self.state_high, lambda states: _gap(states, boxes) < RADIUS)

    def write_state(self, worlds: Worlds, state: Any) -> None:
        """Put the ball and its target at states [N, 2], at rest."""
        worlds.qpos[:, :2] = state
        worlds.ctrl[:, :2] = state

    def read_state(self, worlds: Worlds, out: Any) -> None:
        """Write the ball's x, y to out f32[N, 2]."""
        out[:] = worlds.qpos[:, :2]

    def apply_action(self, worlds: Worlds, action: Any) -> None:
        """Move the ball's target by actions [N, 2] times 2 cm."""
        at = worlds.qpos[:, :2]
        worlds.ctrl[:, :2] = (worlds.ctrl[:, :2] + ACTION_SCALE * action).clip(at - LEASH, at + LEASH)

    def _add_walls(self, spec: mujoco.MjSpec) -> None:
        import mujoco

        for x, y, half_x, half_y in walls(self.layout, self.cell):
            box, size = mujoco.mjtGeom.mjGEOM_BOX, (half_x, half_y, HEIGHT / 2)
            spec.worldbody.add_geom(type=box, pos=(x, y, HEIGHT / 2), size=size, rgba=COLOUR)


def walls(layout: tuple[str, ...], cell: float) -> np.ndarray:
    """f64[B, 4]: boxes that cover a layout's walls, as centre x, y and half sides in metres; as few as are found greedily."""
    wall = np.array([[cell == "#" for cell in row] for row in layout])
    left_over = wall.copy()
    boxes: list[tuple[float, float, float, float]] = []
    for top, left in np.argwhere(wall).tolist():
        if left_over[top, left]:
            right = left + int((~left_over[top, left:]).argmax() or wall.shape[1] - left)
            bottom = top + int((~wall[top:, left:right].all(axis=1)).argmax() or len(wall) - top)
            left_over[top:bottom, left:right] = False
            boxes.append((left + right, -top - bottom, right - left, bottom - top))
    middle = (wall.shape[1], -wall.shape[0], 0, 0)
    return cell / 2 * (np.array(boxes) - middle)


def kept_region(layout: tuple[str, ...], cell: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Lowest and highest x, y (metres) of the ball within a layout whose outermost free cells touch its border."""
    x, y = (cell * (cells / 2 - 1) - RADIUS for cells in (len(layout[0]), len(layout)))
    return (-x, -y), (x, y)


def _gap(places: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """f64[n], metres from each of the places f32[n, 2] to the nearest of the boxes [B, 4]; 0 inside one."""
    outside = np.abs(places[:, None] - boxes[:, :2]) - boxes[:, 2:]
    return np.linalg.norm(outside.clip(0), axis=-1).min(axis=1)
