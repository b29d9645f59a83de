"""An autoencoder without a prior on its code."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rig.encoders.base import Encoder, in_chunks
from rig.encoders.dense import dense_decoder, dense_trunk
from rig.encoders.standardise import Standardise
from rig.encoders.training import Training, descend
from rig.nets import initialise, mixed_precision
from rig.types import Report


@dataclass(frozen=True)
class AutoencoderConfig:
    """Settings of the autoencoder."""

    name: str = "autoencoder"
    latent_dim: int = 8  # latents
    width: int = 32  # channels of the first convolution; the next two have twice as many
    hidden: int = 256  # units of the dense layer on either side of the code
    training: Training = field(default_factory=Training)


class Autoencoder(Encoder):
    """Dense autoencoder: the networks of beta_vae with β = 0 and no noise, so that nothing orders or bounds the code.

    Its code's scale is arbitrary: frame=standardised, whitened or slow gives it one. Source: Hinton & Salakhutdinov 2006.
    """

    Config = AutoencoderConfig
    can_decode = True

    def __init__(self, config: AutoencoderConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.latent_dim = config.latent_dim
        self.standardise = Standardise(frame_shape)
        self.trunk = dense_trunk(frame_shape, config.width, config.hidden, config.latent_dim)
        self.decoder = dense_decoder(frame_shape, config.width, config.hidden, config.latent_dim)
        initialise(self, generator)

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """See Encoder."""
        frames = episodes.flatten(0, 1)
        self.standardise.fit(frames)
        return self._train_on(frames, None, self.config.training, generator, report)

    def refit(
        self, observed: Tensor, weight: Tensor | None, steps: int, generator: torch.Generator, report: Report
    ) -> dict[str, float]:
        """See Encoder."""
        return self._train_on(observed, weight, replace(self.config.training, steps=steps), generator, report)

    def _train_on(
        self, frames: Tensor, weight: Tensor | None, training: Training, generator: torch.Generator, report: Report
    ) -> dict[str, float]:
        def loss(index: Tensor, step: int) -> dict[str, Tensor]:
            x = self.standardise(frames[index])
            with mixed_precision(training.precision, x.device):
                pictures = self.decoder(self.trunk(x))
            error = (pictures.float() - x).square().sum((1, 2, 3)).mean()
            return {"reconstruction": error, "loss": error}

        metrics = descend(self, loss, len(frames), training, generator, report, weight)
        self.version += 1
        return metrics

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return in_chunks(lambda chunk: self.trunk(self.standardise(chunk)), observed)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """See Encoder."""
        return self.standardise.invert(self.decoder(latent))
