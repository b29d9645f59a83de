"""Facts of the door: the hook holds, pulls and pushes, and the camera shows it."""

from __future__ import annotations

import numpy as np

from rig.envs import TASKS

PULL, LIFT = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])


def steps(env, action, count):
    """The state after `count` times the same action [3] in every world."""
    for _ in range(count):
        now = env.step(np.tile(action, (env.num_envs, 1)))
    return now.state


def blue(frames):
    """bool[..., H, W]: pixels of the hand."""
    return (frames[..., 2] > 110) & (frames[..., 0] < 60)


def test_the_hook_opens_the_door_and_the_hand_shuts_it(make):
    env = make("door", render="none")
    env.reset()
    opened = steps(env, PULL, 5)
    assert opened[0, 3] > 0.2
    shut = steps(env, -PULL, 7)
    assert shut[0, 3] < 0.03


def test_a_lifted_hook_leaves_the_door_alone(make):
    env = make("door", render="none")
    env.reset()
    assert steps(env, LIFT, 3)[0, 2] > 0.165
    np.testing.assert_allclose(steps(env, PULL, 8)[0, 1:], [0.485, 0.18, 0.0], atol=3e-3)


def test_a_door_stands_soon_after_its_hand_stops(make):
    env = make("door", render="none")
    env.reset()
    steps(env, PULL, 5)
    still = steps(env, np.zeros(3), 3)
    np.testing.assert_allclose(steps(env, np.zeros(3), 20), still, atol=1e-3)


def test_the_hand_stays_out_of_the_panel_and_never_gets_behind_it(make):
    env = make("door", 16, render="none")
    rng, deepest = np.random.default_rng(0), np.inf
    env.reset(state=env.random_states(16))
    for _ in range(60):
        held = rng.choice([-1.0, 0.0, 1.0], size=(16, 3))
        for _ in range(6):
            x, y, _, angle = env.step(held).state.T
            deepest = min(deepest, ((x - 0.16) * np.sin(angle) - (y - 0.69) * np.cos(angle)).min())
    assert deepest > 0.035 - 0.003  # half of the panel's thickness and the hand's radius, less what contacts give


def test_goals_are_hooked_and_spread_evenly_over_the_angle():
    task = TASKS["door"]()
    goals = task.goal_states(np.random.default_rng(0), 4000)
    assert (np.histogram(goals[:, 3], bins=10, range=(0, 0.83))[0] > 320).all() and goals[:, 3].max() <= 0.83
    assert goals[:, 2].max() < 0.16  # the bar's top is at 0.07 m, the pin's tip 0.09 m below the hand


def test_a_goal_holds_the_door_both_ways(make):
    """Hooked is what a goal looks like: the hand cannot leave without taking the door along."""
    env = make("door", 32, render="none")
    goals = env.sample_goals(32)
    goals = goals[(goals[:, 3] > 0.2) & (goals[:, 3] < 0.6)]
    env = make("door", len(goals), render="none")
    for action, sign in ((PULL, 1), (-PULL, -1)):
        env.reset(state=goals)
        moved = steps(env, action, 3)[:, 3] - goals[:, 3]
        assert (sign * moved > 0.02).all()


def test_exploration_moves_the_door(make):
    env, rng = make("door", 16, render="none"), np.random.default_rng(0)
    env.reset()
    angles = [env.step(held).state[:, 3] for held in np.repeat(rng.uniform(-1, 1, (40, 16, 3)), 6, axis=0)]
    assert (np.max(angles, axis=0) > 0.2).mean() > 0.8


def test_hand_and_door_are_seen_wherever_they_are(make):
    env = make("door")
    frames = env.show(env.random_states(200))
    hand = blue(frames)
    for mask in hand:
        height, width = np.ptp(np.argwhere(mask), axis=0) + 1
        assert height >= 6 and width >= 6
    bar = (frames[..., 0] > 180) & (frames[..., 1] > 120) & (frames[..., 2] < 60)
    assert bar.sum(axis=(1, 2)).min() >= 12
    assert (frames.min(axis=-1) > 170).mean(axis=(1, 2)).min() > 0.35


def test_each_number_of_the_state_changes_the_picture(make):
    env = make("door")
    state = np.array([0.0, 0.56, 0.18, 0.2], dtype=np.float32)
    before = env.show(state[None])[0].astype(int)
    for index, change in enumerate((0.01, 0.01, 0.02, 0.05)):
        moved = state.copy()
        moved[index] += change
        assert (np.abs(env.show(moved[None])[0] - before).max(axis=-1) > 30).sum() >= 10
