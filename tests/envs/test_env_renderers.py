"""What frames show, whichever renderer draws them."""

from __future__ import annotations

import numpy as np
import pytest

from rig.envs import TASKS, make_batch

each_task = pytest.mark.parametrize("name", TASKS)


def blue(frames):
    """bool[..., H, W]: pixels of the hand."""
    return (frames[..., 2] > 110) & (frames[..., 0] < 60) & (frames[..., 1] < 90)


def red(frames):
    """bool[..., H, W]: pixels of the puck."""
    return (frames[..., 0] > 130) & (frames[..., 1] < 60)


def cyan(frames):
    """bool[..., H, W]: pixels of the second puck."""
    return (frames[..., 1] > 100) & (frames[..., 0] < 60)


PUCKS = {"reach": (), "push": (red,), "multi_push": (red, cyan)}
"""Tasks with a hand, and how their pucks are told."""
with_a_hand = pytest.mark.parametrize("name", PUCKS)


def centre(mask):
    """f64[2]: mean row and column."""
    return np.argwhere(mask).mean(axis=0)


@each_task
def test_both_renderers_agree(name, gl_works, make):
    warp, gl = make(name), make(name, render="gl")
    states = warp.random_states(40)
    one, two = (env.show(states).astype(float) for env in (warp, gl))
    psnr = 10 * np.log10(255**2 / np.square(one - two).mean(axis=(1, 2, 3)))
    assert psnr.min() >= 30


@pytest.mark.parametrize("engine", ["c", "warp"])
def test_frames_that_are_not_to_be_seen_are_black_and_change_nothing_else(engine, make):
    seen, unseen = make("push", 2, engine=engine), make("push", 2, engine=engine, seen=False)
    action = np.full((2, 2), 0.5, dtype=np.float32)
    now, dark = seen.step(action), unseen.step(action)
    np.testing.assert_array_equal(now.state, dark.state)
    np.testing.assert_array_equal(seen.sample_goals(3), unseen.sample_goals(3))
    assert now.frame.any() and not dark.frame.any() and dark.frame.shape == now.frame.shape
    with pytest.raises(ValueError, match=r"unknown renderer 'egl'|render=egl with engine=warp"):
        make("push", engine=engine, render="egl", seen=False)


@each_task
def test_opengl_frames_are_the_same_in_any_order_and_after_steps(name, gl_works, make):
    env = make(name, 2, render="gl")
    states = env.random_states(6)
    np.testing.assert_array_equal(env.show(states)[::-1], env.show(states[::-1]))
    now = env.reset(state=states[:2])
    np.testing.assert_array_equal(now.frame, env.show(states[:2]))


def test_broken_opengl_says_what_to_do(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr("importlib.import_module", lambda name: (_ for _ in ()).throw(ImportError(f"no {name}\nat all")))
    said = r"^render=gl: OpenGL \(egl\) .*no mujoco.egl at all.*apt-get install.*render=warp"
    with pytest.raises(ValueError, match=said) as caught:
        make_batch("reach", 1, seed=0, render="gl")
    assert "\n" not in str(caught.value)


@each_task
def test_a_frame_is_a_function_of_the_state(name, make):
    env = make(name, 3)
    states = env.random_states(3)
    now = env.reset(state=states)
    np.testing.assert_array_equal(now.frame, env.show(states))
    for _ in range(10):
        now = env.step(np.tile(np.resize([0.3, -0.2], env.action_dim), (3, 1)))
    for _ in range(40):
        now = env.step(np.zeros((3, env.action_dim)))
    # The state is rounded to float32 and a pressed hand leans by a hair: a pixel on an edge may fall to either side.
    differing = (env.show(now.state) != now.frame).any(axis=-1).sum(axis=(1, 2))
    assert (differing <= 12).all()


@each_task
def test_frames_of_moving_worlds_do_not_lag_behind_their_state(name, make):
    env = make(name, 4, size=160)
    actions = np.random.default_rng(0).choice([-1.0, 1.0], size=(40, 4, env.action_dim))
    differing, moved = 0, 0
    before = env.reset()
    for action in actions:
        now = env.step(action)
        differing += int((env.show(now.state) != now.frame).any(axis=-1).sum())
        moved += int((before.frame != now.frame).any(axis=-1).sum())
        before = now
    assert differing < 0.005 * moved


@each_task
def test_many_worlds_are_drawn_as_each_alone(name, make):
    env, alone = make(name, 5), make(name, 1)
    states = env.random_states(70)  # more than one chunk and not a multiple of it
    frames = env.show(states)
    np.testing.assert_array_equal(frames[:5], env.reset(state=states[:5]).frame)
    for state, frame in zip(states[::7], frames[::7], strict=True):
        np.testing.assert_array_equal(alone.show(state[None])[0], frame)
    np.testing.assert_array_equal(env.show(states[:30]), frames[:30])
    assert env.show(states[:0]).shape == (0, 48, 48, 3)
    assert len(np.unique(frames.reshape(70, -1), axis=0)) == 70


@each_task
def test_showing_states_disturbs_no_world(name, make):
    env, twin = make(name, 2), make(name, 2)
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 2, env.action_dim)):
        env.show(np.tile(np.float32(env.task.state_low), (7, 1)))
        np.testing.assert_array_equal(env.step(action).frame, twin.step(action).frame)


@with_a_hand
def test_the_hand_is_seen_where_it_is_in_the_whole_kept_region(name, make):
    env = make(name)
    low, high = env.task.state_low, env.task.state_high
    corners = np.array([[low[0], low[1]], [high[0], low[1]], [low[0], high[1]], [high[0], high[1]]], dtype=np.float32)
    middle = np.float32([-0.05, 0.6, 0.05, 0.6][: 2 * len(PUCKS[name])])
    corners = np.concatenate([corners, np.tile(middle, (4, 1))], axis=1)
    frames = env.show(corners)
    assert (blue(frames).sum(axis=(1, 2)) >= 4).all()
    # The camera looks towards -y: +x is on its left and +y is near, at the bottom.
    rows, columns = np.array([centre(mask) for mask in blue(frames)]).T
    assert columns[0] > columns[1] + 20 and columns[2] > columns[3] + 20
    assert rows[2] > rows[0] + 10 and rows[3] > rows[1] + 10


def test_the_puck_is_seen_where_it_is_and_is_large_enough(make):
    env = make("push")
    places = np.array([[0.0, 0.5], [-0.15, 0.5], [0.15, 0.5], [-0.15, 0.7], [0.15, 0.7], [0.0, 0.6]], dtype=np.float32)
    hand = np.where(places[:, 1:] < 0.6, np.float32([0.0, 0.7]), np.float32([0.0, 0.5]))
    masks = red(env.show(np.concatenate([hand, places], axis=1)))
    for mask in masks:
        height, width = np.ptp(np.argwhere(mask), axis=0) + 1
        assert height >= 6 and width >= 6
    middle, left = centre(masks[5]), centre(masks[2])
    assert left[1] < middle[1] - 10 and left[0] < middle[0]


def test_moving_one_thing_changes_pixels_only_around_it(make):
    env = make("push")
    still, puck_moved = np.float32([[0.0, 0.5, 0.05, 0.62], [0.0, 0.5, 0.08, 0.62]])
    before, after = env.show(np.stack([still, puck_moved])).astype(int)
    changed = np.abs(after - before).max(axis=-1) > 30
    assert changed.sum() >= 20
    assert not (changed & ~(red(before) | red(after))).any()


@with_a_hand
def test_the_hand_never_hides_the_pucks_and_the_table_fills_the_rest(name, make):
    env = make(name)
    frames = env.show(env.random_states(200))
    table = (frames.min(axis=-1) > 170).mean(axis=(1, 2))
    assert (table > 0.7).all()
    for colour in (red, cyan):
        seen = colour(frames).sum(axis=(1, 2))
        if colour in PUCKS[name]:
            assert seen.min() >= 6 and np.median(seen) >= 40
        else:
            assert not seen.any()


def test_the_blind_renderer_draws_black_and_steps_the_same(make):
    blind, seeing = make("push", 2, render="none"), make("push", 2)
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 2, 2)):
        dark, light = blind.step(action), seeing.step(action)
        np.testing.assert_array_equal(dark.state, light.state)
    assert dark.frame.shape == light.frame.shape and not dark.frame.any()


def test_the_renderer_keeps_quiet(make, capfd):
    env = make("reach", size=20)
    env.reset()
    said = capfd.readouterr()
    assert said.out == "" and said.err == ""
