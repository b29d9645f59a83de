"""How scripts/benchmark.py compares: ours and a peer in turn, medians, and the spread of the turns' ratios."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

DIM, BATCH, HORIZON = 16, 256, 50
"""Of the codes, of what an update learns from, of the episodes."""
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
    """How much is done in a turn, and where."""

    turns: int
    updates: int
    samples: int
    env_steps: int
    vae_steps: int
    device: torch.device = CPU


def seeded(seed: int, device: torch.device = CPU) -> torch.Generator:
    """A generator of numbers on a device."""
    return torch.Generator(device).manual_seed(seed)


def now() -> float:
    """Seconds, once what was asked of a GPU is done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = now()
    call()
    return now() - start


def taking_turns(name: str, unit: str, ours: Work, peer: Work, turns: int) -> Row:
    """Run the two alternately after one uncounted turn of each; rates are units a second."""

    def rate(work: Work) -> float:
        start = now()
        done = work()
        return done / (now() - start)

    for work in (ours, peer):
        rate(work)
    return row_of(name, unit, [(rate(ours), rate(peer)) for _ in range(turns)])


def row_of(name: str, unit: str, pairs: Sequence[tuple[float, float]], *, less_is_better: bool = False) -> Row:
    """What ours and the peer were found to have, turn by turn."""
    mine, its = (median(side) for side in zip(*pairs, strict=True))
    ratios = [b / a if less_is_better else a / b for a, b in pairs]
    spread = (max(ratios) - min(ratios)) / median(ratios)
    return Row(name, mine, its, unit, its / mine if less_is_better else mine / its, spread)
