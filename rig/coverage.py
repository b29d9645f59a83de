"""How much of its world training has been in, read from simulator state: for the metrics only, the agent sees none of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

BINS = 10
"""Cells along each number of a factor, of equal width over the task's kept region; what lies outside counts in the last cell."""


class Surveyed:
    """Worlds that count where their factors have been after each step; in all else they are the worlds that they are made of.

    A factor of d numbers has a histogram of BINS^d cells. Worlds that do not say how large they are have none.
    """

    def __init__(self, env: Any, device: torch.device) -> None:
        self.worlds = env
        bounded = hasattr(env.task, "state_low")
        self.factors: dict[str, list[int]] = {name: list(factor.indices) for name, factor in env.task.factors.items() if bounded}
        self.counts = {name: torch.zeros(BINS ** len(of), dtype=torch.int64, device=device) for name, of in self.factors.items()}
        if bounded:
            self.low, self.high = (torch.tensor(end, device=device) for end in (env.task.state_low, env.task.state_high))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.worlds, name)

    def step(self, action: Any) -> Any:
        """As the worlds' own, and count."""
        observation = self.worlds.step(action)
        if self.factors:
            self.count(torch.as_tensor(observation.state, device=self.low.device))
        return observation

    def count(self, state: Tensor) -> None:
        """Add states f32[N, S]."""
        cell = ((state - self.low) / (self.high - self.low) * BINS).long().clamp(0, BINS - 1)
        one = torch.ones(len(cell), dtype=torch.int64, device=cell.device)
        for name, indices in self.factors.items():
            place = sum(cell[:, index] * BINS**digit for digit, index in enumerate(indices))
            self.counts[name].index_add_(0, torch.as_tensor(place), one)

    def coverage(self) -> dict[str, float]:
        """Entropy in nats of each factor's histogram since training began: 0 where it never moved, at most d · log BINS."""
        return {name: float(torch.special.entr(count / count.sum().clamp(min=1)).sum()) for name, count in self.counts.items()}

    def snapshot(self) -> dict[str, np.ndarray]:
        """As the worlds' own, with the histograms."""
        return {**self.worlds.snapshot(), **{f"visits_{name}": count.cpu().numpy() for name, count in self.counts.items()}}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """As the worlds' own, with the histograms, which are empty where the snapshot has none."""
        rest = dict(snapshot)
        for name, count in self.counts.items():
            visits = rest.pop(f"visits_{name}", np.zeros(len(count), np.int64))
            count.copy_(torch.from_numpy(visits))
        self.worlds.restore(rest)
