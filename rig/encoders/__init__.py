"""Encoders, by name."""

from __future__ import annotations

from rig.encoders.base import Encoder
from rig.encoders.beta_vae import BetaVAE
from rig.encoders.oracle import Oracle
from rig.encoders.pretrained import Pretrained
from rig.encoders.random_conv import RandomConv
from rig.encoders.spatial_vae import SpatialVAE
from rig.encoders.world_models import WorldModels

ENCODERS: dict[str, type[Encoder]] = {
    "beta_vae": BetaVAE, "spatial_vae": SpatialVAE, "world_models": WorldModels, "random_conv": RandomConv,
    "pretrained": Pretrained, "oracle": Oracle,
}  # fmt: skip

__all__ = ["ENCODERS", "BetaVAE", "Encoder", "Oracle", "Pretrained", "RandomConv", "SpatialVAE", "WorldModels"]
