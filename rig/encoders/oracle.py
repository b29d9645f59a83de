"""Simulator state as the code: the upper bound that image encoders are held against."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rig.encoders.base import Encoder
from rig.types import Report


@dataclass(frozen=True)
class OracleConfig:
    """Settings of the oracle: none."""

    name: str = "oracle"


class Oracle(Encoder):
    """Simulator state, centred and scaled to unit root-mean-square deviation: what an encoder would give if it saw everything.

    One scale serves all factors, so that distances keep their proportions.
    Source: the oracle baseline of Nair et al. 2018, section 6.1.
    """

    Config = OracleConfig
    observes = "state"
    centre: Tensor
    scale: Tensor

    def __init__(self, config: OracleConfig, state_shape: tuple[int], generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        (self.latent_dim,) = state_shape
        self.register_buffer("centre", torch.zeros(state_shape))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """Take centre and scale from states f32[E, T, S]."""
        observed = episodes.flatten(0, 1)
        self.centre.copy_(observed.mean(0))
        self.scale.copy_((observed - self.centre).square().mean().sqrt().clamp(min=1e-6))
        self.version += 1
        report(1, 1, {})
        return {}

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """Codes f32[B, S] of states f32[B, S]."""
        return (observed - self.centre) / self.scale
