"""Encoders, by name."""

from __future__ import annotations

from rig.encoders.base import Encoder
from rig.encoders.beta_vae import BetaVAE
from rig.encoders.oracle import Oracle
from rig.encoders.spatial_vae import SpatialVAE

ENCODERS: dict[str, type[Encoder]] = {"beta_vae": BetaVAE, "spatial_vae": SpatialVAE, "oracle": Oracle}

__all__ = ["ENCODERS", "BetaVAE", "Encoder", "Oracle", "SpatialVAE"]
