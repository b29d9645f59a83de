"""Facts of every task's physics, of the hand and of Push, and proof that the tasks can be solved."""

from __future__ import annotations

import numpy as np
import pytest

from rig.envs import TASKS
from tests.envs.controllers import CONTROLLERS

GIVE = 0.003  # metres by which contacts and joint limits may yield
each_task = pytest.mark.parametrize("name", TASKS)
# Tasks with a hand, and where their pucks are out of its way.
PUCKS_ASIDE = {"reach": (), "push": (0.15, 0.70), "multi_push": (0.15, 0.70, -0.15, 0.70)}


@each_task
def test_nothing_moves_without_an_action(name, make):
    env = make(name, 16, render="none")
    for states in (None, env.random_states(16), env.sample_goals(16)):
        start = env.reset(state=states)
        for _ in range(50):
            now = env.step(np.zeros((16, env.action_dim)))
            np.testing.assert_allclose(now.state, start.state, atol=1e-4)


@each_task
def test_the_state_stays_in_the_kept_region(name, make):
    env = make(name, 16, render="none")
    rng, low, high = np.random.default_rng(0), np.array(env.task.state_low), np.array(env.task.state_high)
    give = np.array([{"m": GIVE, "rad": 0.02}[unit] for unit in env.task.state_units])  # a flicked door hits its stop
    env.reset(state=env.random_states(16))
    for _ in range(25):
        held = rng.choice([-1.0, 0.0, 1.0], size=(16, env.action_dim))
        for _ in range(8):
            now = env.step(held)
            assert (now.state > low - give).all() and (now.state < high + give).all()


@pytest.mark.parametrize("name", PUCKS_ASIDE)
def test_the_hand_follows_its_actions(name, make):
    env = make(name, 4, render="none")
    centre = (np.array(env.task.state_low[:2]) + np.array(env.task.state_high[:2])) / 2
    states = np.tile([*centre, *PUCKS_ASIDE[name]], (4, 1))
    start = env.reset(state=states).state[:, :2]
    compass = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=float)
    for _ in range(3):
        env.step(compass)
    now = env.step(np.zeros((4, 2))).state[:, :2]
    np.testing.assert_allclose(now - start, 0.06 * compass, atol=1e-3)


def test_a_hand_pushed_into_the_puck_moves_it_and_one_that_misses_does_not(make):
    env = make("push", 2, render="none")
    states = np.array([[0.0, 0.52, 0.0, 0.60], [0.1, 0.52, 0.0, 0.60]])
    start = env.reset(state=states).state
    for _ in range(3):
        now = env.step(np.tile([0.0, 1.0], (2, 1)))
    moved = now.state[:, 2:] - start[:, 2:]
    assert moved[0, 1] > 0.03 and abs(moved[0, 0]) < 1e-3
    np.testing.assert_array_equal(moved[1], 0)


def test_hand_and_puck_never_overlap_and_the_hand_stays_upright(make):
    env = make("push", 8, render="none")
    rng, flattest = np.random.default_rng(0), 0.0
    for _ in range(20):
        held = rng.choice([-1.0, 0.0, 1.0], size=(8, 2))
        for _ in range(6):
            state = env.step(held).state
            assert (np.linalg.norm(state[:, :2] - state[:, 2:], axis=1) > 0.065 - GIVE).all()
        pose = env.snapshot()["physics"][:, 1:8]  # after the time: the hand's position and quaternion
        flattest = max(flattest, float(np.abs(pose[:, 4:]).max()))
        np.testing.assert_allclose(pose[:, 2], 0.025, atol=1e-3)
    assert flattest < 0.01


def test_a_blocked_hand_obeys_soon_after_it_turns_back(make):
    env = make("push", 1, render="none")
    env.reset(state=np.array([[0.0, 0.62, 0.0, 0.70]]))
    for _ in range(10):
        blocked = env.step(np.array([[0.0, 1.0]])).state
    assert blocked[0, 1] < 0.64
    for _ in range(3):
        free = env.step(np.array([[0.0, -1.0]])).state
    assert free[0, 1] < blocked[0, 1] - 0.025


def test_drawn_pushes_keep_hand_and_puck_apart(make):
    env = make("push", render="none")
    for states in (env.random_states(2000), env.sample_goals(2000)):
        assert np.linalg.norm(states[:, :2] - states[:, 2:], axis=1).min() >= 0.07


@each_task
def test_a_scripted_controller_reaches_the_goals(name, make):
    env = make(name, 200, render="none")
    goals, now = env.sample_goals(200), env.reset()
    assert env.task.success(now.state, goals).mean() < 0.3
    for _ in range(env.task.horizon):
        now = env.step(CONTROLLERS[name](now.state, goals))
    assert env.task.success(now.state, goals).mean() >= 0.95
