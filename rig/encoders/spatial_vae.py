"""A β-VAE whose code is a handful of image points."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rig.encoders.posterior import DiagonalGaussian
from rig.encoders.vae import VAE, VAETraining
from rig.nets import ConvTranspose2d, initialise


@dataclass(frozen=True)
class SpatialVAEConfig:
    """Settings of the spatial β-VAE."""

    name: str = "spatial_vae"
    points: int = 8  # feature maps, each giving one image point: latents = 2 x points
    width: int = 32  # channels of the convolutions
    spread: float = 3.0  # latents of a point at the picture's edge: coordinates in [-1, 1] times this
    training: VAETraining = field(default_factory=lambda: VAETraining(steps=1600, anneal=400))


class Blobs(nn.Module):
    """Draws image points f32[B, 2K] in [-1, 1] as K maps f32[B, K, h, w] of Gaussian blobs of learnt width."""

    rows: Tensor
    columns: Tensor

    def __init__(self, points: int, height: int, width: int) -> None:
        super().__init__()
        self.log_width = nn.Parameter(torch.full((points,), -2.0))
        self.register_buffer("rows", torch.linspace(-1, 1, height), persistent=False)
        self.register_buffer("columns", torch.linspace(-1, 1, width), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """Separable Gaussians: the product of one over the columns and one over the rows."""
        column, row = points.unflatten(1, (-1, 2)).unbind(2)
        precision = 0.5 * (-2 * self.log_width).exp()[:, None]
        across = (-precision * (self.columns - column[..., None]).square()).exp()
        down = (-precision * (self.rows - row[..., None]).square()).exp()
        return down[..., :, None] * across[..., None, :]


class SoftArgmax(nn.Module):
    """The expected image point, in [-1, 1], under a softmax over each feature map: f32[B, K, h, w] to f32[B, 2K]."""

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.register_buffer("rows", torch.linspace(-1, 1, height), persistent=False)
        self.register_buffer("columns", torch.linspace(-1, 1, width), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Column and row of each map's expected point, interleaved: (x0, y0, x1, y1, …)."""
        share = (features.float().flatten(2) * self.log_temperature.exp()).softmax(2).view_as(features)
        column = (share.sum(2) * self.columns).sum(2)
        row = (share.sum(3) * self.rows).sum(2)
        return torch.stack((column, row), 2).flatten(1)


class SpatialVAE(VAE):
    """Spatial β-VAE: the posterior mean is the soft-argmax of feature maps; the decoder paints Gaussian blobs at those points.

    Its code is linear in the image position of what moves, so that latent distance grows with true distance over the whole
    table.

    Source: Finn et al. 2016 (spatial soft-argmax); Jakab et al. 2018 (decoder from Gaussian maps); Higgins et al. 2017 (bound).
    """

    Config = SpatialVAEConfig

    def __init__(self, config: SpatialVAEConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(frame_shape, config.training)
        height, width, channels = frame_shape
        if height % 2 or width % 2:
            raise ValueError(f"spatial_vae halves the picture once and needs even sides, got {height}×{width}")
        self.config = config
        self.latent_dim = 2 * config.points
        c, k = config.width, config.points
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, c, 5, 2, 2), nn.ReLU(),
            nn.Conv2d(c, c, 5, 1, 2), nn.ReLU(),
            nn.Conv2d(c, k, 5, 1, 2),
            SoftArgmax(height // 2, width // 2),
        )  # fmt: skip
        self.log_variance = nn.Parameter(torch.full((self.latent_dim,), -3.0))
        self.decoder = nn.Sequential(
            Blobs(k, height // 2, width // 2),
            nn.Conv2d(k, c, 5, 1, 2), nn.ReLU(),
            nn.Conv2d(c, c, 5, 1, 2), nn.ReLU(),
            ConvTranspose2d(c, channels, 4, 2, 1),
        )  # fmt: skip
        initialise(self, generator)

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        """See VAE."""
        mean = self.trunk(x) * self.config.spread
        return DiagonalGaussian(mean, self.log_variance.expand_as(mean))

    def reconstruct(self, latent: Tensor) -> Tensor:
        """See VAE."""
        return self.decoder(latent / self.config.spread)
