"""Other people's worlds keep the promises of BatchEnv as far as they can, and fail one at a time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rig.envs import EpisodeLostError, ForeignBatch, Spec, WorldsError
from tests.envs.dots import SPEED, place

ROOT = Path(__file__).parents[2]
DOTS = "tests.envs.dots:"
Make = Callable[..., ForeignBatch]


@pytest.fixture
def make() -> Iterator[Make]:
    """Worlds of a class in dots.py; closed afterwards."""
    made: list[ForeignBatch] = []

    def build(name: str = "Dot", num_envs: int = 1, seed: int = 0, **settings: object) -> ForeignBatch:
        looks = {key: settings.pop(key) for key in ("low", "skip") if key in settings}
        made.append(ForeignBatch(Spec(DOTS + name, 32, **looks), num_envs, seed=seed, **{"length": 6, **settings}))
        return made[-1]

    yield build
    for env in made:
        env.close()


@pytest.fixture
def fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], None]:
    """Let worlds made from now on fail in a way at a step of their episodes, so many times in all."""

    def plan(kind: str, step: int, times: int) -> None:
        (tmp_path / "failures").touch()
        monkeypatch.setenv("DOT_FAILS", f"{kind} {step} {times} {tmp_path / 'failures'}")

    return plan


def actions(seed: int, steps: int, env: ForeignBatch) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (steps, env.num_envs, env.action_dim)).astype(np.float32)


def test_worlds_are_stepped_and_filmed_together(make: Make) -> None:
    env = make(num_envs=3)
    first = env.reset()
    assert first.frame.shape == (3, 32, 32, 3) and first.frame.dtype == np.uint8
    assert first.state.shape == (3, 2) and first.state.dtype == np.float32 and len(np.unique(first.state, axis=0)) == 3
    kept = first.frame.copy(), first.state.copy()
    action = np.array([[1, 0], [0, -1], [7, 0.5]])
    now = env.step(action)
    np.testing.assert_allclose(now.state, np.clip(first.state + SPEED * np.clip(action, -1, 1), 0, 1), atol=1e-6)
    for frame, state in zip(now.frame, now.state, strict=True):
        np.testing.assert_allclose(place(frame), state, atol=0.05)
    np.testing.assert_array_equal(first.frame, kept[0])
    np.testing.assert_array_equal(first.state, kept[1])
    assert (env.task.state_names, env.task.factors["goal"].threshold) == (("goal_0", "goal_1"), 0.05)


def test_actions_are_scaled_to_the_environments_own_bounds(make: Make) -> None:
    env = make("Wide")
    np.testing.assert_array_equal(env.step(-np.ones((1, 2))).state, env.reset(np.array([False])).state)
    before = env.reset().state
    np.testing.assert_allclose(env.step(np.full((1, 2), -0.75)).state, before + 0.5 * SPEED, atol=1e-6)


def test_an_action_of_minus_one_can_stand_for_less_than_the_environment_takes(make: Make) -> None:
    env = make("Wide", low=(-4.0, 1.0))
    before = env.reset().state
    for action, moved in ((-1.0, (0.0, 1.0)), (-0.5, (0.0, 1.75)), (0.5, (2.0, 3.25)), (1.0, (4.0, 4.0))):
        now = env.step(np.full((1, 2), action)).state
        np.testing.assert_allclose(now, np.clip(before + SPEED * np.array(moved), 0, 1), atol=1e-6)
        before = env.reset().state


def test_steps_that_are_skipped_are_not_seen(make: Make) -> None:
    seen, hidden, dot = make("Opening", skip=4), make("Opening", skip=3), make("Dot")
    frames = [env.reset().frame for env in (seen, hidden, dot)]
    np.testing.assert_array_equal(frames[0], frames[2])  # nothing was done in them
    assert (frames[1][:, :16] == 90).any()
    assert not (seen.random_frames(9)[:, :16] == 90).any()


def test_a_world_without_goals_can_be_stepped_and_filmed_and_no_more(make: Make) -> None:
    env, dot = make("Goalless", 3), make("Dot", 3)
    assert (env.state_dim, env.task.factors, env.task.state_names, env.task.judged) == (0, {}, (), ())
    for action in [np.zeros((3, 2)), *actions(0, 3, env)]:
        now, right = env.step(action), dot.step(action)
        assert now.state.shape == (3, 0)
        np.testing.assert_array_equal(now.frame, right.frame)
    for refused in (lambda: env.sample_goals(2), lambda: env.random_states(2), lambda: env.show(np.zeros((2, 0)))):
        with pytest.raises(WorldsError, match=r"Goalless has no goals, .*; type steps=0$"):
            refused()


@pytest.mark.parametrize("name", ["Dot", "Goalless"])
def test_random_frames_are_of_several_rollouts_and_do_not_disturb_the_worlds(name: str, make: Make) -> None:
    env, twin = make(name, length=40), make(name, length=40)
    before = env.reset(np.zeros(1, dtype=bool)).frame
    frames = env.random_frames(40)
    assert frames.shape == (40, 32, 32, 3) and frames.dtype == np.uint8 and len(np.unique(frames, axis=0)) > 20
    where = np.array([place(frame) for frame in frames])
    assert np.abs(np.diff(where, axis=0)).max() > 3 * SPEED  # not one after another
    np.testing.assert_array_equal(frames, twin.random_frames(40))
    np.testing.assert_array_equal(env.reset(np.zeros(1, dtype=bool)).frame, before)


def test_an_episode_that_ends_stays_as_it_ended_until_the_next_reset(make: Make) -> None:
    env = make("Ends")
    env.reset()
    *_, third, fourth = [env.step(action) for action in actions(0, 4, env)]
    np.testing.assert_array_equal(third.state, fourth.state)
    np.testing.assert_array_equal(third.frame, fourth.frame)
    assert (env.step(np.ones((1, 2))).state == third.state).all()
    begun = env.reset().state
    assert (env.step(np.full((1, 2), 0.1)).state != begun).all()


def test_a_masked_reset_leaves_the_other_worlds_alone(make: Make) -> None:
    env = make(num_envs=2)
    before = env.step(actions(0, 1, env)[0])
    after = env.reset(np.array([True, False]))
    assert (after.state[0] != before.state[0]).any()
    np.testing.assert_array_equal(after.state[1], before.state[1])
    np.testing.assert_array_equal(after.frame[1], before.frame[1])


def test_same_seed_same_episodes_and_goals(make: Make) -> None:
    env, twin, other = make(num_envs=2), make(num_envs=2), make(num_envs=2, seed=1)
    first, again, different = (
        np.concatenate([e.sample_goals(3), e.reset().state, e.random_states(5)]) for e in (env, twin, other)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != different).any()


def test_goals_are_shown_as_the_frames_they_were_and_nothing_else_can_be(make: Make) -> None:
    env = make(num_envs=2)
    before = env.reset(np.zeros(2, dtype=bool))
    goals = env.sample_goals(5)
    assert len(np.unique(goals, axis=0)) == 5
    for frame, state in zip(env.show(goals), goals, strict=True):
        np.testing.assert_allclose(place(frame), state, atol=0.05)
    states = env.random_states(30)
    assert states.shape == (30, 2) and env.show(states).shape == (30, 32, 32, 3) and env.show(states[:0]).shape == (0, 32, 32, 3)
    np.testing.assert_array_equal(env.reset(np.zeros(2, dtype=bool)).state, before.state)  # the worlds were not disturbed
    with pytest.raises(ValueError, match="cannot be shown"):
        env.show(goals + 0.01)
    with pytest.raises(WorldsError, match=r"type collect\.reset=start"):
        env.reset(state=goals[:2])


@pytest.mark.parametrize("name", ["Ball", "Remembers"])
def test_a_mujoco_worlds_snapshot_is_exact(name: str, make: Make) -> None:
    env, fresh = make(name, 3), make(name, 3, seed=9)
    for action in actions(1, 5, env):
        env.step(action)
    snapshot, plan = env.snapshot(), actions(2, 20, env)

    def go_on(env: ForeignBatch) -> list[np.ndarray]:
        seen = [env.step(action) for action in plan]
        return [np.stack([o.frame for o in seen]), np.stack([o.state for o in seen]), env.sample_goals(2), env.reset().state]

    now = env.reset(np.zeros(3, dtype=bool))
    expected = go_on(env)
    assert len(np.unique(expected[1][:, 0], axis=0)) == 20
    for again in (env, fresh):
        again.restore(snapshot)
        there = again.reset(np.zeros(3, dtype=bool))
        np.testing.assert_array_equal(there.frame, now.frame)
        np.testing.assert_array_equal(there.state, now.state)
        for value, right in zip(go_on(again), expected, strict=True):
            np.testing.assert_array_equal(value, right)


@pytest.mark.parametrize("name", ["Dot", "Forgetful"])
def test_a_world_that_cannot_be_restored_loses_its_episode_and_goes_on_alike(
    name: str, make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    env = make(name)
    env.step(actions(0, 1, env)[0])
    snapshot = env.snapshot()
    assert set(snapshot) == {"generator", "num_envs"}
    expected = env.reset().state
    env.restore(snapshot)
    with pytest.raises(EpisodeLostError, match="no open episode"):
        env.step(np.zeros((1, 2)))
    assert "a new one begins" in capfd.readouterr().err
    np.testing.assert_array_equal(env.reset().state, expected)
    env.step(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="snapshot of another task or num_envs"):
        env.restore({})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("raise", "ArithmeticError: the dot fell off"),
        ("die", "died with exit code 7"),
        ("linger", "hung up and did not end"),
        ("floats", "renders float32[64, 64, 3]: expected u8[H, W, 3]"),
        ("hang", "did not answer within 1.5 s"),
    ],
)
def test_a_worker_that_fails_is_reported_and_started_again(
    kind: str, said: str, make: Make, fails: Callable[..., None], capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("rig.envs.workers.END", 0.5)
    fails(kind, 30, 1)
    env = make(num_envs=2, time_limit=1.5)
    plan = actions(0, 40, env)
    for action in plan[:29]:
        env.step(action)
    with pytest.raises(EpisodeLostError):
        env.step(plan[29])
    error = capfd.readouterr().err
    assert said in error and "starting it again (1 of 3)" in error
    assert kind not in ("raise", "hang") or ('dots.py", line' in error and "fail" in error)  # where it failed
    with pytest.raises(EpisodeLostError):  # there is nothing to go on with
        env.step(plan[29])
    before = env.reset()
    for action in plan:
        before, now = env.step(action), before
        np.testing.assert_allclose(before.state, np.clip(now.state + SPEED * action, 0, 1), atol=1e-6)


def test_a_worker_that_died_between_steps_is_noticed_by_a_snapshot(make: Make) -> None:
    env = make("Ball", 2)
    whole = env.snapshot()
    env._workers._workers[0].process.kill()
    assert set(env.snapshot()) == {"generator", "num_envs"} < set(whole)
    with pytest.raises(EpisodeLostError):
        env.step(np.zeros((2, 2)))
    env._workers._workers[0].process.kill()
    env.restore(whole)
    with pytest.raises(EpisodeLostError):
        env.step(np.zeros((2, 2)))
    env.restore(whole)
    assert np.isfinite(env.step(np.zeros((2, 2))).state).all()


def test_a_worker_is_started_again_three_times_and_no_more(
    make: Make, fails: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    fails("raise", 30, 99)
    env = make()
    for _ in range(3):
        env.reset()
        for _ in range(29):
            env.step(np.zeros((1, 2)))
        with pytest.raises(EpisodeLostError):
            env.step(np.zeros((1, 2)))
    env.reset()
    for _ in range(29):
        env.step(np.zeros((1, 2)))
    with pytest.raises(WorldsError, match=r"^worker 0 of .*Dot failed 4 times, .*ArithmeticError: the dot fell off; [^\n]*$"):
        env.step(np.zeros((1, 2)))
    assert capfd.readouterr().err.count("Traceback") == 4


def test_goals_come_from_whole_rollouts_where_a_world_fails(make: Make, fails: Callable[..., None]) -> None:
    fails("raise", 30, 1)
    env = make(length=35)
    states = env.random_states(36)
    np.testing.assert_array_less(np.abs(np.diff(states, axis=0)), SPEED + 1e-6)


def test_a_threshold_of_ones_own_and_a_camera_that_is_not_there(make: Make) -> None:
    assert make("Thresholdless", threshold=0.2, unit="m").task.factors["goal"][1:] == ("m", 0.2)
    with pytest.raises(ValueError, match=r"task\.view: .* has no MuJoCo model"):
        ForeignBatch(Spec(DOTS + "Dot", 32, "front"), 1, seed=0)
    with pytest.raises(ValueError, match=r"num_envs=0"):
        make(num_envs=0)


def test_a_world_may_say_what_its_state_is_made_of(make: Make) -> None:
    task = make("Remembers").task
    assert (task.state_names, task.state_units, task.judged) == (("across_0", "down_0"), ("m", ""), ("across",))
    states = np.array([[0.04, 0.9], [0.06, 0.0]])
    np.testing.assert_array_equal(task.success(states, np.zeros((2, 2))), [True, False])
    task = make("Remembers", threshold=0.2, unit="cm").task
    assert (task.factors["across"][1:], task.factors["down"][1:]) == (("cm", 0.2), ("", 0.5))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_their_parent_however_it_ends() -> None:
    code = (
        "import sys, time\nfrom rig.envs import ForeignBatch, Spec\n"
        f"env = ForeignBatch(Spec('{DOTS}Dot', 32), 2, seed=0)\n"
        "print(*(worker.process.pid for worker in env._workers._workers.values()), flush=True)\n"
        "time.sleep(1000)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(number) for number in parent.stdout.readline().split()]
    assert workers and all(alive(worker) for worker in workers)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: int) -> bool:
    """Whether a process is there and no zombie that nobody has collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
