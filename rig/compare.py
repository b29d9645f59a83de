"""Runs side by side: which setting is better, by how much, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import yaml

from rig import stats
from rig.choices import nearest
from rig.errors import UserError
from rig.log import read_rows

SHORT = {"final_distance": "final_distance_mean", "latent_distance": "latent_distance_mean"}
"""What people type -> the column of progress.csv."""
HIGHER = (
    "success", "success_rate", "coverage", "spearman", "r2", "active_units", "gap_p", "spectrum_gap", "codes_in_use",
    "perplexity", "effective_share",
)  # fmt: skip
"""Endings of the metrics of which more is better."""
ASIDE = ("seed", "run_dir", "steps", "device", "render", "evaluation", "checkpoint", "run", "replay.memory")
"""Settings that tell no experiment from another, and so are not compared by unless that is asked for."""


class Run(NamedTuple):
    """A run folder, read."""

    folder: Path
    settings: dict[str, Any]
    """Every setting by its dotted path, as in {"encoder.name": "beta_vae"}."""
    rows: dict[int, dict[str, str]]
    """What progress.csv says, by env step, and at each what encoder.json says of the encoder, as in {"probe.puck_x.r2": "0.99"}.

    A run of steps=0 has one row, of the encoder alone.
    """

    @property
    def task(self) -> str:
        """What the run is about: an environment's id, or the name of a world of this package."""
        return str(self.settings.get("task.id") or self.settings["task.name"])


@dataclass(frozen=True)
class Comparison:
    """Scores of groups of runs, f64[runs] for each task, at one step of each task and at all shared ones before."""

    metric: str
    by: tuple[str, ...]
    steps: dict[str, int]
    """Task -> the env step at which its runs are judged."""
    relative: bool
    """Whether scores are shares of the distance that doing nothing leaves, as where tasks differ in size or unit."""
    groups: dict[str, list[np.ndarray]]
    curves: dict[str, dict[Fraction, list[np.ndarray]]]
    """Group -> share of each task's step above -> scores there."""
    members: dict[str, list[Run]]
    left_out: tuple[str, ...]
    """A line a run that could not be compared."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the order of the scores."""
        return tuple(self.steps)

    @property
    def when(self) -> str:
        """The step of the scores for people, as in "step 20000" or "step 12000 of door, reach and 20000 of push"."""
        judged: dict[int, list[str]] = {}
        for task, step in self.steps.items():
            judged.setdefault(step, []).append(task)
        if len(judged) == 1:
            return f"step {next(iter(judged))}"
        return "step " + " and ".join(f"{step} of {', '.join(tasks)}" for step, tasks in judged.items())

    @property
    def lower_is_better(self) -> bool:
        """Whether less of the metric is better."""
        return not self.metric.endswith(HIGHER)


class Row(NamedTuple):
    """What is known of one group."""

    group: str
    runs: int
    iqm: float
    low: float
    """End of the 95 % interval of the IQM, as is `high`; nan where no task has two runs."""
    high: float
    mean: float
    median: float


def summarise(comparison: Comparison) -> list[Row]:
    """A row a group, best first."""
    rows: list[Row] = []
    for group, scores in comparison.groups.items():
        alone = all(len(task) == 1 for task in scores)
        low, high = (np.nan, np.nan) if alone else stats.iqm_interval(scores, np.random.default_rng(0))
        every = np.concatenate(scores)
        rows.append(Row(group, len(every), stats.iqm(scores), low, high, float(every.mean()), float(np.median(every))))
    return sorted(rows, key=lambda row: row.iqm, reverse=not comparison.lower_is_better)


def improvements(comparison: Comparison) -> dict[tuple[str, str], tuple[float, float, float]]:
    """(group, other) -> probability that a run of the group is better than one of the other, and its 95 % interval."""
    sign = -1 if comparison.lower_is_better else 1
    signed = {group: [sign * task for task in scores] for group, scores in comparison.groups.items()}
    return {
        (one, other): stats.improvement(signed[one], signed[other], np.random.default_rng(0))
        for one in signed for other in signed if one != other
    }  # fmt: skip


def compare(paths: Sequence[Path], by: Sequence[str] = (), metric: str = "final_distance", step: int | None = None) -> Comparison:
    """Group the runs in and under some folders by their settings, and take a metric of each at one env step of its task.

    `by` names groups (`encoder`) or settings (`learner.batch`); none: all that differ. `step`: by default the last one that all
    complete runs of a task share, for each task its own. Raises UserError where there is nothing to compare.
    """
    runs = find_runs(paths)
    column = SHORT.get(metric, metric)
    _check_metric(runs, column, metric)
    evaluated = [run for run in runs if run.rows]
    tasks = sorted({run.task for run in evaluated})
    steps = {task: _shared_step([run for run in evaluated if run.task == task], step) for task in tasks}
    kept = [run for run in evaluated if steps[run.task] in run.rows]
    keys = _keys(kept, by)
    left_out = tuple(
        f"{run.folder} has no evaluation" + (f" at step {steps[run.task]}" if run.task in steps else "") + ": left out"
        for run in runs if run not in kept
    )  # fmt: skip
    relative = len(tasks) > 1 and "distance" in column
    if relative and column == SHORT["latent_distance"]:
        raise UserError("latent distances of different tasks cannot be compared; try --metric final_distance")
    named: dict[str, list[Run]] = {}
    for run in kept:
        named.setdefault(_label(run, keys), []).append(run)
    for label, members in named.items():
        missing = sorted(set(tasks) - {run.task for run in members})
        if missing:
            what = " and ".join(f"{task} at step {steps[task]}" for task in missing)
            raise UserError(f"{label} has no run of {what}; compare runs of one task, or of all with each")

    def scores(members: Sequence[Run], at: Mapping[str, int]) -> list[np.ndarray]:
        return [np.array([_value(r, at[task], column, relative) for r in members if r.task == task]) for task in tasks]

    def curve(members: Sequence[Run]) -> dict[Fraction, list[np.ndarray]]:
        shares = _shared_shares(members, steps)
        return {share: scores(members, {task: int(share * last) for task, last in steps.items()}) for share in shares}

    return Comparison(
        metric, tuple(keys), steps, relative,
        {label: scores(members, steps) for label, members in named.items()},
        {label: curve(members) for label, members in named.items()},
        named, left_out,
    )  # fmt: skip


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs that the paths are, or that lie up to three folders beneath them. Raises UserError where there are none."""
    folders: dict[Path, Path] = {}  # a run may be named in several ways
    for path in paths:
        found = [path] if (path / "config.yaml").is_file() else sorted(
            config.parent for depth in ("*", "*/*", "*/*/*") for config in path.glob(f"{depth}/config.yaml")
        )  # fmt: skip
        if not found:
            what = "holds no run folders" if path.is_dir() else "is a file" if path.exists() else "does not exist"
            raise UserError(f"'{path}' {what}; expected a run folder, as rig train made it, or a folder of them")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    return [read_run(folder) for folder in folders.values()]


def read_run(folder: Path) -> Run:
    """A run's settings and evaluations. Raises UserError where its config.yaml is none."""
    try:
        data = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        settings = _flat(data)
        settings["task.name"]
    except (yaml.YAMLError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / 'config.yaml'} is no configuration of a run; leave that folder out") from error
    seen = figures(folder)
    rows = {int(row["step"]): row for row in read_rows(folder / "progress.csv")}
    if seen and settings.get("steps") == 0:
        rows = rows or {0: {}}
    return Run(folder, settings, {step: seen | row for step, row in rows.items()})


def figures(folder: Path) -> dict[str, str]:
    """The numbers of a run's encoder.json by their dotted paths; none where it is not there.

    Raises UserError where it is no JSON.
    """
    path = folder / "encoder.json"
    try:
        found = _flat(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is not what a run wrote; leave that folder out") from error
    return {name: str(value) for name, value in found.items() if isinstance(value, (int, float))}


def _flat(data: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in data.items():
        inner = f"{path}{key}"
        found |= _flat(cast("Mapping[str, Any]", value), f"{inner}.") if isinstance(value, dict) else {inner: value}
    return found


def _check_metric(runs: Sequence[Run], column: str, metric: str) -> None:
    columns = [set(next(iter(run.rows.values()))) for run in runs if run.rows]
    if not columns:
        raise UserError(f"none of {len(runs)} runs has an evaluation yet; rig resume goes on with one")
    if column not in set[str]().union(*columns):
        shared = sorted(set[str].intersection(*columns) - {"step", "seconds"})
        like = nearest(metric, shared)
        raise UserError(f"unknown metric '{metric}'; valid: {', '.join(shared)}" + (f"; try {like}" if like else ""))


def _keys(runs: Sequence[Run], by: Sequence[str]) -> list[str]:
    """Dotted paths of the settings to group by."""
    every = sorted(set[str]().union(*(run.settings for run in runs)))
    if not by:
        differing = [key for key in every if len({repr(run.settings[key]) for run in runs if key in run.settings}) > 1]
        names = [key.removesuffix("name") for key in differing if key.endswith(".name")]
        return [
            key for key in differing
            if not key.startswith(("task.", *(f"{aside}." for aside in ASIDE))) and key not in ASIDE
            and (key.endswith(".name") or not key.startswith(tuple(names)))
        ]  # fmt: skip
    keys: list[str] = []
    for word in by:
        key = f"{word}.name" if f"{word}.name" in every else word
        if key not in every:
            like = nearest(word, [name.removesuffix(".name") for name in every])
            raise UserError(f"--by {word}: no such setting" + (f"; try {like}" if like else ""))
        keys.append(key)
    return keys


def _label(run: Run, keys: Sequence[str]) -> str:
    values = [str(run.settings.get(key, "-")) for key in keys]
    if len(keys) == 1:
        return values[0]
    return " ".join(f"{key.removesuffix('.name')}={value}" for key, value in zip(keys, values, strict=True)) or "all runs"


def _shared_step(runs: Sequence[Run], step: int | None) -> int:
    """The step at which the runs of one task are judged."""
    if step is None:
        complete = [run for run in runs if run.settings.get("steps") in run.rows] or runs
        shared = set[int].intersection(*(set(run.rows) for run in complete))
        if not shared:
            what = f"the runs of {runs[0].task} have no step in common at which they were evaluated"
            raise UserError(f"{what}; compare runs of one evaluation.every")
        return max(shared)
    if not any(step in run.rows for run in runs):
        steps = sorted(set[int]().union(*(run.rows for run in runs)))
        raise UserError(f"no run of {runs[0].task} was evaluated at step {step}; evaluated at: {', '.join(map(str, steps))}")
    return step


def _shared_shares(runs: Sequence[Run], steps: Mapping[str, int]) -> list[Fraction]:
    """Where runs have all been evaluated, as shares of the step at which their task is judged."""
    return sorted(set[Fraction].intersection(*(
        {Fraction(at, max(1, steps[run.task])) for at in run.rows if at <= steps[run.task]} for run in runs
    )))  # fmt: skip


def _value(run: Run, step: int, column: str, relative: bool) -> float:
    """The metric of a run at a step; relative: divided by what doing nothing leaves of it."""
    row = run.rows[step]
    try:
        value = float(row[column])
        if not relative:
            return value
        own = column.replace("_distance", "_idle")
        idle = [float(row[key]) for key in ([own] if own in row else row) if key.endswith("_idle")]
        return value / float(np.mean(idle))
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"{run.folder} has no {column} at step {step}; choose another metric, or leave it out") from error
