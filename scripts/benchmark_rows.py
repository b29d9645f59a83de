"""The rows of scripts/benchmark.py: what is compared with what; a docstring each, which docs/benchmarks.md shows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import benchmark_peers as peers
import gymnasium
import numpy as np
import torch
from benchmark_turns import Row, Size, Work, row_of, seconds_of, taking_turns
from stable_baselines3 import SAC as SB3SAC
from stable_baselines3 import TD3 as SB3TD3
from torch.utils.flop_counter import FlopCounterMode

from rig import build
from rig.algorithm import RIG, collect, represent
from rig.cli_compose import compose
from rig.encoders.beta_vae import BetaVAE, BetaVAEConfig
from rig.encoders.oracle import Oracle, OracleConfig
from rig.encoders.vae import VAETraining
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

DIM, BATCH, HORIZON = 16, 256, 50
CPU = torch.device("cpu")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def filled_ring(transitions: int, observed: tuple[int, ...]) -> Ring:
    """A ring full of random codes; its frames are as the operating system gives them, for sampling never looks at them."""
    ring = Ring(transitions, HORIZON, 1, observed, torch.uint8, DIM, peers.ACTION, CPU)
    generator = seeded(0)
    for array in (ring.latent, ring.goal):
        array.normal_(generator=generator)
    ring.action.uniform_(-1, 1, generator=generator)
    ring.begun, ring.version = ring.rows, 0
    return ring


def agent_of(learner: TD3 | SAC, batch: int) -> RIG:
    """An agent that only learns, from 100,000 made-up transitions; its updates are compiled."""
    goals, frame = StandardNormal(StandardNormalConfig(), DIM), LatentFrame(IdentityConfig(), DIM)
    codes = Oracle(OracleConfig(), (DIM,), seeded(0))
    agent = RIG(
        None, codes, goals, frame, LatentDistance(LatentDistanceConfig()), learner, filled_ring(100_000, (1,)), RelabelConfig(),
        seeded(1), batch=batch, random_steps=0, hold=1.0, updates_per_step=4,
    )  # fmt: skip
    agent.replay.version = codes.version
    learner.compile_steps(True)
    agent.learn(4)
    return agent


def update_row(name: str, ours: TD3 | SAC, kind: type[SB3TD3] | type[SB3SAC], size: Size) -> Row:
    """Sampling, relabelling, rewarding and one update, against SB3's learner with its HerReplayBuffer; the same network sizes."""
    agent = agent_of(ours, BATCH)

    def mine() -> int:
        for _ in range(size.updates // 4):
            agent.learn(4)
        return size.updates

    model = peers.learner(kind, peers.Codes((DIM,)), 100_000, batch_size=BATCH)
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
    yield update_row("td3_update", TD3(TD3Config(layer_norm=False, precision="auto"), DIM, peers.ACTION, seeded(0)), SB3TD3, size)


def sac_update(size: Size) -> Iterator[Row]:
    """SAC likewise."""
    yield update_row("sac_update", SAC(SACConfig(layer_norm=False, precision="auto"), DIM, peers.ACTION, seeded(0)), SB3SAC, size)


def float32_update(size: Size) -> Iterator[Row]:
    """The same two in float32 throughout, which is the default."""
    yield update_row("td3_update_float32", TD3(TD3Config(layer_norm=False), DIM, peers.ACTION, seeded(0)), SB3TD3, size)
    yield update_row("sac_update_float32", SAC(SACConfig(layer_norm=False), DIM, peers.ACTION, seeded(0)), SB3SAC, size)


def matmul_share(size: Size) -> Iterator[Row]:
    """GFLOP/s of the matrix products in TD3 and SAC updates with relabelled batches of 4,096: the ratio is the share of the peak.

    The peak is the most that this device does in one large float32 product. Everything else an update does counts as time only.
    """
    peak = peak_flops(CPU) / 1e9
    for learner in (TD3(TD3Config(), DIM, peers.ACTION, seeded(0)), SAC(SACConfig(), DIM, peers.ACTION, seeded(0))):
        agent = agent_of(learner, 4096)
        with agent.learner.as_written(), FlopCounterMode(display=False) as counter:
            agent.learn(2)
        each = counter.get_total_flops() / 2 / 1e9
        pairs = [(4 * each / seconds_of(lambda: agent.learn(4)), peak) for _ in range(size.turns)]  # noqa: B023  called at once
        yield row_of(f"matmul_share_{learner.config.name}", "GFLOP/s", pairs)


def sampling_from(transitions: int, size: Size) -> Work:
    """Draws batches from a ring of so many transitions with 48×48 pictures."""
    ring, generator = filled_ring(transitions, (48, 48, 3)), seeded(1)

    def work() -> int:
        for _ in range(size.samples):
            ring.sample(1, BATCH, RelabelConfig(), 0, generator)
        return size.samples

    return work


def relabelled_sample(size: Size) -> Iterator[Row]:
    """256 relabelled transitions out of 1e6 with 48×48 pictures, against HerReplayBuffer with pictures in the dictionary.

    41 GB of them: its pages stay untouched, so that it reads the one page of zeros from the cache, to its advantage.
    """
    buffer = peers.her_buffer(1_000_000, peers.Codes((48, 48, 3), np.uint8))
    peers.fill(buffer, HORIZON, None)
    few = max(1, size.samples // 100)

    def its() -> int:
        for _ in range(few):
            buffer.sample(BATCH)
        return few

    yield taking_turns("relabelled_sample", "batches/s", sampling_from(1_000_000, size), its, size.turns)


def replay_memory(size: Size) -> Iterator[Row]:
    """Bytes a transition at 48×48 and 84×84, against HerReplayBuffer with pictures in the dictionary. Counted, not timed."""
    del size
    for side in (48, 84):
        shape = (side, side, 3)
        mine = Ring(100 * HORIZON, HORIZON, 1, shape, torch.uint8, DIM, peers.ACTION, CPU).bytes_per_transition
        its = peers.buffer_bytes(peers.her_buffer(500, peers.Codes(shape, np.uint8)))
        yield Row("replay_memory" if side == 48 else f"replay_memory_{side}", mine, its, "bytes/transition", its / mine, 0.0)


def vae_training(size: Size) -> Iterator[Row]:
    """Frames a second of β-VAE training, batch 128, against a loop over a DataLoader (the faster of 0 and 2 workers)."""
    batch, settings = 128, VAETraining(steps=size.vae_steps, batch=128)
    frames = torch.randint(0, 256, (4096, 48, 48, 3), dtype=torch.uint8, generator=seeded(0))
    ours, theirs = (BetaVAE(BetaVAEConfig(training=settings), (48, 48, 3), seeded(0)) for _ in range(2))
    for encoder in (ours, theirs):
        encoder.standardise.fit(frames)

    def mine() -> int:
        ours.train_on(frames, settings, seeded(1), silent)
        return size.vae_steps * batch

    def its(workers: int = 0) -> int:
        peers.vae_epochs(theirs, frames, settings.beta, batch, size.vae_steps, workers)
        return size.vae_steps * batch

    best = min((0, 2), key=lambda workers: seconds_of(lambda: its(workers)))
    yield taking_turns("vae_training", "frames/s", mine, lambda: its(best), size.turns)


def stepping(agent: RIG, steps: int) -> Work:
    """Takes so many env steps in each world."""

    def work() -> int:
        for _ in range(steps):
            agent.step()
        return steps * agent.env.num_envs

    return work


def training_row(name: str, worlds: int, size: Size, *learner: str) -> Row:
    """Whole training on Reach from pixels, in so many worlds at once on either side; `learner`: our learner's settings."""
    parts = ["encoder=beta_vae", "goals=gaussian", "frame=identity", "device=cpu", f"num_envs={worlds}"]
    config = compose([*parts, "learner.compile=on", "learner.precision=auto", *learner])
    steps = size.env_steps // worlds
    agent = warmed_agent(config, (size.turns + 1) * steps * worlds)
    envs, imagine = build.make_env(config, 1, "train", worlds), partial(agent.goals.sample, generator=seeded(0))
    encoded = peers.EncodedWorlds(envs, agent.encoder.encode, imagine, agent.encoder.latent_dim, config.task.horizon)
    model = peers.learner(
        SB3TD3, encoded, config.steps, batch_size=config.learner.batch, gamma=config.learner.discount, train_freq=1,
        gradient_steps=config.updates_per_step * worlds, learning_starts=config.random_steps,
    )  # fmt: skip
    model.learn(config.random_steps + 1)

    def its() -> int:
        model.learn(steps * worlds, reset_num_timesteps=False)
        return steps * worlds

    return taking_turns(name, "env steps/s", stepping(agent, steps), its, size.turns)


def train_reach(size: Size) -> Iterator[Row]:
    """Env steps a second of policy training on Reach from pixels: act, step, film, encode, store, and two updates of 128.

    Against SB3's TD3 and HerReplayBuffer over environments that encode their frames, with the same encoder, sizes, batch and
    updates a step. SB3 has no LayerNorm and no candidates to choose an action from, so that ours has none here either. Eight
    worlds, the default, are stepped, filmed and encoded together, on either side. train_reach_defaults: ours with both, as it
    trains by default; train_reach_1: that in one world.
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


def sampling(size: Size) -> Iterator[Row]:
    """256 relabelled transitions out of 1e4, 1e5 and 1e6 with 48×48 pictures, against the same out of 1e4: 1 is no dependence."""
    for exponent in (4, 5, 6):
        mine, its = sampling_from(10**exponent, size), sampling_from(10**4, size)
        yield taking_turns(f"sampling_1e{exponent}", "batches/s", mine, its, size.turns)


def refresh(size: Size) -> Iterator[Row]:
    """Frames a second of re-encoding a replay memory after a refit, against the encoder's own rate on 512 frames at hand."""
    encoder = BetaVAE(BetaVAEConfig(), (48, 48, 3), seeded(0))
    ring = filled_ring(100 * HORIZON, (48, 48, 3))
    ring.observed.random_(0, 256, generator=seeded(0))
    frames = ring.observed.flatten(0, 1)[:512].clone()

    def whole() -> int:
        with torch.no_grad():
            ring.refresh(encoder.encode, 0)
        return len(ring)

    def at_hand() -> int:
        for _ in range(10):
            encoder.encode(frames)
        return 10 * len(frames)

    ring.latent = torch.empty((*ring.latent.shape[:2], encoder.latent_dim))
    yield taking_turns("refresh", "frames/s", whole, at_hand, size.turns)


def frames(size: Size) -> Iterator[Row]:
    """Env steps with 48×48 frames a second in 16 worlds of Push: physics, and a picture of each.

    Against Gymnasium's AsyncVectorEnv over 16 environments with the same scene and substeps, each in a process of its own with
    mujoco.Renderer, under EGL unless MUJOCO_GL names another. frames_single: against a loop over one such environment.
    """
    steps = max(1, size.env_steps // 4)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, 16, peers.ACTION)).astype(np.float32)
    worlds = make_batch("push", 16, seed=0)

    def mine() -> int:
        for action in actions:
            worlds.step(action)
        return actions[..., 0].size

    def its(env: gymnasium.Env[Any, Any] | gymnasium.vector.VectorEnv[Any, Any, Any], actions: np.ndarray) -> int:
        for action in actions:
            env.step(action)
        return actions[..., 0].size

    # Processes first: once this one has an OpenGL context, those forked from it have a broken one.
    many = peers.filmed_worlds("push", 16)
    yield taking_turns("frames", "env steps/s", mine, lambda: its(many, actions), size.turns)
    many.close()
    one = peers.Filmed("push")
    one.reset()
    few = actions[:, :4].reshape(-1, peers.ACTION)
    yield taking_turns("frames_single", "env steps/s", mine, lambda: its(one, few), size.turns)
    one.close()
    worlds.close()


FIRST_STEP = """
import os, sys
from rig.envs.mujoco_batch import MujocoBatch
MujocoBatch.step = lambda self, action: os._exit(0)
from rig.cli import main
main(["train", "device=cpu", "run_dir=" + sys.argv[1]])
"""
LIBRARIES = "import torch, mujoco, mujoco_warp, gymnasium, hydra"


def startup(size: Size) -> Iterator[Row]:
    """Seconds from `rig train` to its first env step, caches warm, against importing the libraries that it stands on."""

    def seconds(program: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", program, folder]
            return seconds_of(lambda: subprocess.run(command, check=True, stderr=subprocess.DEVNULL))

    seconds(FIRST_STEP)
    pairs = [(seconds(FIRST_STEP), seconds(LIBRARIES)) for _ in range(size.turns)]
    yield row_of("startup", "s", pairs, less_is_better=True)


ROWS: dict[str, Callable[[Size], Iterator[Row]]] = {
    row.__name__: row
    for row in (
        td3_update, sac_update, relabelled_sample, train_reach, replay_memory, vae_training,
        float32_update, matmul_share, sampling, refresh, by_name, startup, frames,
    )
}  # fmt: skip
