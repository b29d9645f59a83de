"""Encoders, by name."""

from __future__ import annotations

from rig.encoders.autoencoder import Autoencoder
from rig.encoders.base import Encoder
from rig.encoders.beta_vae import BetaVAE
from rig.encoders.contrastive import Contrastive
from rig.encoders.dynamics_distance import DynamicsDistance
from rig.encoders.oracle import Oracle
from rig.encoders.pixels import Pixels
from rig.encoders.pretrained import Pretrained
from rig.encoders.random_conv import RandomConv
from rig.encoders.spatial_vae import SpatialVAE
from rig.encoders.vae_iwae import IWAE
from rig.encoders.vib import VIB
from rig.encoders.vq_vae import VQVAE
from rig.encoders.world_models import WorldModels

ENCODERS: dict[str, type[Encoder]] = {
    "beta_vae": BetaVAE, "spatial_vae": SpatialVAE, "vq_vae": VQVAE, "world_models": WorldModels, "vae_iwae": IWAE,
    "autoencoder": Autoencoder, "vib": VIB, "contrastive": Contrastive, "dynamics_distance": DynamicsDistance,
    "random_conv": RandomConv, "pixels": Pixels, "pretrained": Pretrained, "oracle": Oracle,
}  # fmt: skip

__all__ = [
    "ENCODERS", "IWAE", "VIB", "VQVAE", "Autoencoder", "BetaVAE", "Contrastive", "DynamicsDistance", "Encoder", "Oracle",
    "Pixels", "Pretrained", "RandomConv", "SpatialVAE", "WorldModels",
]  # fmt: skip
