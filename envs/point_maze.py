"""PointMaze: bring a ball to a place in a maze, around its walls."""

from __future__ import annotations

from typing import ClassVar, final

from .point import PointTask, kept_region
from .task import Factor


@final
class PointMazeUMaze(PointTask):
    """Bring a ball to a place in a corridor that is bent like a U.

    State: ball x, y in metres. Success: ball within a tenth of the floor's side, 3.6 cm: less than half of a wall.
    Source: maze2d-umaze of D4RL (Fu et al. 2020, section 5), PointMaze_UMaze of Gymnasium-Robotics; seen from above.
    """

    name: ClassVar[str] = "point_maze_umaze"
    gym_id: ClassVar[str] = "rig/PointMaze_UMaze-v0"
    horizon: ClassVar[int] = 50
    layout: ClassVar[tuple[str, ...]] = (
        "#####",
        "#   #",
        "### #",
        "#   #",
        "#####",
    )  # fmt: skip
    cell: ClassVar[float] = 0.12
    factors: ClassVar[dict[str, Factor]] = {"point": Factor((0, 1), "m", 0.036)}
    state_low, state_high = kept_region(layout, cell)


@final
class PointMazeFourRooms(PointTask):
    """Bring a ball to a place in one of four rooms, each with doors to two others.

    State: ball x, y in metres. Success: ball within a tenth of the floor's side, 3.75 cm: half of a wall.
    Source: the rooms of Sutton, Precup & Singh 1999, section 3, each 2 x 2 cells; seen from above.
    """

    name: ClassVar[str] = "point_maze_four_rooms"
    gym_id: ClassVar[str] = "rig/PointMaze_FourRooms-v0"
    horizon: ClassVar[int] = 50
    layout: ClassVar[tuple[str, ...]] = (
        "#######",
        "#  #  #",
        "#     #",
        "## # ##",
        "#     #",
        "#  #  #",
        "#######",
    )  # fmt: skip
    cell: ClassVar[float] = 0.075
    factors: ClassVar[dict[str, Factor]] = {"point": Factor((0, 1), "m", 0.0375)}
    state_low, state_high = kept_region(layout, cell)


@final
class PointMazeMedium(PointTask):
    """Bring a ball to a place in a maze of 26 cells with dead ends and loops.

    State: ball x, y in metres. Success: ball within a tenth of the floor's side, 3.75 cm: less than a wall's thickness.
    Source: maze2d-medium of D4RL (Fu et al. 2020, section 5), PointMaze_Medium of Gymnasium-Robotics; seen from above.
    """

    name: ClassVar[str] = "point_maze_medium"
    gym_id: ClassVar[str] = "rig/PointMaze_Medium-v0"
    horizon: ClassVar[int] = 50
    layout: ClassVar[tuple[str, ...]] = (
        "########",
        "#  ##  #",
        "#  #   #",
        "##   ###",
        "#  #   #",
        "# #  # #",
        "#   #  #",
        "########",
    )  # fmt: skip
    cell: ClassVar[float] = 0.0625
    factors: ClassVar[dict[str, Factor]] = {"point": Factor((0, 1), "m", 0.0375)}
    state_low, state_high = kept_region(layout, cell)
