"""Configuration to text and back: strict about keys, types and ranges, whoever wrote it. Knows no Hydra."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml

from rig.choices import GROUPS, find, nearest
from rig.config import RunConfig
from rig.config_check import check
from rig.errors import UserError

T = TypeVar("T")
Keys = Mapping[Any, Any]

TYPE_NAMES: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def to_yaml(config: RunConfig) -> str:
    """The whole configuration as YAML, in the order of the dataclasses; `from_yaml` gives an equal one back."""
    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


def from_yaml(text: str) -> RunConfig:
    """The configuration that a YAML text describes; what it leaves out is at its default.

    Raises UserError for text that is no YAML mapping, and as `from_mapping` does.
    """
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"the configuration is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UserError(f"the configuration must be a mapping of keys to values, got {type(data).__name__}")
    return from_mapping(cast(Keys, data))


def load_config(folder: Path) -> RunConfig:
    """The resolved configuration of a run. Raises UserError where the folder is none."""
    try:
        return from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{folder} is no run folder (no config.yaml in it); give one that `rig train` made") from error
    except (UserError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / 'config.yaml'}: {error}") from error


def from_mapping(data: Keys) -> RunConfig:
    """The configuration that nested mappings describe, every key, type and range checked.

    Raises UserError for a key or a choice that is none, a value of another type or out of range, and `_target_` anywhere.
    """
    refuse_targets(data)
    default = _chosen(data)
    return check(_fill(default, data, "", default))


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries and tuples as lists, all the way down."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    return value


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every setting of a configuration by its dotted path, e.g. {"learner.batch": 256}."""
    found: dict[str, Any] = {}
    for f in fields(value):
        inner, inner_path = getattr(value, f.name), f"{path}{f.name}"
        found |= leaves(inner, f"{inner_path}.") if is_dataclass(inner) else {inner_path: inner}
    return found


def refuse_targets(data: Any) -> None:
    """Raise UserError where a key `_target_` stands anywhere: configuration never names a class to call."""
    if isinstance(data, Mapping):
        for key, value in cast(Keys, data).items():
            if "_target_" in str(key):
                raise UserError("_target_ is refused: configuration names nothing to call; plug in with group=module:Class")
            refuse_targets(value)
    elif isinstance(data, list):
        for value in cast("list[Any]", data):
            refuse_targets(value)


def _chosen(data: Keys) -> RunConfig:
    """A configuration at the defaults of the entries that `data` names."""
    parts: dict[str, Any] = {}
    for group in GROUPS:
        part = data.get(group)
        name = cast(Keys, part).get("name") if isinstance(part, Mapping) else None
        if not isinstance(name, str):
            raise UserError(f"{group} needs a name; valid: {', '.join(GROUPS[group].table)}")
        parts[group] = find(group, name).config
    return RunConfig(**parts)


def _fill(base: T, data: Keys, path: str, default: RunConfig) -> T:
    """`base`, which stands at the dotted `path` of `default`, with the values of `data`."""
    hints = get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            raise _unknown_key(f"{path}{key}", value, [f"{path}{name}" for name in hints], leaves(default))
        old = getattr(base, key)
        if not is_dataclass(old):
            changes[key] = _convert(value, hints[key], f"{path}{key}", old)
        elif isinstance(value, Mapping):
            changes[key] = _fill(old, cast(Keys, value), f"{path}{key}.", default)
        else:
            inner = ", ".join(f"{path}{key}.{f.name}" for f in fields(old))
            raise UserError(f"{path}{key} holds several settings, got {value!r}; valid: {inner}")
    return replace(cast(Any, base), **changes)


def _unknown_key(key: str, value: Any, siblings: Sequence[str], every: Mapping[str, Any]) -> UserError:
    """The error for a key that is none: its valid siblings, and the one of these, or else of all, whose name is most like it."""
    if key == "preset":
        return UserError("a preset's file must begin with the line: # @package _global_")
    parent, _, name = key.rpartition(".")
    own = {path.rpartition(".")[2]: path for path in siblings}
    like = nearest(name, own) or nearest(name, {path.rpartition(".")[2] for path in every})
    if like in own and own[like] not in every:  # several settings: what was typed of them
        best = own[like]
        while isinstance(value, Mapping) and value:
            inner, value = next(iter(cast(Keys, value).items()))
            best += f".{inner}"
    else:
        named_so = [path for path in every if path.rpartition(".")[2] == like and like != "name"]
        best = min(named_so, key=lambda path: (not path.startswith(parent), path.count(".")), default="")
        value = every.get(best)
    hint = f"; try {best}={typed(value)}" if best else ""
    return UserError(f"unknown key '{key}'; valid: {', '.join(siblings)}{hint}")


def _convert(value: Any, hint: Any, path: str, old: Any) -> Any:
    """`value` as the type `hint`; whole floats pass as integers (1e4), integers as floats, numbers as text."""
    try:
        return _coerce(value, hint)
    except TypeError as error:
        example = f"; try {path}={typed(old)}" if old not in (None, "") else ""
        raise UserError(f"{path} must be {_type_name(hint)}, got {value!r}{example}") from error


def _coerce(value: Any, hint: Any) -> Any:
    """`value` as the type `hint`. Raises TypeError where it is not one."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or (origin is Literal and value in inner):
        return value
    if origin in (Union, types.UnionType):
        return _coerce_union(value, inner)
    if origin in (tuple, list) and isinstance(value, list | tuple):
        return _coerce_sequence(cast("Sequence[Any]", value), origin, inner)
    if origin is None and isinstance(value, bool) == (hint is bool):
        if hint is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if hint is float and isinstance(value, int | float) and math.isfinite(value):
            return float(value)
        if hint is str and isinstance(value, int | float):
            return str(value)
        if hint is not float and isinstance(value, hint):
            return value
    raise TypeError


def _coerce_union(value: Any, hints: tuple[Any, ...]) -> Any:
    """`value` as the first of the types `hints` that it is. Raises TypeError where it is none."""
    for hint in hints:
        try:
            return _coerce(value, hint)
        except TypeError:
            continue
    raise TypeError


def _coerce_sequence(values: Sequence[Any], kind: type, hints: tuple[Any, ...]) -> Any:
    """`values` as a tuple or list of what `hints` name. Raises TypeError where they are not."""
    each = [hints[0]] * len(values) if kind is list or hints[-1] is Ellipsis else list(hints)
    if len(each) != len(values):
        raise TypeError
    return kind(_coerce(value, hint) for value, hint in zip(values, each, strict=True))


def _type_name(hint: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(option) for option in inner)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin in (tuple, list):
        return f"a list of values, each {_type_name(inner[0])}"
    return "null" if hint is type(None) else TYPE_NAMES.get(hint, str(hint))


def typed(value: Any) -> str:
    """A value as one types it on the command line."""
    if isinstance(value, tuple | list):
        return f"[{','.join(map(typed, cast('Sequence[Any]', value)))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
