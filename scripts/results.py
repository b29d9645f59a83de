"""Train what docs/results.md is made of, and draw it: what is complete is skipped, what was cut off goes on.

    python scripts/results.py status                        how far each curve is
    python scripts/results.py run --jobs 2                  train what is missing of all of them, in as many processes
    python scripts/results.py run push_start door_oracle    of these only
    python scripts/results.py report                        gather complete runs into a CSV file a curve, and draw the figures

Curves and figures stand in docs/results/table.yaml; a run's folder is runs/results/CURVE_sSEED, and what it prints is beside it,
in CURVE_sSEED.log. One run that fails stops no other. Ctrl-C and SIGTERM let each run save itself.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from curves import Published, gather, plot

from rig.ablate import state_of

TABLE = Path("docs/results/table.yaml")
RUNS = Path("runs/results")


@dataclass(frozen=True)
class Run:
    """One seed of one curve."""

    curve: str
    seed: int
    typed: str
    """What follows `rig train`."""
    folder: Path

    @property
    def state(self) -> str:
        """complete | begun (it can go on) | missing: of the steps that are typed, or the preset's."""
        return state_of(self.folder, self.steps)

    @property
    def steps(self) -> int | None:
        """The env steps that are typed, the last word counting; None where they are the preset's."""
        return next((int(word[6:]) for word in reversed(self.typed.split()) if word.startswith("steps=")), None)

    @property
    def log(self) -> Path:
        """Where what it prints goes."""
        return self.folder.with_name(self.folder.name + ".log")

    def command(self) -> list[str]:
        """What trains it, from the start or from where it was cut off."""
        rig = [sys.executable, "-m", "rig"]
        if self.state == "begun":
            return [*rig, "resume", str(self.folder), *([] if self.steps is None else [f"steps={self.steps}"])]
        return [*rig, "train", *self.typed.split(), f"seed={self.seed}", f"run_dir={self.folder}"]


def runs_of(table: dict[str, Any], names: Iterable[str], folder: Path) -> list[Run]:
    """Every run of these curves, the first seeds of all before the second ones. Raises ValueError for a name that is none."""
    curves: dict[str, dict[str, Any]] = table["curves"]
    chosen = list(names) or list(curves)
    if unknown := [name for name in chosen if name not in curves]:
        raise ValueError(f"no curve '{unknown[0]}' in the table; valid: {', '.join(curves)}")
    runs = [
        Run(name, seed, f"{table['always']} {curves[name]['type']}", folder / f"{name}_s{seed}")
        for name in chosen
        for seed in range(curves[name]["seeds"])
    ]
    return sorted(runs, key=lambda run: run.seed)


class Trainer:
    """Trains runs in processes of their own, one a job, and lets them save themselves where it is told to stop."""

    def __init__(self, jobs: int) -> None:
        self.jobs, self.stopping = jobs, False
        self.children: set[subprocess.Popen[bytes]] = set()

    def train(self, runs: Sequence[Run]) -> bool:
        """Train what is not complete; returns whether all of them are in the end."""
        waiting = [run for run in runs if run.state != "complete"]
        before = {number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with ThreadPoolExecutor(self.jobs) as pool:
                list(pool.map(self.one, waiting))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return all(run.state == "complete" for run in runs)

    def one(self, run: Run) -> None:
        """Train one run, unless all are to stop."""
        if self.stopping:
            return
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        threads = str(max(1, (os.cpu_count() or 1) // self.jobs))
        print(f"{run.folder.name}: {'goes on' if run.state == 'begun' else 'starts'}", flush=True)
        with run.log.open("ab") as log:
            # A group of its own, so that Ctrl-C reaches it once: from here.
            child = subprocess.Popen(
                run.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env={"OMP_NUM_THREADS": threads, **os.environ},
            )  # fmt: skip
            self.children.add(child)
            if self.stopping:  # since it was asked above
                child.send_signal(signal.SIGINT)
            code = child.wait()
            self.children.discard(child)
        print(f"{run.folder.name}: {run.state if code == 0 else f'ended with {code}; see {run.log}'}", flush=True)

    def stop(self, *_: object) -> None:
        """Ask what runs to save itself, and begin nothing more."""
        self.stopping = True
        for child in list(self.children):
            child.send_signal(signal.SIGINT)


def report(table: dict[str, Any], runs: Sequence[Run], out: Path) -> None:
    """Write the complete runs of each curve to a CSV file, where it has any, and draw every figure whose curves all have one."""
    for name in dict.fromkeys(run.curve for run in runs):
        if complete := [run.folder for run in runs if run.curve == name and run.state == "complete"]:
            gather(out / f"{name}.csv", complete)
            print(f"{out / name}.csv: {len(complete)} runs")
    for name, figure in table["figures"].items():
        files = [out / f"{curve}.csv" for curve in figure["curves"]]
        if all(file.is_file() for file in files):
            published: Published = figure.get("published", {})
            plot(out / f"{name}.png", files, figure["metric"], figure["title"], published, figure.get("unit", "m"))
            print(out / f"{name}.png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("status", "run", "report"))
    parser.add_argument("curves", nargs="*", help="of table.yaml; all by default")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--runs", type=Path, default=RUNS, help="where the run folders are")
    arguments = parser.parse_args()
    table = yaml.safe_load(arguments.table.read_text())
    try:
        runs = runs_of(table, arguments.curves, arguments.runs)
    except ValueError as error:
        parser.error(str(error))
    if arguments.what == "run":
        return 0 if Trainer(arguments.jobs).train(runs) else 1
    if arguments.what == "report":
        report(table, runs, arguments.table.parent)
        return 0
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader may leave early
    for name in dict.fromkeys(run.curve for run in runs):
        states = [run.state for run in runs if run.curve == name]
        print(f"{name:32s}" + ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
