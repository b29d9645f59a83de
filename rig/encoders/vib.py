"""A code that keeps of a picture what tells the next one."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rig.encoders.base import Encoder, in_chunks
from rig.encoders.dense import dense_decoder, dense_trunk
from rig.encoders.posterior import DiagonalGaussian
from rig.encoders.standardise import Standardise
from rig.encoders.training import Pairs, Training, descend
from rig.nets import initialise, mixed_precision
from rig.types import Report


@dataclass(frozen=True)
class VIBConfig:
    """Settings of the variational information bottleneck."""

    name: str = "vib"
    latent_dim: int = 8  # latents
    beta: float = 10.0  # nats of the code against the summed squared error of the predicted picture's standardised pixels
    ahead: int = 1  # env steps to the picture that is predicted
    width: int = 32  # channels of the first convolution; the next two have twice as many
    hidden: int = 256  # units of the dense layer on either side of the code
    training: Training = field(default_factory=Training)


class VIB(Encoder):
    """Variational information bottleneck: a noisy code of one frame predicts a later one, and pays for what it knows.

    What cannot be foreseen, as sensor noise or a distractor that jumps, is not worth its nats; decoding shows what is expected
    next. Source: Alemi et al. 2017 (arXiv:1612.00410), eq. 17, with the next observation for the target.
    """

    Config = VIBConfig
    can_decode = True

    def __init__(self, config: VIBConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.latent_dim = config.latent_dim
        self.standardise = Standardise(frame_shape)
        self.trunk = dense_trunk(frame_shape, config.width, config.hidden, 2 * config.latent_dim)
        self.decoder = dense_decoder(frame_shape, config.width, config.hidden, config.latent_dim)
        initialise(self, generator)

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """See Encoder."""
        config = self.config
        pairs = Pairs(episodes, config.ahead, config.ahead)
        self.standardise.fit(episodes.flatten(0, 1))

        def loss(index: Tensor, step: int) -> dict[str, Tensor]:
            now, later, _ = pairs.draw(index, generator)
            x, target = self.standardise(now), self.standardise(later)
            with mixed_precision(config.training.precision, x.device):
                posterior = DiagonalGaussian.of(self.trunk(x))
                noise = torch.randn(posterior.mean.shape, generator=generator, device=x.device)
                pictures = self.decoder(posterior.sample(noise))
            error, kl = (pictures.float() - target).square().sum((1, 2, 3)).mean(), posterior.kl().mean()
            return {"reconstruction": error, "kl": kl, "loss": error + config.beta * kl}

        metrics = descend(self, loss, pairs.count, config.training, generator, report)
        self.version += 1
        return metrics

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return in_chunks(lambda chunk: DiagonalGaussian.of(self.trunk(self.standardise(chunk))).mean, observed)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Pictures u8[B, H, W, 3] that are expected `ahead` steps after codes f32[B, D]."""
        return self.standardise.invert(self.decoder(latent))
