"""A grid of runs, each in a process of its own: what is complete is skipped, what was cut off goes on, none stops another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from functools import partial
from importlib import metadata
from pathlib import Path

from rig.cli_compose import RESUMABLE, sweep, typed_run_dir
from rig.config import RunConfig
from rig.config_io import leaves, load_config
from rig.errors import UserError
from rig.run import Signals

STOP = "stop"
"""A file beside the runs: as long as it is there, what trains is told to save and end, and no other run begins."""
LINES = "progress.txt"
"""A file beside the runs: what each said of itself, a line when it started and one when it ended, wherever it runs."""
WATCH = 0.5
"""Seconds between two looks at what a training may have to be told, and at what the runs have said."""


def state_of(folder: Path, steps: int | None = None) -> str:
    """complete | begun (it can go on) | missing: how far the run in a folder is, of `steps` env steps or its own.

    A run of steps=0 trains an encoder alone, and is complete with its first checkpoint.
    """
    if not (folder / "config.yaml").is_file():
        return "missing"
    wanted = load_config(folder).steps if steps is None else steps
    if not wanted:
        return "complete" if (folder / "checkpoints" / "last").exists() else "begun"
    try:
        reached = int(json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return "begun"
    return "complete" if reached >= wanted else "begun"


def ablate(overrides: Sequence[str], jobs: int = 1) -> int:
    """Train every combination of the overrides, `jobs` at a time; returns 0 where all are complete in the end, else 1.

    After SIGINT or SIGTERM the trainings save and end, no other begins, and it returns 130 or 143.
    What lets several run at once is Hydra's launcher joblib; with `hydra/launcher=submitit_slurm` among the overrides, each run
    is a job of a cluster instead. Raises UserError where an override cannot be, before any run begins.
    """
    typed, folder = list(overrides), typed_run_dir(overrides)
    if not folder:
        folder = time.strftime("runs/%Y-%m-%d_%H-%M-%S_ablation")
        typed.append(f"run_dir={folder}")
    if jobs > 1:
        try:
            metadata.version("hydra-joblib-launcher")
        except metadata.PackageNotFoundError as error:
            raise UserError(f"--jobs {jobs} needs Hydra's launcher joblib; type pip install 'rig-rl[sweeps]'") from error
        typed += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"]
    stop = Path(folder) / STOP
    _clear(stop)
    stopped, wanted = 0, dict[str, int]()

    def accept(config: RunConfig) -> None:
        _refuse_other(config)
        wanted[Path(config.run_dir).name] = config.steps

    with Signals(partial(_touch, stop)) as signals:
        try:
            with _printed(Path(folder) / LINES):
                stopped = sweep(typed, partial(train_in_process, jobs=jobs), accept, announce=False)
        except Exception:
            if not signals.code:  # else a worker without a run was ended by the same signal
                raise
        finally:
            _clear(stop)
    lines = Path(folder) / LINES
    said = lines.read_text().splitlines() if lines.is_file() else []
    runs = sorted({line.partition(":")[0] for line in said} | wanted.keys())
    failed = [run for run in runs if state_of(Path(folder) / run, wanted.get(run)) != "complete"]
    if failed:
        print(f"{len(runs) - len(failed)} of {len(runs)} runs are complete, not {', '.join(failed)}; the same command goes on")
    else:
        print(f"all {len(runs)} runs are complete; rig compare {folder} says which are better")
    return signals.code or stopped or (1 if failed else 0)


def train_in_process(config: RunConfig, overrides: Sequence[str], jobs: int = 1) -> int:
    """Bring the run in config.run_dir to its end, in a process whose output goes to a log beside it.

    `overrides` are what was typed for it, but for run_dir. A line in LINES says that it starts and one how it ended. A signal to
    this process stops all trainings of the grid, and so does the end of the process that began it; they save first. Returns 0,
    whether it failed or not, but 130 or 143 where a signal stopped the only one. Raises UserError where its folder holds a run
    of other settings.
    """
    folder = Path(config.run_dir)
    stop = folder.parent / STOP
    if stop.exists():
        return 0
    state, log = state_of(folder, config.steps), folder.with_name(f"{folder.name}.log")
    _refuse_other(config)
    if state == "complete":
        _say(folder, "complete already")
        return 0
    if state == "missing":
        command = ["train", *overrides, f"run_dir={folder}"]
    else:
        command = ["resume", str(folder), f"steps={config.steps}"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    _say(folder, "goes on" if state == "begun" else "starts")
    threads = {} if jobs == 1 else {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
    started = time.monotonic()
    with (
        log.open("ab") as out,
        Signals(partial(_touch, stop)) as signals,
        subprocess.Popen(
            [sys.executable, "-m", "rig", *command],
            stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={**threads, **os.environ},
        ) as training,
    ):  # fmt: skip
        code = _ended(training, stop)
    _say(folder, "stopped" if stop.exists() else _ending(folder, code, log, time.monotonic() - started))
    return signals.code if jobs == 1 else 0  # of several, the first to end must not cut the others' saving short


def _say(folder: Path, line: str) -> None:
    with (folder.parent / LINES).open("a") as lines:
        lines.write(f"{folder.name}: {line}\n")


@contextmanager
def _printed(lines: Path) -> Generator[None]:
    """Inside, what is added to a file of lines is printed: runs may be on machines that share nothing else with this one."""
    over, shown = threading.Event(), lines.stat().st_size if lines.is_file() else 0

    def follow() -> None:
        nonlocal shown
        last = False
        while not last:
            last = over.wait(WATCH)
            if not lines.is_file():
                continue
            with lines.open("rb") as file:
                file.seek(shown)
                added = file.read()
            added = added[: added.rfind(b"\n") + 1]
            shown += len(added)
            print(added.decode(errors="replace"), end="", flush=True)

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()


def _ended(training: subprocess.Popen[bytes], stop: Path) -> int:
    """The exit code of a training, which is told to stop where all are, or where the process is gone that began this one."""
    parent, told = os.getppid(), False
    while True:
        try:
            return training.wait(WATCH)
        except subprocess.TimeoutExpired:
            if not told and (stop.exists() or os.getppid() != parent):
                training.terminate()
                told = True


def _touch(stop: Path) -> None:
    stop.parent.mkdir(parents=True, exist_ok=True)
    stop.touch()


def _clear(stop: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):  # of the second, `sweep` tells
        stop.unlink()


def _refuse_other(config: RunConfig) -> None:
    """Raise UserError where the folder of a run holds another one."""
    folder = Path(config.run_dir)
    if state_of(folder) == "missing":
        return
    begun = leaves(load_config(folder))
    for key, value in leaves(config).items():
        changeable = any(fnmatchcase(key, pattern) for pattern in ("run_dir", *RESUMABLE))
        if not changeable and begun.get(key, value) != value:
            raise UserError(f"{folder} holds a run with {key}={begun[key]}, not {value}; choose another run_dir")


def _ending(folder: Path, code: int, log: Path, seconds: float) -> str:
    if code:
        lines = log.read_text(errors="replace").replace("\r", "\n").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"ended with exit code {code}: {last.strip()}; see {log}"
    found = json.loads((folder / "evaluation.json").read_text()) if (folder / "evaluation.json").is_file() else {}
    told = [f"{name} {factor['final_distance_mean']:.4f} {factor['unit']}" for name, factor in found.get("factors", {}).items()]
    return f"complete after {seconds / 60:.1f} min" + (f": {', '.join(told)}" if told else "")
