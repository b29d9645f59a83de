"""Facts of the point's floors: walls where the layout has them, which the ball cannot pass."""

from __future__ import annotations

import numpy as np
import pytest

from rig.envs import TASKS
from rig.envs.point import RADIUS, PointTask, kept_region, walls

GIVE = 0.003  # metres by which contacts may yield
POINTS = [name for name, task in TASKS.items() if issubclass(task, PointTask)]
each_floor = pytest.mark.parametrize("name", POINTS)


def cells(layout):
    """bool[height, width]: the free cells."""
    return np.array([[cell != "#" for cell in row] for row in layout])


def gap(places, task, to="#"):
    """f64[n]: metres from places [n, 2] to the nearest wall (or free) cell, from the layout alone."""
    free = cells(task.layout)
    rows, columns = np.nonzero(~free if to == "#" else free)
    middles = task.cell * np.stack([columns + 0.5 - free.shape[1] / 2, free.shape[0] / 2 - rows - 0.5], axis=1)
    outside = np.abs(places[:, None] - middles) - task.cell / 2
    return np.linalg.norm(outside.clip(0), axis=2).min(axis=1)


@each_floor
def test_a_layout_is_one_closed_floor_and_the_rest_follows_from_it(name):
    task = TASKS[name]
    free = cells(task.layout)
    assert len({len(row) for row in task.layout}) == 1
    assert not (free[0].any() or free[-1].any() or free[:, 0].any() or free[:, -1].any())
    reached = np.zeros_like(free)
    reached[tuple(np.argwhere(free)[0])] = True
    for _ in range(free.size):
        for axis in (0, 1):
            reached |= free & (np.roll(reached, 1, axis) | np.roll(reached, -1, axis))
    assert (reached == free).all()
    assert (task.state_low, task.state_high) == kept_region(task.layout, task.cell)
    side = task.cell * (len(task.layout) - 2)
    assert task.factors["point"].threshold == pytest.approx(side / 10)


@each_floor
def test_boxes_cover_the_walls_of_a_layout_and_nothing_else(name):
    task = TASKS[name]
    free = cells(task.layout)
    grid = (np.arange(10 * len(free)) + 0.5) / 10 - len(free) / 2  # ten places a cell, along each axis
    places = task.cell * np.stack(np.meshgrid(grid, -grid), axis=-1).reshape(-1, 2)
    boxes = walls(task.layout, task.cell)
    covered = (np.abs(places[:, None] - boxes[:, :2]) < boxes[:, 2:]).all(axis=2).any(axis=1)
    np.testing.assert_array_equal(covered.reshape(10 * len(free), -1), ~free.repeat(10, axis=0).repeat(10, axis=1))
    assert len(boxes) <= 0.5 * (~free).sum()


@each_floor
def test_drawn_states_touch_no_wall_and_fill_every_free_cell(name, make):
    env = make(name, render="none")
    task = env.task
    for states in (task.start_states(np.random.default_rng(1), 2000), env.sample_goals(2000), env.random_states(2000)):
        assert gap(states, task).min() >= RADIUS - 1e-6
        size = np.array([len(task.layout[0]), len(task.layout)]) / 2
        columns, rows = np.floor(states / task.cell * (1, -1) + size).astype(int).T
        counts = np.zeros(cells(task.layout).shape)
        np.add.at(counts, (rows, columns), 1)
        assert ((counts > 0) == cells(task.layout)).all()


def test_the_ball_goes_where_it_is_sent(make):
    env = make("point_mass", 4, render="none")
    env.reset(state=np.zeros((4, 2)))
    compass = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=float)
    for _ in range(3):
        env.step(compass)
    np.testing.assert_allclose(env.step(np.zeros((4, 2))).state, 0.06 * compass, atol=1e-3)


@each_floor
def test_no_wall_can_be_passed(name, make):
    env = make(name, 32, render="none")
    rng = np.random.default_rng(0)
    now = env.reset(state=env.random_states(32)).state
    pressed = np.zeros(32, dtype=bool)
    for _ in range(40):
        held = rng.choice([-1.0, 0.0, 1.0], size=(32, 2))
        for _ in range(6):
            last, now = now, env.step(held).state
            # A ball that never enters a wall and moves less than a wall's thickness a step has passed none.
            assert (gap(now, env.task) > RADIUS - GIVE).all()
            assert (np.abs(now - last).max(axis=1) < 0.03).all()
            pressed |= gap(now, env.task) < RADIUS + 1e-4
    assert pressed.all()


def test_a_blocked_ball_glides_along_the_wall_and_obeys_at_once_when_it_turns_back(make):
    env = make("point_maze_umaze", 2, render="none")
    # Above the bar of the U: the left ball is sent down into the bar, the right one down and along it.
    env.reset(state=np.array([[-0.10, 0.09], [-0.10, 0.09]]))
    for _ in range(6):
        now = env.step(np.array([[0.0, -1.0], [0.5, -1.0]])).state
    np.testing.assert_allclose(now, [[-0.10, 0.085], [-0.04, 0.085]], atol=1e-3)
    back = env.step(np.array([[0.0, 1.0], [0.0, 1.0]])).state
    before = now[:, 1]
    for _ in range(2):
        back = env.step(np.array([[0.0, 1.0], [0.0, 1.0]])).state
    assert (back[:, 1] > before + 0.03).all()


@each_floor
def test_the_picture_shows_ball_and_walls_where_they_are(name, make):
    size = 96
    task = TASKS[name]()
    env, small = make(name, size=size), make(name)
    states = env.random_states(300)
    frames, ball = env.show(states), small.show(states)
    wide = 0.39 / size  # metres a pixel on the floor
    across = (np.arange(size) + 0.5 - size / 2) * wide
    blue = (frames[..., 2] > 110) & (frames[..., 0] < 60)
    x, y = (blue.sum(axis=axis) @ across / blue.sum(axis=(1, 2)) for axis in (1, 2))
    np.testing.assert_allclose(np.stack([x, -y], axis=1), states, atol=wide)
    blue = (ball[..., 2] > 110) & (ball[..., 0] < 60)
    assert blue.any(axis=1).sum(axis=1).min() >= 6 and blue.any(axis=2).sum(axis=1).min() >= 6
    # Walls are grey and free floor is light, but for the pixels that both share.
    places = np.stack(np.meshgrid(across, -across), axis=-1).reshape(-1, 2)
    empty = np.median(frames, axis=0).astype(int).reshape(-1, 3)
    inside = np.abs(places).max(axis=1) < task.state_high[0] + RADIUS
    away = gap(places, task)
    assert (empty[inside & (away > wide)].min(axis=1) > 170).all()
    deep = inside & (gap(places, task, to=" ") > wide)
    assert (np.ptp(empty[deep], axis=1) < 12).all() and (empty[deep].max(axis=1) < 150).all()
    assert deep.any() or name == "point_mass"
