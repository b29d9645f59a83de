"""Configuration: text and back, types, ranges, and that every number of every part has a range."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from rig.choices import GROUPS, find
from rig.config import RunConfig
from rig.config_check import OPTIONS, RANGES
from rig.config_io import from_mapping, from_yaml, leaves, plain, to_yaml
from rig.errors import UserError

NAMES = {
    "task": "reach",
    "encoder": "beta_vae",
    "goals": "gaussian",
    "frame": "identity",
    "reward": "latent_distance",
    "relabel": "rig",
    "learner": "td3",
}
FREE = (
    "task.id", "task.view", "task.unit", "encoder.model", "encoder.weights", "encoder.sha256", "goals.folder",
    "reuse.encoder", "reuse.replay",
)  # fmt: skip
"""Texts that may be anything as far as a configuration can tell."""
ENTRIES = [(group, name) for group, entries in GROUPS.items() for name in entries.table]


def mapping(**changes: Any) -> dict[str, Any]:
    """The smallest configuration that there is, with changes by dotted path, "." written as "__"."""
    data: dict[str, Any] = {group: {"name": name} for group, name in NAMES.items()}
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = data
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return data


def with_entry(group: str, name: str) -> RunConfig:
    """A configuration with this entry, and what that asks for elsewhere."""
    return from_mapping(mapping(task__size=64, skew__power=-1 if name == "skewed" else 0, **{f"{group}__name": name}))


def every_entry() -> list[RunConfig]:
    return [with_entry(group, name) for group, name in ENTRIES]


@pytest.mark.parametrize("config", every_entry(), ids=[f"{group}={name}" for group, name in ENTRIES])
def test_yaml_and_back_is_the_same(config: RunConfig) -> None:
    config = replace(config, seed=7, run_dir="a b: c", learner=replace(config.learner, hidden=(1, 2, 3), learning_rate=1e-5))
    assert from_yaml(to_yaml(config)) == config


def test_yaml_holds_every_setting() -> None:
    config = from_mapping(mapping())
    written = yaml.safe_load(to_yaml(config))
    for path, value in leaves(config).items():
        node = written
        for name in path.split("."):
            node = node[name]
        assert node == (list(value) if isinstance(value, tuple) else value), path


def test_defaults_come_from_the_dataclasses() -> None:
    config = from_mapping(mapping(encoder__name="spatial_vae"))
    assert config.encoder == GROUPS["encoder"].table["spatial_vae"].Config()
    assert config.collect == RunConfig().collect


def test_part_of_a_nested_setting_keeps_the_rest() -> None:
    config = from_mapping(mapping(encoder__name="spatial_vae", encoder__training__steps=3))
    default = find("encoder", "spatial_vae").config
    assert config.encoder.training == replace(default.training, steps=3)


@pytest.mark.parametrize(("group", "name"), ENTRIES)
def test_every_setting_of_every_entry_has_a_range(group: str, name: str) -> None:
    config = with_entry(group, name)
    for path, value in leaves(config).items():
        last = path.rpartition(".")[2]
        if last in ("name", "run_dir") or path in FREE or isinstance(value, bool):
            continue
        assert path in (OPTIONS if isinstance(value, str) else RANGES), f"{path} has no range in rig/config_check.py"


def test_no_range_is_left_over() -> None:
    paths = {path for config in every_entry() for path in leaves(config)}
    assert {*RANGES, *OPTIONS} - paths == set()


@pytest.mark.parametrize("path", RANGES)
def test_out_of_range_is_refused(path: str) -> None:
    config = next(config for config in every_entry() if path in leaves(config))
    data = plain(config)
    *parents, last = path.split(".")
    node = data
    for parent in parents:
        node = node[parent]
    bounds, is_list = RANGES[path], isinstance(node[last], list)
    for bad in (bounds.low - 1, bounds.high + 1):
        if bad in (float("inf"), float("-inf")):
            continue
        node[last] = [bad] if is_list else bad
        with pytest.raises(UserError, match=rf"^{path} must be .*got .*; try {path}="):
            from_mapping(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lerner": {"batch": 3}}, r"unknown key 'lerner'; valid: .*; try learner.batch=3$"),
        ({"learnr": "td3"}, r"unknown key 'learnr'; valid: .*; try learner=td3$"),
        ({"preset": "mine"}, r"a preset's file must begin with the line: # @package _global_$"),
        ({"stepz": 1}, r"unknown key 'stepz'; valid: task, .*, seed, steps, .*; try steps=12000"),
        ({"encoder__betta": 1}, r"unknown key 'encoder.betta'; valid: encoder.name, .*; try encoder.training.beta=10.0"),
        ({"encoder__training__qqqq": 1}, r"unknown key 'encoder.training.qqqq'; valid: encoder.training.steps, [^;]*$"),
        ({"learner__batch": "many"}, r"learner.batch must be a whole number, got 'many'; try learner.batch=128"),
        ({"learner__batch": 1.5}, r"learner.batch must be a whole number, got 1.5"),
        ({"learner__batch": True}, r"learner.batch must be a whole number, got True"),
        ({"learner__batch": None}, r"learner.batch must be a whole number, got None"),
        ({"learner__noise": float("nan")}, r"learner.noise must be a number, got nan"),
        ({"learner__noise": float("inf")}, r"learner.noise must be a number, got inf"),
        ({"learner__layer_norm": 1}, r"learner.layer_norm must be true or false, got 1; try learner.layer_norm=true"),
        ({"learner__hidden": 256}, r"learner.hidden must be a list .*whole number, got 256; try learner.hidden=\[256,256\]"),
        ({"learner__hidden": [256, "x"]}, r"learner.hidden must be a list"),
        ({"collect": 3}, r"collect holds several settings, got 3; valid: collect.frames, "),
        ({"device": ["cpu"]}, r"device must be text, got \['cpu'\]"),
        ({"task__camera": "dome"}, r"task.camera must be own, close.* or .*, got 'dome'; try task.camera=own"),
        ({"task__distractors": -1}, r"task.distractors must be at least 0, got -1"),
        ({"device": "gpu"}, r"device must be auto, cpu or cuda, got 'gpu'; try device=auto"),
        ({"engine": "cuda"}, r"engine must be auto, c or warp, got 'cuda'; try engine=auto"),
        ({"engine": "warp", "render": "gl"}, r"engine=warp draws its own pictures, got render=gl; try render=warp, or engine=c"),
        ({"render": "egl"}, r"render must be warp or gl, got 'egl'"),
        ({"collect__reset": "begin"}, r"collect.reset must be start or random, got 'begin'"),
        ({"task__size": 33, "encoder__name": "spatial_vae"}, r"task.size must be a multiple of 2 for .* try task.size=32"),
        ({"encoder__name": "world_models"}, r"task.size must be 64 for encoder=world_models, got 48; try task.size=64$"),
        ({"task__name": "gym", "task__low": [0.0, 1e9]}, r"task.low must be from .* to .*, got 1000000000.0"),
        ({"steps": -1}, r"steps must be at least 0, got -1; try steps=0"),
        ({"evaluation__probe_states": 9}, r"evaluation.probe_states must be 0 or at least 10, got 9; try .*=4000"),
        (
            {"steps": 900},
            r"random_steps=1000 leaves none of steps=900 to learn in; try steps=12000, or of a new run random_steps=90$",
        ),
        ({"replay__capacity": 99, "num_envs": 2}, r"replay.capacity must hold .* = 100, got 99; try replay.capacity=1000"),
        ({"updates_per_step": 0.3, "num_envs": 8}, r"updates_per_step times num_envs=8 .* got 2.4; try updates_per_step=0.25$"),
        ({"updates_per_step": 0.25, "num_envs": 1}, r"updates_per_step .* at least 1, got 0.25; try updates_per_step=1$"),
        ({"relabel__keep": 0.1}, r"relabel shares keep .* visited must add to 1, got 0.9; try relabel.keep=0.2"),
        ({"relabel__imagined": 1.0, "relabel__future": 0.5}, r"relabel shares .* must add to 1, got 1.7; try 0.2, 0.5 and 0.3"),
        ({"encoder__name": "beta"}, r"unknown encoder 'beta'; valid: beta_vae, .*oracle; try encoder=beta_vae"),
        ({"encoder": "beta_vae"}, r"encoder needs a name; valid: beta_vae"),
        ({"encoder__name": 3}, r"encoder needs a name"),
        ({"encoder___target_": "os.system"}, r"_target_ is refused"),
        ({"collect__frames": [{"_target_": "os.system"}]}, r"_target_ is refused"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as caught:
        from_mapping(mapping(**change))
    assert "\n" not in str(caught.value)


def test_a_picture_needs_only_fit_its_encoder() -> None:
    assert from_mapping(mapping(task__size=84, encoder__name="spatial_vae")).task.size == 84
    assert from_mapping(mapping(task__size=33, encoder__name="oracle")).task.size == 33


def test_only_pretrained_features_may_stay_as_they_are() -> None:
    whole = {"encoder__latent_dim": 0}
    assert from_mapping(mapping(encoder__name="pretrained", **whole)).encoder.latent_dim == 0
    for name in ("beta_vae", "random_conv"):
        with pytest.raises(UserError, match=r"^encoder.latent_dim must be at least 1, got 0; try encoder.latent_dim=1"):
            from_mapping(mapping(encoder__name=name, **whole))


def test_a_run_may_train_the_encoder_alone() -> None:
    assert from_mapping(mapping(steps=0)).steps == 0


def test_a_missing_group_is_refused() -> None:
    data = mapping()
    del data["learner"]
    with pytest.raises(UserError, match=r"^learner needs a name; valid: td3"):
        from_mapping(data)


@pytest.mark.parametrize("text", ["", "3", "- a", "a: [1", "a: b: c", "\t"])
def test_text_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^the configuration (is no YAML|must be a mapping)") as caught:
        from_yaml(text)
    assert "\n" not in str(caught.value)


def test_yaml_makes_no_objects() -> None:
    with pytest.raises(UserError, match="is no YAML"):
        from_yaml("seed: !!python/object/apply:os.getcwd []")


def test_numbers_pass_where_they_lose_nothing() -> None:
    config = from_mapping(mapping(steps=2e4, learner__noise=1, run_dir=7))
    assert (config.steps, type(config.steps)) == (20_000, int)
    assert (config.learner.noise, type(config.learner.noise)) == (1.0, float)
    assert config.run_dir == "7"


PLUGIN = '''
from __future__ import annotations
from dataclasses import dataclass
from rig.encoders.base import Encoder

TABLE = {}

class Plugged(Encoder):
    """An encoder from elsewhere."""

    @dataclass(frozen=True)
    class Config:
        name: str = "plugged"
        colour: str | None = None  # of the sky
        gain: int | float = 1  # of the sun

    def fit(self, episodes, generator, report): ...
    def encode(self, observed): ...

class Bare(Plugged):
    Config = None

class Open(Plugged):
    @dataclass(frozen=True)
    class Config:
        name: str
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A working directory with a plug-in's module in it, and one that cannot be imported."""
    (tmp_path / "sky_plugin.py").write_text(PLUGIN)
    (tmp_path / "broken_plugin.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "wrong_plugin.py").write_text("raise ValueError('of its own')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "sky_plugin:Plugged"
    sys.modules.pop("sky_plugin", None)


def test_a_plug_in_is_found_where_one_stands(plugin: str) -> None:
    config = from_mapping(mapping(encoder__name=plugin, encoder__colour="blue", encoder__gain=0.5))
    assert (config.encoder.name, config.encoder.colour, config.encoder.gain) == (plugin, "blue", 0.5)
    assert from_yaml(to_yaml(config)) == config
    assert from_mapping(mapping(encoder__name=plugin)).encoder.colour is None
    with pytest.raises(UserError, match=r"^encoder.colour must be text or null, got \[\]"):
        from_mapping(mapping(encoder__name=plugin, encoder__colour=[]))


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        ("encoder", "no_such_module:A", "encoder=no_such_module:A: no module 'no_such_module'; expected module:Class"),
        ("encoder", "os:nothing", "encoder=os:nothing: module 'os' has no 'nothing'"),
        ("encoder", "os:getcwd", "encoder=os:getcwd: 'getcwd' is no subclass of rig.encoders.base.Encoder"),
        ("encoder", ":A", "encoder=:A: module '' has no 'A'"),
        ("encoder", "sky_plugin:Bare", "encoder=sky_plugin:Bare: it needs an attribute Config"),
        ("encoder", "sky_plugin:Open", "encoder=sky_plugin:Open: every field of its Config needs a default, and name has none"),
        ("learner", "sky_plugin:Plugged", "learner=sky_plugin:Plugged: 'Plugged' is no subclass of rig.learners.base.Learner"),
        ("reward", "sky_plugin:TABLE", "reward=sky_plugin:TABLE: 'TABLE' is no subclass of rig.rewards.base.Reward"),
        ("task", "sky_plugin:Plugged", "task=sky_plugin:Plugged: a task cannot be plugged in; valid: reach, push, .*gym"),
    ],
)
def test_what_is_no_plug_in_is_refused(plugin: str, group: str, name: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        from_mapping(mapping(**{f"{group}__name": name}))


def test_a_plug_in_that_fails_by_itself_shows_its_own_error(plugin: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        from_mapping(mapping(encoder__name="broken_plugin:A"))
    with pytest.raises(ValueError, match="of its own"):
        from_mapping(mapping(encoder__name="wrong_plugin:A"))


def test_a_plug_in_that_is_no_python_is_told_where(plugin: str) -> None:
    Path("typo_plugin.py").write_text("class A:\n    def (self): ...\n")
    with pytest.raises(UserError, match=r"^encoder=typo_plugin:A: .*typo_plugin\.py, line 2: invalid syntax$"):
        from_mapping(mapping(encoder__name="typo_plugin:A"))


@pytest.mark.parametrize(("group", "name"), ENTRIES)
def test_every_entry_says_what_it_is_and_carries_its_name(group: str, name: str) -> None:
    choice = find(group, name)
    assert choice.entry.__doc__
    assert fields(choice.config)[0].name == "name" and choice.config.name == name
