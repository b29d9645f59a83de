"""A code in which frames that follow each other are near, and all others far."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rig.encoders.temporal import Temporal
from rig.encoders.training import Training


@dataclass(frozen=True)
class ContrastiveConfig:
    """Settings of the contrastive encoder."""

    name: str = "contrastive"
    latent_dim: int = 16  # latents
    window: int = 4  # env steps within which frames of an episode attract each other
    width: int = 32  # channels of the first convolution; the next two have twice as many
    hidden: int = 256  # units of the dense layer before the code
    training: Training = field(default_factory=lambda: Training(steps=1000, batch=128))


class Contrastive(Temporal):
    """Temporal InfoNCE: of a batch's frames, a code's nearest must be the one that was seen within a few steps of it.

    Codes are compared by -½‖z - z'‖², so that the distance which is learnt is the one that rewards are made of.
    Source: van den Oord et al. 2018 (arXiv:1807.03748), eq. 4; over time as in Sermanet et al. 2018 (arXiv:1704.06888).
    """

    Config = ContrastiveConfig

    def __init__(self, config: ContrastiveConfig, frame_shape: tuple[int, int, int], generator: torch.Generator) -> None:
        super().__init__(config, frame_shape, generator, apart=config.window)

    def pair_loss(self, one: Tensor, other: Tensor, gap: Tensor) -> dict[str, Tensor]:
        """See Temporal. The loss is in nats; knowing nothing costs the logarithm of the batch."""
        logits = -0.5 * (one[:, None] - other).square().sum(2)
        own = torch.arange(len(one), device=one.device)
        return {"loss": 0.5 * (cross_entropy(logits, own) + cross_entropy(logits.T, own))}
