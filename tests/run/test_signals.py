"""SIGINT and SIGTERM: the step is finished and saved, and the exit code says which it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from rig import commands
from rig.algorithm import RIG
from rig.log import Bar
from rig.run import Signals
from tests.run.runs import EVERY, PIXELS, STATE, STEPS, Process, assert_same, checkpoint, done, newest, rig

BRIEF = (*PIXELS, "encoder.training.steps=60", "encoder.width=8", "encoder.hidden=16", "steps=35")
"""The encoder looks up every 25 gradient steps."""


def assert_saved(run: Path, step: int, err: str) -> None:
    assert newest(run) == checkpoint.load(run).step == step
    assert f"stopped at step {step} and saved; go on with: rig resume {run}" in err
    assert "Traceback" not in err and not (run / "evaluation.json").exists()


def assert_nothing(run: Path, err: str) -> None:
    assert err.splitlines()[-1] == f"stopped before anything was trained; start again with: rig resume {run}"
    assert checkpoint.steps(run) == [] and "Traceback" not in err


def test_a_process_told_to_stop_saves_its_step(finished: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = Process(tmp_path / "log", "train", *STATE, f"run_dir={run}")
    assert process.end(signal.SIGINT, lambda: newest(run) >= EVERY) == 130
    assert EVERY <= newest(run) < STEPS
    assert_saved(run, newest(run), process.err)
    done("resume", run)
    assert_same(run, finished("state"))


def test_a_process_told_to_stop_while_it_trains_the_encoder_leaves_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = Process(tmp_path / "log", "train", *BRIEF, f"run_dir={run}")
    assert process.end(signal.SIGTERM, lambda: "training the encoder" in process.err) == 143
    assert_nothing(run, process.err)
    done("resume", run)
    assert checkpoint.load(run).step == 35


@pytest.mark.parametrize(
    ("number", "code", "step"), [(signal.SIGTERM, 143, 7), (signal.SIGINT, 130, 2 * EVERY), (signal.SIGTERM, 143, STEPS)]
)
def test_a_signal_in_the_middle_of_a_step_waits_for_its_end(
    finished: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, step: int
) -> None:
    act = RIG.act

    def interrupted(agent: RIG) -> Tensor:
        if agent.steps == step - 1:
            signal.raise_signal(number)
        return act(agent)

    run = tmp_path / "run"
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        patch.setattr(RIG, "act", interrupted)
        said = rig("train", *STATE, f"run_dir={run}")
    assert said.code == code
    assert_saved(run, step, said.err)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    done("resume", run)
    assert_same(run, finished("state"))


@pytest.mark.parametrize("what", ["collecting images", "training the encoder", "fitting the prior"])
def test_a_signal_before_there_is_anything_to_save_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    show = Bar.__call__

    def interrupted(bar: Bar, done: int, total: int, metrics: Mapping[str, Any]) -> None:
        show(bar, done, total, metrics)
        if bar.what == what:
            signal.raise_signal(signal.SIGINT)

    run = tmp_path / "run"
    monkeypatch.setattr(Bar, "__call__", interrupted)
    typed = [part.replace("goals=gaussian", "goals=flow") for part in BRIEF]
    said = rig("train", *typed, f"run_dir={run}")
    assert said.code == 130
    assert_nothing(run, said.err)


def test_a_run_in_another_thread_leaves_signals_alone() -> None:
    before, trapped = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with Signals() as signals:
            trapped.append(signal.getsignal(signal.SIGINT) is not before)
            signals.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert trapped == [False] and signal.getsignal(signal.SIGINT) is before


def test_a_signal_during_the_last_evaluation_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = commands.rollout_film

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return film(*arguments)

    monkeypatch.setattr(commands, "rollout_film", interrupted)
    said = rig("train", *STATE, "steps=35", f"run_dir={tmp_path / 'run'}")
    assert said.code == 143 and (tmp_path / "run" / "evaluation.json").exists()
