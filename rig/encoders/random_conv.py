"""Random convolutional features, projected onto their principal components."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rig.encoders.base import Encoder, in_chunks
from rig.encoders.dense import grid_of, halvings
from rig.encoders.pca import PCA, sampled
from rig.encoders.standardise import Standardise
from rig.nets import initialise
from rig.types import Report


@dataclass(frozen=True)
class RandomConvConfig:
    """Settings of the random convolutional features."""

    name: str = "random_conv"
    latent_dim: int = 16  # principal components of the features
    width: int = 32  # channels of the first convolution; the next two have twice as many


class RandomConv(Encoder):
    """Random features: three strided convolutions that are never trained, of pixels standardised one by one, and their PCA.

    What a trained encoder must be better than. The features stay where they are in the picture, for places are what is asked of
    them. Source: Saxe et al. 2011 (random convolutional weights); Burda et al. 2019 and Seo et al. 2021 (of frozen ones, in
    reinforcement learning).
    """

    Config = RandomConvConfig

    def __init__(self, config: RandomConvConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = grid_of(frame_shape)
        self.config = config
        self.latent_dim = config.latent_dim
        self.standardise = Standardise(frame_shape)
        self.trunk = nn.Sequential(*halvings(frame_shape[2], config.width), nn.Flatten())
        self.pca = PCA(2 * config.width * rows * columns, config.latent_dim)
        initialise(self, generator)
        self.requires_grad_(False)

    def features(self, frames: Tensor) -> Tensor:
        """Random features f32[B, F] of frames u8[B, H, W, 3]."""
        return self.trunk(self.standardise(frames))

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """Take the standardisation from frames u8[E, T, H, W, 3], and the principal components from a sample of them."""
        frames = episodes.flatten(0, 1)
        self.standardise.fit(frames)
        self.pca.fit(in_chunks(self.features, sampled(frames, generator)))
        self.version += 1
        report(1, 1, {})
        return {}

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return in_chunks(lambda chunk: self.pca(self.features(chunk)), observed)
