"""GoalSampler: the density over codes from which goals are imagined."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class GoalSampler(nn.Module, ABC):
    """A density p(z) over an encoder's means. Its parameters are buffers, so that `state_dict` holds all of it."""

    @abstractmethod
    def fit(self, latent: Tensor, weight: Tensor | None = None) -> None:
        """Fit to codes f32[M, D], which count alike or by `weight` f64[M], at least 0 and of sum 1 (Skew-Fit's)."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw imagined goals f32[count, D]."""

    @abstractmethod
    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats, f32[B], of codes f32[B, D]."""
