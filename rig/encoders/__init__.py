"""Encoders, by name."""

from __future__ import annotations

from rig.encoders.base import Encoder
from rig.encoders.beta_vae import BetaVAE
from rig.encoders.oracle import Oracle
from rig.encoders.spatial_vae import SpatialVAE
from rig.encoders.vq_vae import VQVAE
from rig.encoders.world_models import WorldModels

ENCODERS: dict[str, type[Encoder]] = {
    "beta_vae": BetaVAE, "spatial_vae": SpatialVAE, "vq_vae": VQVAE, "world_models": WorldModels, "oracle": Oracle,
}  # fmt: skip

__all__ = ["ENCODERS", "VQVAE", "BetaVAE", "Encoder", "Oracle", "SpatialVAE", "WorldModels"]
