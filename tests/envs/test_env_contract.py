"""Every task keeps the promises of Task and BatchEnv."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rig.envs import TASKS, Look, make_batch
from rig.envs.camera import CAMERAS
from tests.envs.conftest import OTHER_MAZES

ROOT = Path(__file__).parents[2]
each_task = pytest.mark.parametrize("name", TASKS)
BOTH = [(name, engine) for engine in ("c", "warp") for name in TASKS if engine == "c" or name not in OTHER_MAZES]
each_world = pytest.mark.parametrize(("name", "make"), BOTH, indirect=["make"])


@pytest.fixture
def make(request, make):
    """Worlds of one engine."""
    return partial(make, engine=getattr(request, "param", "c"))


def actions(seed, steps, env):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, env.num_envs, env.action_dim)).astype(np.float32)


@each_task
def test_a_task_describes_its_state(name):
    task = TASKS[name]()
    assert task.name == name
    assert len(task.state_names) == len(task.state_units) == len(task.state_low) == len(task.state_high) == task.state_dim
    assert sorted(i for factor in task.factors.values() for i in factor.indices) == list(range(task.state_dim))
    assert task.judged and task.factors.keys() >= set(task.judged)
    assert task.camera in CAMERAS and task.horizon > 0 and task.gym_id.startswith("rig/")
    for factor in task.factors.values():
        assert {task.state_units[i] for i in factor.indices} == {factor.unit} and factor.threshold > 0


@each_task
def test_drawn_states_lie_in_the_kept_region(name):
    task, rng = TASKS[name](), np.random.default_rng(0)
    for draw in (task.start_states, task.goal_states, task.random_states):
        states = draw(rng, 500)
        assert states.shape == (500, task.state_dim) and states.dtype == np.float32
        assert (states >= np.float32(task.state_low)).all() and (states <= np.float32(task.state_high)).all()
        assert draw(rng, 0).shape == (0, task.state_dim)
    spread = task.random_states(rng, 2000)
    width = np.subtract(task.state_high, task.state_low)
    assert (np.ptp(spread, axis=0) > 0.95 * width).all()


@each_task
def test_distances_are_euclidean_and_judge_success(name):
    task = TASKS[name]()
    state = task.start_states(np.random.default_rng(0), 2)
    goal = state.copy()
    for part, factor in task.factors.items():
        goal[1] = state[1]
        goal[1, factor.indices[0]] += 1.01 * factor.threshold
        distances = task.distances(state, goal)
        assert distances.keys() == task.factors.keys()
        np.testing.assert_allclose(distances[part], [0, 1.01 * factor.threshold], atol=1e-6)
        assert task.success(state, goal).tolist() == [True, part not in task.judged]


@each_world
def test_observations_have_the_promised_shapes_and_are_the_callers_own(name, make):
    env = make(name, 3)
    first = env.reset()
    assert first.frame.shape == (3, *env.frame_shape) == (3, 48, 48, 3) and first.frame.dtype == np.uint8
    assert first.state.shape == (3, env.state_dim) and first.state.dtype == np.float32
    kept = first.frame.copy(), first.state.copy()
    second = env.step(np.ones((3, env.action_dim)))
    assert (second.state != first.state).any() and (second.frame != first.frame).any()
    np.testing.assert_array_equal(first.frame, kept[0])
    np.testing.assert_array_equal(first.state, kept[1])
    assert make(name, size=32).reset().frame.shape == (1, 32, 32, 3)


@each_world
def test_another_camera_and_distractors_change_frames_alone(name, make):
    env = make(name, 2)
    plan = actions(0, 5, env)
    state = None

    def film(look):
        env = make(name, 2, look=look)
        now = [env.step(action) for action in plan][-1]
        np.testing.assert_array_equal(now.state, now.state if state is None else state)
        return now

    plain, state = film(Look())
    elsewhere = next(camera for camera in CAMERAS if camera != env.task.camera)
    assert (film(Look(elsewhere)).frame != plain).any()
    busy, again, other = (film(Look(distractors=5, seed=seed)).frame for seed in (0, 0, 1))
    np.testing.assert_array_equal(busy, again)
    assert (busy != other).any() and 0.01 < (busy != plain).any(axis=-1).mean() < 0.6


@each_world
def test_a_pixel_is_the_mean_of_its_samples(name, make):
    fine, averaged = make(name, 2, size=96), make(name, 2, look=Look(samples=2))
    for action in actions(0, 3, fine):
        larger, smaller = fine.step(action).frame, averaged.step(action).frame
        mean = larger.reshape(2, 48, 2, 48, 2, 3).mean((2, 4))
        np.testing.assert_array_equal(smaller, np.floor(mean + 0.5))
    states = fine.random_states(3)
    mean = fine.show(states).reshape(3, 48, 2, 48, 2, 3).mean((2, 4))
    np.testing.assert_array_equal(averaged.show(states), np.floor(mean + 0.5))


@each_world
def test_actions_are_clipped(name, make):
    env, other = make(name, render="none"), make(name, render="none")
    far, unit = env.step(np.full((1, env.action_dim), 7.0)), other.step(np.ones((1, env.action_dim)))
    np.testing.assert_array_equal(far.state, unit.state)


@each_world
def test_same_seed_same_frames_and_goals_and_another_seed_others(name, make):
    env, twin, other = make(name, 2), make(name, 2), make(name, 2, seed=1)
    goals, twin_goals, other_goals = (e.sample_goals(8) for e in (env, twin, other))
    np.testing.assert_array_equal(goals, twin_goals)
    assert (goals != other_goals).any()
    starts, twin_starts, other_starts = (e.reset(state=e.random_states(2)) for e in (env, twin, other))
    np.testing.assert_array_equal(starts.frame, twin_starts.frame)
    assert (starts.frame != other_starts.frame).any()
    for action in actions(0, 20, env):
        np.testing.assert_array_equal(env.step(action).frame, twin.step(action).frame)


@each_world
@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_snapshot_is_exact_in_the_same_env_and_in_a_fresh_one(name, num_envs, make):
    env = make(name, num_envs)
    env.reset(state=env.random_states(num_envs))
    before, after = actions(1, 15, env), actions(2, 25, env)
    for action in before:
        env.step(action)
    snapshot = env.snapshot()
    kept = {key: value.copy() for key, value in snapshot.items()}

    def go_on(env):
        seen = [env.step(action) for action in after]
        return np.stack([o.frame for o in seen]), np.stack([o.state for o in seen]), env.sample_goals(4), env.random_states(4)

    at_snapshot = env.show(env.reset(np.zeros(num_envs, dtype=bool)).state)
    expected = go_on(env)
    assert len(np.unique(expected[1][:, 0], axis=0)) > 10  # the worlds do move
    env.reset()
    env.restore(snapshot)
    fresh = make(name, num_envs, seed=99)
    fresh.step(after[0])
    fresh.restore(kept)
    restored = fresh.reset(np.zeros(num_envs, dtype=bool)).frame
    assert (restored != at_snapshot).any(axis=-1).sum() <= 12 * num_envs
    for again in (go_on(env), go_on(fresh)):
        for value, right in zip(again, expected, strict=True):
            np.testing.assert_array_equal(value, right)
    for key, value in snapshot.items():
        np.testing.assert_array_equal(value, kept[key])


@each_world
def test_a_snapshot_of_another_batch_is_refused(name, make):
    with pytest.raises(ValueError, match="snapshot of another task or num_envs"):
        make(name, 2, render="none").restore(make(name, 3, render="none").snapshot())
    with pytest.raises(ValueError, match="snapshot of another task or num_envs"):
        make(name, 2, render="none").restore({})


@each_world
def test_a_masked_reset_leaves_the_other_worlds_alone(name, make):
    env, untouched = make(name, 4), make(name, 4)
    for action in actions(3, 12, env):
        env.step(action)
        untouched.step(action)
    mask = np.array([True, False, True, False])
    now, there = env.reset(mask), untouched.reset(np.zeros(4, dtype=bool))
    rng = np.random.default_rng(0)  # what the env draws from: starts at construction, then those of the mask
    _, start = env.task.start_states(rng, 4), env.task.start_states(rng, 2)
    np.testing.assert_array_equal(now.state[mask], start)
    np.testing.assert_array_equal(now.state[~mask], there.state[~mask])
    assert (there.state[mask] != start).any()
    for action in actions(4, 5, env):
        now, there = env.step(action), untouched.step(action)
        np.testing.assert_array_equal(now.state[~mask], there.state[~mask])
        np.testing.assert_array_equal(now.frame[~mask], there.frame[~mask])


@each_world
def test_a_reset_to_given_states_ignores_rows_outside_the_mask(name, make):
    env = make(name, 2)
    wanted = env.random_states(2)
    wanted[1] = np.nan
    now = env.reset(np.array([True, False]), wanted)
    np.testing.assert_array_equal(now.state[0], wanted[0])
    np.testing.assert_array_equal(now.frame[0], env.show(wanted[:1])[0])


@each_world
def test_a_world_does_not_depend_on_how_many_there_are(name, make):
    many = make(name, 5)
    starts, plan = many.random_states(5), actions(5, 25, many)
    many.reset(state=starts)
    seen = [many.step(action) for action in plan]
    alone = make(name, 1)
    for world in range(5):
        alone.reset(state=starts[world : world + 1])
        for action, right in zip(plan, seen, strict=True):
            now = alone.step(action[world : world + 1])
            np.testing.assert_array_equal(now.state[0], right.state[world])
        np.testing.assert_array_equal(now.frame[0], right.frame[world])


@each_world
def test_bad_actions_and_states_are_refused_in_one_line(name, make):
    env = make(name, 2, render="none")
    before = env.snapshot()["physics"]
    dim = env.action_dim
    for bad in (np.zeros(dim), np.zeros((3, dim)), np.zeros((2, dim + 1)), np.array([[0] * dim, [np.nan] * dim])):
        with pytest.raises(ValueError, match=rf"^action (has shape .* expected \(2, {dim}\)|holds NaN or infinity.*)$"):
            env.step(bad)
    np.testing.assert_array_equal(env.snapshot()["physics"], before)
    for bad in (np.zeros((1, env.state_dim + 1)), np.full((1, env.state_dim), np.inf)):
        with pytest.raises(ValueError, match=r"^state (has shape|holds NaN)"):
            env.show(bad)
    with pytest.raises(ValueError, match=r"^state (has shape|holds NaN)"):
        env.reset(state=np.full((2, env.state_dim), np.nan))
    with pytest.raises(ValueError, match=r"^mask is"):
        env.reset(np.array([1, 0]))


def test_bad_names_and_numbers_are_refused_and_list_what_is_valid():
    with pytest.raises(ValueError, match=r"unknown task 'pull': expected one of reach, push, "):
        make_batch("pull", 1, seed=0)
    with pytest.raises(ValueError, match=r"unknown renderer 'cuda': expected one of warp, gl, none"):
        make_batch("reach", 1, seed=0, render="cuda")
    with pytest.raises(ValueError, match="num_envs=0"):
        make_batch("reach", 0, seed=0)
    with pytest.raises(ValueError, match="size=0"):
        make_batch("reach", 1, seed=0, size=0)
    with pytest.raises(ValueError, match=r"unknown camera 'dome': expected one of close, wide"):
        make_batch("reach", 1, seed=0, look=Look("dome"))
    with pytest.raises(ValueError, match=r"distractors=-1"):
        make_batch("reach", 1, seed=0, look=Look(distractors=-1))
    with pytest.raises(ValueError, match=r"samples=0: expected at least 1"):
        make_batch("reach", 1, seed=0, look=Look(samples=0))


def test_importing_envs_by_itself_says_what_to_import():
    run = subprocess.run([sys.executable, "-c", "import envs"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "import rig.envs" in run.stderr.splitlines()[-1]


def test_the_table_of_tasks_is_light_to_import():
    code = "import sys, rig.envs; print([m for m in ('mujoco', 'warp', 'mujoco_warp', 'gymnasium', 'torch') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_worlds_are_made_without_warp_until_there_is_something_to_draw():
    code = "import sys, rig.envs; env = rig.envs.make_batch('push', 2, seed=0, engine='c'); print('warp' in sys.modules)"
    code += "; env.reset(); print('warp' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
