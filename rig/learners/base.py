"""Learner: an off-policy, goal-conditioned actor-critic over latent codes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from rig.types import Batch


class Learner(nn.Module, ABC):
    """Learns π(a | z, z_g) from relabelled batches. It never sees a frame, an environment, an encoder or a logger.

    `state_dict()` holds everything that training depends on: weights, target weights, optimiser moments, counters.
    """

    @abstractmethod
    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions f32[N, A] in [-1, 1] for codes and goals f32[N, D]; with exploration noise where a generator is given."""

    @abstractmethod
    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One gradient update. Returns 0-d tensors on the learner's device, `value` (the mean Q) among them.

        Reading one stops the device until it is computed, and is up to the caller.
        """
