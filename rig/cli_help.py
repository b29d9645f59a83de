"""What `rig train --help` and `rig list` print: read from the tables and the dataclasses, so that it is never out of date."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rig.choices import GROUPS, Choice, find
from rig.cli_compose import CONFIGS, compose, options
from rig.config import RunConfig
from rig.config_io import typed

WIDTH = 120

HEAD = """\
usage: rig train [group=name ...] [key=value ...]         one run
       rig train -m [group=name,name ...] [key=1,2 ...]   a run for every combination, through Hydra's multirun

A part is chosen by its group; a preset chooses several, and what is typed beside it wins. Parts from elsewhere plug in
with encoder=module:Class, likewise goals, reward and learner; a file configs/GROUP/NAME.yaml adds a name to a group:
it begins with `name: ENTRY`, a preset with the line `# @package _global_`.

  rig train task=push encoder=spatial_vae seed=3
  rig train preset=rig_push steps=40000 learner.batch=512
  rig train -m preset=rig_reach,rig_push seed=0,1,2
"""


class Row(NamedTuple):
    """One setting."""

    path: str
    default: str
    comment: str


def train_help() -> str:
    """Groups with their names, and every setting with its default and its comment."""
    default = compose([])
    lines = [HEAD, "groups (* is the default)"]
    for group in GROUPS:
        words = [f"{name}*" if getattr(default, group).name == name else name for name in options(group)]
        lines.append(_wrapped(f"  {group:<10}", "  ".join(words)))
    presets = options("preset")
    width = max(map(len, presets)) + 2
    lines += ["", "presets", *(_wrapped(f"  preset={name:<{width}}", _preset_words(name)) for name in presets)]
    sections: list[tuple[str, list[Row]]] = [("settings", _own_rows())]
    for group, entries in GROUPS.items():
        choices = [find(group, name) for name in entries.table]
        if group == "task":
            sections += _task_sections(choices)
            continue
        sections += [(f"with {group}={choice.name}", rows(choice.config, f"{group}.")) for choice in choices]
    every = [row for _, section in sections for row in section]
    path_width, default_width = max(len(row.path) for row in every), max(len(row.default) for row in every)
    for title, section in sections:
        if section:
            lines += ["", title]
            lines += [_wrapped(f"  {r.path:<{path_width}}  {r.default:<{default_width}}  ", r.comment) for r in section]
    return "\n".join(lines)


def list_parts(groups: Iterable[str] = GROUPS) -> str:
    """Every entry of these groups' tables: its name, what it is, and its source."""
    parts = {GROUPS[group].title: [find(group, name) for name in GROUPS[group].table] for group in groups}
    width = max(len(choice.name) for choices in parts.values() for choice in choices)
    lines: list[str] = []
    for title, choices in parts.items():
        lines += ["", title] if lines else [title]
        for choice in choices:
            what, source = described(choice)
            lines.append(_wrapped(f"  {choice.name:<{width}}  ", what))
            if source:
                lines.append(textwrap.indent(textwrap.fill(f"Source: {source}", WIDTH - width - 4), " " * (width + 4)))
    return "\n".join(lines)


def described(choice: Choice) -> tuple[str, str]:
    """What an entry is, in its docstring's first sentence or line, and the docstring's source."""
    doc = inspect.getdoc(choice.entry) or ""
    body, _, source = doc.partition("Source:")
    paragraph = source.split("\n\n")[0]
    return body.strip().split("\n")[0], " ".join(paragraph.split())


def rows(settings: Any, path: str) -> list[Row]:
    """A dataclass's settings but its name, each with its default and the comment beside it in the source."""
    notes = comments(type(settings))
    found: list[Row] = []
    for f in fields(settings):
        value = getattr(settings, f.name)
        if is_dataclass(value):
            found += rows(value, f"{path}{f.name}.")
        elif f.name != "name":
            found.append(Row(path + f.name, typed(value) or "''", notes.get(f.name, "")))
    return found


def comments(kind: type[Any]) -> dict[str, str]:
    """The comment at the end of each field's line, by the field's name; a field that is inherited has its own class's."""
    notes: dict[str, str] = {}
    for ancestor in reversed(kind.__mro__):
        if is_dataclass(ancestor):
            notes |= _own_comments(ancestor)
    return notes


def _own_comments(kind: type[Any]) -> dict[str, str]:
    """The comments of the fields that a class defines itself."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except OSError:  # made at run time: there is no source
        return {}
    lines = source.splitlines()
    (definition,) = ast.parse(source).body
    notes: dict[str, str] = {}
    for node in ast.walk(definition):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            end = (node.value or node.annotation).end_col_offset or 0
            rest = lines[(node.end_lineno or 1) - 1].encode()[end:].decode()
            notes[node.target.id] = rest.partition("#")[2].strip()
    return notes


def _task_sections(choices: list[Choice]) -> list[tuple[str, list[Row]]]:
    """What every task can be told, then what only our own can, and what only those of others can."""
    found = [rows(choice.config, "task.") for choice in (choices[0], find("task", "gym"))]
    ours, theirs = ({row.path for row in group} for group in found)
    return [
        ("with any task", [row for row in found[0] if row.path in theirs]),
        ("with any task but gym", [row for row in found[0] if row.path not in theirs]),
        ("with task=gym", [row for row in found[1] if row.path not in ours]),
    ]


def _own_rows() -> list[Row]:
    """The settings of a run that belong to no group, its own before those of its parts."""
    own = [row for row in rows(RunConfig(), "") if row.path.split(".")[0] not in GROUPS]
    return sorted(own, key=lambda row: "." in row.path)


def _preset_words(name: str) -> str:
    """The comment that a preset's file opens with, after the line that Hydra reads."""
    for folder in (Path("configs"), CONFIGS):
        file = folder / "preset" / f"{name}.yaml"
        if file.is_file():
            lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
            return " ".join(line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines))
    return ""


def _wrapped(head: str, text: str) -> str:
    """`text` beside `head`, folded within the width."""
    return textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head)) if text else head.rstrip()
