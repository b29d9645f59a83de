"""The frame of the latent space: the affine map from an encoder's means to where the agent observes, aims and is rewarded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rig.goals.slow import slow_features, spanning_features, steady_slowness
from rig.types import living, need_covariance

RIDGE = 1e-3
"""Variance of a code's direction below which a frame that follows an encoder keeps the map that it had."""


@dataclass(frozen=True)
class IdentityConfig:
    """The encoder's means as they are: RIG as published (Nair et al. 2018)."""

    name: str = "identity"


@dataclass(frozen=True)
class StandardisedConfig:
    """Each latent shifted and scaled to zero mean and unit variance. Source: Nair et al. 2018, Mahalanobis reward, diagonal."""

    name: str = "standardised"


@dataclass(frozen=True)
class WhitenedConfig:
    """Principal coordinates of the codes, each scaled to unit variance. Source: PCA whitening of the fitted Gaussian."""

    name: str = "whitened"


@dataclass(frozen=True)
class SlowConfig:
    """Slow features of the codes: what moves rarely, in unit variance. Source: Wiskott & Sejnowski 2002."""

    name: str = "slow"
    weight_power: float = 0.0  # reward weight of a feature ∝ slowness without noise^-power, mean 1; 0: all alike
    keep: int = 0  # features kept; 0: those that the others cannot be predicted from
    ridge: float = 1e-3  # variance below which a direction of the codes is dead and counts as noise; added to every other's


class SpectrumGap(NamedTuple):
    """Where a latent frame's spectrum has its widest gap, which the state should lie on one side of."""

    spectrum_gap: float
    """The larger of the two neighbours over the smaller."""
    spectrum_gap_after: int
    """How many coordinates lie below it: of the slow frame, those that change least; of others, those that vary least."""


def widest_gap(spectrum: Tensor) -> SpectrumGap:
    """The widest gap between neighbours of a spectrum f32[D], D > 1, in any order. A millionth of the largest counts as none."""
    ordered = spectrum.double().sort().values
    ordered = ordered.clamp(min=max(1e-6 * float(ordered[-1]), 1e-12))
    ratio, place = (ordered[1:] / ordered[:-1]).max(0)
    return SpectrumGap(float(ratio), int(place) + 1)


FrameConfig = IdentityConfig | StandardisedConfig | WhitenedConfig | SlowConfig


class LatentFrame(nn.Module):
    """u = (z - offset) @ matrix.T with reward weights per coordinate; z f32[B, D] encoder means, u f32[B, K] agent coordinates.

    A map that is diagonal has its diagonal f32[D] as matrix, since codes may be as long as a picture has pixels.
    `spectrum` f32[D] is what the frame was chosen by: the slowness of every feature (`slow`), the variance of every principal
    coordinate (`whitened`) or latent (otherwise).
    """

    offset: Tensor
    matrix: Tensor
    weight: Tensor
    spectrum: Tensor

    def __init__(self, config: FrameConfig, latent_dim: int) -> None:
        super().__init__()
        if isinstance(config, (SlowConfig, WhitenedConfig)):
            need_covariance(latent_dim, "frame=identity")
        if isinstance(config, SlowConfig) and config.keep > latent_dim:
            raise ValueError(f"frame.keep={config.keep} asks for more features than the code's {latent_dim} latents")
        self.config = config
        self.register_buffer("offset", torch.zeros(latent_dim))
        self.register_buffer("matrix", torch.ones(latent_dim))
        self.register_buffer("weight", torch.ones(latent_dim))
        self.register_buffer("spectrum", torch.ones(latent_dim))

    @property
    def dim(self) -> int:
        """K, the number of agent coordinates."""
        return len(self.matrix)

    @property
    def full(self) -> Tensor:
        """The matrix f32[K, D] whole, diagonal or not."""
        return self.matrix if self.matrix.dim() == 2 else torch.diag(self.matrix)

    def become(self, matrix: Tensor) -> None:
        """Take a matrix [K, D] or diagonal [D] of any K, and room for as many reward weights."""
        self.matrix = matrix.to(self.offset)
        self.weight = self.weight.new_ones(self.dim)

    def fit(self, episodes: Tensor, generator: torch.Generator) -> None:
        """Fit to the codes f32[E, T, D] of exploration episodes, consecutive along T."""
        codes = episodes.flatten(0, 1).double()
        if isinstance(self.config, SlowConfig):
            self._fit_slow(episodes.double(), self.config, generator)
            return
        self.spectrum.copy_(codes.var(0, correction=0))
        if isinstance(self.config, StandardisedConfig):
            self.offset.copy_(codes.mean(0))
            self.become(living(self.spectrum).rsqrt())
        elif isinstance(self.config, WhitenedConfig):
            variance, axes = torch.linalg.eigh(codes.T.cov(correction=0).reshape(codes.shape[1], -1))
            variance, axes = variance.flip(0).clamp(min=1e-12), axes.flip(1)
            self.offset.copy_(codes.mean(0))
            self.become(axes.T * living(variance).rsqrt()[:, None])
            self.spectrum.copy_(variance)

    def _fit_slow(self, episodes: Tensor, config: SlowConfig, generator: torch.Generator) -> None:
        offset, matrix, slowness = slow_features(episodes, config.ridge)
        features = (episodes - offset) @ matrix.T
        kept = list(range(config.keep)) if config.keep else spanning_features(features, slowness, generator)
        weight = steady_slowness(features, slowness)[kept].clamp(min=1e-4) ** -config.weight_power
        self.become(matrix[kept])
        self.offset.copy_(offset)
        self.weight.copy_(weight / weight.mean())
        self.spectrum.copy_(slowness)

    def follow(self, latent: Tensor, coordinates: Tensor) -> None:
        """After the encoder changed, become the map from its codes f32[M, D] that gives the coordinates f32[M, K] they had.

        Coordinates, their number, signs, order and weights keep their meaning, so that learners and stored goals know them again:
        a frame fitted anew would turn and mix them. Least squares, drawn to the map as it was where codes do not vary; what
        each coordinate loses of its spread by being predicted is given back, up to a tenth, or many refits would shrink it.
        """
        codes, target = latent.double(), coordinates.double()
        centred, wanted = codes - codes.mean(0), target - target.mean(0)
        matrix = self.full.double()
        gram = centred.T @ centred / len(codes) + RIDGE * torch.eye(codes.shape[1], dtype=codes.dtype, device=codes.device)
        matrix = matrix + torch.linalg.solve(gram, centred.T @ (wanted - centred @ matrix.T) / len(codes)).T
        spread = (centred @ matrix.T).var(0, correction=0).clamp(min=1e-12)
        matrix = matrix * (wanted.var(0, correction=0) / spread).sqrt().clamp(1, 1.1)[:, None]
        self.matrix = matrix.to(self.offset)
        self.offset.copy_(codes.mean(0) - torch.linalg.pinv(matrix) @ target.mean(0))

    def invert(self, coordinates: Tensor) -> Tensor:
        """Codes f32[B, D] that have these coordinates f32[B, K]: where they are many, the nearest to the frame's offset."""
        if self.matrix.dim() == 1:
            return self.offset + coordinates / self.matrix
        return self.offset + coordinates @ torch.linalg.solve_ex(self.matrix @ self.matrix.T, self.matrix)[0]

    def forward(self, latent: Tensor) -> Tensor:
        """Agent coordinates f32[B, K] of encoder means f32[B, D]."""
        return (latent - self.offset) * self.matrix if self.matrix.dim() == 1 else (latent - self.offset) @ self.matrix.T
