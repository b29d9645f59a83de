"""Facts of MultiPush: two pucks that are told apart, and touch."""

from __future__ import annotations

import numpy as np
import pytest

GIVE = 0.003  # metres by which contacts and joint limits may yield


def gaps(states):
    """f64[n, 3]: distances of hand and puck 1, hand and puck 2, and the pucks."""
    hand, one, two = states[:, :2], states[:, 2:4], states[:, 4:]
    return np.stack([np.linalg.norm(a - b, axis=1) for a, b in ((hand, one), (hand, two), (one, two))], axis=1)


def test_drawn_states_keep_all_three_apart_and_goals_leave_each_puck_near_its_side(make):
    env = make("multi_push", render="none")
    start, goals = env.reset().state, env.sample_goals(2000)
    for states in (start, goals, env.random_states(2000)):
        assert (gaps(states) >= (0.07, 0.07, 0.09)).all()
    idle = env.task.distances(np.repeat(start, 2000, axis=0), goals)
    assert idle["puck1"].mean() == pytest.approx(0.085, abs=0.004) == idle["puck2"].mean()


@pytest.mark.parametrize("one, two", [(slice(2, 4), slice(4, 6)), (slice(4, 6), slice(2, 4))])
def test_a_pushed_puck_pushes_the_other_and_the_other_alone_stays(one, two, make):
    env = make("multi_push", 2, render="none")
    states = np.zeros((2, 6))
    states[:, :2], states[:, one] = (0.0, 0.50), (0.0, 0.57)
    states[0, two], states[1, two] = (0.0, 0.655), (0.12, 0.655)
    start = env.reset(state=states).state
    for _ in range(4):
        now = env.step(np.tile([0.0, 0.5], (2, 1))).state
    moved = now - start
    assert (moved[:, one][:, 1] > 0.02).all()
    assert moved[0, two][1] > 0.01 and abs(moved[0, two][0]) < 2e-3
    np.testing.assert_array_equal(moved[1, two], 0)


def test_nothing_overlaps(make):
    env = make("multi_push", 16, render="none")
    rng = np.random.default_rng(0)
    env.reset(state=np.tile([0.0, 0.52, -0.045, 0.6, 0.045, 0.6], (16, 1)))
    touched = np.zeros(3, dtype=bool)
    for _ in range(20):
        held = rng.choice([-1.0, 0.0, 1.0], size=(16, 2))
        for _ in range(6):
            between = gaps(env.step(held).state) - (0.065, 0.065, 0.08)
            assert (between > -GIVE).all()
            touched |= (between < GIVE).any(axis=0)
    assert touched.all()
