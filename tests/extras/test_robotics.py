"""Gymnasium-Robotics, where it is installed: `make test-extras` makes an environment that has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rig.envs import ForeignBatch, Spec
from tests.run.runs import TINY, done, read

pytest.importorskip("gymnasium_robotics", reason="gymnasium-robotics is not installed; make test-extras")

CLOSE = (1.3, 0.75, 0.62, 1.25, 137.0, -20.0)
ABOVE = (0.0, 0.0, 0.0, 18.0, 90.0, -75.0)  # AntMaze's own camera looks at a wall
CAMERAS: dict[str, str | tuple[float, ...]] = {
    **dict.fromkeys(("FetchReach-v4", "FetchPush-v4", "FetchSlide-v4", "FetchPickAndPlace-v4", "PointMaze_UMaze-v3"), ""),
    "AntMaze_UMaze-v5": ABOVE,
}


@pytest.fixture
def fetch() -> Iterator[ForeignBatch]:
    env = ForeignBatch(Spec("FetchReach-v4", 48, CLOSE), 3, seed=0, length=10, unit="m")
    yield env
    env.close()


def actions(env: ForeignBatch, steps: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, env.num_envs, env.action_dim)).astype(np.float32)


def test_fetch_is_filmed_and_its_snapshots_are_exact(fetch: ForeignBatch) -> None:
    assert (fetch.action_dim, fetch.state_dim, fetch.task.factors["goal"].threshold) == (4, 3, 0.05)
    plan = actions(fetch, 20)
    for action in plan[:10]:
        fetch.step(action)
    snapshot = fetch.snapshot()
    expected = [fetch.step(action) for action in plan]
    assert np.ptp([seen.state[0] for seen in expected], axis=0).max() > 0.05
    fetch.reset()
    fetch.restore(snapshot)
    for action, right in zip(plan, expected, strict=True):
        now = fetch.step(action)
        np.testing.assert_array_equal(now.frame, right.frame)
        np.testing.assert_array_equal(now.state, right.state)


def test_worlds_of_one_worker_are_filmed_as_they_are_alone(fetch: ForeignBatch) -> None:
    plan = actions(fetch, 5)
    start = fetch.snapshot()
    seen = [fetch.step(action) for action in plan]
    alone = ForeignBatch(Spec("FetchReach-v4", 48, CLOSE), 1, seed=1)
    for world in range(3):
        own = {name.replace(f"world{world}.", "world0."): value for name, value in start.items() if f"world{world}." in name}
        alone.restore({**own, "generator": start["generator"], "num_envs": np.array([1])})
        for action, right in zip(plan, seen, strict=True):
            now = alone.step(action[world : world + 1])
            np.testing.assert_array_equal(now.state[0], right.state[world])
            np.testing.assert_array_equal(now.frame[0], right.frame[world])
    alone.close()


def test_the_mark_of_its_own_goal_is_not_drawn() -> None:
    env = ForeignBatch(Spec("FetchReach-v4", 48, CLOSE), 1, seed=0)
    frames = np.stack([env.reset().frame[0] for _ in range(4)]).astype(int)
    env.close()
    assert np.abs(frames - frames[0]).max() <= 2  # each has another goal


@pytest.mark.parametrize("name", CAMERAS)
def test_the_worlds_of_the_extra_can_be_seen_and_judged(name: str) -> None:
    env = ForeignBatch(Spec(name, 48, CAMERAS[name]), 1, seed=0, length=5, threshold=0.1)
    first = env.reset()
    for action in actions(env, 10):
        now = env.step(action)
    assert (now.frame != first.frame).any() and np.isfinite(now.state).all()
    goals = env.sample_goals(2)
    assert env.show(goals).shape == (2, 48, 48, 3)
    env.close()


def test_fetch_reach_trains_from_pixels_without_code(tmp_path: Path) -> None:
    said = done("train", "preset=fetch_reach", *TINY, "encoder.training.steps=4", f"run_dir={tmp_path / 'run'}")
    assert "goals are frames of the worlds' own rollouts" in said.out
    assert read(tmp_path / "run" / "evaluation.json")["factors"]["goal"]["unit"] == "m"
    with pytest.raises(ValueError, match="has no camera 'front'; valid: head_camera_rgb"):
        ForeignBatch(Spec("FetchReach-v4", 48, "front"), 1, seed=0)
