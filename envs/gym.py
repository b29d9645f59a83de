"""One world as a Gymnasium environment with goals, for other libraries; rig's own agent uses BatchEnv."""

from __future__ import annotations

from typing import Any, final

import gymnasium
import numpy as np

from . import make_batch
from .batch import Observation
from .camera import PLAIN, Look

MARGIN = 0.05
"""How far the state spaces reach beyond the kept region, in the state's units: contacts give way a little."""


@final
class GoalEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A task in the shape of Gymnasium-Robotics' goal environments.

    Observations are dictionaries of `observation`, `achieved_goal` and `desired_goal`. The first two are what is seen now, the
    third is what success looks like: states f32[S] or, with `observation="image"`, pictures u8[H, W, 3]. An episode never
    terminates; the time limit of `gymnasium.make` truncates it. `info` holds `is_success` and the distance of each factor in its
    unit, `<factor>_distance`.

    Rewards are functions of achieved and desired goal alone, so that relabelled goals are rewarded rightly:
    state, dense: minus the mean distance of the task's judged factors; state, sparse: 0 in success, -1 elsewhere;
    image, dense: minus the root mean square difference of the pixels, scaled to [0, 1]. Pictures have no sparse reward.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012 (Gymnasium's declaration)

    def __init__(
        self,
        task: str,
        *,
        observation: str = "state",
        reward_type: str = "dense",
        render_mode: str | None = None,
        size: int = 48,
        render: str = "warp",
        look: Look = PLAIN,
    ) -> None:
        """Make the world of one task in `rig.envs.TASKS`.

        `observation` is state or image, `reward_type` dense or sparse, `render_mode` None or rgb_array, `size` the side of a
        picture in pixels, `render` warp or gl, `look` as for `rig.envs.make_batch`. Raises ValueError for any other.
        """
        if observation not in ("state", "image"):
            raise ValueError(f"unknown observation {observation!r}: expected state or image")
        if reward_type not in ("dense", "sparse"):
            raise ValueError(f"unknown reward_type {reward_type!r}: expected dense or sparse")
        if (observation, reward_type) == ("image", "sparse"):
            raise ValueError("no success can be read off pictures: use reward_type=dense, or observation=state with sparse")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"unknown render_mode {render_mode!r}: expected None or rgb_array")
        blind = observation == "state" and render_mode is None
        self._batch = make_batch(task, 1, seed=0, size=size, render="none" if blind else render, engine="c", look=look)
        self._task = self._batch.task
        self._observation, self._reward_type, self.render_mode = observation, reward_type, render_mode
        self._now = Observation(np.zeros((1, size, size, 3), np.uint8), np.zeros((1, self._task.state_dim), np.float32))
        self._goal = self._now
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._task.action_dim,), np.float32)
        if observation == "image":
            space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        else:
            low, high = (np.array(corner, dtype=np.float32) for corner in (self._task.state_low, self._task.state_high))
            space = gymnasium.spaces.Box(low - np.float32(MARGIN), high + np.float32(MARGIN), dtype=np.float32)
        # `Any`: gymnasium's Dict space is not generic in what it holds.
        spaces: Any = gymnasium.spaces.Dict({"observation": space, "achieved_goal": space, "desired_goal": space})
        self.observation_space = spaces

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode at the task's start with a goal of the task's own distribution."""
        super().reset(seed=seed, options=options)
        goal = self._task.goal_states(self.np_random, 1)
        self._goal = Observation(self._batch.show(goal), goal)
        self._now = self._batch.reset(state=self._task.start_states(self.np_random, 1))
        return self._observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Apply action f32[A] in [-1, 1] for 40 ms."""
        self._now = self._batch.step(np.asarray(action)[None])
        observation, info = self._observe(), self._info()
        reward = self.compute_reward(observation["achieved_goal"], observation["desired_goal"], info)
        return observation, float(reward), False, False, info

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> np.ndarray:
        """f32[...]: the reward of goals [..., S] or [..., H, W, 3], one or many. `info` is not needed.

        Equals what `step` returned for the same two goals, to the last bit.
        """
        del info
        achieved, desired = np.asarray(achieved_goal), np.asarray(desired_goal)
        if self._observation == "image":
            # Whole numbers: the sum does not depend on how many pictures are compared at once.
            difference = achieved.astype(np.int64) - desired.astype(np.int64)
            return -np.sqrt((difference**2).mean(axis=(-3, -2, -1)) / 255.0**2).astype(np.float32)
        if self._reward_type == "sparse":
            return -np.logical_not(self._task.success(achieved, desired)).astype(np.float32)
        distances = self._task.distances(achieved, desired)
        return -np.mean([distances[name] for name in self._task.judged], axis=0).astype(np.float32)

    def render(self) -> np.ndarray | None:
        """u8[H, W, 3], what the camera sees now; None without a render mode."""
        return self._now.frame[0].copy() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Give back the world and its renderer."""
        self._batch.close()

    def _observe(self) -> dict[str, np.ndarray]:
        now, goal = (self._now.frame, self._goal.frame) if self._observation == "image" else (self._now.state, self._goal.state)
        return {"observation": now[0].copy(), "achieved_goal": now[0].copy(), "desired_goal": goal[0].copy()}

    def _info(self) -> dict[str, Any]:
        distances = self._task.distances(self._now.state, self._goal.state)
        success = bool(self._task.success(self._now.state, self._goal.state)[0])
        return {"is_success": success, **{f"{name}_distance": float(distance[0]) for name, distance in distances.items()}}
