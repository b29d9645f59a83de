"""The rows of scripts/benchmark.py: what is compared with what; a docstring each, which docs/benchmarks.md shows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial

import benchmark_peers as peers
import numpy as np
import torch
from benchmark_parts import filled_ring, frames, refresh, relabelled_sample, replay_memory, sampling, startup, vae_training
from benchmark_turns import BATCH, CPU, DIM, HORIZON, Row, Size, Work, row_of, seconds_of, seeded, taking_turns
from stable_baselines3 import SAC as SB3SAC
from stable_baselines3 import TD3 as SB3TD3
from torch.utils.flop_counter import FlopCounterMode

from rig import build
from rig.algorithm import RIG, collect, represent
from rig.cli_compose import compose
from rig.encoders.oracle import Oracle, OracleConfig
from rig.envs import make_batch
from rig.goals.frame import IdentityConfig, LatentFrame
from rig.goals.gaussian import Gaussian, GaussianConfig, StandardNormal, StandardNormalConfig
from rig.learners import SAC, TD3
from rig.learners.sac import SACConfig
from rig.learners.td3 import TD3Config
from rig.profile import warmed_agent
from rig.replay.relabel import RelabelConfig
from rig.replay.ring import Ring
from rig.rewards import LatentDistance, LatentDistanceConfig
from rig.roofline import peak_flops
from rig.types import silent


def agent_of(learner: TD3 | SAC, batch: int, device: torch.device) -> RIG:
    """An agent that only learns, from 100,000 made-up transitions; its updates are compiled."""
    codes = Oracle(OracleConfig(), (DIM,), seeded(0)).to(device)
    goals, frame = StandardNormal(StandardNormalConfig(), DIM).to(device), LatentFrame(IdentityConfig(), DIM).to(device)
    reward = LatentDistance(LatentDistanceConfig()).to(device)
    agent = RIG(
        None, codes, goals, frame, reward, learner.to(device), filled_ring(100_000, (1,), device), RelabelConfig(),
        seeded(1, device), batch=batch, random_steps=0, hold=1.0, updates_per_step=4,
    )  # fmt: skip
    agent.replay.version = codes.version
    learner.compile_steps(True)
    agent.learn(4)
    return agent


def update_row(name: str, ours: TD3 | SAC, kind: type[SB3TD3] | type[SB3SAC], size: Size) -> Row:
    """Sampling, relabelling, rewarding and one update, against SB3's learner with its HerReplayBuffer; the same network sizes."""
    agent = agent_of(ours, BATCH, size.device)

    def mine() -> int:
        for _ in range(size.updates // 4):
            agent.learn(4)
        return size.updates

    model = peers.learner(kind, peers.Codes((DIM,)), 100_000, size.device, batch_size=BATCH)
    draws = np.random.default_rng(0)
    buffer = model.replay_buffer
    assert isinstance(buffer, peers.HerReplayBuffer)
    peers.fill(buffer, HORIZON, lambda array: array.__setitem__(..., draws.standard_normal(array.shape)))

    def its() -> int:
        model.train(gradient_steps=size.updates, batch_size=BATCH)
        return size.updates

    return taking_turns(name, "updates/s", mine, its, size.turns)


def td3_update(size: Size) -> Iterator[Row]:
    """TD3 updates a second, relabelled batches of 256, networks 256-256, codes of 16; compiled, in bfloat16 if it is there.

    Against SB3's TD3 and HerReplayBuffer with the same sizes. SB3 has no LayerNorm, so that ours has none here either, nor a
    setting for precision.
    """
    yield update_row("td3_update", TD3(TD3Config(layer_norm=False), DIM, peers.ACTION, seeded(0)), SB3TD3, size)


def sac_update(size: Size) -> Iterator[Row]:
    """SAC likewise."""
    yield update_row("sac_update", SAC(SACConfig(layer_norm=False), DIM, peers.ACTION, seeded(0)), SB3SAC, size)


def float32_update(size: Size) -> Iterator[Row]:
    """The same two in float32 throughout."""
    td3, sac = TD3Config(layer_norm=False, precision="float32"), SACConfig(layer_norm=False, precision="float32")
    yield update_row("td3_update_float32", TD3(td3, DIM, peers.ACTION, seeded(0)), SB3TD3, size)
    yield update_row("sac_update_float32", SAC(sac, DIM, peers.ACTION, seeded(0)), SB3SAC, size)


def matmul_share(size: Size) -> Iterator[Row]:
    """GFLOP/s of the matrix products in float32 TD3 and SAC updates with relabelled batches of 4,096: the share of the peak.

    The peak is the most that this device does in one large float32 product. Everything else an update does counts as time only.
    """
    peak = peak_flops(size.device) / 1e9
    td3, sac = TD3Config(precision="float32"), SACConfig(precision="float32")
    for learner in (TD3(td3, DIM, peers.ACTION, seeded(0)), SAC(sac, DIM, peers.ACTION, seeded(0))):
        agent = agent_of(learner, 4096, size.device)
        with agent.learner.as_written(), FlopCounterMode(display=False) as counter:
            agent.learn(2)
        each = counter.get_total_flops() / 2 / 1e9
        pairs = [(4 * each / seconds_of(lambda: agent.learn(4)), peak) for _ in range(size.turns)]  # noqa: B023  called at once
        yield row_of(f"matmul_share_{learner.config.name}", "GFLOP/s", pairs)


def stepping(agent: RIG, steps: int) -> Work:
    """Takes so many env steps in each world."""

    def work() -> int:
        for _ in range(steps):
            agent.step()
        return steps * agent.env.num_envs

    return work


def training_row(name: str, worlds: int, size: Size, *learner: str) -> Row:
    """Whole training on Reach from pixels, in so many worlds at once on either side; `learner`: our learner's settings."""
    parts = ["encoder=beta_vae", "goals=gaussian", "frame=identity", f"device={size.device}", f"num_envs={worlds}"]
    config = compose([*parts, "learner.compile=on", *learner])
    steps = size.env_steps // worlds
    agent = warmed_agent(config, (size.turns + 1) * steps * worlds)
    envs, imagine = build.make_env(config, 1, "train", worlds), partial(agent.goals.sample, generator=seeded(0, size.device))
    encoded = peers.EncodedWorlds(envs, agent.encoder, imagine, config.task.horizon, size.device)
    model = peers.learner(
        SB3TD3, encoded, config.steps, size.device, batch_size=config.learner.batch, gamma=config.learner.discount, train_freq=1,
        gradient_steps=agent.updates, learning_starts=config.random_steps,
    )  # fmt: skip
    model.learn(config.random_steps + 1)

    def its() -> int:
        model.learn(steps * worlds, reset_num_timesteps=False)
        return steps * worlds

    return taking_turns(name, "env steps/s", stepping(agent, steps), its, size.turns)


def train_reach(size: Size) -> Iterator[Row]:
    """Env steps a second of policy training on Reach from pixels: act, step, film, encode, store, and two updates of 128.

    Against SB3's TD3 and HerReplayBuffer over environments that encode their frames, with the same encoder, sizes, batch and
    updates a step; ours compiled. SB3 has no LayerNorm and no candidates to choose an action from, so that ours has none here
    either, nor a setting for precision: ours is in bfloat16 if it is there. Eight worlds, the default, are stepped, filmed and
    encoded together, on either side. train_reach_defaults: ours with LayerNorm and candidates, as it trains by default;
    train_reach_1: that in one world.
    """
    yield training_row("train_reach", 8, size, "learner.layer_norm=false", "learner.candidates=1")
    yield training_row("train_reach_defaults", 8, size)
    yield training_row("train_reach_1", 1, size)


def by_name(size: Size) -> Iterator[Row]:
    """Env steps a second of Reach from state, every part chosen by name, against the same parts put together by their classes.

    1 is no overhead: names are looked up before the first step, and never again.
    """
    config = compose(["encoder=oracle", "goals=gaussian", "frame=identity", "num_envs=1", "device=cpu", "learner.compile=off"])
    named = warmed_agent(config, (size.turns + 1) * size.env_steps)

    env = make_batch("reach", 1, seed=1)
    encoder, goals = Oracle(OracleConfig(), (env.state_dim,), seeded(0)), Gaussian(GaussianConfig(), env.state_dim)
    frame, reward = LatentFrame(IdentityConfig(), env.state_dim), LatentDistance(LatentDistanceConfig())
    represent(encoder, goals, frame, reward, collect(env, encoder, 400, 100, 6.0, False, seeded(1), silent), seeded(1), silent)
    ring = Ring(config.steps, HORIZON, 1, (env.state_dim,), torch.float32, frame.dim, env.action_dim, CPU)
    by_hand = RIG(
        env, encoder, goals, frame, reward, TD3(TD3Config(), frame.dim, env.action_dim, seeded(0)), ring, RelabelConfig(),
        seeded(1), batch=config.learner.batch, random_steps=HORIZON, hold=6.0, updates_per_step=config.updates_per_step,
    )  # fmt: skip
    while by_hand.steps < named.steps:
        by_hand.step()

    yield taking_turns("by_name", "env steps/s", stepping(named, size.env_steps), stepping(by_hand, size.env_steps), size.turns)


MILLION = "preset=rig_push num_envs=512 random_steps=25600 updates_per_step=0.25 steps=1000000"
MINUTES = 3.0


def push_million(size: Size) -> Iterator[Row]:
    """Minutes of 1,000,000 env steps of Push from pixels in 512 worlds, an update of 256 every four steps, end to end.

    From `rig train` to its last evaluation: exploration, encoder, a million steps, pictures. Against the three minutes that are
    its target.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "rig", "train", *MILLION.split(), f"device={size.device}", f"run_dir={folder}/run"]
        minutes = seconds_of(lambda: subprocess.run(command, check=True, capture_output=True)) / 60
    yield Row("push_million", minutes, MINUTES, "min", MINUTES / minutes, 0.0)


ROWS: dict[str, Callable[[Size], Iterator[Row]]] = {
    row.__name__: row
    for row in (
        td3_update, sac_update, relabelled_sample, train_reach, replay_memory, vae_training,
        float32_update, matmul_share, sampling, refresh, by_name, startup, frames, push_million,
    )
}  # fmt: skip
OF_DEVICE: dict[str, tuple[str, ...]] = {
    "cpu": tuple(name for name in ROWS if name != "push_million"),
    "cuda": tuple(name for name in ROWS if name not in ("by_name", "frames", "replay_memory")),
}
"""Device -> the rows that are measured there unless others are asked for."""
