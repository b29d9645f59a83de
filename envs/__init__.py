"""The worlds: tasks, and batches of worlds stepped and filmed together. Knows nothing of learning."""

from __future__ import annotations

if __name__ == "envs":
    raise ImportError("the worlds are a part of rig: `import rig.envs`, not `import envs`")

from .batch import BatchEnv, EpisodeLostError, Observation, WorldsError
from .foreign import ForeignBatch
from .foreign_world import Spec
from .push import Push
from .reach import Reach
from .task import Factor, Task

TASKS: dict[str, type[Task]] = {task.name: task for task in (Reach, Push)}
"""Every task by its name."""


def make_batch(task: str, num_envs: int, *, seed: int, size: int = 48, render: str = "warp") -> BatchEnv:
    """N worlds of a named task, at its start; frames are `size` x `size` pixels.

    `render` is warp (MuJoCo Warp on the CPU), gl (OpenGL) or none (black frames at no cost, where only states are looked at).
    Raises ValueError for an unknown task or renderer, a number below 1, and where `render=gl` finds no OpenGL.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}: expected one of {', '.join(TASKS)}")
    from .mujoco_batch import MujocoBatch

    return MujocoBatch(TASKS[task](), num_envs, seed=seed, size=size, render=render)


def register() -> None:
    """Make every task known to `gymnasium.make` under its `gym_id`, once."""
    import gymnasium

    for name, task in TASKS.items():
        if task.gym_id not in gymnasium.registry:
            gymnasium.register(
                task.gym_id, entry_point="rig.envs.gym:GoalEnv", max_episode_steps=task.horizon, kwargs={"task": name}
            )


__all__ = [
    "TASKS",
    "BatchEnv",
    "EpisodeLostError",
    "Factor",
    "ForeignBatch",
    "Observation",
    "Spec",
    "Task",
    "WorldsError",
    "make_batch",
    "register",
]
