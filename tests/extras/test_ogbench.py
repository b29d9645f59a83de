"""OGBench, where it is installed: `make test-extras` makes an environment that has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rig.envs import ForeignBatch, Spec
from tests.extras.adapted import FEW, looks_and_moves, row_of
from tests.run.runs import done, read, rig

pytest.importorskip("ogbench", reason="OGBench is not installed; make test-extras")

from rig.envs.foreign_world import World

JUDGED: dict[str, dict[str, tuple[int, str, float]]] = {
    "visual-cube-single-v0": {"cube": (3, "m", 0.04)},
    "visual-cube-double-v0": {"cube_0": (3, "m", 0.04), "cube_1": (3, "m", 0.04)},
    "visual-scene-v0": {"cube": (3, "m", 0.04), "buttons": (2, "", 0.5), "drawer": (1, "m", 0.04), "window": (1, "m", 0.04)},
    "visual-puzzle-3x3-v0": {"buttons": (9, "", 0.5)},
    "visual-antmaze-medium-v0": {"place": (2, "m", 0.5)},
    "visual-antmaze-teleport-v0": {"place": (2, "m", 0.5)},
}
PURPLE = (0, 2), 1
"""Of the gripper: red and blue stand out against green."""


def base_of(world: World) -> Any:
    return world._env.unwrapped


@pytest.mark.parametrize("name", JUDGED)
def test_a_world_is_seen_moves_and_is_judged_in_its_own_units(name: str) -> None:
    env = ForeignBatch(Spec(name, 48), 1, seed=0, length=3)
    factors = {part: env.task.factors[part] for part in env.task.judged}
    assert {part: (len(factor.indices), *factor[1:]) for part, factor in factors.items()} == JUDGED[name]
    looks_and_moves(env)
    env.close()


@pytest.mark.parametrize("name", ["visual-cube-double-v0", "visual-scene-v0", "visual-puzzle-3x3-v0"])
def test_the_state_is_what_ogbench_calls_the_goal(name: str) -> None:
    """Its oracle representation of a goal, undone of its scales; at that goal and just beside it, its own success."""
    world = World(Spec(name, 48))
    base = base_of(world)
    for seed in (0, 1):
        state = world.reset(seed)[3:].astype(float)  # behind the hand
        oracle = base.compute_oracle_observation()
        cubes = 3 * getattr(base, "_num_cubes", 0)
        oracle[:cubes] = (oracle[:cubes].reshape(-1, 3) / 10 + [0.425, 0, 0]).ravel()
        if "scene" in name:
            oracle[-2:] /= 18, 15
        np.testing.assert_allclose(state, oracle, atol=1e-6)


def test_the_thresholds_are_ogbenchs() -> None:
    world = World(Spec("visual-scene-v0", 48))
    base = base_of(world)
    for factor, near in ((0.9, True), (1.1, False)):
        state = world.reset(0)
        base._data.mocap_pos[base._cube_target_mocap_ids[0]] = state[3:6] + np.array([0, factor * 0.04, 0])
        base._target_drawer_pos, base._target_window_pos = state[8] + factor * 0.04, state[9] - factor * 0.04
        assert base._compute_successes()[0] == [near] and tuple(base._compute_successes()[2:]) == (near, near)
    maze = World(Spec("visual-antmaze-medium-v0", 48))
    for factor, near in ((0.9, True), (1.1, False)):
        base_of(maze).cur_goal_xy = maze.reset(0) + np.array([factor * 0.5, 0])
        assert base_of(maze).compute_success() == near


def test_a_pressed_button_is_in_the_state_the_picture_and_the_snapshot() -> None:
    world = World(Spec("visual-puzzle-3x3-v0", 48))
    before, shown = world.reset(0)[3:].copy(), world.film()
    snapshot = world.snapshot()
    base_of(world).data.joint("buttonbox_joint_4").qfrc_applied[:] = -50  # newtons, as of a finger
    after = world.step(np.zeros(5, np.float32))[3:]
    assert set(np.flatnonzero(after != before)) == {1, 3, 4, 5, 7}  # itself and its neighbours
    assert np.abs(world.film().astype(int) - shown).max() > 60
    world.restore(snapshot)
    np.testing.assert_array_equal(world.state[3:], before)
    np.testing.assert_array_equal(base_of(world)._cur_button_states, before)
    np.testing.assert_array_equal(world.film(), shown)


def test_its_own_goal_is_not_drawn_and_ends_nothing() -> None:
    world = World(Spec("visual-cube-single-v0", 48))
    base, state = base_of(world), world.reset(0)
    plain = world.film()
    base.data.mocap_pos[:] = state[3:6] + np.array([0, 0, 0.01])  # the cube is where it should be
    for _ in range(3):
        world.step(np.zeros(5, np.float32))
    assert base._success and not world._ended
    settled = world.film()
    base.data.mocap_pos[:] = [0.4, 0, 0.1]
    world.step(np.zeros(5, np.float32))
    assert np.abs(world.film().astype(int) - settled).max() < 30
    assert np.abs(settled.astype(int) - plain).max() < 60


def test_pictures_are_the_right_way_up() -> None:
    world = World(Spec("visual-cube-single-v0", 96))
    world.reset(3)
    for _ in range(6):
        world.step(np.array([0, 0, -1, 0, 0], np.float32))
    low = row_of(world.film(), *PURPLE)
    for _ in range(6):
        world.step(np.array([0, 0, 1, 0, 0], np.float32))
    assert row_of(world.film(), *PURPLE) < low - 2


@pytest.mark.parametrize("name", ["visual-scene-v0", "visual-antmaze-teleport-v0"])
def test_episodes_follow_from_their_seeds(name: str) -> None:
    worlds = [World(Spec(name, 48)) for _ in range(2)]
    first = [worlds[0].reset(seed).copy() for seed in (1, 2)]
    np.random.rand(3)
    again = [worlds[1].reset(seed).copy() for seed in (1, 2)]
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - first[1]).max() > 0.01


@pytest.mark.parametrize("name", ["visual-cube-single-v0", "visual-scene-v0", "visual-puzzle-3x3-v0", "visual-antmaze-medium-v0"])
def test_it_trains_from_pixels_without_code(name: str, tmp_path: Path) -> None:
    said = done("train", *FEW, f"task.id={name}", f"run_dir={tmp_path / 'run'}")
    assert "goals are frames of the worlds' own rollouts" in said.out
    factors = read(tmp_path / "run" / "evaluation.json")["factors"]
    assert {part: factors[part]["unit"] for part in JUDGED[name]} == {part: unit for part, (_, unit, _) in JUDGED[name].items()}
    assert next(iter(JUDGED[name])) in done("evaluate", tmp_path / "run", "--episodes", "1").out


def test_a_wrong_name_is_one_line(tmp_path: Path) -> None:
    said = rig("train", *FEW, "task.id=visual-cube-singel-v0", f"run_dir={tmp_path / 'run'}")
    assert said.line.endswith("unknown task.id 'visual-cube-singel-v0'; try task.id=visual-cube-single-v0")
