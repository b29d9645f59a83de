"""Facts of the gripper and the block: a grasp is made of contacts, it holds, and the camera shows it."""

from __future__ import annotations

import numpy as np

from rig.envs import TASKS
from rig.envs.pickup import GRASP, HALF
from tests.envs.controllers import CONTROLLERS

DOWN, CLOSE, UP, OPEN, WAIT = np.array([[0, -1, 0], [0, 0, 1], [0, 1, 0], [0, 0, -1], [0, 0, 0]], dtype=float)


def steps(env, action, count):
    """The state after `count` times the same action [3] in every world."""
    for _ in range(count):
        now = env.step(np.tile(action, (env.num_envs, 1)))
    return now.state


def test_a_block_is_grasped_lifted_held_and_dropped(make):
    env = make("pickup", render="none")
    start = env.reset().state[0]
    steps(env, DOWN, 3)
    grasped = steps(env, CLOSE, 3)[0]
    np.testing.assert_allclose(grasped[[3, 4]], [HALF, 2 * HALF], atol=1e-4)
    lifted = steps(env, UP, 3)[0]
    assert lifted[3] > start[3] + 0.055
    np.testing.assert_allclose(lifted[1] - lifted[3], grasped[1] - grasped[3], atol=1e-3)
    settled = steps(env, WAIT, 2)
    np.testing.assert_allclose(steps(env, WAIT, 20), settled, atol=1e-4)
    steps(env, OPEN, 2)
    dropped = steps(env, WAIT, 4)[0]
    np.testing.assert_allclose(dropped[2:4], start[2:4], atol=1e-3)


def test_a_block_beside_the_fingers_stays_on_the_table(make):
    env = make("pickup", render="none")
    env.reset(state=np.array([[0.56, 0.08, 0.62, HALF, 0.06]]))
    for action, count in ((DOWN, 3), (CLOSE, 3), (UP, 3)):
        now = steps(env, action, count)[0]
    np.testing.assert_allclose(now[2:4], [0.62, HALF], atol=1e-4)
    assert now[4] < 0.01  # closed on nothing


def test_a_grasp_without_friction_holds_nothing(make):
    """Contacts and nothing else carry the block: without friction it falls out of the closed fingers."""
    env = make("pickup", render="none")
    held = np.array([[0.6, 0.08, 0.6, 0.072, GRASP]])
    env.reset(state=held)
    np.testing.assert_allclose(steps(env, WAIT, 10)[0], held[0], atol=1e-4)
    env._model.geom_friction[:] = 1e-5
    env.reset(state=held)
    assert steps(env, WAIT, 10)[0, 3] < 0.02


def test_a_grasp_is_centred_and_carries_the_block_sideways(make):
    env = make("pickup", render="none")
    env.reset(state=np.array([[0.6, 0.02, 0.61, HALF, 0.06]]))
    grasped = steps(env, CLOSE, 4)[0]
    assert abs(grasped[0] - grasped[2]) < 1e-3
    steps(env, UP, 2)
    carried = steps(env, np.array([-1.0, 0.0, 0.0]), 2)[0]
    np.testing.assert_allclose(carried[2] - carried[0], grasped[2] - grasped[0], atol=1e-3)
    assert carried[2] < grasped[2] - 0.035


def test_zero_keeps_the_opening_and_the_fingers_obey_soon_after_a_squeeze(make):
    env = make("pickup", render="none")
    start = env.reset().state
    half = steps(env, CLOSE, 1)
    np.testing.assert_allclose(half[0, 4], start[0, 4] - 0.02, atol=2e-3)
    np.testing.assert_allclose(steps(env, WAIT, 10)[0, 4], start[0, 4] - 0.02, atol=1e-4)
    env.reset(state=np.array([[0.6, 0.02, 0.6, HALF, 0.06]]))
    steps(env, CLOSE, 20)
    assert steps(env, OPEN, 2)[0, 4] > 2 * HALF + 0.005


def test_fingers_mirror_each_other_and_pass_neither_block_nor_table(make):
    env, rng = make("pickup", 16, render="none"), np.random.default_rng(0)
    env.reset(state=env.random_states(16))
    for _ in range(60):
        held = rng.choice([-1.0, 0.0, 1.0], size=(16, 3))
        for _ in range(6):
            state = env.step(held).state
            hand, block, half = state[:, :2], state[:, 2:4], state[:, 4] / 2
            low = hand[:, 1] - 0.012 < block[:, 1] + HALF - 0.003  # the tips are below the block's top
            away = np.abs(hand[:, 0] - block[:, 0])
            assert (~low | (away + HALF < half + 0.003) | (away - HALF > half + 0.010 - 0.003)).all()
        fingers = env.snapshot()["physics"][:, 5:7]  # after the time: block y, z, hand y, z, left, right
        np.testing.assert_allclose(fingers[:, 0], fingers[:, 1], atol=1e-3)


def test_three_goals_of_four_are_held_in_the_air_or_at_the_table_and_none_is_solved_by_waiting(make):
    task = TASKS["pickup"]()
    goals = task.goal_states(np.random.default_rng(0), 4000)
    held = np.abs(goals[:, 4] - GRASP) < 1e-6
    assert 0.72 < held.mean() < 0.78
    np.testing.assert_array_equal(goals[held, 0], goals[held, 2])
    np.testing.assert_array_equal(goals[~held, 3], np.float32(HALF))
    assert (goals[:, 3] > 0.035).mean() > 0.5
    start = task.start_states(np.random.default_rng(0), 4000)
    assert 0.04 < task.distances(start, goals)["block"].mean() < 0.05


def test_a_solved_goal_is_solved_by_a_grasp(make):
    env = make("pickup", 50, render="none")
    goals, now = env.sample_goals(50), env.reset()
    for _ in range(20):
        now = env.step(CONTROLLERS["pickup"](now.state, goals))
    lifted = goals[:, 3] > 0.04
    np.testing.assert_allclose(now.state[lifted, 4], 2 * HALF, atol=1e-4)


def test_exploration_lifts_the_block_now_and_then(make):
    env, rng = make("pickup", 16, render="none"), np.random.default_rng(0)
    env.reset()
    height = [env.step(held).state[:, 3] for held in np.repeat(rng.uniform(-1, 1, (80, 16, 3)), 6, axis=0)]
    assert (np.max(height, axis=0) > 0.03).mean() > 0.6
    assert 0.02 < np.mean(np.array(height) > 0.025) < 0.5


def test_block_and_gripper_are_seen_wherever_they_are_and_large_enough(make):
    env = make("pickup")
    frames = env.show(env.random_states(200))
    red = (frames[..., 0] > 130) & (frames[..., 1] < 60)
    blue = (frames[..., 2] > 80) & (frames[..., 0] < 60)
    for mask in red:
        height, width = np.ptp(np.argwhere(mask), axis=0) + 1
        assert height >= 6 and width >= 6
    assert blue.sum(axis=(1, 2)).min() >= 60
    assert (frames.min(axis=-1) > 165).mean(axis=(1, 2)).min() > 0.7


def test_each_number_of_the_state_changes_the_picture(make):
    env = make("pickup")
    state = np.array([0.6, 0.08, 0.58, HALF, 0.04], dtype=np.float32)
    before = env.show(state[None])[0].astype(int)
    for index in range(5):
        moved = state.copy()
        moved[index] += 0.01
        assert (np.abs(env.show(moved[None])[0] - before).max(axis=-1) > 30).sum() >= 8
