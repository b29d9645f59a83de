"""The groups of the command line: what each can be, looked up in the visible table of its room, and outsiders' plug-ins."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, NamedTuple

from rig.config import GymTaskConfig, TaskConfig
from rig.encoders import ENCODERS
from rig.encoders.base import Encoder
from rig.envs import TASKS, ForeignBatch
from rig.errors import UserError
from rig.goals import FRAMES, GOALS
from rig.goals.base import GoalSampler
from rig.learners import LEARNERS
from rig.learners.base import Learner
from rig.replay.relabel import RELABELS
from rig.rewards import REWARDS, Reward


class Choice(NamedTuple):
    """One entry of a group."""

    name: str
    entry: Any
    """What the name stands for: a class or a function, with its docstring."""
    config: Any
    """Its settings at their defaults: an instance of its frozen dataclass, `name` set."""


class Group(NamedTuple):
    """One part of a run that is chosen by name."""

    title: str
    """What `rig list` calls it."""
    table: Mapping[str, Any]
    """Name -> entry; an entry carries its settings' dataclass as the attribute `Config`, or is that dataclass."""
    base: type[Any] | None
    """The class that a plug-in `module:Class` must inherit from; None: no plug-ins."""


GROUPS: dict[str, Group] = {
    "task": Group("tasks", {**TASKS, "gym": ForeignBatch}, None),
    "encoder": Group("encoders", ENCODERS, Encoder),
    "goals": Group("goal samplers", GOALS, GoalSampler),
    "frame": Group("latent frames", FRAMES, None),
    "reward": Group("rewards", REWARDS, Reward),
    "relabel": Group("relabelling", RELABELS, None),
    "learner": Group("learners", LEARNERS, Learner),
}


def nearest(word: str, words: Iterable[str]) -> str:
    """The one of `words` most like `word`, or an empty string where none is like it."""
    return next(iter(difflib.get_close_matches(word, list(words), 1, 0.6)), "")


def unknown(what: str, word: str, valid: Iterable[str], type_this: str = "{}") -> UserError:
    """The error for a name that is none: the valid ones, and the nearest as it would be typed."""
    names = list(valid)
    like = nearest(word, names)
    hint = f"; try {type_this.format(like)}" if like else ""
    return UserError(f"unknown {what} '{word}'; valid: {', '.join(names)}{hint}")


def find(group: str, name: str) -> Choice:
    """The entry `name` of `group`, out of its table or, for `module:Class`, imported.

    Raises UserError for a name that is none.
    """
    table = GROUPS[group].table
    if ":" in name:
        entry = _plug_in(group, name)
    elif name in table:
        entry = table[name]
    else:
        raise unknown(group, name, table, group + "={}")
    return Choice(name, entry, replace(_settings(group, entry), name=name))


def _settings(group: str, entry: Any) -> Any:
    """An entry's settings at their defaults; an entry may be their dataclass itself."""
    if group == "task":
        return GymTaskConfig() if entry is ForeignBatch else TaskConfig(horizon=entry.horizon)
    return entry() if isinstance(entry, type) and is_dataclass(entry) else entry.Config()


def _plug_in(group: str, name: str) -> Any:
    """Import `module:Class` and hold it against what its room promises."""
    base = GROUPS[group].base
    if base is None:
        raise UserError(f"{group}={name}: a {group} cannot be plugged in; valid: {', '.join(GROUPS[group].table)}")
    entry = _import(group, name)
    if not (isinstance(entry, type) and issubclass(entry, base)):
        raise UserError(f"{group}={name}: '{name.partition(':')[2]}' is no subclass of {base.__module__}.{base.__name__}")
    settings: Any = getattr(entry, "Config", None)
    if not (isinstance(settings, type) and is_dataclass(settings) and "name" in {f.name for f in fields(settings)}):
        raise UserError(f"{group}={name}: it needs an attribute Config, a frozen dataclass with a field `name: str = \"…\"`")
    bare = [f.name for f in fields(settings) if f.default is MISSING and f.default_factory is MISSING]
    if bare:
        raise UserError(f"{group}={name}: every field of its Config needs a default, and {', '.join(bare)} has none")
    return entry


def _import(group: str, name: str) -> Any:
    """The attribute that `module:attribute` names; modules are also looked for in the working directory."""
    module, _, attribute = name.partition(":")
    missing = UserError(f"{group}={name}: module '{module}' has no '{attribute}'; expected module:Class")
    if not module or module.startswith("."):
        raise missing
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # an installed `rig` command has only its own folder there
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise  # the plug-in's own import failed: its author wants the traceback
        raise UserError(f"{group}={name}: no module '{error.name}'; expected module:Class, importable from here") from error
    except SyntaxError as error:
        raise UserError(f"{group}={name}: {error.filename}, line {error.lineno}: {error.msg}") from error
    if not hasattr(found, attribute):
        raise missing
    return getattr(found, attribute)
