"""GoalSampler: the density over codes from which goals are imagined."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from rig.types import Tokens


class GoalSampler(nn.Module, ABC):
    """A density p(z) over an encoder's means. Its parameters are buffers, so that `state_dict` holds all of it.

    `needs_tokens` says whether it is a distribution of the encoder's symbols, which it is handed before anything else.
    """

    needs_tokens: ClassVar[bool] = False

    def take_tokens(self, tokens: Tokens) -> None:
        """Be handed the encoder's map between codes and symbols, to keep outside `state_dict`.

        Raises TypeError where `needs_tokens` is false.
        """
        raise TypeError(f"{type(self).__name__} needs no tokens")

    @abstractmethod
    def fit(self, latent: Tensor, weight: Tensor | None = None) -> None:
        """Fit to codes f32[M, D], which count alike or by `weight` f64[M], at least 0 and of sum 1 (Skew-Fit's)."""

    @abstractmethod
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw imagined goals f32[count, D]."""

    @abstractmethod
    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats, f32[B], of codes f32[B, D]."""

    def metrics(self) -> dict[str, float]:
        """What the last fit came to, for encoder.json; nothing where there is nothing to tell."""
        return {}
