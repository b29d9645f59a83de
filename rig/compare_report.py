"""A comparison of runs for people and papers: text, CSV, Markdown, LaTeX, and a picture."""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rig import files, stats
from rig.compare import SHORT, Comparison, Row, improvements, summarise
from rig.errors import UserError

WIDE = 20
"""Scores whose largest is so many times the smallest are drawn on a logarithmic scale."""
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantiles of all scores at which tables tell the performance profiles."""
COUNTS = ("coordinates", "spectrum_gap_after")
"""What is known of codes and counted, so that a range tells more than a mean."""
HEAD = ("", "runs", "IQM", "95 % interval", "mean", "median")


def describe(comparison: Comparison) -> str:
    """One line: what is compared, when and which way is better."""
    metric = comparison.metric + (" as a share of what doing nothing leaves" if comparison.relative else "")
    way = "lower" if comparison.lower_is_better else "higher"
    return f"{', '.join(comparison.tasks)}: {metric} at {comparison.when}; {way} is better"


def as_text(comparison: Comparison, codes: bool = False) -> str:
    """Tables in columns: the groups, and how likely each beats each other; with `codes` also what their agents see."""
    parts = [_columns(table) if isinstance(table, list) else f"\n{table}" for table in _parts(comparison, HEAD[0], codes)]
    return "\n".join([describe(comparison), *parts, *comparison.left_out])


def as_markdown(comparison: Comparison, codes: bool = False) -> str:
    """The same as Markdown."""
    corner = ", ".join(comparison.by) or "group"
    parts = [
        "\n".join(["| " + " | ".join(line) + " |" for line in _ruled(part, "---")]) if isinstance(part, list) else f"{part}:"
        for part in _parts(comparison, corner, codes)
    ]
    return "\n\n".join([describe(comparison), *parts]) + "\n"


def as_latex(comparison: Comparison, codes: bool = False) -> str:
    """The same as LaTeX tabulars, with the rules of booktabs."""
    parts = _parts(comparison, ", ".join(comparison.by), codes)
    lines = [_tabular(part) if isinstance(part, list) else f"\n% {part}" for part in parts]
    return "\n".join([f"% {describe(comparison)}", *lines]) + "\n"


def as_csv(comparison: Comparison) -> str:
    """One line a group: its figures in full, the probability that it is better than each other group, and its profile.

    Each probability and share with the ends of its 95 % interval in the two columns after it.
    """
    rows, chance, levels = summarise(comparison), improvements(comparison), _levels(comparison)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    others = [row.group for row in rows]
    found = [*(f"better than {other}" for other in others), *(f"share {_side(comparison)} {level:.4g}" for level in levels)]
    ended = [f"{name}{end}" for name in found for end in ("", " low", " high")]
    steps = list(comparison.steps.values())
    when = " ".join(map(str, steps if len(set(steps)) > 1 else steps[:1]))  # one for all tasks, or one for each
    writer.writerow(["metric", "step", "tasks", *Row._fields, *ended])
    for row in rows:
        better = [chance.get((row.group, other), ("", "", "")) for other in others]
        shares = zip(*_profile(comparison, row.group, levels), strict=True)
        cells = [cell for three in (*better, *shares) for cell in three]
        writer.writerow([comparison.metric, when, " ".join(comparison.tasks), *row, *cells])
    return text.getvalue()


def plot(comparison: Comparison, out: Path) -> None:
    """Learning curves (IQM and its 95 % interval) beside performance profiles. Raises UserError where matplotlib is not there."""
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("--png needs matplotlib; type pip install 'rig-rl[plots]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4.6), layout="constrained")
    every = np.concatenate([task for scores in comparison.groups.values() for task in scores])
    logarithmic = bool(every.min() > 0 and every.max() > WIDE * every.min())
    margin = 0.03 * (every.max() - every.min())
    if logarithmic:
        thresholds = np.geomspace(0.9 * every.min(), 1.1 * every.max(), 300)
    else:
        thresholds = np.linspace(every.min() - margin, every.max() + margin, 300)
    lengths = set(comparison.steps.values())
    whole, unit = (lengths.pop(), "env steps") if len(lengths) == 1 else (100, "% of the env steps of each task")
    for place, row in enumerate(summarise(comparison)):
        style = ("-", "--", ":")[place // 10 % 3]  # there are ten colours
        curve = comparison.curves[row.group]
        label = f"{row.group} ({row.runs} run{'s' * (row.runs > 1)})"
        mark = "o" if len(curve) == 1 else ""  # of one point no line could be seen
        places = [float(whole * share) for share in curve]
        (line,) = left.plot(places, [stats.iqm(scores) for scores in curve.values()], style, marker=mark, label=label)
        band = np.array([stats.iqm_interval(scores, np.random.default_rng(0)) for scores in curve.values()])
        left.fill_between(places, band[:, 0], band[:, 1], alpha=0.15, color=line.get_color())
        share, low, high = _profile(comparison, row.group, thresholds)
        right.plot(thresholds, share, style, color=line.get_color(), drawstyle="steps-post")
        right.fill_between(thresholds, low, high, alpha=0.15, color=line.get_color(), step="post")
    what = comparison.metric.replace("_", " ") + (" / doing nothing's" if comparison.relative else "")
    left.set(xlabel=unit, ylabel=what, title=textwrap.fill(", ".join(comparison.tasks), 60))
    right.set(xlabel=textwrap.fill(f"{what} at {comparison.when}", 80), ylabel=f"share of runs {_side(comparison)}")
    right.set_ylim(-0.02, 1.02)
    if logarithmic:
        left.set_yscale("log")
        right.set_xscale("log")
    else:
        right.locator_params(axis="x", nbins=6)
        if left.dataLim.y0 >= 0:
            left.set_ylim(bottom=0)
    figure.legend(loc="outside right center")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    plt.close(figure)
    files.write(out, picture.getvalue())


def _side(comparison: Comparison) -> str:
    """Where of a threshold a good run is."""
    return "below" if comparison.lower_is_better else "above"


def _levels(comparison: Comparison) -> np.ndarray:
    """The scores f64[T] at which profiles are told in tables: quantiles of all runs'."""
    return np.unique(np.quantile(np.concatenate([task for scores in comparison.groups.values() for task in scores]), LEVELS))


def _profile(comparison: Comparison, group: str, thresholds: np.ndarray) -> np.ndarray:
    """The share of a group's runs that are better than each threshold f64[T], and the ends of its 95 % interval: f64[3, T]."""
    sign = -1 if comparison.lower_is_better else 1
    signed = [sign * task for task in comparison.groups[group]]
    band = stats.profile_interval(signed, sign * thresholds, np.random.default_rng(0))
    return np.stack([stats.profile(signed, sign * thresholds), *band])


def _interval(row: Row) -> str:
    return "–" if math.isnan(row.low) else f"{row.low:.4g} – {row.high:.4g}"


def _cells(comparison: Comparison) -> list[tuple[str, ...]]:
    return [
        (row.group, str(row.runs), f"{row.iqm:.4g}", _interval(row), f"{row.mean:.4g}", f"{row.median:.4g}")
        for row in summarise(comparison)
    ]


def _chances(comparison: Comparison) -> list[tuple[str, ...]]:
    """Head and rows of the table of probabilities, its columns numbered as its rows; empty where there is but one group."""
    rows, chance = summarise(comparison), improvements(comparison)
    groups, alone = [row.group for row in rows], {row.group for row in rows if math.isnan(row.low)}
    if not chance:
        return []

    def cell(one: str, other: str) -> str:
        if one == other:
            return "–"
        share, low, high = chance[one, other]
        return f"{share:.2f}" if {one, other} <= alone else f"{share:.2f} ({low:.2f} – {high:.2f})"

    lines = [(f"{place} {one}", *(cell(one, other) for other in groups)) for place, one in enumerate(groups, 1)]
    return [("", *(str(place) for place in range(1, len(groups) + 1))), *lines]


def _parts(comparison: Comparison, corner: str, codes: bool) -> list[str | list[tuple[str, ...]]]:
    """The tables, head first, each but the first after the line that says what it is."""
    parts: list[str | list[tuple[str, ...]]] = [[(corner, *HEAD[1:]), *_cells(comparison)]]
    if chances := _chances(comparison):
        parts += ["probability that a run of the row is better than one of the column (95 % interval)", chances]
    if any(len(task) > 1 for scores in comparison.groups.values() for task in scores):  # single runs stand in the first table
        parts += [f"share of runs {_side(comparison)} each of these scores (95 % interval)", _profiles(comparison)]
    for task in comparison.tasks if codes else ():
        what = f"what agents see of {task}: R² by which their coordinates tell each number of the state"
        parts += [what, _codes(comparison, task)]
    return parts


def _profiles(comparison: Comparison) -> list[tuple[str, ...]]:
    """Head and rows of the table of performance profiles."""
    levels, rows = _levels(comparison), summarise(comparison)

    def cell(row: Row, share: float, low: float, high: float) -> str:
        return f"{share:.2f}" if math.isnan(row.low) else f"{share:.2f} ({low:.2f} – {high:.2f})"

    lines = [(row.group, *(cell(row, *three) for three in _profile(comparison, row.group, levels).T)) for row in rows]
    return [("", *(f"{level:.4g}" for level in levels)), *lines]


def _codes(comparison: Comparison, task: str) -> list[tuple[str, ...]]:
    """Head and rows, best first: means over one task's runs of what encoder.json says of their codes, and the metric's IQM.

    Raises UserError where none of them says anything.
    """
    column, step = SHORT.get(comparison.metric, comparison.metric), comparison.steps[task]
    every = {group: [run.rows[step] for run in runs if run.task == task] for group, runs in comparison.members.items()}
    found = dict.fromkeys(name for rows in every.values() for row in rows for name in row)
    numbers = {name: name.split(".")[1] for name in found if re.fullmatch(r"frame\..+\.r2", name)}
    if not numbers:
        raise UserError(f"--codes: no run of {task} measured its code; evaluation.probe_states=4000 does")
    gap = {"spectrum_gap": "widest gap ×", "spectrum_gap_after": "after"}
    measured = {"coordinates": "coordinates", **gap, **numbers, "near_spearman": "rank correlation, near", "goal_gap": "goal gap"}

    def known(rows: Sequence[Mapping[str, str]], name: str) -> list[float]:
        return [float(row[name]) for row in rows if name in row]

    def cell(name: str, values: Sequence[float]) -> str:
        if not values:
            return "–"
        ends = dict.fromkeys((min(values), max(values)))
        return "–".join(f"{end:.0f}" for end in ends) if name in COUNTS else f"{np.mean(values):.2f}"

    score = {group: stats.iqm([np.array(known(rows, column))]) for group, rows in every.items()}
    lines = [
        (group, *(cell(name, known(every[group], name)) for name in measured), f"{score[group]:.4g}")
        for group in sorted(score, key=score.__getitem__, reverse=not comparison.lower_is_better)
    ]
    return [("", *measured.values(), comparison.metric), *lines]


def _columns(table: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        return "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]).rstrip()

    return "\n".join(map(line, table))


def _tabular(table: Sequence[Sequence[str]]) -> str:
    head, *body = (" & ".join(map(_escaped, line)) + r" \\" for line in table)
    begin = rf"\begin{{tabular}}{{l{'r' * (len(table[0]) - 1)}}}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])


def _ruled(table: Sequence[Sequence[str]], rule: str) -> list[Sequence[str]]:
    return [table[0], [rule] * len(table[0]), *table[1:]]


def _escaped(text: str) -> str:
    return text.replace("_", r"\_").replace("%", r"\%").replace(" – ", "--").replace("×", r"$\times$")
