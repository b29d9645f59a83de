"""The dense convolutional β-VAE of RIG."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rig.encoders.dense import dense_decoder, dense_trunk
from rig.encoders.posterior import DiagonalGaussian, FullGaussian, Posterior
from rig.encoders.vae import VAE, VAETraining
from rig.nets import initialise


@dataclass(frozen=True)
class BetaVAEConfig:
    """Settings of the dense β-VAE."""

    name: str = "beta_vae"
    latent_dim: int = 8  # latents; 4 lose the puck of Push at any β
    width: int = 32  # channels of the first convolution; the next two have twice as many
    hidden: int = 256  # units of the dense layer on either side of the code
    posterior: str = "diagonal"  # diagonal: latents are independent given the picture | full: a covariance with a Cholesky factor
    likelihood: str = "gaussian"  # of pixels: gaussian: squared error | bernoulli: cross-entropy of pixels in [0, 1]
    training: VAETraining = field(default_factory=VAETraining)


class BetaVAE(VAE):
    """Dense β-VAE: three strided convolutions and a dense layer to the parameters of a Gaussian posterior.

    Source: Kingma & Welling 2014; Higgins et al. 2017; as RIG's encoder, Nair et al. 2018, section 4.1.
    """

    Config = BetaVAEConfig

    def __init__(self, config: BetaVAEConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(frame_shape, config.training, config.likelihood)
        self.config = config
        self.latent_dim = config.latent_dim
        self.family = FullGaussian if config.posterior == "full" else DiagonalGaussian
        self.trunk = dense_trunk(frame_shape, config.width, config.hidden, self.family.outputs(config.latent_dim))
        self.decoder = dense_decoder(frame_shape, config.width, config.hidden, config.latent_dim)
        initialise(self, generator)

    def posterior(self, x: Tensor) -> Posterior:
        """See VAE."""
        return self.family.of(self.trunk(x))

    def reconstruct(self, latent: Tensor) -> Tensor:
        """See VAE."""
        return self.decoder(latent)
