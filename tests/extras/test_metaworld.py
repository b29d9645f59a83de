"""Meta-World, where it is installed: `make test-extras` makes an environment that has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from rig.envs import ForeignBatch, Spec
from tests.extras.adapted import FEW, looks_and_moves, row_of
from tests.run.runs import done, read, rig

pytest.importorskip("metaworld", reason="Meta-World is not installed; make test-extras")

from rig.envs.foreign_world import World

JUDGED = {
    "reach-v3": ("hand", 0.05),
    "push-v3": ("object", 0.05),
    "pick-place-v3": ("object", 0.07),
    "door-open-v3": ("object", 0.08),
    "door-close-v3": ("object", 0.08),
    "drawer-open-v3": ("object", 0.03),
    "drawer-close-v3": ("object", 0.065),
    "window-open-v3": ("object", 0.05),
    "window-close-v3": ("object", 0.05),
}
CYAN = (1, 2), 0
"""Of one finger: green and blue stand out against red."""


@pytest.mark.parametrize("task", ["reach-v3", "push-v3", "door-open-v3"])
def test_a_task_is_seen_moves_and_is_judged_in_metres(task: str) -> None:
    env = ForeignBatch(Spec(f"metaworld/{task}", 48), 2, seed=0, length=5)
    name, threshold = JUDGED[task]
    assert env.task.judged == (name,) and env.task.factors[name][1:] == ("m", threshold)
    assert (env.action_dim, env.state_dim) == (4, 3 if task == "reach-v3" else 6)
    looks_and_moves(env)
    env.close()


def base_of(world: World) -> Any:
    return world._env.unwrapped


@pytest.mark.parametrize("task", JUDGED)
def test_the_state_is_what_the_task_itself_judges(task: str) -> None:
    """The success that Meta-World reports where its own goal is put just within the threshold of the state, and just outside."""
    world = World(Spec(f"metaworld/{task}", 48))
    base, (name, threshold) = base_of(world), JUDGED[task]
    assert world.describe().exact and world._env.factors[name].threshold == threshold
    state = world.reset(0)[list(world._env.factors[name].indices)]
    frame = {"door": "door", "drawer": "drawer", "window": "window"}.get(task.partition("-")[0])
    place = state + (base.model.body(frame).pos if frame else 0)
    axis = np.eye(3)[1 if frame == "drawer" else 0]  # along which door, drawer and window are judged
    for factor, success in ((0.95, 1.0), (1.05, 0.0)):
        base._target_pos = place + factor * threshold * axis
        assert base.evaluate_state(base._get_obs(), np.zeros(4))[1]["success"] == success


def test_snapshots_are_exact_wherever_the_door_stands() -> None:
    env = ForeignBatch(Spec("metaworld/door-open-v3", 48), 3, seed=0)
    assert env._workers.description.exact
    plan = np.random.default_rng(0).uniform(-1, 1, (10, 3, 4)).astype(np.float32)
    snapshot = env.snapshot()
    expected = [env.step(action) for action in plan]
    begun = env.reset()
    assert (begun.frame != expected[0].frame).any()
    env.restore(snapshot)
    for action, right in zip(plan, expected, strict=True):
        now = env.step(action)
        np.testing.assert_array_equal(now.frame, right.frame)
        np.testing.assert_array_equal(now.state, right.state)
    env.close()


def test_its_own_goal_and_time_limit_play_no_part() -> None:
    world = World(Spec("metaworld/push-v3", 48))
    base = base_of(world)
    frames: list[np.ndarray] = []
    for place in (-0.1, 0.05):
        base.model.site("goal").pos = world.state[3:] + np.array([place, 0, 0.03])
        mujoco.mj_forward(base.model, base.data)
        frames.append(world.film())
    np.testing.assert_array_equal(*frames)
    for _ in range(505):
        world.step(np.full(4, -0.3, np.float32))
    assert not world._ended


@pytest.mark.parametrize("view", ["", "corner", "corner2", "corner3"])
def test_pictures_are_the_right_way_up(view: str) -> None:
    world = World(Spec("metaworld/reach-v3", 128, view))
    for _ in range(5):
        world.step(np.array([0, 0, -0.5, 0], np.float32))
    low = row_of(world.film(), *CYAN)
    for _ in range(15):
        world.step(np.array([0, 0, 1, 0], np.float32))
    assert row_of(world.film(), *CYAN) < low - 2


def test_episodes_follow_from_their_seeds() -> None:
    worlds = [World(Spec("metaworld/push-v3", 48)) for _ in range(2)]
    np.random.seed(1)
    first = [worlds[0].reset(seed).copy() for seed in (1, 2)]
    again = [worlds[1].reset(seed).copy() for seed in (1, 2)]
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - first[1])[3:5].max() > 0.01


@pytest.mark.parametrize("task", ["reach-v3", "push-v3", "door-open-v3"])
def test_it_trains_from_pixels_without_code(task: str, tmp_path: Path) -> None:
    said = done("train", "preset=metaworld_reach", f"task.id=metaworld/{task}", *FEW, f"run_dir={tmp_path / 'run'}")
    assert "goals are frames of the worlds' own rollouts" in said.out
    name = JUDGED[task][0]
    assert read(tmp_path / "run" / "evaluation.json")["factors"][name]["unit"] == "m"
    assert name in done("evaluate", tmp_path / "run", "--episodes", "1").out


def test_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    said = rig("train", *FEW, "task=gym", "task.id=metaworld/raech-v3", f"run_dir={tmp_path / 'run'}")
    assert said.line.endswith("unknown task.id 'metaworld/raech-v3'; try task.id=metaworld/reach-v3")
    with pytest.raises(ValueError, match=r"has no distance_threshold of its own; type task\.threshold="):
        ForeignBatch(Spec("metaworld/soccer-v3", 48), 1, seed=0)
    env = ForeignBatch(Spec("metaworld/soccer-v3", 48), 1, seed=0, threshold=0.07)
    assert env.task.factors["object"].threshold == 0.07 and env.task.factors["hand"].threshold == 0.05
    env.close()
