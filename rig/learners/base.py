"""Learner: an off-policy, goal-conditioned actor-critic over latent codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rig.nets import load_optimiser_tensors, optimiser_tensors
from rig.types import Batch


class Learner(nn.Module, ABC):
    """Learns π(a | z, z_g) from relabelled batches. It never sees a frame, an environment, an encoder or a logger.

    `state_dict()` holds everything that training depends on: weights, target weights, and the moments of every optimiser that
    is an attribute. A subclass with more (a counter) adds it there and in `load_state_dict`.
    """

    @abstractmethod
    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions f32[N, A] in [-1, 1] for codes and goals f32[N, D]; with exploration noise where a generator is given."""

    @abstractmethod
    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One gradient update. Returns 0-d tensors on the learner's device, `value` (the mean Q) among them.

        Reading one stops the device until it is computed, and is up to the caller.
        """

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """All weights, target weights and Adam moments, as flat tensors."""
        state: dict[str, Tensor] = super().state_dict(*args, **kwargs)
        for name, optimiser in self._optimisers().items():
            state |= optimiser_tensors(optimiser, name)
        return state

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Put back what `state_dict` returned."""
        rest = dict(state_dict)
        for name, optimiser in self._optimisers().items():
            moments = {key: rest.pop(key) for key in list(rest) if key.startswith(f"{name}.")}
            load_optimiser_tensors(optimiser, name, moments)
        return super().load_state_dict(rest, strict, assign)

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {name: value for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}
