"""The composition root: the only module that turns the names of a configuration into objects."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rig.algorithm import RIG
from rig.choices import find
from rig.config import GymTaskConfig, RunConfig
from rig.encoders.base import Encoder
from rig.envs import ForeignBatch, Look, Spec, make_batch
from rig.errors import UserError
from rig.evaluate import Policy
from rig.goals.base import GoalSampler
from rig.goals.frame import LatentFrame
from rig.learners.base import Learner
from rig.online import Online
from rig.replay.exchange import WIDEST, Exchange
from rig.replay.ring import Ring
from rig.rewards import Reward
from rig.skew import asks_encoder
from rig.types import need_covariance

STREAMS = ("network", "collect", "train", "evaluate", "probe")
"""One seed makes a seed for each of these: no stream's draws depend on how many another took."""


class Representation(NamedTuple):
    """What observations become before the agent sees them, where its goals come from, and how good it is to be near one."""

    encoder: Encoder
    goals: GoalSampler
    frame: LatentFrame
    reward: Reward


def stream_seed(seed: int, stream: str) -> int:
    """The seed of one of `STREAMS` under a run's seed."""
    return int(np.random.SeedSequence((seed, STREAMS.index(stream))).generate_state(1, np.uint32)[0])


def device_of(config: RunConfig) -> torch.device:
    """The device that everything but the worlds lives on. Raises UserError where CUDA is asked for and absent."""
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise UserError("device=cuda: this PyTorch sees no CUDA device; type device=cpu or device=auto, or see `rig doctor`")
    return torch.device("cuda" if available and config.device != "cpu" else "cpu")


def generator_of(config: RunConfig, stream: str) -> torch.Generator:
    """A new generator of one of `STREAMS`, on the run's device."""
    return torch.Generator(device_of(config)).manual_seed(stream_seed(config.seed, stream))


def make_env(config: RunConfig, seed: int, stream: str, num_envs: int) -> Any:
    """N worlds of the run's task, drawing from one of `STREAMS` under `seed`. Raises UserError where they cannot be filmed.

    Where the encoder reads states nothing looks at frames but evaluations, so that only theirs are drawn.
    """
    task, seed = config.task, stream_seed(seed, stream)
    try:
        if isinstance(task, GymTaskConfig):
            return ForeignBatch(
                Spec(task.id, task.size, task.view, task.low, task.skip), num_envs,
                seed=seed, length=task.horizon, threshold=task.threshold, unit=task.unit, time_limit=task.time_limit,
            )  # fmt: skip
        look = Look(task.camera, task.distractors, task.distractor_seed, task.samples)
        # Where the learner stays off CUDA, auto does too.
        engine = "c" if config.engine == "auto" and device_of(config).type == "cpu" else config.engine
        arrays = np if stream == "evaluate" else torch  # evaluations keep their pictures on the host
        seen = stream == "evaluate" or find("encoder", config.encoder.name).entry.observes == "frame"
        return make_batch(
            task.name, num_envs, seed=seed, size=task.size, render=config.render, look=look, engine=engine, arrays=arrays,
            seen=seen,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(str(error)) from error


def make_start(config: RunConfig, num_envs: int) -> tuple[Any, Representation]:
    """The worlds whose frames an encoder learns from, and the representation, untrained, with what it takes from files.

    Raises UserError where the parts of a run do not go together, as far as that can be told without a frame, and for files that
    are not what they should be.
    """
    env = make_env(config, config.seed, "collect", num_envs)
    need_goals(config, env)
    representation = make_representation(config, env)
    need_learner(config, representation.encoder)
    if not config.reuse.encoder:
        representation.encoder.prepare()
    representation.goals.prepare()
    return env, representation


def need_goals(config: RunConfig, env: Any) -> None:
    """Raise UserError where a policy is to be trained in worlds that have no goals."""
    if config.steps and not env.task.factors:
        raise UserError(
            f"{config.task.label} has no goals that a policy could be trained to reach, got steps={config.steps}; "
            "type steps=0 to train the encoder alone"
        )


def make_representation(config: RunConfig, env: Any) -> Representation:
    """Encoder, prior, latent frame and reward, untrained.

    Raises UserError where the encoder does not fit the worlds, or the prior the encoder.
    """
    device = device_of(config)
    encoder_class: Any = find("encoder", config.encoder.name).entry
    goals_class: Any = find("goals", config.goals.name).entry
    shape = env.frame_shape if encoder_class.observes == "frame" else (env.state_dim,)
    if not all(shape):
        raise UserError(f"encoder={config.encoder.name} reads a state, and {config.task.label} has none; try encoder=beta_vae")
    network = torch.Generator().manual_seed(stream_seed(config.seed, "network"))
    try:
        encoder = encoder_class(config.encoder, shape, network).to(device)
    except ValueError as error:
        raise UserError(str(error)) from error
    with _fitting(f"frame={config.frame.name} with encoder={config.encoder.name}"):
        frame = LatentFrame(config.frame, encoder.latent_dim).to(device)
        if config.relabel.exchange and frame.dim > WIDEST:
            what = f"relabel.exchange tells things apart in at most {WIDEST} coordinates, and these are {frame.dim:,}"
            raise ValueError(f"{what}; try relabel.exchange=0")
    with _fitting(f"goals={config.goals.name} with encoder={config.encoder.name}"):
        goals = goals_class(config.goals, encoder.latent_dim)
        goals.attach(encoder, shape)
        goals = goals.to(device)
    if config.skew.power and not asks_encoder(config.skew, encoder):
        with _fitting(f"skew.power={config.skew.power:g} with encoder={config.encoder.name}"):
            need_covariance(frame.dim, "skew.power=0 goals=replayed")
    reward_class: Any = find("reward", config.reward.name).entry
    reward = reward_class(config.reward).to(device)
    if reward.reads == "state":
        _check_states(config, env)
    with _fitting(f"reward={config.reward.name} with encoder={config.encoder.name} goals={config.goals.name}"):
        reward.attach(encoder, goals, frame)
    return Representation(encoder, goals, frame, reward)


@contextmanager
def _fitting(parts: str) -> Generator[None]:
    """Inside, a ValueError says why these parts do not go together, and becomes a UserError."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{parts}: {error}") from error


def _check_states(config: RunConfig, env: Any) -> None:
    """Raise UserError where a reward of simulator states would not know them, or not those of goals."""
    name, instead = f"reward={config.reward.name}", "try reward=latent_distance"
    if not env.state_dim:
        raise UserError(f"{name} reads a state, and {config.task.label} has none; {instead}")
    if config.reuse.replay:
        raise UserError(f"{name} reads states, and replay.from={config.reuse.replay} keeps none; {instead}")
    if config.relabel.future != 1:
        raise UserError(
            f"{name} needs goals with a state, which imagined ones have not, got relabel.future={config.relabel.future:g}; "
            "try relabel.keep=0 relabel.imagined=0 relabel.future=1"
        )
    if config.relabel.exchange:
        raise UserError(f"{name} reads states, which relabel.exchange leaves as they were; {instead}")


def need_learner(config: RunConfig, encoder: Encoder) -> None:
    """Raise UserError where the encoder leaves to the learner what that does not do."""
    learner_class: Any = find("learner", config.learner.name).entry
    if encoder.make_trunk and not learner_class.trains_trunk:
        raise UserError(
            f"encoder={config.encoder.name} has convolutions that the learner trains, and learner={config.learner.name} trains "
            "its own networks alone; try learner=td3 or learner=sac"
        )


def make_learner(config: RunConfig, encoder: Encoder, latent_dim: int, action_dim: int) -> Learner:
    """The learner, over `latent_dim` agent coordinates, with the encoder's trunk if it has one."""
    network = torch.Generator().manual_seed(stream_seed(config.seed, "network"))
    learner_class: Any = find("learner", config.learner.name).entry
    trunk = [encoder.make_trunk] if encoder.make_trunk else []
    return learner_class(config.learner, latent_dim, action_dim, network, *trunk).to(device_of(config))


def compile_setting(config: RunConfig) -> str:
    """learner.compile, or off where the learner is a plug-in without it."""
    return getattr(config.learner, "compile", "off")


def make_replay(config: RunConfig, env: Any, encoder: Encoder, latent_dim: int, folder: Path | None = None) -> Ring:
    """An empty replay memory, no larger than the run needs.

    `folder` is for the file of replay.memory=disk; None: the system's folder for temporary files. Raises UserError where there is
    not the room.
    """
    frame = encoder.observes == "frame"
    reward: Any = find("reward", config.reward.name).entry
    capacity = config.replay.capacity if config.reuse.replay else min(config.replay.capacity, config.steps)
    try:
        return Ring(
            capacity,
            config.task.horizon,
            env.num_envs,
            env.frame_shape if frame else (env.state_dim,),
            torch.uint8 if frame else torch.float32,
            latent_dim,
            env.action_dim,
            device_of(config),
            config.replay.memory,
            folder,
            env.state_dim if reward.reads == "state" else 0,
        )
    except RuntimeError as error:  # of the allocator
        what = f"there is no memory for the {capacity:,} transitions of replay.capacity and steps"
        raise UserError(f"{what}; try replay.capacity={max(1, capacity // 10)}, or replay.memory=disk") from error


def make_exchange(config: RunConfig, dim: int, action_dim: int) -> Exchange | None:
    """What exchanges things between transitions, over `dim` agent coordinates, where that is asked for."""
    share = config.relabel.exchange
    return Exchange(dim, action_dim, share).to(device_of(config)) if share else None


def make_agent(config: RunConfig, env: Any, representation: Representation, folder: Path | None = None) -> RIG:
    """RIG over a fitted representation, before its first step; `folder` as for `make_replay`."""
    encoder, goals, frame, reward = representation
    learner = make_learner(config, encoder, frame.dim, env.action_dim)
    replay = make_replay(config, env, encoder, frame.dim, folder)
    return RIG(
        env, encoder, goals, frame, reward,
        learner,
        replay,
        config.relabel,
        generator_of(config, "train"),
        batch=config.learner.batch,
        random_steps=config.random_steps,
        hold=config.collect.hold,
        updates_per_step=config.updates_per_step,
        n_step=config.n_step,
        overlap=config.run.overlap,
        exchange=make_exchange(config, frame.dim, env.action_dim),
        online=Online(config.online, config.skew, encoder, goals, frame, replay, learner),
        exploration=config.explore,
        offline=bool(config.reuse.replay),
    )  # fmt: skip


def make_policy(config: RunConfig, representation: Representation, learner: Learner) -> Policy:
    """What acts in an evaluation."""
    return Policy(representation.encoder, representation.frame, learner, device_of(config))
