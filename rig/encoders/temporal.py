"""What the encoders share that learn from pairs of frames by the time between them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from rig.encoders.base import Encoder, in_chunks
from rig.encoders.dense import dense_trunk
from rig.encoders.standardise import Standardise
from rig.encoders.training import Pairs, descend
from rig.nets import initialise, mixed_precision
from rig.types import Report


class Temporal(Encoder):
    """A dense code of one frame: a concrete encoder says up to how many steps apart pairs are, and what their codes cost.

    Its settings have `latent_dim`, `width`, `hidden` and `training`.
    """

    def __init__(self, config: Any, frame_shape: tuple[int, int, int], generator: torch.Generator, apart: int) -> None:
        super().__init__()
        self.config, self.apart = config, apart
        self.latent_dim = config.latent_dim
        self.standardise = Standardise(frame_shape)
        self.trunk = dense_trunk(frame_shape, config.width, config.hidden, config.latent_dim)
        initialise(self, generator)

    @abstractmethod
    def pair_loss(self, one: Tensor, other: Tensor, gap: Tensor) -> dict[str, Tensor]:
        """0-d metrics, "loss" among them, of codes f32[B, D] of frames and of others that were seen `gap` f32[B] steps later."""

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """See Encoder."""
        pairs, training = Pairs(episodes, 1, self.apart), self.config.training
        self.standardise.fit(episodes.flatten(0, 1))

        def loss(index: Tensor, step: int) -> dict[str, Tensor]:
            now, later, gap = pairs.draw(index, generator)
            with mixed_precision(training.precision, now.device):
                codes = self.trunk(self.standardise(torch.cat((now, later))))
            one, other = codes.float().chunk(2)
            return self.pair_loss(one, other, gap)

        metrics = descend(self, loss, pairs.count, training, generator, report)
        self.version += 1
        return metrics

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return in_chunks(lambda chunk: self.trunk(self.standardise(chunk)), observed)
