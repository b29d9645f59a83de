"""GoalSampler: the density over codes from which goals are imagined."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from rig.types import Coder, Report, silent


class GoalSampler(nn.Module, ABC):
    """A density p(z) over an encoder's means. Its `state_dict` holds all of it.

    `has_density` says whether `log_prob` is the logarithm of a density of codes, not of a probability of something else.
    """

    has_density: bool = True

    def attach(self, encoder: Coder, observed_shape: tuple[int, ...]) -> None:
        """Be handed the encoder, before anything else, and the shape of what it reads; kept outside `state_dict`.

        Raises ValueError where its codes are not what this draws. Most need nothing of it.
        """
        return

    def prepare(self) -> None:
        """Take in what lies outside the run, such as files; asked of a new one before any frame is collected, never of one whose
        state is restored. Raises UserError where something is amiss. Most have nothing of the kind.
        """
        return

    @abstractmethod
    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Fit to codes f32[M, D], which count alike or by `weight` f64[M], at least 0 and of sum 1 (Skew-Fit's).

        Those who take long tell `report` of every step.
        """

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw imagined goals f32[count, D]."""

    @abstractmethod
    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats, f32[B], of codes f32[B, D]."""

    def metrics(self) -> dict[str, float]:
        """What the last fit came to, for encoder.json; nothing where there is nothing to tell."""
        return {}
