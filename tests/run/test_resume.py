"""A run that was interrupted and resumed is the run that never was, to the last bit."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rig import commands
from rig.envs import TASKS
from tests.run.runs import (
    EVERY,
    KINDS,
    PIXELS,
    STATE,
    STEPS,
    Process,
    assert_same,
    checkpoint,
    copy,
    differences,
    done,
    everything,
    newest,
    numbers,
    rig,
)
from tests.test_compiling import needs_compiler


def test_less_than_was_trained_is_refused_and_changes_nothing(finished: Callable[[str], Path], tmp_path: Path) -> None:
    run = copy(finished("state"), tmp_path / "run")
    before = (run / "config.yaml").read_text()
    for steps in (0, STEPS - 1):
        line = rig("resume", run, f"steps={steps}").line
        assert f"is at step {STEPS} already, got steps={steps}; give more, or leave steps out" in line
    assert (run / "config.yaml").read_text() == before


@pytest.mark.parametrize("kind", ["pixels", "state", "overlapped", "online"])
def test_a_run_killed_and_resumed_is_the_run_that_was_not(finished: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    run = tmp_path / "run"
    process = Process(tmp_path / "log", "train", *KINDS[kind], f"run_dir={run}")
    assert process.end(signal.SIGKILL, lambda: newest(run) >= STEPS // 2 - EVERY // 2) == -signal.SIGKILL
    reached = newest(run)
    assert STEPS // 2 - EVERY // 2 <= reached < STEPS
    assert f"going on with {run} from step {reached}" in done("resume", run).err
    assert_same(run, finished(kind))


@pytest.mark.parametrize(
    ("kind", "step", "memory"),
    [
        ("pixels", 0, "device"),
        ("pixels", EVERY, "disk"),
        ("two worlds", 2 * EVERY, "device"),
        ("two worlds", 3 * EVERY + 1, "host"),
        ("warp", 2 * EVERY, "device"),
        ("drifting", 3 * EVERY + 1, "device"),
        ("sb3_sac", 2 * EVERY, "device"),
        ("exchanged", EVERY, "device"),
        ("online", EVERY, "disk"),
        ("online", 2 * EVERY, "device"),
        ("online", 3 * EVERY, "host"),
    ],
)
def test_a_run_resumes_from_any_checkpoint_in_any_memory(
    finished: Callable[[str], Path], tmp_path: Path, kind: str, step: int, memory: str
) -> None:
    run = copy(finished(kind), tmp_path / "run", upto=step)
    assert checkpoint.steps(run)[-1] == newest(run) == step < newest(finished(kind))
    done("resume", run, f"replay.memory={memory}")
    assert_same(run, finished(kind))


@pytest.mark.parametrize("memory", ["host", "disk"])
def test_a_run_is_the_same_wherever_its_frames_lie(finished: Callable[[str], Path], tmp_path: Path, memory: str) -> None:
    run = tmp_path / "run"
    err = done("train", *PIXELS, f"replay.memory={memory}", f"run_dir={run}").err
    assert {"host": "MiB; frames in CPU memory\n", "disk": f"MiB; frames on disk in {run}\n"}[memory] in err
    assert {path.name for path in run.iterdir()} == {path.name for path in finished("pixels").iterdir()}
    assert_same(run, finished("pixels"))


def test_a_finished_run_resumed_stays_as_it_is(finished: Callable[[str], Path], tmp_path: Path) -> None:
    run = copy(finished("pixels"), tmp_path / "run")
    done("resume", run)
    assert_same(run, finished("pixels"))


def test_a_resumed_run_can_be_given_more_steps(finished: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    done("train", *STATE, "steps=61", f"run_dir={run}")
    done("resume", run, f"steps={STEPS}")
    assert differences(everything(run), everything(finished("state"))) == []


@pytest.mark.parametrize("kind", ["pixels", "state"])
def test_an_encoder_that_was_trained_alone_is_the_beginning_of_a_run(
    finished: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    run = tmp_path / "run"
    said = done("train", *KINDS[kind], "steps=0", f"run_dir={run}")
    assert f"train a policy by: rig resume {run} steps=12000" in said.out
    pictures = {"imagined_goals.png", "interpolations.png"}
    left = {path.name for path in run.iterdir()}
    assert (left & pictures == pictures) == (kind == "pixels") and "evaluation.json" not in left
    again = done("resume", run)
    assert again.out == said.out and {path.name for path in run.iterdir()} == left
    done("resume", run, f"steps={STEPS}")
    assert_same(run, finished(kind))


@pytest.mark.parametrize("memory", ["device", "disk"])
def test_a_replay_memory_that_has_gone_round_is_put_back(tmp_path: Path, memory: str) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    done("train", *STATE, "replay.capacity=40", "num_envs=2", f"replay.memory={memory}", f"run_dir={whole}")
    copy(whole, run, upto=3 * EVERY + 1)
    done("resume", run)
    assert_same(run, whole)


@needs_compiler
def test_a_run_with_compiled_updates_resumes_with_them(tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    done("train", *STATE, "learner.hidden=[16]", "learner.compile=on", f"run_dir={whole}")
    assert everything(whole)["meta"]["compiled"]
    copy(whole, run, upto=3 * EVERY)
    done("resume", run)
    assert_same(run, whole)
    other = copy(whole, tmp_path / "other", upto=3 * EVERY)
    done("resume", other, "learner.compile=off")
    assert not everything(other)["meta"]["compiled"]


def test_a_resumed_run_is_compiled_where_it_is_told_to_be_and_measured_where_nothing_was_learnt_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = tmp_path / "run", []
    monkeypatch.setattr(commands, "choose", lambda agent, setting, steps: asked.append(setting))
    done("train", *STATE, "steps=0", f"run_dir={run}")
    done("resume", run, "steps=35")
    done("resume", run, "steps=40")
    done("resume", run, "steps=45", "learner.compile=on")
    assert asked == ["auto", "off", "on"]


def test_worlds_that_draw_their_starts_are_evaluated_from_the_same_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push = TASKS["push"]

    def drawn(self: object, rng: np.random.Generator, n: int) -> np.ndarray:
        return start(self, rng, n) + rng.uniform(-0.02, 0.02, (n, 4)).astype(np.float32)

    start = push.start_states
    monkeypatch.setattr(push, "start_states", drawn)
    whole, run = tmp_path / "whole", tmp_path / "run"
    done("train", *STATE, f"run_dir={whole}")
    copy(whole, run, upto=2 * EVERY)
    done("resume", run)
    assert_same(run, whole)
    assert len({row["puck_idle"] for row in numbers(whole)}) == 1
