"""What a foreign world is asked to be, what it turned out to be, and which ones will not do."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .task import Factor

KEYS = ("observation", "achieved_goal", "desired_goal")
"""What the observation of an environment with goals consists of."""


class Spec(NamedTuple):
    """Which world, and how it is looked at."""

    id: str
    """A Gymnasium id, or module:Class of an environment."""
    size: int
    """Side of a frame in pixels."""
    view: str | tuple[float, ...] = ""
    """MuJoCo worlds only: one of the model's cameras, or (x, y, z, distance, azimuth, elevation), metres and degrees;
    empty: as the world films itself."""
    low: tuple[float, ...] = ()
    """What an action of -1 stands for, one number an entry, before it is cut off at the world's bounds; empty: its lower bounds.
    A brake whose -1 stands for -1 is off for half of all actions."""
    skip: int = 0
    """Env steps of doing nothing at an episode's start, which nobody sees."""


class Description(NamedTuple):
    """What a world turned out to be."""

    action_dim: int
    goal_dim: int
    """Numbers in a goal, and so in a state; 0: a world without goals, in which nothing but seeing can be learnt."""
    threshold: float | None
    """The world's own distance_threshold; None: it has none."""
    renderer: str
    exact: bool
    """Whether a snapshot in the middle of an episode was seen to go on bit for bit."""
    factors: dict[str, Factor]
    """What its state is made of; empty: one thing, in a unit of its own, or nothing."""
    judged: tuple[str, ...]


class RefusedError(ValueError):
    """This world cannot be used. The message says why and what to do about it."""


def unfilmed(name: str) -> str:
    """Why an environment without pictures will not do."""
    return f"{name} has no render mode rgb_array, so there is nothing to see; expected an environment that has"


def checked_space(name: str, env: Any) -> Any:
    """The action space. Raises RefusedError for an environment without pictures or continuous actions."""
    import gymnasium

    if "rgb_array" not in env.metadata.get("render_modes", ()):
        raise RefusedError(unfilmed(name))
    if not isinstance(env.action_space, gymnasium.spaces.Box):
        raise RefusedError(f"{name} takes actions {env.action_space}: expected a Box of continuous ones")
    return env.action_space


def has_goals(space: Any) -> bool:
    """Whether an observation space is that of an environment with goals."""
    import gymnasium

    return isinstance(space, gymnasium.spaces.Dict) and set(KEYS) <= set(space.spaces)


def checked_low(spec: Spec, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """What an action of -1 stands for, within bounds `low` and `high`. Raises RefusedError where it cannot be."""
    if not spec.low:
        return low
    if len(spec.low) != low.size or (np.array(spec.low) >= high.ravel()).any():
        raise RefusedError(
            f"task.low={list(spec.low)}: {spec.id} needs {low.size} numbers, each below {high.ravel().tolist()}; "
            f"try task.low={low.ravel().tolist()}"
        )
    return np.array(spec.low, low.dtype).reshape(low.shape)
