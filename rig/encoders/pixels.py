"""The picture itself as code: what reads it is trained by the critics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rig.encoders.base import Encoder, in_chunks
from rig.encoders.standardise import Standardise
from rig.trunk import Trunk, after_convolutions
from rig.types import Report


@dataclass(frozen=True)
class PixelsConfig:
    """Settings of the learner's convolutions over pixels."""

    name: str = "pixels"
    width: int = 32  # channels of each of the four convolutions [Yarats et al. 2021: 32]
    features: int = 50  # numbers that a picture becomes for actor and critics [Yarats et al. 2021: 50]
    shift: int = 4  # pixels by which pictures are moved at random in updates, at most; 0: not [Yarats et al. 2021: 4]


class Pixels(Encoder):
    """No encoder: pixels standardised one by one; the learner reads them by convolutions, trained by its critics (DrQ).

    So codes are as long as the picture has numbers, take four bytes each of them in the replay memory, and a distance is one of
    pixels. They are scaled to a total variance of 2 over the exploration, that of two coordinates of unit variance.
    Source: Yarats et al. 2021 (DrQ, arXiv:2004.13649); distances and goals in pixels: a baseline of Nair et al. 2018, section 6.
    """

    Config = PixelsConfig
    can_decode = True
    unit: Tensor

    def __init__(self, config: PixelsConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        for side in frame_shape[:2]:
            after_convolutions(side)
        self.config, self.latent_dim = config, math.prod(frame_shape)
        self.standardise = Standardise(frame_shape)
        self.register_buffer("unit", torch.ones(()))
        self.make_trunk = partial(Trunk, frame_shape, config.width, config.features, config.shift)

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """Take standardisation and scale from frames u8[E, T, H, W, 3]."""
        frames = episodes.flatten(0, 1)
        self.standardise.fit(frames)
        self.unit.fill_(1)
        squares = in_chunks(lambda chunk: self.encode(chunk).square().sum(1), frames)
        self.unit.copy_((squares.mean() / 2).sqrt())
        self.version += 1
        report(1, 1, {})
        return {}

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return self.standardise(observed).flatten(1) / self.unit

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """See Encoder."""
        return self.standardise.invert((latent * self.unit).unflatten(1, self.standardise.mean.shape))
