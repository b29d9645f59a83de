"""From overrides to a configuration: groups, presets, plug-ins, YAML of one's own, sweeps, and what a resumed run may change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from rig.choices import GROUPS, find
from rig.cli_compose import CONFIGS, EVALUABLE, RESUMABLE, compose, options, override, sweep
from rig.config import RunConfig
from rig.config_io import to_yaml
from rig.errors import UserError

PRESETS = sorted(path.stem for path in (CONFIGS / "preset").glob("*.yaml"))
DEFAULTS = {
    "task": "reach",
    "encoder": "spatial_vae",
    "goals": "gaussian_full",
    "frame": "slow",
    "reward": "latent_distance",
    "relabel": "rig",
    "learner": "td3",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of the test's own, in which composing must leave nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    assert not (tmp_path / "outputs").exists() and not (tmp_path / "multirun").exists()
    assert not GlobalHydra.instance().is_initialized()


class Jobs:
    """Stands for training: remembers what it was given, and ends with the exit codes that it was told."""

    def __init__(self, *codes: int) -> None:
        self.configs: list[RunConfig] = []
        self.codes = codes

    def __call__(self, config: RunConfig, typed: Sequence[str]) -> int:
        self.typed = typed
        self.configs.append(config)
        return self.codes[len(self.configs) - 1] if len(self.configs) <= len(self.codes) else 0


def test_nothing_typed_is_the_dataclasses_defaults(elsewhere: Path) -> None:
    parts = {group: find(group, name).config for group, name in DEFAULTS.items()}
    assert compose([]) == RunConfig(**parts)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUPS for name in GROUPS[group].table])
def test_every_entry_of_every_table_is_a_choice(group: str, name: str) -> None:
    config, found = compose([f"{group}={name}", "task.size=64"]), find(group, name).config  # a size that every encoder takes
    assert getattr(config, group) == (replace(found, size=64) if group == "task" else found)


def test_overrides_reach_every_level() -> None:
    typed = ["seed=3", "collect.reset=random", "encoder.training.beta=2", "learner.hidden=[64,32]", "learner.layer_norm=false"]
    config = compose(typed)
    assert (config.seed, config.collect.reset, config.encoder.training.beta) == (3, "random", 2.0)
    assert (config.learner.hidden, config.learner.layer_norm) == ((64, 32), False)


def test_the_last_of_two_overrides_counts() -> None:
    assert compose(["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("folder", ["a=b", "runs/a (1)", "~/x", "7", "/a/b", "it's"])
def test_run_dir_may_be_any_path(folder: str) -> None:
    assert compose([f"run_dir={folder}"]).run_dir == os.path.expanduser(folder)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_composes_and_yields_to_what_is_typed(preset: str) -> None:
    assert preset in options("preset")
    config = compose([f"preset={preset}", "encoder=oracle", "steps=7777", "goals=standard_normal"])
    assert (config.encoder, config.steps, config.goals.name) == (find("encoder", "oracle").config, 7777, "standard_normal")
    assert replace(compose([f"preset={preset}"]), steps=7777) == compose(["steps=7777", f"preset={preset}"])


def test_the_push_preset_is_what_it_says() -> None:
    config = compose(["preset=rig_push"])
    chosen = {group: getattr(config, group).name for group in ("task", "encoder", "goals", "frame")}
    assert chosen == {"task": "push", "encoder": "spatial_vae", "goals": "gaussian_full", "frame": "slow"}
    assert (config.frame.weight_power, config.steps) == (0.5, 20_000)


def test_skewed_goals_bring_their_weights_and_keep_their_settings() -> None:
    config = compose(["goals=skewed", "goals.codes=7"])
    assert (config.goals.name, config.goals.codes, config.skew.power, config.skew.density) == ("skewed", 7, -1, "coordinates")
    assert compose(["goals=skewed", "skew.power=-0.5"]).skew.power == -0.5
    assert compose(["goals=replayed"]).skew.power == 0
    with pytest.raises(UserError, match=r"goals=skewed weighs frames by .*, got skew.power=0; try skew.power=-1$"):
        compose(["goals=skewed", "skew.power=0"])


def test_a_presets_settings_go_with_the_entry_that_it_chose() -> None:
    assert compose(["preset=rig_push", "frame=whitened"]).frame == find("frame", "whitened").config
    assert compose(["preset=rig_push", "frame=slow"]).frame.weight_power == 0.5
    assert compose(["preset=rig_push", "frame.weight_power=1"]).frame.weight_power == 1.0


@pytest.mark.parametrize("none", ["none", "null", ""])
def test_no_preset_is_no_preset(none: str) -> None:
    assert compose([f"preset={none}"]) == compose([])


def test_yaml_of_ones_own_adds_a_choice(elsewhere: Path) -> None:
    for group, text in {
        "encoder": "name: beta_vae\nlatent_dim: 5\n",
        "learner": "defaults: [td3]\nbatch: 7\n",
        "preset": "# @package _global_\ndefaults:\n  - override /encoder: small\nseed: 9\n",
    }.items():
        (elsewhere / "configs" / group).mkdir(parents=True)
        (elsewhere / "configs" / group / "small.yaml").write_text(text)
    assert options("encoder") == [*GROUPS["encoder"].table, "small"]
    config = compose(["preset=small", "learner=small", "encoder.width=16"])
    assert config.encoder == replace(find("encoder", "beta_vae").config, latent_dim=5, width=16)
    assert config.learner == replace(find("learner", "td3").config, batch=7)
    assert config.seed == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: beta_vae\nlatent_dims: 5\n", "unknown key 'encoder.latent_dims'; valid: .*; try encoder.latent_dim=8"),
        ("name: beta_vae\n_target_: os.system\n", "_target_ is refused"),
        ("latent_dim: 5\n", "encoder needs a name; valid: beta_vae"),
        ("name: [\n", "while parsing"),
        ("defaults: [nowhere]\n", ".*nowhere"),
    ],
)
def test_bad_yaml_of_ones_own_is_one_line(elsewhere: Path, text: str, message: str) -> None:
    (elsewhere / "configs" / "encoder").mkdir(parents=True)
    (elsewhere / "configs" / "encoder" / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=f"^{message}") as caught:
        compose(["encoder=mine"])
    assert "\n" not in str(caught.value)


def test_plug_ins_are_chosen_like_any_other() -> None:
    encoder, learner, reward = "rig.encoders.beta_vae:BetaVAE", "rig.learners.td3:TD3", "rig.rewards:Reciprocal"
    config = compose([f"encoder={encoder}", f"learner={learner}", f"reward={reward}", "encoder.latent_dim=3"])
    assert config.encoder == replace(find("encoder", "beta_vae").config, name=encoder, latent_dim=3)
    assert (config.learner.name, config.reward.name) == (learner, reward)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed=0,1", "'seed=0,1' is a sweep over several runs; try rig train -m seed=0,1"),
        ("encoder=beta_vae,oracle", "'encoder=beta_vae,oracle' is a sweep"),
        ("hydra.verbose=true", "'hydra.verbose=true' is a setting of Hydra's sweeps"),
        ("hydra/launcher=basic", "'hydra/launcher=basic' is a setting of Hydra's sweeps"),
        ("reach", "expected key=value, got 'reach'; try task=reach"),
        ("blah", "expected key=value, got 'blah'; try rig train --help"),
        ("=3", "expected key=value, got '=3'"),
        ("--episodes=3", "unknown option '--episodes=3'"),
        ("~encoder", "'~encoder': nothing can be removed"),
        ("encoder@goals=oracle", "'encoder@goals=oracle': a part cannot be placed elsewhere"),
        ("encoder.name=oracle", "'encoder.name=oracle': choose the encoder by its group; try encoder=oracle"),
        ("encoder=spatial", f"unknown encoder 'spatial'; valid: {', '.join(GROUPS['encoder'].table)}; try encoder=spatial_vae"),
        ("encoder=null", "unknown encoder 'null'"),
        ("encoder={a: 1}", "unknown encoder"),
        ("encoder=[oracle]", "unknown encoder"),
        ("encoder=", "unknown encoder ''"),
        ("preset=rigpush", "unknown preset 'rigpush'; valid: .*rig, .*rig_push, rig_reach, .*; try preset=rig_push"),
        ("task=a:b", "task=a:b: a task cannot be plugged in"),
        ("encoder/x=oracle", "unknown key 'encoder/x'"),
        ("encoder._target_=os.system", "_target_ is refused"),
        ("seed={_target_: os.system}", "_target_ is refused"),
        ("seed=[1", r"seed must be a whole number, got '\[1'"),
        ("seed=${nothing}", "Interpolation key 'nothing' not found"),
        ("seed=", "seed must be a whole number, got ''"),
        ("stepz=3", "unknown key 'stepz'; valid: .*; try steps=12000"),
    ],
)
def test_what_cannot_be_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as caught:
        compose([text])
    assert "\n" not in str(caught.value)


def test_a_resumed_run_may_change_how_long_how_often_and_where_frames_lie() -> None:
    config = compose(["preset=rig_push", "seed=5"])
    changes = ["steps=3e4", "replay.memory=disk", "checkpoint.every=500", "evaluation.every=0", "evaluation.final_episodes=7"]
    assert override(config, changes, RESUMABLE, "a resumed run") == replace(
        config,
        steps=30_000,
        replay=replace(config.replay, memory="disk"),
        checkpoint=replace(config.checkpoint, every=500),
        evaluation=replace(config.evaluation, every=0, final_episodes=7),
    )
    assert override(config, [], RESUMABLE, "a resumed run") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed=1", r"seed cannot change in a resumed run, only steps, device, replay.memory, learner.compile, .* can"),
        ("encoder=oracle", "encoder cannot change in a resumed run"),
        ("checkpoint=3", "checkpoint cannot change"),
        ("steps.x=3", "steps.x cannot change"),
        ("checkpoint.evry=3", "unknown key 'checkpoint.evry'; valid: .*; try checkpoint.every=1000"),
        ("checkpoint.every.x=3", "unknown key 'checkpoint.every.x'; valid: checkpoint.every, "),
        ("steps=-1", "steps must be at least 0, got -1"),
        ("steps=many", "steps must be a whole number, got 'many'"),
        ("steps=1000,2000", "'steps=1000,2000' is a sweep"),
        ("steps", "expected key=value, got 'steps'"),
    ],
)
def test_a_resumed_run_may_change_nothing_else(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        override(compose([]), [text], RESUMABLE, "a resumed run")


def test_an_evaluation_may_look_at_the_world_otherwise() -> None:
    config = compose(["preset=rig_push"])
    changed = override(config, ["task.camera=wide", "task.distractors=4"], EVALUABLE, "an evaluation")
    assert changed == replace(config, task=replace(config.task, camera="wide", distractors=4))
    with pytest.raises(UserError, match=r"^task\.size cannot change in an evaluation, only task\.camera, "):
        override(config, ["task.size=64"], EVALUABLE, "an evaluation")


def test_a_sweep_runs_every_combination_in_a_folder_of_its_own(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = Jobs()
    assert sweep(["encoder=beta_vae,oracle", "seed=range(0,2)", "steps=2000", "run_dir=here"], jobs) == 0
    assert [(config.encoder.name, config.seed, config.steps) for config in jobs.configs] == [
        ("beta_vae", 0, 2000), ("beta_vae", 1, 2000), ("oracle", 0, 2000), ("oracle", 1, 2000),
    ]  # fmt: skip
    assert [config.run_dir for config in jobs.configs] == [
        f"here/encoder={encoder},seed={seed}" for encoder in ("beta_vae", "oracle") for seed in (0, 1)
    ]
    assert replace(jobs.configs[3], run_dir="") == compose(["encoder=oracle", "seed=1", "steps=2000"])
    assert jobs.typed == ["encoder=oracle", "seed=1", "steps=2000"]
    assert capsys.readouterr().out.splitlines()[1] == "sweep: job 1 is encoder=beta_vae,seed=1"


def test_a_sweep_without_a_folder_makes_one_under_runs() -> None:
    jobs = Jobs()
    assert sweep(["preset=rig,rig_push"], jobs) == 0
    (parent,) = {Path(config.run_dir).parent for config in jobs.configs}
    assert parent.parent == Path("runs") and parent.name.endswith("_sweep") and parent.is_dir()
    assert [Path(config.run_dir).name for config in jobs.configs] == ["preset=rig", "preset=rig_push"]
    assert [config.task.name for config in jobs.configs] == ["reach", "push"]


def test_a_sweep_over_plug_ins_gives_folders_that_every_disk_takes() -> None:
    jobs = Jobs()
    assert sweep(["encoder=rig.encoders.oracle:Oracle,beta_vae", "run_dir=here"], jobs) == 0
    assert [config.run_dir for config in jobs.configs] == ["here/encoder=rig.encoders.oracle-Oracle", "here/encoder=beta_vae"]


def test_a_failed_job_lets_the_others_run_and_decides_the_exit_code() -> None:
    jobs = Jobs(0, 2, 0)
    assert sweep(["seed=0,1,2", "run_dir=here"], jobs) == 2
    assert len(jobs.configs) == 3


@pytest.mark.parametrize("code", [130, 143])
def test_a_signal_ends_the_sweep(code: int) -> None:
    jobs = Jobs(0, code)
    assert sweep(["seed=0,1,2", "run_dir=here"], jobs) == code
    assert len(jobs.configs) == 2


def test_a_bug_in_a_job_is_no_bad_input() -> None:
    def fail(_: RunConfig, typed: Sequence[str]) -> int:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        sweep(["seed=0,1", "run_dir=here"], fail)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["seed=0,-1"], "seed must be"),
        (["encoder=oracle,beta"], "unknown encoder 'beta'"),
        (["learner.batch=1,x"], "learner.batch must be a whole number, got 'x'"),
        (["stepz=1,2"], "unknown key 'stepz'"),
        (["seed"], "expected key=value"),
    ],
)
def test_a_sweep_with_one_bad_job_starts_none_and_makes_nothing(elsewhere: Path, texts: list[str], message: str) -> None:
    jobs = Jobs()
    with pytest.raises(UserError, match=f"^{message}"):
        sweep([*texts, "run_dir=here"], jobs)
    assert jobs.configs == [] and list(elsewhere.iterdir()) == []


def test_a_sweep_leaves_the_process_as_it_was() -> None:
    argv, full = [*sys.argv], os.environ.get("HYDRA_FULL_ERROR")
    assert sweep(["seed=0,1", "run_dir=here"], Jobs()) == 0
    assert sys.argv == argv and os.environ.get("HYDRA_FULL_ERROR") == full


def test_composing_is_the_same_in_every_process(elsewhere: Path) -> None:
    code = "import rig, rig.config_io as io; print(io.to_yaml(rig.compose(['preset=rig_push'])), end='')"
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.stdout == to_yaml(compose(["preset=rig_push"]))
