"""Rows of scripts/benchmark.py about single parts: replay memory, encoder, worlds, start-up; see benchmark_rows.py."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import benchmark_peers as peers
import gymnasium
import numpy as np
import torch
from benchmark_turns import BATCH, CPU, DIM, HORIZON, Row, Size, Work, row_of, seconds_of, seeded, taking_turns

from rig.encoders.beta_vae import BetaVAE, BetaVAEConfig
from rig.encoders.vae import VAETraining
from rig.envs import make_batch
from rig.replay.relabel import RelabelConfig
from rig.replay.ring import Ring
from rig.types import silent


def filled_ring(transitions: int, observed: tuple[int, ...], device: torch.device) -> Ring:
    """A ring full of random codes; its frames are as the operating system gives them, for sampling never looks at them."""
    ring = Ring(transitions, HORIZON, 1, observed, torch.uint8, DIM, peers.ACTION, device)
    generator = seeded(0, device)
    for array in (ring.latent, ring.goal):
        array.normal_(generator=generator)
    ring.action.uniform_(-1, 1, generator=generator)
    ring.begun, ring.version = ring.rows, 0
    return ring


def sampling_from(transitions: int, size: Size) -> Work:
    """Draws batches from a ring of so many transitions with 48×48 pictures."""
    ring, generator = filled_ring(transitions, (48, 48, 3), size.device), seeded(1, size.device)

    def work() -> int:
        for _ in range(size.samples):
            ring.sample(1, BATCH, RelabelConfig(), 0, generator)
        return size.samples

    return work


def relabelled_sample(size: Size) -> Iterator[Row]:
    """256 relabelled transitions out of 1e6 with 48×48 pictures, against HerReplayBuffer with pictures in the dictionary.

    41 GB of them: its pages stay untouched, so that it reads the one page of zeros from the cache, to its advantage. Neither
    computes a reward.
    """
    buffer = peers.her_buffer(1_000_000, peers.Codes((48, 48, 3), np.uint8), size.device)
    peers.fill(buffer, HORIZON, None)
    assert buffer.sample(BATCH).rewards.shape == (BATCH, 1)
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
        its = peers.buffer_bytes(peers.her_buffer(500, peers.Codes(shape, np.uint8), CPU))
        yield Row("replay_memory" if side == 48 else f"replay_memory_{side}", mine, its, "bytes/transition", its / mine, 0.0)


def vae_training(size: Size) -> Iterator[Row]:
    """Frames a second of β-VAE training, batch 128, against a loop over a DataLoader in float32.

    Of 0 and 2 workers, and of memory channels first and last, the loop has what is fastest.
    """
    batch, settings = 128, VAETraining(steps=size.vae_steps, batch=128)
    frames = torch.randint(0, 256, (4096, 48, 48, 3), dtype=torch.uint8, generator=seeded(0))
    near = frames.to(size.device)  # where ours has them: in the replay memory
    ours, theirs, last = (BetaVAE(BetaVAEConfig(training=settings), (48, 48, 3), seeded(0)).to(size.device) for _ in range(3))
    for encoder in (ours, theirs, last):
        encoder.standardise.fit(near)
    peers.as_it_comes(theirs, torch.contiguous_format)
    peers.as_it_comes(last, torch.channels_last)

    def mine() -> int:
        ours.train_on(near, settings, seeded(1, size.device), silent)
        return size.vae_steps * batch

    def its(encoder: BetaVAE, workers: int) -> int:
        peers.vae_epochs(encoder, frames, settings.beta, batch, size.vae_steps, workers)
        return size.vae_steps * batch

    ways = [partial(its, encoder, workers) for workers in (0, 2) for encoder in (theirs, last)]
    best = min(ways, key=lambda way: min(seconds_of(way) for _ in range(2)))
    yield taking_turns("vae_training", "frames/s", mine, best, size.turns)


def sampling(size: Size) -> Iterator[Row]:
    """256 relabelled transitions out of 1e4, 1e5 and 1e6 with 48×48 pictures, against the same out of 1e4: 1 is no dependence."""
    for exponent in (4, 5, 6):
        mine, its = sampling_from(10**exponent, size), sampling_from(10**4, size)
        yield taking_turns(f"sampling_1e{exponent}", "batches/s", mine, its, size.turns)


def refresh(size: Size) -> Iterator[Row]:
    """Frames a second of re-encoding a replay memory after a refit, against the encoder's own rate on 512 frames at hand."""
    encoder = BetaVAE(BetaVAEConfig(), (48, 48, 3), seeded(0)).to(size.device)
    ring = filled_ring(100 * HORIZON, (48, 48, 3), size.device)
    ring.observed.random_(0, 256, generator=seeded(0, size.device))
    frames = ring.observed.flatten(0, 1)[:512].clone()

    def whole() -> int:
        with torch.no_grad():
            ring.refresh(encoder.encode, 0)
        return len(ring)

    def at_hand() -> int:
        for _ in range(10):
            encoder.encode(frames)
        return 10 * len(frames)

    ring.latent = torch.empty((*ring.latent.shape[:2], encoder.latent_dim), device=size.device)
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
