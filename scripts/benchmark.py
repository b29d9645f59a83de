"""Our speed against named peers, both measured in the same run: the two take turns, and the medians are compared.

    python scripts/benchmark.py                             # every row, five turns each
    python scripts/benchmark.py --quick                     # shorter turns, under 8 minutes on two cores
    python scripts/benchmark.py --rows td3_update vae_training --json out.json

A ratio above 1 says that ours is faster, or smaller. Spread is (largest - smallest) / median of the ratios of single turns.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import benchmark_peers as peers
import numpy as np
import torch
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import SAC as SB3SAC
from stable_baselines3 import TD3 as SB3TD3

from rig import build
from rig.algorithm import RIG
from rig.cli_compose import compose
from rig.encoders.beta_vae import BetaVAE, BetaVAEConfig
from rig.encoders.oracle import Oracle, OracleConfig
from rig.encoders.vae import VAETraining
from rig.goals.frame import IdentityConfig, LatentFrame
from rig.goals.gaussian import StandardNormal, StandardNormalConfig
from rig.learners import SAC, TD3
from rig.learners.sac import SACConfig
from rig.learners.td3 import TD3Config
from rig.profile import silent, warmed_agent
from rig.replay.relabel import RelabelConfig
from rig.replay.ring import Ring
from rig.rewards import latent_distance

DIM, BATCH, HORIZON = 16, 256, 50
CPU = torch.device("cpu")

Work = Callable[[], int]
"""Does a fixed amount of work and returns how many units of it."""


@dataclass(frozen=True)
class Row:
    """One comparison; `ours` and `peer` are medians in `unit`."""

    name: str
    ours: float
    peer: float
    unit: str
    ratio: float
    spread: float


@dataclass(frozen=True)
class Size:
    """How much is done in a turn."""

    turns: int
    updates: int
    samples: int
    env_steps: int
    vae_steps: int


QUICK, FULL = Size(5, 60, 200, 500, 25), Size(7, 300, 1000, 2000, 100)


def taking_turns(name: str, unit: str, ours: Work, peer: Work, turns: int) -> Row:
    """Run the two alternately after one uncounted turn of each; rates are units a second."""

    def rate(work: Work) -> float:
        start = time.perf_counter()
        done = work()
        return done / (time.perf_counter() - start)

    for work in (ours, peer):
        rate(work)
    pairs = [(rate(ours), rate(peer)) for _ in range(turns)]
    ratios = [a / b for a, b in pairs]
    mine, its = (median(side) for side in zip(*pairs, strict=True))
    return Row(name, mine, its, unit, mine / its, (max(ratios) - min(ratios)) / median(ratios))


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


def update_row(name: str, ours: TD3 | SAC, kind: type[SB3TD3] | type[SB3SAC], size: Size) -> Row:
    """Sampling, relabelling, rewarding and one update, against SB3's learner with its HerReplayBuffer; the same network sizes."""
    goals, frame = StandardNormal(StandardNormalConfig(), DIM), LatentFrame(IdentityConfig(), DIM)
    codes = Oracle(OracleConfig(), (DIM,), seeded(0))
    agent = RIG(
        None, codes, goals, frame, latent_distance, ours, filled_ring(100_000, (1,)), RelabelConfig(), seeded(1),
        batch=BATCH, random_steps=0, hold=1.0, updates_per_step=1,
    )  # fmt: skip
    agent.replay.version = codes.version

    def mine() -> int:
        for _ in range(size.updates // 4):
            agent.learn(4)  # as four updates a step, or four worlds, ask for
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
    """TD3, batch 256, 256-256, codes of 16. SB3 has no LayerNorm, so that ours has none here either."""
    ours = TD3(TD3Config(layer_norm=False, batch=BATCH), DIM, peers.ACTION, seeded(0))
    yield update_row("td3_update", ours, SB3TD3, size)


def sac_update(size: Size) -> Iterator[Row]:
    """SAC likewise."""
    ours = SAC(SACConfig(layer_norm=False, batch=BATCH), DIM, peers.ACTION, seeded(0))
    yield update_row("sac_update", ours, SB3SAC, size)


def relabelled_sample(size: Size) -> Iterator[Row]:
    """256 relabelled transitions out of 1e6 with 48×48 pictures, against HerReplayBuffer with pictures in the dictionary.

    41 GB of them: its pages stay untouched, so that it reads the one page of zeros from the cache, to its advantage.
    """
    ring, generator = filled_ring(1_000_000, (48, 48, 3)), seeded(1)
    buffer = peers.her_buffer(1_000_000, peers.Codes((48, 48, 3), np.uint8))
    peers.fill(buffer, HORIZON, None)

    def mine() -> int:
        for _ in range(size.samples):
            ring.sample(1, BATCH, RelabelConfig(), 0, generator)
        return size.samples

    few = max(1, size.samples // 100)

    def its() -> int:
        for _ in range(few):
            buffer.sample(BATCH)
        return few

    yield taking_turns("relabelled_sample", "batches/s", mine, its, size.turns)


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
    theirs.standardise.fit(frames)

    def mine() -> int:
        ours.fit(frames, seeded(1), silent)
        return size.vae_steps * batch

    def its(workers: int = 0) -> int:
        peers.vae_epochs(theirs, frames, settings.beta, batch, size.vae_steps, workers)
        return size.vae_steps * batch

    seconds: list[float] = []
    for workers in (0, 2):
        start = time.perf_counter()
        its(workers)
        seconds.append(time.perf_counter() - start)
    best = 0 if seconds[0] <= seconds[1] else 2
    yield taking_turns("vae_training", "frames/s", mine, lambda: its(best), size.turns)


def train_reach(size: Size) -> Iterator[Row]:
    """Env steps a second of policy training on Reach from pixels: act, step, film, encode, store, and two updates of 128.

    Against SB3's TD3 and HerReplayBuffer over an environment that encodes each frame, with the same encoder, sizes, batch and
    updates a step.
    """
    config = compose(["device=cpu"])
    agent = warmed_agent(config, (size.turns + 1) * size.env_steps)

    def mine() -> int:
        for _ in range(size.env_steps):
            agent.step()
        return size.env_steps

    worlds, draws = build.make_env(config, 1, "train", 1), seeded(0)
    wrapped = peers.Encoded(worlds, agent.encoder.encode, lambda: agent.goals.sample(1, draws), agent.encoder.latent_dim)
    updates, learner = config.updates_per_step, config.learner
    model = peers.learner(
        SB3TD3, TimeLimit(wrapped, config.task.horizon), config.steps, batch_size=learner.batch, gamma=learner.discount,
        train_freq=1, gradient_steps=updates, learning_starts=config.random_steps,
    )  # fmt: skip
    model.learn(config.random_steps + 1)

    def its() -> int:
        model.learn(size.env_steps, reset_num_timesteps=False)
        return size.env_steps

    yield taking_turns("train_reach", "env steps/s", mine, its, size.turns)


def sampling(size: Size) -> Iterator[Row]:
    """256 relabelled transitions out of 1e4, 1e5 and 1e6 with 48×48 pictures, against the same out of 1e4: 1 is no dependence."""

    def from_ring(transitions: int) -> Work:
        ring, generator = filled_ring(transitions, (48, 48, 3)), seeded(1)

        def work() -> int:
            for _ in range(size.samples):
                ring.sample(1, BATCH, RelabelConfig(), 0, generator)
            return size.samples

        return work

    for exponent in (4, 5, 6):
        yield taking_turns(f"sampling_1e{exponent}", "batches/s", from_ring(10**exponent), from_ring(10**4), size.turns)


ROWS: dict[str, Callable[[Size], Iterator[Row]]] = {
    row.__name__: row
    for row in (td3_update, sac_update, relabelled_sample, train_reach, replay_memory, vae_training, sampling)
}


def machine() -> str:
    """One line about what this ran on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, torch {torch.__version__} on {torch.get_num_threads()} threads"


@contextmanager
def written(path: Path | None) -> Generator[list[Row]]:
    """Rows to be filled in; what there is of them is written at the end, even of a run that was cut off."""
    rows: list[Row] = []
    try:
        yield rows
    finally:
        if path is not None and path.suffix == ".csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(Row.__dataclass_fields__))
                writer.writeheader()
                writer.writerows(asdict(row) for row in rows)
        elif path is not None:
            path.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter turns")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--json", type=Path, help="also write the rows here (.json, or .csv)")
    options = parser.parse_args()
    print(machine())
    print(f"{'row':20s} {'ours':>12s} {'peer':>12s} {'unit':18s} {'ratio':>7s} {'spread':>7s}")
    with written(options.json) as rows:
        for name in options.rows:
            for row in ROWS[name](QUICK if options.quick else FULL):
                rows.append(row)
                figures = f"{row.ours:12,.1f} {row.peer:12,.1f} {row.unit:18s} {row.ratio:6.2f}× {row.spread:6.0%}"
                print(f"{row.name:20s} {figures}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
