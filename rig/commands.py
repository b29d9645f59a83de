"""What the command line does, without the command line: train, resume, evaluate, imagine."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rig import __version__, build, checkpoint, files, video
from rig.algorithm import RIG
from rig.build import Representation
from rig.compiling import choose
from rig.config import RunConfig
from rig.config_io import load_config, to_yaml
from rig.coverage import Surveyed
from rig.errors import UserError
from rig.evaluate import Policy, rollouts, summarise
from rig.log import Log, read_rows
from rig.report import encoder_line, imagined_sheet, interpolated_sheet, rollout_film, table
from rig.reuse import Lived, lived, take_encoder
from rig.run import Schedule, Signals, StopError, keep_freed_memory, train_policy
from rig.seeing import learn_to_see
from rig.state import Saver, load_part, load_telling, restore_representation
from rig.types import Tokens

WORLDS = 50
"""Most worlds that an evaluation steps together."""
PAIRS = 6
"""Pairs of real frames between which a run's pictures interpolate."""


def train(config: RunConfig) -> int:
    """Train a run from nothing in `config.run_dir`; returns the exit code: 0, or 130 or 143 after a signal.

    Raises UserError for worlds that cannot be made, and a folder that holds a run already, is in use, or cannot be written to.
    """
    name = f"{config.task.label}_{config.encoder.name}_{config.learner.name}_s{config.seed}".replace(":", "-").replace("/", "-")
    folder = Path(config.run_dir or f"runs/{time.strftime('%Y-%m-%d_%H-%M-%S')}_{name}")
    new = not folder.exists()
    files.made(folder)
    with files.Lock(folder):
        if (folder / "config.yaml").exists():
            raise UserError(f"{folder} holds a run already; go on with it by `rig resume {folder}`, or choose another run_dir=")
        try:
            begun = _begin(config, folder)
        except BaseException:  # worlds that are refused, or Ctrl-C: there is no run
            (folder / "run.lock").unlink()
            if new:
                folder.rmdir()
            raise
        config = begun.config
        files.write(folder / "config.yaml", to_yaml(config).encode())
        files.write(folder / "origin.json", json.dumps(origin(config), indent=1).encode())
        return _guarded(folder, config, partial(_train_new, begun))


def resume(folder: Path, config: RunConfig) -> int:
    """Go on from the newest valid checkpoint of a run, exactly; from nothing where the encoder was still being trained."""
    with files.Lock(folder):
        if config.steps and not load_config(folder).steps:  # it may have been steps=0 for want of goals
            build.need_goals(config, build.make_env(config, config.seed, "train", 1))
        if checkpoint.steps(folder):
            return _guarded(folder, config, _train_on)
        if (folder / "evaluation.json").exists() or any(int(row["step"]) for row in read_rows(folder / "progress.csv")):
            raise UserError(f"{folder} has results, but no checkpoints to go on from; train anew with another run_dir=")
        begun = _begin(config, folder)
        files.write(folder / "config.yaml", to_yaml(config).encode())
        return _guarded(folder, config, partial(_train_new, begun))


def origin(config: RunConfig) -> dict[str, Any]:
    """Where a run comes from: the command as typed, the program's version and, in a git checkout, its commit."""
    here = Path(__file__).resolve().parent
    git = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    command = shlex.join(["rig", *sys.argv[1:]])
    versions = {"rig": __version__, "torch": torch.__version__, "numpy": np.__version__}
    return {"command": command, "commit": commit, "seed": config.seed, "versions": versions}


def _guarded(folder: Path, config: RunConfig, work: Callable[[Path, RunConfig, Signals], int]) -> int:
    """Run `work` with signals trapped; a signal before the first checkpoint ends it with nothing to save."""
    keep_freed_memory()
    with Signals() as signals:
        try:
            return work(folder, config, signals)
        except StopError as stopped:
            print(f"stopped before anything was trained; start again with: rig resume {folder}", file=sys.stderr)
            return stopped.code
        except FloatingPointError as error:
            files.write(folder / "diagnosis.json", json.dumps({"encoder": str(error)}).encode())
            also = " or encoder.training.beta=1" if hasattr(getattr(config.encoder, "training", None), "beta") else ""
            raise UserError(f"{error}; try encoder.training.learning_rate=3e-4{also}") from error


class Begun(NamedTuple):
    """A run before its first step."""

    config: RunConfig
    env: Any
    """The worlds that the encoder's frames come from."""
    representation: Representation
    """Knows nothing yet, or has the encoder of another run."""
    lived: Lived | None
    """What another run lived through, where this one is to learn from it."""


def _begin(config: RunConfig, folder: Path) -> Begun:
    """Make or fetch what a run begins with. Raises UserError for whatever cannot be, such as a replay memory for which there is
    no room; nothing is written yet.
    """
    env, representation = build.make_start(config, config.collect.num_envs)
    if config.reuse.encoder:
        take_encoder(config, representation.encoder)
    episodes = lived(config, env, representation.encoder) if config.reuse.replay else None
    if episodes:
        held = replace(config.replay, capacity=episodes.action.shape[0] * episodes.action.shape[1])
        config = replace(config, replay=held)
    build.make_replay(config, env, representation.encoder, representation.frame.dim, folder)
    return Begun(config, env, representation, episodes)


def _train_new(begun: Begun, folder: Path, config: RunConfig, signals: Signals) -> int:
    _, env, representation, episodes = begun
    source = f"replay.from={config.reuse.replay}" if episodes else f"collect.reset={config.collect.reset}"
    print(f"run folder {folder}; frames of {config.task.label} from {source}", file=sys.stderr)
    report, observed = learn_to_see(config, env, representation, signals, episodes.observed if episodes else None)
    files.write(folder / "encoder.json", json.dumps(report, indent=1).encode())
    env.close()
    agent = _make_agent(folder, config, representation)
    if episodes:
        agent.remember(*episodes)
    if agent.online:
        agent.online.keep(observed)
    saver = _saver(folder, config, agent)
    if config.steps == 0:
        saver.save()
        return _end_with_encoder(folder, config, representation, agent.env)
    choose(agent, build.compile_setting(config), config.steps)
    return _train_policy(folder, config, agent, representation, saver, signals)


def _train_on(folder: Path, config: RunConfig, signals: Signals) -> int:
    loaded = load_telling(folder)
    if config.steps < min(loaded.step, load_config(folder).steps):
        raise UserError(f"{folder} is at step {loaded.step} already, got steps={config.steps}; give more, or leave steps out")
    representation = load_representation(config, loaded)
    agent = _make_agent(folder, config, representation)
    saver = _saver(folder, config, agent)
    saver.restore(loaded)
    files.write(folder / "config.yaml", to_yaml(config).encode())
    if agent.steps == config.steps == 0:
        return _end_with_encoder(folder, config, representation, agent.env)
    setting = build.compile_setting(config)
    if agent.steps and setting == "auto":  # as it was, since compiled code rounds otherwise
        setting = "on" if loaded.meta.get("compiled") else "off"
    choose(agent, setting, config.steps)
    print(f"going on with {folder} from step {loaded.step}", file=sys.stderr)
    return _train_policy(folder, config, agent, representation, saver, signals)


def _end_with_encoder(folder: Path, config: RunConfig, representation: Representation, env: Any) -> int:
    """What a run with steps=0 leaves: the encoder, which is saved already, its pictures, and what to do with it."""
    if representation.encoder.can_decode:
        _picture(config, representation, folder)
    figures = folder / "encoder.json"
    found = json.loads(figures.read_text(encoding="utf-8")) if figures.is_file() else {}
    print(f"{config.task.label}, {config.encoder.name} alone: {encoder_line(found, representation.encoder.latent_dim)}")
    print(f"everything about this run is in {folder}")
    if env.task.factors:
        print(f"train a policy by: rig resume {folder} steps=12000; or others that see by it: rig train encoder.from={folder}")
    return 0


def _make_agent(folder: Path, config: RunConfig, representation: Representation) -> RIG:
    env = Surveyed(build.make_env(config, config.seed, "train", config.num_envs), build.device_of(config))
    agent = build.make_agent(config, env, representation, folder)
    each, count = agent.replay.bytes_per_transition, agent.replay.rows * agent.replay.horizon
    if config.steps == 0:
        return agent
    size = f"{each:,.0f} bytes a transition, {count:,} transitions, {each * count / 2**20:,.0f} MiB"
    place = {"device": "", "host": "; frames in CPU memory", "disk": f"; frames on disk in {folder}"}[config.replay.memory]
    print(f"replay memory: {size}{place}", file=sys.stderr)
    return agent


def _identity(config: RunConfig, latent_dim: int) -> dict[str, Any]:
    names = {part: getattr(config, part).name for part in ("encoder", "goals", "frame", "learner")} | {"task": config.task.label}
    sizes = {"size": config.task.size, "horizon": config.task.horizon, "num_envs": config.num_envs}
    return {**names, "latent_dim": latent_dim, **sizes}


def _saver(folder: Path, config: RunConfig, agent: RIG) -> Saver:
    return Saver(folder, agent, _identity(config, agent.encoder.latent_dim), config.checkpoint.keep)


def load_representation(config: RunConfig, loaded: checkpoint.Loaded, own: RunConfig | None = None) -> Representation:
    """Encoder, prior and latent frame as a checkpoint holds them. Raises UserError where it is another configuration's.

    `own` is the run's, where `config` has been changed for an evaluation.
    """
    env = build.make_env(config, config.seed, "train", 1)
    representation = build.make_representation(config, env)
    restore_representation(representation._asdict(), loaded, _identity(own or config, representation.encoder.latent_dim))
    return representation


def _train_policy(
    folder: Path, config: RunConfig, agent: RIG, representation: Representation, saver: Saver, signals: Signals
) -> int:
    schedule = Schedule(config.steps, config.checkpoint.every, config.evaluation.every)
    policy = build.make_policy(config, representation, agent.learner)
    env = build.make_env(config, config.seed, "evaluate", min(WORLDS, config.evaluation.episodes))
    goals = env.sample_goals(config.evaluation.episodes)
    pictures, fresh = env.show(goals), env.snapshot()

    def evaluate() -> dict[str, Any]:
        env.restore(fresh)  # every evaluation draws the same starts, before a resume and after it
        seen = rollouts(env, policy, goals, pictures, config.task.horizon)
        return summarise(env.task, seen) | {"coverage": agent.env.coverage()}

    with Log(folder, agent.steps) as log:
        code = train_policy(folder, agent, schedule, saver, evaluate, log, signals)
    if code == 0:
        newest, film = folder / "checkpoints" / f"{agent.steps:09d}", folder / "rollouts.gif"
        summary = _evaluation(config, policy, agent.steps, newest, config.evaluation.final_episodes, 0, [], film)
        files.write(folder / "evaluation.json", json.dumps(summary, indent=1).encode())
        if representation.encoder.can_decode:
            _picture(config, representation, folder)
        print(f"{table(summary)}\neverything about this run is in {folder}")
    return code or signals.code


def _evaluation(
    config: RunConfig, policy: Policy, steps: int, place: Path, episodes: int, seed: int, goals: Sequence[Path], gif: Path | None
) -> dict[str, Any]:
    """Evaluate a policy on goals of the task, or on pictures; write the film where asked; return what goes into the JSON."""
    if goals and policy.encoder.observes == "state":
        raise UserError(f"--goal: encoder {config.encoder.name} reads simulator state, not pictures; leave --goal out")
    count = len(goals) or episodes
    env = build.make_env(config, seed, "evaluate", min(WORLDS, count))
    states = None if goals else env.sample_goals(count)
    pictures = video.read_goals(goals, config.task.size) if states is None else env.show(states)
    seen = rollouts(env, policy, states, pictures, config.task.horizon)
    if gif is not None:
        video.write_gif(gif, rollout_film(seen, policy.encoder, policy.device))
    head = {"task": config.task.label, "encoder": config.encoder.name, "learner": config.learner.name}
    collected = {"frame": config.frame.name, "goals": config.goals.name, "collect_reset": config.collect.reset}
    return {
        **head, **collected, "goal_source": env.goal_source, "steps": steps, "seed": seed, "episodes": count,
        "checkpoint": place.name, "checkpoint_sha256": checkpoint.digest(place), **summarise(env.task, seen),
    }  # fmt: skip


def evaluate_run(
    folder: Path, config: RunConfig, episodes: int, seed: int, step: int | None, goals: Sequence[Path],
    gif: Path | None, out: Path | None,
) -> int:  # fmt: skip
    """Evaluate a checkpoint of a run on its task's goals or on goal pictures, print the table, write film and JSON.

    `config` is the run's, but for what an evaluation may change.
    """
    keep_freed_memory()
    config = replace(config, device="auto")
    _, policy, loaded = load_policy(folder, config, step)
    summary = _evaluation(config, policy, loaded.step, loaded.path, episodes, seed, goals, gif)
    if out is not None:
        files.write(out, json.dumps(summary, indent=1).encode())
    print(table(summary))
    return 0


def load_policy(folder: Path, config: RunConfig, step: int | None) -> tuple[Representation, Policy, checkpoint.Loaded]:
    """A checkpoint's representation and policy, without its replay memory; warns of damaged checkpoints passed over."""
    loaded = load_telling(folder, step, chunks=False)
    representation = load_representation(config, loaded, load_config(folder))
    env = build.make_env(config, config.seed, "train", 1)
    learner = build.make_learner(config, representation.encoder, representation.frame.dim, env.action_dim)
    load_part("learner", learner, loaded)
    return representation, build.make_policy(config, representation, learner), loaded


def imagine_run(folder: Path, count: int, out: Path | None) -> int:
    """Write decoded draws from a run's fitted prior beside real frames."""
    config = replace(load_config(folder), device="auto")
    loaded = load_telling(folder, chunks=False)
    representation = load_representation(config, loaded)
    if not representation.encoder.can_decode:
        raise UserError(f"encoder {config.encoder.name} has no decoder to show goals with; train with encoder=beta_vae")
    path = out or Path("imagined.png")
    _imagine(config, representation, count, path)
    print(f"{count} imagined goals beside as many real frames: {path}")
    return 0


def _picture(config: RunConfig, representation: Representation, folder: Path) -> None:
    """The pictures of a run's encoder: what it imagines, and what it sees between real frames."""
    real = _imagine(config, representation, 64, folder / "imagined_goals.png")
    ends = np.concatenate((real[:PAIRS], real[-PAIRS:]))
    between = interpolated_sheet(ends, representation.encoder, build.device_of(config))
    video.write_png(folder / "interpolations.png", between)


def _imagine(config: RunConfig, representation: Representation, count: int, path: Path) -> video.Frames:
    """Write decoded draws from the prior beside as many real frames, and return these.

    Where codes are symbols, evenly drawn ones stand at the right: what a prior of symbols must be better than.
    """
    env, generator = build.make_env(config, config.seed, "evaluate", 1), build.generator_of(config, "evaluate")
    encoder, drawn = representation.encoder, [representation.goals.sample(count, generator)]
    if isinstance(encoder, Tokens):
        even = torch.randint(encoder.symbols, (count, *encoder.grid), generator=generator, device=generator.device)
        drawn.append(encoder.embed(even))
    real = env.random_frames(count)
    env.close()
    video.write_png(path, imagined_sheet(real, *(representation.encoder.decode(latent).cpu().numpy() for latent in drawn)))
    return real
