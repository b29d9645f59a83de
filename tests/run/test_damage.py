"""Damaged checkpoints are named and passed over; those of something else are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rig.choices import find
from rig.commands import load_config
from rig.config import RunConfig
from rig.config_io import to_yaml
from rig.log import read_rows
from tests.run.runs import EVERY, STEPS, assert_same, checkpoint, copy, done, read, rig

BEFORE = STEPS // EVERY * EVERY
"""The step of the last checkpoint but one."""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def run(finished: Callable[[str], Path], tmp_path: Path) -> Path:
    return copy(finished("pixels"), tmp_path / "run")


def last(run: Path, file: str) -> Path:
    return run / "checkpoints" / f"{STEPS:09d}" / file


@pytest.mark.parametrize(
    ("damage", "file"), [(flip, "learner.safetensors"), (cut, "encoder.safetensors"), (cut, "manifest.json")]
)
def test_resume_passes_a_damaged_checkpoint_over(
    finished: Callable[[str], Path], run: Path, damage: Callable[[Path], None], file: str
) -> None:
    damage(last(run, file))
    err = done("resume", run).err
    assert f"rig: checkpoint {STEPS} is damaged and passed over: {file}" in err
    assert f"going on with {run} from step {BEFORE}" in err
    assert_same(run, finished("pixels"))


def test_resume_goes_back_behind_a_damaged_replay_chunk(finished: Callable[[str], Path], run: Path) -> None:
    chunks = sorted((run / "replay").iterdir())
    flip(chunks[1])  # the second checkpoint wrote it, and all later ones need it
    err = done("resume", run).err
    assert err.count("damaged and passed over") == len(checkpoint.steps(run)) - 2
    assert f"from step {EVERY}" in err
    assert_same(run, finished("pixels"))


def test_evaluate_and_imagine_pass_a_damaged_checkpoint_over(run: Path, tmp_path: Path) -> None:
    flip(last(run, "learner.safetensors"))
    for command in (("evaluate", "--episodes", "2", "--json"), ("imagine", "--count", "2", "--out")):
        err = done(command[0], run, *command[1:], tmp_path / command[0]).err
        assert err.count("\n") == 1 and err.startswith(f"rig: checkpoint {STEPS} is damaged and passed over: learner.safetensors")
    evaluation = read(tmp_path / "evaluate")
    assert (evaluation["steps"], evaluation["checkpoint"]) == (BEFORE, f"{BEFORE:09d}")


def test_a_checkpoint_that_is_asked_for_must_be_there_and_whole(run: Path, tmp_path: Path) -> None:
    there = f"steps with a checkpoint: 0, {', '.join(str(EVERY * n) for n in range(1, STEPS // EVERY + 1))}, {STEPS}"
    assert rig("evaluate", run, "--checkpoint", "42").line == f"rig: {run} has no checkpoint of step 42; {there}"
    flip(last(run, "frame.safetensors"))
    line = rig("evaluate", run, "--checkpoint", str(STEPS)).line
    assert f"checkpoint {STEPS} of {run} is damaged: frame.safetensors" in line and line.endswith(there)
    done("evaluate", run, "--checkpoint", str(EVERY), "--episodes", "1", "--json", tmp_path / "out.json")
    assert read(tmp_path / "out.json")["steps"] == EVERY


def test_where_no_checkpoint_is_whole_it_says_so(run: Path) -> None:
    for step in checkpoint.steps(run):
        flip(run / "checkpoints" / f"{step:09d}" / "meta.json")
    for command in ("resume", "evaluate", "imagine"):
        line = rig(command, run).line
        assert f"{run} has no valid checkpoint" in line and line.endswith("start again with: rig train")


def smaller(config: RunConfig) -> RunConfig:
    return replace(config, encoder=replace(config.encoder, latent_dim=4))


def narrower(config: RunConfig) -> RunConfig:
    return replace(config, encoder=replace(config.encoder, width=8))


def thinner(config: RunConfig) -> RunConfig:
    return replace(config, learner=replace(config.learner, hidden=(64,)))


def longer(config: RunConfig) -> RunConfig:
    return replace(config, task=replace(config.task, horizon=20))


def other(config: RunConfig) -> RunConfig:
    encoder: Any = find("encoder", "spatial_vae").config
    return replace(config, encoder=encoder)


@pytest.mark.parametrize(
    ("change", "words"),
    [(smaller, "latent_dim 8 but the run's config.yaml says 4"), (other, "encoder 'beta_vae' but the run's config.yaml says"),
     (narrower, "keeps its encoder in other sizes"), (thinner, "keeps its learner in other sizes"),
     (longer, "horizon 10 but the run's config.yaml says 20")],
)  # fmt: skip
def test_a_checkpoint_of_something_else_is_refused(run: Path, change: Callable[[RunConfig], RunConfig], words: str) -> None:
    (run / "config.yaml").write_text(to_yaml(change(load_config(run))))
    for command in ("resume", "evaluate"):
        line = rig(command, run).line
        assert words in line and line.endswith("put back the config.yaml that the run was trained with")
    assert checkpoint.load(run).step == STEPS


def test_a_run_without_its_checkpoints_keeps_its_results(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    before = {path: path.read_bytes() for path in (run / "progress.csv", run / "config.yaml")}
    line = rig("resume", run, f"steps={STEPS + 10}").line
    assert line == f"rig: {run} has results, but no checkpoints to go on from; train anew with another run_dir="
    assert all(path.read_bytes() == data for path, data in before.items())
    (run / "progress.csv").unlink()
    assert rig("evaluate", run).line == f"rig: {run} has no checkpoints yet; go on with it by: rig resume {run}"


def test_rows_of_another_version_are_kept_and_damaged_ones_are_one_line(run: Path) -> None:
    log = run / "progress.csv"
    head, *rows = log.read_text().splitlines()
    log.write_text("\n".join([f"{head},old", *(f"{row},7" for row in rows)]) + "\n")
    done("resume", run, f"steps={STEPS + 10}")
    assert [row["old"] for row in read_rows(log)] == ["7"] * len(rows) + [""]
    log.write_text("\n".join([head, rows[0].replace(",", ",soon,", 1)]) + "\n")
    assert "progress.csv is not what a run wrote" in rig("resume", run, f"steps={STEPS + 20}").line


def test_a_run_does_not_go_on_in_worlds_of_another_engine(run: Path) -> None:
    (run / "config.yaml").write_text(to_yaml(replace(load_config(run), engine="warp")))
    line = rig("resume", run, f"steps={STEPS + 10}").line
    assert f"checkpoint {STEPS} cannot go on with these worlds" in line and "of another engine" in line
    assert line.endswith("put back the config.yaml that the run was trained with")
