"""The dense β-VAE trained on the importance-weighted bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rig.encoders.dense import dense_decoder, dense_trunk
from rig.encoders.posterior import DiagonalGaussian, log_standard_normal
from rig.encoders.vae import VAE, VAETraining
from rig.nets import initialise, mixed_precision

LEAST_BETA = 1e-6
"""What beta = 0 stands for: a bound that counts the best of the samples alone."""


@dataclass(frozen=True)
class IWAEConfig:
    """Settings of the importance-weighted autoencoder."""

    name: str = "vae_iwae"
    latent_dim: int = 8  # latents
    samples: int = 5  # codes drawn a frame; 1: the bound of beta_vae [Burda et al. 2016: 5 and 50]
    width: int = 32  # channels of the first convolution; the next two have twice as many
    hidden: int = 256  # units of the dense layer on either side of the code
    training: VAETraining = field(default_factory=lambda: VAETraining(steps=1000))


class IWAE(VAE):
    """Importance-weighted autoencoder: beta_vae's networks on a bound by k samples, which lets the posterior be less Gaussian.

    Source: Burda et al. 2016 (arXiv:1509.00519), eq. 8.
    """

    Config = IWAEConfig

    def __init__(self, config: IWAEConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(frame_shape, config.training)
        self.config = config
        self.latent_dim = config.latent_dim
        self.trunk = dense_trunk(frame_shape, config.width, config.hidden, 2 * config.latent_dim)
        self.decoder = dense_decoder(frame_shape, config.width, config.hidden, config.latent_dim)
        initialise(self, generator)

    def posterior(self, x: Tensor) -> DiagonalGaussian:
        """See VAE."""
        return DiagonalGaussian.of(self.trunk(x))

    def reconstruct(self, latent: Tensor) -> Tensor:
        """See VAE."""
        return self.decoder(latent)

    def losses(self, x: Tensor, beta: float, generator: torch.Generator) -> dict[str, Tensor]:
        """See VAE: -β log 1/k Σ exp(-error/β) p(z)/q(z|x), the β-VAE's loss at k = 1 but that its KL is a sample's.

        A β-VAE's loss is the bound of a likelihood of variance β/2, times β; so is this. A tolerated KL it does not know.
        """
        precision, beta, count = self.training_settings.precision, max(beta, LEAST_BETA), self.config.samples
        with mixed_precision(precision, x.device):
            posterior = self.posterior(x)
        noise = torch.randn((count, *posterior.mean.shape), generator=generator, device=x.device)
        sample = posterior.sample(noise)
        with mixed_precision(precision, x.device):
            pictures = self.reconstruct(sample.flatten(0, 1))
        error = self.error(pictures, x.repeat(count, 1, 1, 1)).unflatten(0, (count, len(x)))
        log_weight = log_standard_normal(sample) - posterior.log_prob(noise) - error / beta
        bound = log_weight.logsumexp(0) - math.log(count)
        return {"reconstruction": error.mean(), "kl": posterior.kl().mean(), "loss": -beta * bound.mean()}
