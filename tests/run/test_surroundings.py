"""What a run meets that it cannot help: other processes, other folders, a full disk, losses that are no numbers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rig import checkpoint, files
from rig.learners.td3 import TD3
from rig.run import LOG_EVERY
from tests.run.runs import (
    EVALUATE_EVERY,
    EVERY,
    PIXELS,
    RANDOM,
    STATE,
    STEPS,
    copy,
    differences,
    done,
    everything,
    newest,
    read,
    rig,
)

FOLDERS = ("resume", "evaluate", "imagine")


def test_a_folder_in_use_is_left_alone(finished: Callable[[str], Path], tmp_path: Path) -> None:
    run, new = copy(finished("state"), tmp_path / "run"), tmp_path / "new"
    new.mkdir()
    for folder, command in ((run, ("resume", run)), (new, ("train", *STATE, f"run_dir={new}"))):
        with files.Lock(folder):
            line = rig(*command).line
        assert line == f"rig: run folder {folder} is in use by process {os.getpid()}; wait for it, or choose another run_dir="
    assert [path.name for path in new.iterdir()] == ["run.lock"]
    with files.Lock(run):
        done("evaluate", run, "--episodes", "1")  # who only reads needs not wait


def test_a_folder_that_holds_a_run_is_not_trained_over(finished: Callable[[str], Path]) -> None:
    run = finished("state")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != "run.lock"}
    line = rig("train", *STATE, f"run_dir={run}").line
    assert line == f"rig: {run} holds a run already; go on with it by `rig resume {run}`, or choose another run_dir="
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = rig("train", *STATE, f"run_dir={tmp_path / 'file' / 'run'}").line
    assert "cannot make run folder" in line and line.endswith("choose another run_dir=")


@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path, command: str) -> None:
    assert f"run folder '{tmp_path}' has no config.yaml: it is no run folder" in rig(command, tmp_path).line
    (tmp_path / "config.yaml").write_text("task: [")
    assert "config.yaml: the configuration is no YAML" in rig(command, tmp_path).line


@pytest.mark.parametrize("command", FOLDERS[1:])
def test_a_run_without_a_checkpoint_shows_nothing(finished: Callable[[str], Path], tmp_path: Path, command: str) -> None:
    (tmp_path / "config.yaml").write_bytes((finished("pixels") / "config.yaml").read_bytes())
    assert f"{tmp_path} has no checkpoints" in rig(command, tmp_path).line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", place]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(folder: Path, leave: int) -> Path:
    """A file that takes all the room in a file system but so many bytes."""
    stone = folder / "stone"
    about = os.statvfs(folder)
    with stone.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(about.f_frsize, about.f_bavail * about.f_frsize - leave))
    return stone


def test_a_replay_memory_for_which_there_is_no_room_is_refused_before_there_is_a_run(tmp_path: Path) -> None:
    huge = ["steps=100000000000", "replay.capacity=100000000000"]
    typed = [word for word in STATE if not word.startswith("steps=")]
    line = rig("train", *typed, *huge, f"run_dir={tmp_path / 'run'}").line
    assert "no memory for the 100,000,000,000 transitions" in line and "try replay.capacity=10000000000, or" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("leave", [0, 400_000])
def test_a_full_disk_leaves_the_earlier_checkpoints_whole(
    finished: Callable[[str], Path], small_disk: Path, leave: int
) -> None:
    run = copy(finished("state"), small_disk / "run", upto=EVERY)
    earlier = everything(run)
    stone = fill(small_disk, leave)
    line = rig("resume", run).line
    assert "No space left on device" in line
    assert [path.name for path in run.rglob("*") if ".tmp" in path.name or "staging" in path.name] == []
    assert newest(run) == checkpoint.steps(run)[-1]
    stone.unlink()
    for step in checkpoint.steps(run):
        everything(run, step)
    assert differences(everything(run, EVERY), earlier) == []
    done("resume", run)
    assert newest(run) == STEPS


def test_a_disk_without_room_for_the_frames_is_said_before_anything_is_trained(small_disk: Path) -> None:
    run = small_disk / "run"
    fill(small_disk, leave=400_000)
    said = rig("train", *PIXELS, "replay.memory=disk", f"run_dir={run}")
    assert said.line.startswith(f"rig: cannot keep the replay memory in {run}: No space left on device")
    assert said.line.endswith("make room, or choose replay.memory=host") and "collecting images" not in said.err


def broken_from(step: int) -> Callable[..., Any]:
    """A critic whose loss, at the updates of env step `step` and later, is no number."""
    critic_loss = TD3.critic_loss

    def broken(learner: TD3, *arguments: Any) -> tuple[Tensor, Tensor]:
        loss, value = critic_loss(learner, *arguments)
        first = 2 * (step - RANDOM - 1)  # two updates a step, the first after the random ones
        return (loss * torch.nan if learner.updates >= first else loss), value

    return broken


@pytest.mark.parametrize("step", [RANDOM + 1, EVALUATE_EVERY, STEPS])
def test_a_loss_that_is_no_number_stops_the_run_and_says_where_it_began(
    finished: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    run, whole = tmp_path / "run", finished("state")
    monkeypatch.setattr(TD3, "critic_loss", broken_from(step))
    line = rig("train", *STATE, f"run_dir={run}").line
    assert line.startswith(f"rig: a loss was not finite from env step {step} on; see {run / 'diagnosis.json'}")
    diagnosis = read(run / "diagnosis.json")
    assert diagnosis["first_bad_step"] == step <= diagnosis["noticed_at_step"] <= step + LOG_EVERY
    assert diagnosis["metrics"]["critic_loss"] == "nan" and "critics.weights.0" in diagnosis["weights_not_finite"]
    assert checkpoint.steps(run) == [saved for saved in checkpoint.steps(whole) if saved < step]
    assert differences(everything(run), everything(whole, newest(run))) == []


def test_a_learning_rate_that_explodes_stops_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    line = rig("train", *STATE, "learner.learning_rate=1e30", f"run_dir={run}").line
    assert "a loss was not finite from env step" in line and line.endswith("try learner.learning_rate=3e-4")
    assert RANDOM < read(run / "diagnosis.json")["first_bad_step"] <= RANDOM + 3
    assert checkpoint.steps(run) == [0, EVERY]


def test_gradients_that_are_no_numbers_stop_the_run_though_the_loss_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = TD3.learn

    def poisoned(learner: TD3, *arguments: Any) -> dict[str, Tensor]:
        metrics = learn(learner, *arguments)
        if learner.updates == 40:
            with torch.no_grad():
                learner.actor.weights[0].fill_(torch.nan)
        return metrics

    monkeypatch.setattr(TD3, "learn", poisoned)
    run = tmp_path / "run"
    line = rig("train", *STATE, "learner.uniform=0", f"run_dir={run}").line  # or a uniform action might hide it
    assert "was not finite from env step 50 on" in line
    assert read(run / "diagnosis.json")["weights_not_finite"] == ["actor.weights.0"]
    assert checkpoint.steps(run) == [0, EVERY]


def test_an_encoder_that_explodes_stops_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    line = rig("train", *PIXELS, "encoder.training.learning_rate=1e20", f"run_dir={run}").line
    assert line.startswith("rig: encoder loss is ") and "try encoder.training.learning_rate=3e-4" in line
    assert read(run / "diagnosis.json")["encoder"] in line
    assert checkpoint.steps(run) == []
