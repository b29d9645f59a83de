"""Both physics engines step and film the same worlds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rig.envs import TASKS, make_batch, warp_batch
from rig.envs.mujoco_batch import MujocoBatch
from rig.envs.warp_batch import STATE, announced
from tests.envs.conftest import OTHER_MAZES
from tests.envs.controllers import CONTROLLERS

each_task = pytest.mark.parametrize("name", [name for name in TASKS if name not in OTHER_MAZES])
WORLDS = 16
# In the state's units. A contact that is a millionth of a metre deep begins a substep later in float32, and sends a thing on
# another way: 6 mm in one step was seen, and more than .3 mm in 4 steps of 2,400. So it is the most that must agree, not all.
STEP_MEDIAN, STEP_MOST = 1e-6, 1e-4  # one step from the same state: half of all, 98 of 100; Push: 6e-8 and 6e-6 were seen
RUN_MEDIAN, RUN_MOST = 1e-3, 5e-3  # 50 steps: half of all, nine of ten; Push: 3e-5 and 1.4e-3 were seen, Reach: 3e-7 at most


def pair(make, name, **settings):
    """Worlds of both engines in the same random states, and those states."""
    c, warp = make(name, WORLDS, **settings), make(name, WORLDS, engine="warp", **settings)
    states = c.random_states(WORLDS)
    return c, warp, c.reset(state=states), warp.reset(state=states)


def follow(warp, c):
    """Put the worlds of Warp where those of the C engine are, velocities and the solver's warm start included."""
    for name in STATE:
        array = getattr(warp._data, name).numpy()
        array[...] = np.stack([getattr(world, name) for world in c._worlds])


@each_task
def test_states_after_50_random_steps_are_the_same(name, make):
    c, warp, *_ = pair(make, name, render="none")
    for action in np.random.default_rng(0).uniform(-1, 1, (50, WORLDS, c.action_dim)):
        one, other = c.step(action), warp.step(action)
    apart = np.abs(one.state - other.state).max(axis=1)
    assert np.median(apart) < RUN_MEDIAN and np.quantile(apart, 0.9) < RUN_MOST


@each_task
def test_a_step_from_the_same_state_is_the_same_also_in_contact(name, make):
    c, warp, now, _ = pair(make, name, render="none")
    rng, goals, apart = np.random.default_rng(1), c.sample_goals(WORLDS), []
    for step in range(60):
        action = CONTROLLERS[name](now.state, goals) if step % 3 else rng.uniform(-1, 1, (WORLDS, c.action_dim))
        follow(warp, c)
        now, other = c.step(action), warp.step(action)
        apart.append(np.abs(now.state - other.state).max(axis=1))
    assert np.median(apart) < STEP_MEDIAN and np.quantile(apart, 0.98) < STEP_MOST


@each_task
def test_frames_of_the_same_states_are_the_same(name, make):
    c, warp, one, other = pair(make, name)
    # Positions rounded to float32 before or after the kinematics: a pixel on an edge may fall to either side.
    assert (one.frame != other.frame).any(axis=-1).sum(axis=(1, 2)).max() <= 12
    states = c.random_states(WORLDS + 3)
    assert (c.show(states) != warp.show(states)).any(axis=-1).sum(axis=(1, 2)).max() <= 12


@each_task
def test_frames_are_those_of_opengl(name, gl_works, make):
    warp, gl = make(name, 1, engine="warp"), make(name, 1, render="gl")
    states = gl.random_states(40)
    error = np.square(warp.show(states).astype(float) - gl.show(states)).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / error)).min() >= 30


@each_task
def test_steps_on_the_device_are_those_on_the_host_and_copy_nothing(name, make):
    host, device = make(name, 4, engine="warp"), make(name, 4, engine="warp", arrays=torch)
    start = host.random_states(4)
    seen = [(host.reset(state=start), device.reset(state=start))]
    for action in np.random.default_rng(0).uniform(-1.5, 1.5, (8, 4, host.action_dim)).astype(np.float32):
        seen.append((host.step(action), device.step(torch.from_numpy(action))))
    for one, other in seen:  # looked at after all the steps: none of them wrote to what was given before
        assert other.frame.dtype == torch.uint8 and np.array_equal(one.frame, other.frame.numpy())
        assert other.state.dtype == torch.float32 and np.array_equal(one.state, other.state.numpy())
    assert device._lend(device._renderer.frames).data_ptr() == device._renderer.frames.ptr
    with pytest.raises(ValueError, match=r"^action has shape \(3, \d\): expected \(4, \d\)$"):
        device.step(torch.zeros(3, device.action_dim))
    with pytest.raises(ValueError, match=r"^action holds NaN or infinity"):
        device.step(torch.full((4, device.action_dim), torch.nan))


def test_a_snapshot_of_another_engine_is_refused(make):
    c, warp = make("push", 2, render="none"), make("push", 2, render="none", engine="warp")
    for here, there in ((c, warp), (warp, c)):
        with pytest.raises(ValueError, match="or of another engine"):
            here.restore(there.snapshot())


def test_more_constraints_than_there_is_room_for_are_an_error_and_a_reset_mends_it(make, monkeypatch):
    monkeypatch.setattr(warp_batch, "CONSTRAINTS", 8)
    env = make("push", 2, render="none", engine="warp")
    at_limit = np.tile(np.float32([0.0, 0.52, 0.15, 0.70]), (2, 1))
    env.reset(state=at_limit)
    env._data.qpos.numpy()[1, 7] += 0.01
    with pytest.raises(RuntimeError, match=r"^push needs more than the 48 contacts and 8 constraints a world .*NEFC"):
        env.step(np.zeros((2, 2)))
    env.reset()
    env.step(np.zeros((2, 2)))


def test_what_the_engines_cannot_do_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^unknown engine 'gpu': expected one of auto, c, warp$"):
        make_batch("push", 1, seed=0, engine="gpu")
    with pytest.raises(ValueError, match=r"^render=gl with engine=warp: expected warp or none; engine=c draws with render=gl$"):
        make_batch("push", 1, seed=0, engine="warp", render="gl")


def test_without_cuda_auto_is_the_c_engine(monkeypatch):
    monkeypatch.setattr("rig.envs.warp_render.cuda", lambda: False)
    env = make_batch("push", 1, seed=0)
    assert isinstance(env, MujocoBatch)
    env.close()


def test_compiling_is_announced_before_it_happens_and_only_then(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("warp.config.kernel_cache_dir", str(tmp_path))
    model = TASKS["push"]().model()
    with pytest.raises(KeyboardInterrupt), announced(model, "cpu"):
        assert capsys.readouterr().err.count("\n") == 1
        raise KeyboardInterrupt
    with announced(model, "cpu"):
        assert "compiling Warp's physics kernels for cpu" in capsys.readouterr().err
    with announced(model, "cpu"):
        assert capsys.readouterr().err == ""
    with announced(TASKS["reach"]().model(), "cpu"):
        assert "compiling" in capsys.readouterr().err
