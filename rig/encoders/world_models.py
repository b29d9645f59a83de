"""The VAE of World Models."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rig.encoders.posterior import DiagonalGaussian
from rig.encoders.vae import VAE, VAETraining
from rig.nets import ConvTranspose2d, initialise

SIDE = 64
"""Pixels of a picture's side: what four unpadded convolutions bring to 2×2, and four unpadded deconvolutions come out at."""


def published() -> VAETraining:
    """The loss of the published code, hardmaru/WorldModelsExperiments, carracing/vae: beta, tolerance and plain pixels.

    Its batch is 100 and its rate 1e-4, for ten passes over the frames of 10,000 rollouts; these trainings are shorter.
    """
    return VAETraining(beta=1.0, kl_tolerance=0.5, standardise=False)


@dataclass(frozen=True)
class WorldModelsConfig:
    """Settings of the VAE of World Models."""

    name: str = "world_models"
    latent_dim: int = 32  # latents [Ha & Schmidhuber 2018: 32 in CarRacing, 64 in Doom]
    training: VAETraining = field(default_factory=published)


class WorldModels(VAE):
    """The 64×64 VAE of World Models: squared error of pixels in [0, 1], and a KL that costs nothing below half a nat a latent.

    Source: Ha & Schmidhuber 2018 (arXiv:1803.10122), appendix A.1; the tolerance of the KL is in their published code only.
    """

    Config = WorldModelsConfig

    def __init__(self, config: WorldModelsConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(frame_shape, config.training)
        height, width, channels = frame_shape
        if (height, width) != (SIDE, SIDE):
            raise ValueError(f"world_models takes pictures of {SIDE}×{SIDE}, got {height}×{width}: expected task.size={SIDE}")
        self.config = config
        self.latent_dim = config.latent_dim
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, 32, 4, 2), nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2), nn.ReLU(),
            nn.Conv2d(64, 128, 4, 2), nn.ReLU(),
            nn.Conv2d(128, 256, 4, 2), nn.ReLU(),
            nn.Flatten(), nn.Linear(2 * 2 * 256, 2 * config.latent_dim),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(config.latent_dim, 1024), nn.Unflatten(1, (1024, 1, 1)),
            ConvTranspose2d(1024, 128, 5, 2), nn.ReLU(),
            ConvTranspose2d(128, 64, 5, 2), nn.ReLU(),
            ConvTranspose2d(64, 32, 6, 2), nn.ReLU(),
            ConvTranspose2d(32, channels, 6, 2), nn.Sigmoid(),
        )  # fmt: skip
        initialise(self, generator)

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        """See VAE."""
        return DiagonalGaussian.of(self.trunk(x))

    def reconstruct(self, latent: Tensor) -> Tensor:
        """See VAE; mean pixels come out of the net, standardised where the training is."""
        return self.standardise.scaled(self.decoder(latent))
