"""Encoder: what turns an observation into a latent code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rig.trunk import Trunk
from rig.types import Report


def in_chunks(function: Callable[[Tensor], Tensor], observed: Tensor, rows: int = 512) -> Tensor:
    """`function` of all rows, `rows` at a time, so that what a net computes on the way fits into memory."""
    return torch.cat([function(chunk) for chunk in observed.split(rows)])


class Encoder(nn.Module, ABC):
    """Maps observations to codes. Concrete encoders are final: wrap one, never inherit from it.

    `observes` says which array of an environment's observation the encoder reads: "frame" (u8[B, H, W, 3], as stored) or
    "state" (f32[B, S], simulator state: only an oracle may). Normalising it is the encoder's own business.
    """

    observes: ClassVar[Literal["frame", "state"]] = "frame"
    can_decode: ClassVar[bool] = False
    has_density: ClassVar[bool] = False

    latent_dim: int
    version: int
    """Moves whenever the weights change; a cached code is valid for the version that made it."""
    make_trunk: Callable[[torch.Generator], Trunk] | None = None
    """Makes what a learner is to read the codes by, and trains itself; None: it takes them as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 0

    def get_extra_state(self) -> Tensor:
        """The version, kept with the weights."""
        return torch.tensor(self.version)

    def set_extra_state(self, state: Tensor) -> None:
        """Put back the version that belongs to the weights."""
        self.version = int(state)

    def prepare(self) -> None:
        """Take in what lies outside the run, such as a file; asked of a new encoder before any frame is collected, never of one
        whose state is restored. Raises UserError where something is amiss. Most have nothing of the kind.
        """
        return

    @abstractmethod
    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """Learn from observations u8[E, T, H, W, 3] (or f32[E, T, S]), consecutive along T, and move `version`.

        Returns the closing metrics.
        """

    def refit(
        self, observed: Tensor, weight: Tensor | None, steps: int, generator: torch.Generator, report: Report
    ) -> dict[str, float]:
        """Go on learning from its weights for `steps`, on observations u8[M, H, W, 3] of any moments, and move `version`.

        They are drawn alike, or by `weight` f64[M], at least 0 and of sum 1. An encoder that has nothing of the kind stays as it
        is, version included.
        """
        return {}

    def log_density(self, observed: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        """log p(x) in nats but for a constant, f32[B], of observations, from `samples` codes each.

        Raises TypeError where `has_density` is false.
        """
        raise TypeError(f"{type(self).__name__} has no density")

    def posterior_covariance(self, observed: Tensor) -> Tensor:
        """Covariance f32[D, D] of q(z|x), on average over observations. Raises TypeError where `has_density` is false."""
        raise TypeError(f"{type(self).__name__} has no posterior")

    @abstractmethod
    def encode(self, observed: Tensor) -> Tensor:
        """The posterior mean f32[B, D] of observations u8[B, H, W, 3] (or f32[B, S]); no gradient."""

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures u8[B, H, W, 3] of codes f32[B, D]. Raises TypeError where `can_decode` is false."""
        raise TypeError(f"{type(self).__name__} has no decoder")
