"""The worlds: tasks, and batches of worlds stepped and filmed together. Knows nothing of learning."""

from __future__ import annotations

if __name__ == "envs":
    raise ImportError("the worlds are a part of rig: `import rig.envs`, not `import envs`")

from .batch import BatchEnv, Observation
from .camera import PLAIN, Look
from .multi_push import MultiPush
from .point_mass import PointMass
from .point_maze import PointMazeFourRooms, PointMazeMedium, PointMazeUMaze
from .push import Push
from .reach import Reach
from .task import Factor, Task

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Reach, Push, MultiPush, PointMass, PointMazeUMaze, PointMazeFourRooms, PointMazeMedium)
}
"""Every task by its name."""


def make_batch(
    task: str, num_envs: int, *, seed: int, size: int = 48, render: str = "warp", look: Look = PLAIN
) -> BatchEnv:
    """N worlds of a named task, at its start; frames are `size` x `size` pixels, through the task's camera unless `look` says.

    `render` is warp (MuJoCo Warp on the CPU), gl (OpenGL) or none (black frames at no cost, where only states are looked at).
    Raises ValueError for an unknown task, renderer or camera, a number below 1, and where `render=gl` finds no OpenGL.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: expected one of {', '.join(TASKS)}")
    from .mujoco_batch import MujocoBatch

    return MujocoBatch(TASKS[task](), num_envs, seed=seed, size=size, render=render, look=look)


def register() -> None:
    """Make every task known to `gymnasium.make` under its `gym_id`, once."""
    import gymnasium

    for name, task in TASKS.items():
        if task.gym_id not in gymnasium.registry:
            gymnasium.register(
                task.gym_id, entry_point="rig.envs.gym:GoalEnv", max_episode_steps=task.horizon, kwargs={"task": name}
            )


__all__ = ["TASKS", "BatchEnv", "Factor", "Look", "Observation", "Task", "make_batch", "register"]
