"""The Gymnasium face of the tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check

import rig.envs
from rig.envs import TASKS
from rig.envs.gym import GoalEnv

ROOT = Path(__file__).parents[2]
rig.envs.register()
each_task = pytest.mark.parametrize("name", TASKS)
KINDS = [{"observation": "state"}, {"observation": "state", "reward_type": "sparse"}, {"observation": "image"}]


@pytest.fixture
def make_gym():
    made = []

    def build(name, **kwargs):
        made.append(gymnasium.make(TASKS[name].gym_id, **kwargs))
        return made[-1]

    yield build
    for env in made:
        env.close()


@each_task
@pytest.mark.parametrize("kind", KINDS)
def test_gymnasiums_checker_is_content(name, kind, make_gym):
    gymnasium_check(make_gym(name, render_mode="rgb_array", **kind).unwrapped)


@each_task
@pytest.mark.parametrize("kind", KINDS)
def test_stable_baselines_checker_is_content(name, kind, make_gym):
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="stable-baselines3 is not installed")
    checker.check_env(make_gym(name, **kind).unwrapped)


@each_task
def test_an_episode_ends_by_the_time_limit_alone(name, make_gym):
    env = make_gym(name)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(TASKS[name].horizon)]
    assert ends == [(False, False)] * (TASKS[name].horizon - 1) + [(False, True)]


@each_task
@pytest.mark.parametrize("kind", KINDS)
def test_rewards_in_a_batch_are_those_of_the_steps(name, kind, make_gym):
    env = make_gym(name, **kind)
    now, _ = env.reset(seed=3)
    env.action_space.seed(3)
    seen, rewards, infos = [], [], []
    for _ in range(30):
        now, reward, _, _, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(now)
        seen.append(now)
        rewards.append(reward)
        infos.append(info)
    achieved, desired = (np.stack([o[key] for o in seen]) for key in ("achieved_goal", "desired_goal"))
    batched = env.unwrapped.compute_reward(achieved, desired, np.array(infos))
    assert batched.shape == (30,) and batched.dtype == np.float32
    np.testing.assert_array_equal(batched, np.float32(rewards))
    own = env.unwrapped.compute_reward(achieved, achieved, infos)
    np.testing.assert_array_equal(own, 0)
    assert (batched < 0).any()


@each_task
def test_info_tells_distances_and_success(name, make_gym):
    env, task = make_gym(name), TASKS[name]()
    now, info = env.reset(seed=0)
    assert info.keys() == {"is_success", *(f"{factor}_distance" for factor in task.factors)}
    distances = {}
    for factor, (indices, _, _) in task.factors.items():
        distances[factor] = np.linalg.norm((now["achieved_goal"] - now["desired_goal"])[list(indices)])
        assert info[f"{factor}_distance"] == pytest.approx(distances[factor])
    assert info["is_success"] == all(distances[factor] < task.factors[factor].threshold for factor in task.judged)
    dense = env.step(np.zeros(env.action_space.shape, np.float32))[1]
    assert dense == pytest.approx(-np.mean([distances[factor] for factor in task.judged]), abs=1e-6)


@each_task
def test_sparse_rewards_follow_every_judged_factor(name, make_gym):
    task = TASKS[name]()
    sparse = make_gym(name, reward_type="sparse").unwrapped
    for factor in task.judged:
        state = task.start_states(np.random.default_rng(0), 2)
        goal = state.copy()
        goal[1, task.factors[factor].indices[0]] += 2 * task.factors[factor].threshold
        assert sparse.compute_reward(state, goal, {}).tolist() == [0, -1]
        assert sparse.compute_reward(state[1], goal[1], {}) == -1


@each_task
def test_pictures_show_state_and_goal(name, make_gym):
    pictures, states = make_gym(name, observation="image"), make_gym(name, render_mode="rgb_array")
    seen, _ = pictures.reset(seed=5)
    read, _ = states.reset(seed=5)
    batch = rig.envs.make_batch(name, 1, seed=0)
    np.testing.assert_array_equal(seen["observation"], batch.show(read["observation"][None])[0])
    np.testing.assert_array_equal(seen["desired_goal"], batch.show(read["desired_goal"][None])[0])
    np.testing.assert_array_equal(states.render(), seen["achieved_goal"])
    batch.close()


def test_bad_arguments_are_refused_with_what_is_valid():
    for kwargs, message in (
        ({"observation": "smell"}, "expected state or image"),
        ({"reward_type": "huge"}, "expected dense or sparse"),
        ({"render_mode": "human"}, "expected None or rgb_array"),
        ({"observation": "image", "reward_type": "sparse"}, "use reward_type=dense"),
    ):
        with pytest.raises(ValueError, match=message):
            GoalEnv("reach", **kwargs)


@pytest.mark.parametrize("code", ["import rig, gymnasium", "import gymnasium, rig"])
def test_importing_rig_registers_the_ids_in_either_order(code):
    code += "; [gymnasium.spec(i) for i in ('rig/Reach-v0', 'rig/Push-v0')]"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
