"""rig ablate: a grid of runs in processes of their own, of which one that fails stops no other, and which goes on."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from rig.ablate import state_of, train_in_process
from rig.cli_compose import compose
from rig.errors import UserError
from tests.run.runs import STATE, STEPS, Process, done, newest, read, rig


def test_a_grid_goes_on_where_it_was_and_past_what_fails(tmp_path: Path) -> None:
    runs = tmp_path / "grid"
    runs.mkdir()
    (runs / "seed=1").write_text("in the way")
    grid = ["ablate", *STATE, "seed=0,1", f"run_dir={runs}", "steps=40"]
    said = subprocess.run([sys.executable, "-m", "rig", *grid, "--jobs", "2"], capture_output=True, text=True)
    assert said.returncode == 1 and said.stderr == ""
    lines = sorted(said.stdout.splitlines())
    assert lines[0] == "1 of 2 runs are complete, not seed=1; the same command goes on"
    assert re.fullmatch(r"seed=0: complete after 0\.\d min: hand 0\.\d+ m, puck 0\.\d+ m", lines[1])
    assert lines[2] == "seed=0: starts" and lines[4] == "seed=1: starts"
    assert lines[3].startswith("seed=1: ended with exit code 2: rig: ") and lines[3].endswith(f"see {runs / 'seed=1.log'}")
    assert state_of(runs / "seed=0") == "complete" and state_of(runs / "seed=1") == "missing"
    assert f"seed=0 run_dir={runs / 'seed=0'}" in read(runs / "seed=0" / "origin.json")["command"]

    (runs / "seed=1").unlink()
    longer = rig(*grid, "steps=60")
    assert longer.code == 0
    starts = [line.partition(" after")[0] for line in longer.out.splitlines()]
    assert starts[:4] == ["seed=0: goes on", "seed=0: complete", "seed=1: starts", "seed=1: complete"]
    assert starts[4] == f"all 2 runs are complete; rig compare {runs} says which are better"
    assert rig(*grid, "steps=60").out.splitlines()[:2] == ["seed=0: complete already", "seed=1: complete already"]
    assert state_of(runs / "seed=1", 60) == "complete" and state_of(runs / "seed=1", 61) == "begun"
    said = rig(*grid, "steps=60", "learner.discount=0.5")
    assert said.line.endswith("seed=0 holds a run with learner.discount=0.95, not 0.5; choose another run_dir") and said.out == ""
    others = {"seed=1 steps=61 learner.discount=0.5": "learner.discount=0.95, not 0.5", "seed=2 steps=60": "seed=1, not 2"}
    for typed, held in others.items():
        with pytest.raises(UserError, match=f"seed=1 holds a run with {re.escape(held)}; choose another run_dir"):
            train_in_process(compose([*STATE, *typed.split(), f"run_dir={runs / 'seed=1'}"]), ())


def test_grids_of_one_run_share_a_folder(tmp_path: Path) -> None:
    for seed in ("0", "1"):
        said = rig("ablate", *STATE, f"seed={seed}", f"run_dir={tmp_path / 'grid'}", "steps=0", "learner.hidden=[8, 8]")
        assert said.code == 0 and said.out.splitlines()[-1].startswith(f"all {int(seed) + 1} runs are complete")


def test_a_grid_of_encoders_alone_is_complete_without_an_evaluation(tmp_path: Path) -> None:
    grid = ["ablate", *STATE, "seed=0,1", f"run_dir={tmp_path / 'grid'}", "steps=0"]
    said = rig(*grid)
    assert said.code == 0 and said.out.splitlines()[-1].startswith("all 2 runs are complete")
    assert rig(*grid).out.splitlines()[:2] == ["seed=0: complete already", "seed=1: complete already"]
    assert state_of(tmp_path / "grid" / "seed=0", 40) == "begun"


def test_a_grid_goes_to_a_cluster(tmp_path: Path) -> None:
    grid = ["ablate", *STATE, "seed=0,1", f"run_dir={tmp_path / 'grid'}", "steps=40"]
    said = rig(*grid, "hydra/launcher=submitit_local")  # SLURM's launcher, but that each job is a process here
    *lines, last = said.out.splitlines()
    assert said.code == 0 and last.startswith("all 2 runs are complete")
    assert sorted(line.partition(" after")[0] for line in lines) == [
        "seed=0: complete", "seed=0: starts", "seed=1: complete", "seed=1: starts",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("srun") is not None, reason="here is SLURM")
@pytest.mark.parametrize("command", [["ablate"], ["train", "-m"]])
def test_a_cluster_that_is_not_there_is_said_before_anything_is_made(tmp_path: Path, command: list[str]) -> None:
    said = rig(*command, *STATE, "seed=0,1", "hydra/launcher=submitit_slurm", f"run_dir={tmp_path / 'grid'}")
    assert said.line.startswith("rig: hydra/launcher=submitit_slurm: there is no SLURM here") and not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["seed=0,-1"], "rig: seed must be"),
        (["seed=0,0"], "rig: 'seed=0,0' is 2 runs, of which 1 differ; give each value once"),
        (["seed=range(0)"], "rig: 'seed=range(0)' is 0 runs, of which 0 differ; give"),
        (["seed=range(0,3,0)"], "rig: 'seed=range(0,3,0)': range() arg 3 must not be zero; try seed=0,1,2"),
        (["run_dir=a,b"], "rig: 'run_dir=a,b': a sweep's runs share one folder; try run_dir=runs/sweep"),
        (["encoder.from="], "rig: 'encoder.from=' names no run; leave it out, or try encoder.from=runs/RUN"),
        (["encoder.from=null"], "rig: 'encoder.from=null' names no run; leave it out, or try encoder.from=runs/RUN"),
        (["run_dir=/dev/null/x"], "rig: cannot make run folder /dev/null/x: Not a directory; choose another run_dir="),
        (["--jobs", "0"], "rig: argument --jobs: expected a whole number of at least 1, got '0'"),
        (["encoder=oracle,beta"], "rig: unknown encoder 'beta'"),
        (["encoder=beta", "encoder=oracle"], "rig: unknown encoder 'beta'"),
        (["goals=gaussian,dataset"], "rig: goals=dataset needs a folder of pictures"),
        (["encoder=oracle,pixels"], "rig: frame=slow with encoder=pixels: "),
        (["encoder=pixels", "frame=identity", "goals=replayed", "learner=td3,sb3_td3"], "rig: encoder=pixels has convolutions"),
    ],
)
def test_a_grid_with_a_bad_run_starts_none(tmp_path: Path, arguments: list[str], line: str) -> None:
    said = rig("ablate", f"run_dir={tmp_path / 'grid'}", *arguments)
    assert said.line.startswith(line) and not (tmp_path / "grid").exists()


def test_several_at_a_time_need_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    said = rig("ablate", "seed=0,1", "--jobs", "2", f"run_dir={tmp_path / 'grid'}")
    assert said.line == "rig: --jobs 2 needs Hydra's launcher joblib; type pip install 'rig-rl[sweeps]'"
    assert not (tmp_path / "grid").exists()


def test_a_grid_does_not_go_into_a_runs_folder(finished: Callable[[str], Path]) -> None:
    before = sorted(finished("state").iterdir())
    line = rig("ablate", *STATE, "seed=0,1", f"run_dir={finished('state')}").line
    assert line.endswith("holds a run, and its sweep's runs would be hidden in it; choose another run_dir=")
    assert sorted(finished("state").iterdir()) == before


def test_a_run_whose_encoder_was_being_trained_goes_on(tmp_path: Path) -> None:
    grid = ["ablate", *STATE, "seed=0", f"run_dir={tmp_path / 'grid'}", "steps=40"]
    assert rig(*grid).code == 0
    run = next(path.parent for path in (tmp_path / "grid").glob("*/config.yaml"))
    for left in ("checkpoints", "replay"):
        shutil.rmtree(run / left)
    for left in ("evaluation.json", "encoder.json", "progress.csv"):
        (run / left).unlink()
    assert state_of(run) == "begun"
    said = rig(*grid)
    assert said.code == 0 and f"{run.name}: goes on" in said.out and state_of(run) == "complete"


def test_a_run_that_could_not_go_on_is_not_called_complete(tmp_path: Path) -> None:
    grid = ["ablate", *STATE, "seed=0,1", f"run_dir={tmp_path / 'grid'}"]
    assert rig(*grid, "steps=40").code == 0
    for meta in (tmp_path / "grid" / "seed=0" / "checkpoints").glob("0*/meta.json"):
        meta.write_text("{")
    (tmp_path / "grid" / "slurm-1.log").touch()
    before = (tmp_path / "grid" / "seed=0" / "config.yaml").read_text()
    said = rig(*grid, "steps=60")
    assert said.code == 1 and said.out.splitlines()[-1].startswith("1 of 2 runs are complete, not seed=0;")
    assert (tmp_path / "grid" / "seed=0" / "config.yaml").read_text() == before  # a resume that fails has changed nothing


@pytest.mark.parametrize(("number", "code", "jobs"), [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)])
def test_a_grid_told_to_stop_lets_its_trainings_save_first(tmp_path: Path, number: int, code: int, jobs: int) -> None:
    runs = [tmp_path / "grid" / f"seed={seed}" for seed in (0, 1)]
    grid = ["ablate", *STATE, "seed=0,1", f"run_dir={tmp_path / 'grid'}", "--jobs", str(jobs)]
    process = Process(tmp_path / "log", *grid, "steps=5000", "checkpoint.every=5000", "learner.compile=off")
    assert process.end(number, lambda: all(newest(run) >= 0 for run in runs[:jobs])) == code
    assert all(newest(run) > 0 for run in runs[:jobs]), "what was learnt since the last checkpoint is kept"
    assert jobs == 2 or not runs[1].exists(), "no other run begins"
    assert process.err == "" and not (tmp_path / "grid" / "stop").exists()
    assert process.out.splitlines()[-1] == "0 of 2 runs are complete, not seed=0, seed=1; the same command goes on"
    done("ablate", *grid[1:-2], f"steps={max(STEPS, *map(newest, runs)) + 2}")
    assert [state_of(run) for run in runs] == ["complete", "complete"]
