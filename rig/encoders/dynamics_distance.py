"""A code whose distances are the steps between frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rig.encoders.base import Encoder, Report, in_chunks
from rig.encoders.dense import dense_trunk
from rig.encoders.standardise import Standardise
from rig.encoders.training import Pairs, Training, descend
from rig.nets import initialise, mixed_precision


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


class DynamicsDistance(Encoder):
    """Dynamical distance: ‖z - z'‖ regresses the steps that exploration took from one frame to the other.

    A mean over the ways that were gone, so that it says how long exploration takes, not how long one must.
    Source: Hartikainen et al. 2020 (arXiv:1907.08225), eq. 2, as a Euclidean distance of codes.
    """

    Config = DynamicsDistanceConfig

    def __init__(
        self, config: DynamicsDistanceConfig, frame_shape: tuple[int, int, int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.latent_dim = config.latent_dim
        self.standardise = Standardise(frame_shape)
        self.trunk = dense_trunk(frame_shape, config.width, config.hidden, config.latent_dim)
        initialise(self, generator)

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """See Encoder. `steps_error` is the mean absolute error of a distance, in env steps."""
        config = self.config
        pairs = Pairs(episodes, 1, config.span)
        self.standardise.fit(episodes.flatten(0, 1))

        def loss(index: Tensor, step: int) -> dict[str, Tensor]:
            now, later, gap = pairs.draw(index, generator)
            with mixed_precision(config.training.precision, now.device):
                codes = self.trunk(self.standardise(torch.cat((now, later))).contiguous())
            one, other = codes.float().chunk(2)
            distance = ((one - other).square().sum(1) + 1e-12).sqrt()  # whose root has a gradient at zero
            error = distance - gap / config.scale
            return {"steps_error": config.scale * error.abs().mean(), "loss": error.square().mean()}

        metrics = descend(self, loss, pairs.count, config.training, generator, report)
        self.version += 1
        return metrics

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return in_chunks(lambda chunk: self.trunk(self.standardise(chunk)), observed)
