"""Hydra: from overrides on the command line to a checked `RunConfig`, and sweeps. No other module but the CLI knows Hydra."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra import main as hydra_main
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rig import files
from rig.build import device_of, make_start
from rig.choices import GROUPS, find, unknown
from rig.config import ReuseConfig, RunConfig
from rig.config_check import check
from rig.config_io import from_mapping, load_config, plain, refuse_targets
from rig.errors import UserError

CONFIGS = Path(__file__).parent / "configs"
EVALUABLE = ("task.camera", "task.samples", "task.distractors", "task.distractor_seed", "task.horizon", "learner.candidates")
"""What an evaluation may change: the same world looked at otherwise, or for longer, and how the policy's actions are chosen."""
RESUMABLE = ("steps", "device", "replay.memory", "learner.compile", "checkpoint.*", "evaluation.*")

LONGEST = 180
"""Characters of a job's folder name, before what tells apart names that are longer."""

ALIASES = {"encoder.from": "reuse.encoder", "replay.from": "reuse.replay"}
"""What is typed -> the setting that it is: no field of a dataclass can be called "from"."""

Job = Callable[[RunConfig, Sequence[str]], int]
"""What a sweep does with each configuration, and with the overrides that it was composed of; returns an exit code."""


class _JobError(Exception):
    """A job of a sweep ended with the exit code that is its only argument."""


def compose(overrides: Sequence[str]) -> RunConfig:
    """The configuration of one run from Hydra overrides, e.g. ["task=push", "learner.batch=128"].

    Raises UserError for whatever cannot be: unknown names and keys, wrong types and ranges, a sweep, a device that is not here.
    """
    with _hydra() as loader:
        parsed = _parse(overrides, loader)
        for item in parsed:
            if item.is_sweep_override():
                raise UserError(f"'{item.input_line}' is a sweep over several runs; try rig train -m {item.input_line}")
            if _is_hydras(item):
                raise UserError(f"'{item.input_line}' is a setting of Hydra's sweeps; try rig train -m")
        config = _compose(_lines(parsed, loader))
    device_of(config)
    return config


def override(config: RunConfig, overrides: Sequence[str], changeable: Sequence[str], what: str) -> RunConfig:
    """`config` with changes to `changeable` settings. Raises UserError for any other, and as `compose` does.

    `what` is for the message, as in "a resumed run".
    """
    data = plain(config)
    with _explained():
        parsed = _parse(overrides, None)
    for item in parsed:
        key = item.key_or_group
        if not any(fnmatchcase(key, pattern) for pattern in changeable):
            raise UserError(f"{key} cannot change in {what}, only {', '.join(changeable[:-1])} and {changeable[-1]} can")
        if item.is_sweep_override():
            raise UserError(f"'{item.input_line}' is a sweep; {what} takes one value")
        section, _, name = key.partition(".")
        (data[section] if name else data)[name or section] = item.value()
    return from_mapping(data)


def options(group: str) -> list[str]:
    """Every name that a group can be given: its table's, and those of YAML files in its folder."""
    with _hydra() as loader:
        return _options(group, loader)


def typed_run_dir(overrides: Sequence[str]) -> str:
    """The last run_dir among overrides, with ~ expanded; empty where there is none. Raises UserError where it is several."""
    typed = _parse([text for text in overrides if _key(text) == "run_dir"], None)
    for item in typed:
        if item.is_sweep_override():
            raise UserError(f"'{item.input_line}': a sweep's runs share one folder; try run_dir=runs/sweep")
    return os.path.expanduser(str(typed[-1].value())) if typed else ""


def sweep(overrides: Sequence[str], job: Job, accept: Callable[[RunConfig], None] | None = None, announce: bool = True) -> int:
    """Run `job` for every combination of the overrides, through Hydra's multirun; returns the first failure's exit code, or 0.

    What can be enumerated is composed, built and checked before the first job starts, by `accept` too, which raises UserError for
    a configuration that it will not have. Each job's run_dir is a folder, named by what varies or, where nothing does, by all
    that was typed, in the run_dir of the overrides or else in runs/<time>_sweep. `announce`: print a line as each begins.
    """
    base = Path(typed_run_dir(overrides) or time.strftime("runs/%Y-%m-%d_%H-%M-%S_sweep"))
    with _hydra() as loader:
        parsed = _parse(overrides, loader)
        hydras = [item.input_line or "" for item in parsed if _is_hydras(item)]
        if "hydra/launcher=submitit_slurm" in hydras and shutil.which("srun") is None:
            raise UserError("hydra/launcher=submitit_slurm: there is no SLURM here; type it where srun is, or leave it out")
        ours = [item for item in parsed if not _is_hydras(item)]
        varied = {item.key_or_group for item in ours if item.is_sweep_override()}
        lines = [line for line in _lines(ours, loader) if _key(line) != "run_dir"]
        combinations = _combinations(ours, lines)
        jobs = {_job_name(combination, varied): _compose(combination) for combination in combinations or ()}
        if combinations is not None and len(jobs) != max(1, len(combinations)):
            swept = " ".join(item.input_line or "" for item in ours if item.is_sweep_override())
            raise UserError(f"'{swept}' is {len(combinations)} runs, of which {len(jobs)} differ; give each value once")
        if accept:
            for name, config in jobs.items():
                accept(replace(config, run_dir=str(base / name)))
        _refuse_misfits(list(jobs.values()))
    if (base / "config.yaml").exists():
        raise UserError(f"{base} holds a run, and its sweep's runs would be hidden in it; choose another run_dir=")
    new = not base.exists()
    files.made(base)
    fixed = {"hydra.sweep.dir": _quoted(str(base)), "hydra.sweep.subdir": ".", "hydra.output_subdir": "null"}
    quiet = [f"{key}={value}" for key, value in fixed.items()] + ["hydra/job_logging=none", "hydra/hydra_logging=none"]

    def run_job(_: Any) -> None:
        cfg = HydraConfig.get()
        own = [str(item) for item in cfg.overrides.task]
        name = _job_name(own, varied)
        if announce:
            print(f"sweep: job {cfg.job.num} is {name}", flush=True)
        typed = [item.lstrip("+") for item in own]
        code = job(replace(compose(typed), run_dir=str(Path(cfg.sweep.dir) / name)), typed)
        if code > 128:
            raise SystemExit(code)  # stopped by a signal: the jobs after it must not start
        if code:
            raise _JobError(code)

    try:
        with _command_line([*quiet, *hydras, *lines]), _explained():
            hydra_main(config_path=str(CONFIGS.resolve()), config_name="train", version_base="1.3")(run_job)()
    except (_JobError, SystemExit) as end:
        return int(end.args[0])
    finally:
        if new:
            with suppress(OSError):  # where a job has begun it is not empty
                base.rmdir()
    return 0


@contextmanager
def _explained() -> Generator[None, None, None]:
    """Turn Hydra's, OmegaConf's and YAML's errors into one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        words = re.split(r"See https?://|full_key:", str(error))[0]
        raise UserError(" ".join(words.split())) from error


@contextmanager
def _hydra() -> Generator[ConfigLoader, None, None]:
    """Hydra over configs/, the folder ./configs where there is one, and the tables of every room."""
    store = ConfigStore.instance()
    store.store(name="settings", node={k: v for k, v in plain(RunConfig()).items() if k not in GROUPS})
    for group, entries in GROUPS.items():
        for name in entries.table:
            if not (CONFIGS / group / f"{name}.yaml").exists():  # which is more than its settings
                store.store(group=group, name=name, node=plain(find(group, name).config))
    outer = GlobalHydra.instance().hydra  # a sweep's, around the job that composes its own configuration
    GlobalHydra.instance().clear()
    try:
        with _explained(), initialize_config_dir(str(CONFIGS.resolve()), job_name="rig", version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = outer


def _search_path() -> list[str]:
    """The override that also looks for choices in ./configs."""
    own = Path("configs").resolve()
    return [f"hydra.searchpath=[{_quoted(f'file://{own}')}]"] if own.is_dir() and own != CONFIGS.resolve() else []


def _parse(overrides: Sequence[str], loader: ConfigLoader | None) -> list[Override]:
    """Overrides as Hydra reads them. Raises UserError where one has not the form key=value."""
    for text in overrides:
        refuse_targets({text: None})
        if text.startswith("-"):
            raise UserError(f"unknown option '{text}'; expected key=value, -m or --help; try rig train --help")
        if text.startswith("~"):
            raise UserError(f"'{text}': nothing can be removed from a run; expected key=value")
        if not text.partition("=")[0] or "=" not in text:
            group = next((name for name, entries in GROUPS.items() if text in entries.table), "")
            hint = f"{group}={text}" if group else "rig train --help"
            raise UserError(f"expected key=value, got '{text}'; try {hint}")
        if _key(text) in ALIASES and text.partition("=")[2] in ("", "null"):  # "" of a shell's variable that is not set
            raise UserError(f"'{text}' names no run; leave it out, or try {_key(text)}=runs/RUN")
    named = [f"{ALIASES.get(_key(text), _key(text))}={text.partition('=')[2]}" for text in overrides]
    return [_parse_one(text, OverridesParser.create(config_loader=loader)) for text in named]


def _parse_one(text: str, parser: OverridesParser) -> Override:
    """One override; a value outside Hydra's grammar, such as the path a=b, is taken as the text that it is."""
    try:
        return parser.parse_overrides([text])[0]
    except OverrideParseException:
        key, _, value = text.partition("=")
        return parser.parse_overrides([f"{key}={_quoted(value)}"])[0]


def _lines(parsed: Sequence[Override], loader: ConfigLoader) -> list[str]:
    """Overrides as Hydra tells them to a job, each key once: groups checked; forced in, since `from_mapping` judges all keys."""
    lines: dict[str, str] = {}
    for item in parsed:
        key = item.key_or_group
        text = item.get_value_string() if item.is_sweep_override() else item.get_value_element_as_str()
        if item.package is not None:
            raise UserError(f"'{item.input_line}': a part cannot be placed elsewhere with @; expected {key}=name")
        if key not in (*GROUPS, "preset"):
            if key.removesuffix(".name") in GROUPS:
                raise UserError(f"'{item.input_line}': choose the {key[:-5]} by its group; try {key[:-5]}={text}")
            lines[key] = f"++{key}={text}"
        elif key == "preset" and text in ("none", "null", ""):
            lines.pop(key, None)
        else:
            _check_names(item, loader)
            lines[key] = f"{key}={text}"
    return list(lines.values())


def _check_names(item: Override, loader: ConfigLoader) -> None:
    """Raise UserError where a group is given a name that is none; a plug-in's name is made known to Hydra."""
    group = item.key_or_group
    for name in item.sweep_iterator() if item.is_sweep_override() else [item.value()]:
        name = name.text if isinstance(name, QuotedString) else name
        if isinstance(name, str) and ":" in name and group in GROUPS:
            ConfigStore.instance().store(group=group, name=name, node=plain(find(group, name).config))
        elif not isinstance(name, str) or name not in _options(group, loader):
            raise unknown(group, "null" if name is None else str(name), _options(group, loader), group + "={}")


def _compose(lines: Sequence[str]) -> RunConfig:
    """One configuration. A preset's settings of a part go with the entry that it chose: they are dropped where another is."""
    data = _composed(lines)
    if any(_key(line) == "preset" for line in lines):
        alone = _composed([line for line in lines if _key(line) == "preset"])
        others = [group for group in GROUPS if data[group]["name"] != alone[group]["name"]]
        if others:
            without = _composed([line for line in lines if _key(line) != "preset"])
            data |= {group: without[group] for group in others}
    reused = data["reuse"]["encoder"]
    typed = [line.lstrip("+") for line in lines if _key(line).split(".")[0] == "encoder"]
    if reused and typed:
        raise UserError(f"encoder.from={reused} takes that run's encoder as it is; leave {typed[0]} out")
    config = _expanded(from_mapping(data))
    return check(replace(config, encoder=load_config(Path(config.reuse.encoder)).encoder)) if reused else config


def _expanded(config: RunConfig) -> RunConfig:
    """`config` with ~ expanded in every path: no shell does that after a =."""
    reuse = ReuseConfig(*(os.path.expanduser(run) for run in (config.reuse.encoder, config.reuse.replay)))
    return replace(config, run_dir=os.path.expanduser(config.run_dir), reuse=reuse)


def _composed(lines: Sequence[str]) -> dict[str, Any]:
    """What Hydra makes of the defaults list and the overrides."""
    node = hydra_compose("train", [*_search_path(), *lines])
    return cast("dict[str, Any]", OmegaConf.to_container(node, resolve=True))


def _combinations(items: Sequence[Override], lines: Sequence[str]) -> list[list[str]] | None:
    """The lines of every job of a sweep; None where a sweep is over an interval, which only the sweeper can draw from."""
    if any(item.is_sweep_override() and not item.is_discrete_sweep() for item in items):
        return None
    keyed = {item.key_or_group: item for item in items}  # its last word, as in `lines`
    axes: list[list[str]] = []
    for line in lines:
        item = keyed[_key(line)]
        start = line.partition("=")[0]
        try:
            axes.append([f"{start}={value}" for value in item.sweep_string_iterator()] if item.is_sweep_override() else [line])
        except ValueError as error:  # of range(0,3,0)
            raise UserError(f"'{line.lstrip('+')}': {error}; try {start.lstrip('+')}=0,1,2") from error
    return [list(combination) for combination in itertools.product(*axes)]


def _refuse_misfits(configs: Sequence[RunConfig]) -> None:
    """Raise UserError where the parts of one do not go together. No CUDA and no OpenGL: a cluster's login node has neither."""
    anywhere: dict[str, Any] = {"seed": 0, "device": "cpu", "engine": "c", "render": "none", "run_dir": ""}
    for config in dict.fromkeys(replace(config, **anywhere) for config in configs):
        make_start(config, 1)[0].close()


def _options(group: str, loader: ConfigLoader) -> list[str]:
    """The names of a group: the table's in its order, then those of YAML files."""
    table = [*GROUPS[group].table] if group in GROUPS else []
    found = loader.get_group_options(group, overrides=_search_path())
    return table + [name for name in found if name not in table and ":" not in name]


def _is_hydras(item: Override) -> bool:
    return item.key_or_group.split(".")[0].split("/")[0] == "hydra"


def _key(line: str) -> str:
    return line.partition("=")[0].lstrip("+")


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()


def _job_name(lines: Sequence[str], varied: Collection[str]) -> str:
    """A folder name that tells the jobs of a sweep apart, and single ones from each other."""
    told = ",".join(line.lstrip("+") for line in lines if not varied or _key(line) in varied)
    name = re.sub(r"[^\w.=,+-]+", "-", told) or "defaults"
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


@contextmanager
def _command_line(arguments: Sequence[str]) -> Generator[None, None, None]:
    """Hydra reads its arguments from sys.argv, and tells the caller what went wrong only where the environment says so."""
    argv, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = [argv[0], "--multirun", *_search_path(), *arguments], "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full
