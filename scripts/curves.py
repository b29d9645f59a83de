"""Gather the learning curves of runs into one CSV file, and plot CSV files as mean and 95 % interval over seeds.

    python scripts/curves.py gather docs/results/reach.csv runs/reach_s0 runs/reach_s1 runs/reach_s2
    python scripts/curves.py probes docs/results/probes.csv runs/*   # what their encoders see, also as a table
    python scripts/curves.py encoders docs/results/encoders.csv runs/*   # all that is measured of them
    python scripts/curves.py table docs/results/reach.csv --metric hand_distance --steps 0 4000 12000
    python scripts/curves.py plot docs/results/reach.png docs/results/reach.csv … --metric hand_distance
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

import yaml

from rig.compare import figures

STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
)  # fmt: skip
"""Student's t at 97.5 % from one degree of freedom on: what a 95 % interval of a mean of few seeds needs; the last for more."""

Curve = dict[int, list[float]]
Published = Mapping[str, Mapping[int, float]]
"""What others have reported: label -> env step -> value."""


def gather(out: Path, runs: Sequence[Path]) -> None:
    """Write every run's progress.csv to one file, each row with the run's seed, command and commit."""
    rows: list[dict[str, str]] = []
    for run in runs:
        with (run / "progress.csv").open(newline="") as file:
            rows += [{**_origin(run), **row} for row in csv.DictReader(file)]
    _write(out, rows)


def probes(out: Path, runs: Sequence[Path]) -> str:
    """Write what every run's encoder.json says of each state factor to one file; returns a Markdown table of it."""
    rows: list[dict[str, str]] = []
    lines = ["| task | encoder | R² of each factor (median error) |", "|---|---|---|"]
    for run in runs:
        config = yaml.safe_load((run / "config.yaml").read_text())
        part = {group: config[group]["name"] for group in ("task", "encoder")}
        seen = json.loads((run / "encoder.json").read_text())["probe"]
        head = {**_origin(run), **part}
        rows += [{**head, "factor": name, **{k: str(v) for k, v in found.items()}} for name, found in seen.items()]
        factors = ", ".join(f"{name} {found['r2']:.4f} ({found['median_error']:.4f})" for name, found in seen.items())
        lines.append(f"| {part['task']} | {part['encoder']} | {factors} |")
    _write(out, rows)
    return "\n".join(lines)


def encoders(out: Path, runs: Sequence[Path]) -> str:
    """Write what every run's encoder.json says of its encoder to one file, a row a run; returns a Markdown table of the gist.

    Of R² it has the least of any state factor: by a perceptron from the code, and by least squares from the agent's coordinates.
    """
    rows: list[dict[str, str]] = []
    columns = ["task", "encoder", "frame", "coordinates", "least R², perceptron", "least R², coordinates"]
    columns += ["rank correlation: all, near", "moving pixels R²", "prior gap", "goal gap"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for run in runs:
        config = yaml.safe_load((run / "config.yaml").read_text())
        part = {group: config[group]["name"] for group in ("task", "encoder", "frame")}
        seen = figures(run)
        rows.append({**_origin(run), **part, **{name: seen[name] for name in sorted(seen, key=lambda name: "." in name)}})
        least = [
            min(float(seen[name]) for name in seen if name.startswith(f"{group}.") and name.endswith(".r2"))
            for group in ("probe", "frame")
        ]
        numbers = {name: f"{float(value):.2f}" for name, value in seen.items()}
        moving = f"{float(seen['moving_r2']):.3f}" if "moving_r2" in seen else "–"
        lines.append(
            f"| {' | '.join(part.values())} | {seen['coordinates']} | {least[0]:.3f} | {least[1]:.3f} | "
            f"{numbers['spearman']}, {numbers['near_spearman']} | {moving} | {numbers['prior_gap']} | {numbers['goal_gap']} |"
        )
    _write(out, rows)
    return "\n".join(lines)


def _origin(run: Path) -> dict[str, str]:
    origin = json.loads((run / "origin.json").read_text())
    return {"seed": str(origin["seed"]), "commit": origin["commit"], "command": origin["command"]}


def _write(out: Path, rows: Sequence[dict[str, str]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))  # programs have come to write more of them
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def curve(path: Path, metric: str) -> Curve:
    """The metric's values by env step, one a seed, of those who have it. Raises ValueError where a seed is there twice."""
    found: dict[int, dict[str, float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            seeds = found.setdefault(int(row["step"]), {})
            if row["seed"] in seeds:
                raise ValueError(f"{path} has seed {row['seed']} twice at step {row['step']}: it holds several settings")
            if row[metric]:
                seeds[row["seed"]] = float(row[metric])
    return {step: list(seeds.values()) for step, seeds in sorted(found.items()) if seeds}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval (Student's t); nan half-width for a single seed."""
    if len(values) < 2:
        return fmean(values), math.nan
    return fmean(values), STUDENT[min(len(values) - 1, len(STUDENT)) - 1] * stdev(values) / math.sqrt(len(values))


def table(paths: Sequence[Path], metric: str, steps: Sequence[int]) -> str:
    """A Markdown table: a row a file, a column a step, each mean ± half-width (seeds)."""
    lines = [f"| {metric} | " + " | ".join(f"@{s:,}" for s in steps) + " |", "|---" * (len(steps) + 1) + "|"]
    for path in paths:
        data = curve(path, metric)
        lines.append(f"| {path.stem} | " + " | ".join(cell(data.get(s, [])) for s in steps) + " |")
    return "\n".join(lines)


def cell(values: Sequence[float]) -> str:
    """One table cell: mean ± half-width (seeds), as far as the number of seeds tells them."""
    if not values:
        return "–"
    mean, half = interval(values)
    spread = "" if math.isnan(half) else f" ± {half:.4f}"
    return f"{mean:.4f}{spread} ({len(values)})"


def plot(
    out: Path, paths: Sequence[Path], metric: str, title: str, published: Published | None = None, unit: str = "m"
) -> None:
    """One line a file, shaded by its 95 % interval from three seeds on; dashed where not all of its seeds have come that far.

    What is published of it is marked by crosses.
    """
    import matplotlib  # slow to import

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for path in paths:
        data = curve(path, metric)
        seeds = max(map(len, data.values()))
        whole = {step: interval(values) for step, values in data.items() if len(values) == seeds}
        centre, half = zip(*whole.values(), strict=True)
        (line,) = axes.plot(list(whole), centre, label=f"{path.stem} ({seeds} seed{'s' * (seeds > 1)})")
        if seeds >= 3:
            low, high = ([c + sign * h for c, h in zip(centre, half, strict=True)] for sign in (-1, 1))
            axes.fill_between(list(whole), low, high, alpha=0.15, color=line.get_color())
        rest = {step: fmean(values) for step, values in data.items() if step > max(whole)}
        axes.plot(list(rest), list(rest.values()), "--", linewidth=1, color=line.get_color())
    for label, points in (published or {}).items():
        axes.plot(list(points), list(points.values()), "x:", color="black", label=f"{label}, published")
    axes.set(xlabel="env steps", ylabel=f"{metric.replace('_', ' ')} ({unit})", title=title)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("gather", "probes", "encoders", "table", "plot"):
        command = commands.add_parser(name)
        if name != "table":
            command.add_argument("out", type=Path)
        command.add_argument("inputs", type=Path, nargs="+")
        if name in ("table", "plot"):
            command.add_argument("--metric", default="final_distance_mean")
        if name == "table":
            command.add_argument("--steps", type=int, nargs="+", required=True)
        if name == "plot":
            command.add_argument("--title", default="")
            command.add_argument("--unit", default="m")
    arguments = parser.parse_args()
    if arguments.command == "gather":
        gather(arguments.out, arguments.inputs)
    elif arguments.command == "probes":
        print(probes(arguments.out, arguments.inputs))
    elif arguments.command == "encoders":
        print(encoders(arguments.out, arguments.inputs))
    elif arguments.command == "table":
        print(table(arguments.inputs, arguments.metric, arguments.steps))
    else:
        plot(arguments.out, arguments.inputs, arguments.metric, arguments.title, unit=arguments.unit)


if __name__ == "__main__":
    main()
