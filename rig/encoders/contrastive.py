"""A code in which frames that follow each other are near, and all others far."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rig.encoders.base import Encoder, Report, in_chunks
from rig.encoders.dense import dense_trunk
from rig.encoders.standardise import Standardise
from rig.encoders.training import Pairs, Training, descend
from rig.nets import initialise, mixed_precision


@dataclass(frozen=True)
class ContrastiveConfig:
    """Settings of the contrastive encoder."""

    name: str = "contrastive"
    latent_dim: int = 16  # latents
    window: int = 4  # env steps within which frames of an episode attract each other
    width: int = 32  # channels of the first convolution; the next two have twice as many
    hidden: int = 256  # units of the dense layer before the code
    training: Training = field(default_factory=lambda: Training(steps=1000, batch=128))


class Contrastive(Encoder):
    """Temporal InfoNCE: of a batch's frames, a code's nearest must be the one that was seen within a few steps of it.

    Codes are compared by -½‖z - z'‖², so that the distance which is learnt is the one that rewards are made of.
    Source: van den Oord et al. 2018 (arXiv:1807.03748), eq. 4; over time as in Sermanet et al. 2018 (arXiv:1704.06888).
    """

    Config = ContrastiveConfig

    def __init__(self, config: ContrastiveConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.latent_dim = config.latent_dim
        self.standardise = Standardise(frame_shape)
        self.trunk = dense_trunk(frame_shape, config.width, config.hidden, config.latent_dim)
        initialise(self, generator)

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """See Encoder. The loss is in nats; knowing nothing costs the logarithm of the batch."""
        config = self.config
        pairs = Pairs(episodes, 1, config.window)
        self.standardise.fit(episodes.flatten(0, 1))

        def loss(index: Tensor, step: int) -> dict[str, Tensor]:
            now, later, _ = pairs.draw(index, generator)
            with mixed_precision(config.training.precision, now.device):
                codes = self.trunk(self.standardise(torch.cat((now, later))).contiguous())
            one, other = codes.float().chunk(2)
            logits = -0.5 * (one[:, None] - other).square().sum(2)
            own = torch.arange(len(one), device=one.device)
            return {"loss": 0.5 * (cross_entropy(logits, own) + cross_entropy(logits.T, own))}

        metrics = descend(self, loss, pairs.count, config.training, generator, report)
        self.version += 1
        return metrics

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return in_chunks(lambda chunk: self.trunk(self.standardise(chunk)), observed)
