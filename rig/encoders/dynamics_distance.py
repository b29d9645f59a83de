"""A code whose distances are the steps between frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rig.encoders.temporal import Temporal
from rig.encoders.training import Training


@dataclass(frozen=True)
class DynamicsDistanceConfig:
    """Settings of the dynamical distance."""

    name: str = "dynamics_distance"
    latent_dim: int = 16  # latents
    span: int = 30  # most env steps between two frames whose distance is learnt
    scale: float = 10.0  # env steps that are 1 in the code
    width: int = 32  # channels of the first convolution; the next two have twice as many
    hidden: int = 256  # units of the dense layer before the code
    training: Training = field(default_factory=Training)


class DynamicsDistance(Temporal):
    """Dynamical distance: ‖z - z'‖ regresses the steps that exploration took from one frame to the other.

    A mean over the ways that were gone, so that it says how long exploration takes, not how long one must.
    Source: Hartikainen et al. 2020 (arXiv:1907.08225), eq. 2, as a Euclidean distance of codes.
    """

    Config = DynamicsDistanceConfig

    def __init__(self, config: DynamicsDistanceConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(config, frame_shape, generator, apart=config.span)

    def pair_loss(self, one: Tensor, other: Tensor, gap: Tensor) -> dict[str, Tensor]:
        """See Temporal. `steps_error` is the mean absolute error of a distance, in env steps."""
        distance = ((one - other).square().sum(1) + 1e-12).sqrt()  # whose root has a gradient at zero
        error = distance - gap / self.config.scale
        return {"steps_error": self.config.scale * error.abs().mean(), "loss": error.square().mean()}
