"""The worlds: tasks, and batches of worlds stepped and filmed together. Knows nothing of learning."""

from __future__ import annotations

if __name__ == "envs":
    raise ImportError("the worlds are a part of rig: `import rig.envs`, not `import envs`")

from typing import Any

import numpy as np

from .batch import BatchEnv, EpisodeLostError, Observation, WorldsError
from .camera import PLAIN, Look
from .door import Door
from .foreign import ForeignBatch
from .foreign_spec import Spec
from .multi_push import MultiPush
from .pickup import Pickup
from .point_mass import PointMass
from .point_maze import PointMazeFourRooms, PointMazeMedium, PointMazeUMaze
from .push import Push
from .reach import Reach
from .task import Factor, Task

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Reach, Push, MultiPush, Door, Pickup, PointMass, PointMazeUMaze, PointMazeFourRooms, PointMazeMedium,
    )
}  # fmt: skip
"""Every task by its name."""


ENGINES = ("auto", "c", "warp")
"""c: MuJoCo's own, on the CPU; warp: MuJoCo Warp, physics and pictures; auto: warp where it finds CUDA and draws, else c."""


def make_batch(
    task: str,
    num_envs: int,
    *,
    seed: int,
    size: int = 48,
    render: str = "warp",
    look: Look = PLAIN,
    engine: str = "auto",
    arrays: Any = np,
    seen: bool = True,
) -> BatchEnv:
    """N worlds of a named task, at its start; frames are `size` x `size` pixels, through the task's camera unless `look` says.

    `render` is warp (MuJoCo Warp), gl (OpenGL) or none (black frames at no cost, where only states are looked at); `engine` is
    one of `ENGINES`. `arrays`, numpy or torch, is what worlds stepped by MuJoCo Warp take and give (see `WarpBatch`); those of
    the C engine keep to numpy. Where frames are not to be `seen`, Warp draws none: they are black, whatever steps the worlds.
    Raises ValueError for an unknown task, renderer, camera or engine, a number below 1, gl with engine=warp, and where
    `render=gl` finds no OpenGL.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: expected one of {', '.join(TASKS)}")
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}: expected one of {', '.join(ENGINES)}")
    drawn = "none" if render == "warp" and not seen else render
    settings: dict[str, Any] = {"seed": seed, "size": size, "render": drawn, "look": look}
    if engine == "warp" or (engine == "auto" and render == "warp"):
        from .warp_render import cuda

        if engine == "warp" or cuda():
            from .warp_batch import WarpBatch

            return WarpBatch(TASKS[task](), num_envs, device="cuda" if cuda() else "cpu", arrays=arrays, **settings)
    from .mujoco_batch import MujocoBatch

    return MujocoBatch(TASKS[task](), num_envs, **settings)


def register() -> None:
    """Make every task known to `gymnasium.make` under its `gym_id`, once."""
    import gymnasium

    for name, task in TASKS.items():
        if task.gym_id not in gymnasium.registry:
            gymnasium.register(
                task.gym_id, entry_point="rig.envs.gym:GoalEnv", max_episode_steps=task.horizon, kwargs={"task": name}
            )


__all__ = [
    "ENGINES",
    "TASKS",
    "BatchEnv",
    "EpisodeLostError",
    "Factor",
    "ForeignBatch",
    "Look",
    "Observation",
    "Spec",
    "Task",
    "WorldsError",
    "make_batch",
    "register",
]
