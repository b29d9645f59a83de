"""The dense convolutional β-VAE of RIG."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rig.encoders.vae import VAE, VAETraining, diagonal_gaussian
from rig.nets import initialise


@dataclass(frozen=True)
class BetaVAEConfig:
    """Settings of the dense β-VAE."""

    name: str = "beta_vae"
    latent_dim: int = 8  # latents; 4 lose the puck of Push at any β
    width: int = 32  # channels of the first convolution; the next two have twice as many
    hidden: int = 256  # units of the dense layer on either side of the code
    training: VAETraining = field(default_factory=VAETraining)


class BetaVAE(VAE):
    """Dense β-VAE: three strided convolutions and a dense layer to the mean and log-variance of a diagonal posterior.

    Source: Kingma & Welling 2014; Higgins et al. 2017; as RIG's encoder, Nair et al. 2018, section 4.1.
    """

    Config = BetaVAEConfig

    def __init__(self, config: BetaVAEConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(frame_shape, config.training)
        height, width, channels = frame_shape
        self.config = config
        self.latent_dim = config.latent_dim
        c = config.width
        grid = (2 * c, height // 8, width // 8)
        # Halving an odd side drops a row, which doubling must add again: at 84, whose halves are 42, 21 and 10, the first has to.
        odd = [(height // n % 2, width // n % 2) for n in (4, 2, 1)]
        flat = grid[0] * grid[1] * grid[2]
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, c, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(c, 2 * c, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(2 * c, 2 * c, 4, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(flat, config.hidden), nn.ReLU(),
            nn.Linear(config.hidden, 2 * config.latent_dim),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(config.latent_dim, config.hidden), nn.ReLU(),
            nn.Linear(config.hidden, flat), nn.ReLU(), nn.Unflatten(1, grid),
            nn.ConvTranspose2d(2 * c, 2 * c, 4, 2, 1, odd[0]), nn.ReLU(),
            nn.ConvTranspose2d(2 * c, c, 4, 2, 1, odd[1]), nn.ReLU(),
            nn.ConvTranspose2d(c, channels, 4, 2, 1, odd[2]),
        )  # fmt: skip
        initialise(self, generator)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance f32[B, D] of q(z|x) for standardised frames f32[B, 3, H, W]."""
        return diagonal_gaussian(self.trunk(x))

    def reconstruct(self, latent: Tensor) -> Tensor:
        """Standardised mean pictures f32[B, 3, H, W] of codes f32[B, D]."""
        return self.decoder(latent)
