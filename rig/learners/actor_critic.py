"""ActorCritic: what TD3 and SAC are both made of: an actor, an ensemble of critics with slow targets, and their optimisers."""

from __future__ import annotations

import copy
from abc import ABC
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rig.learners.base import Learner, TrunkMaker
from rig.learners.inputs import WIDTHS
from rig.learners.values import VALUES
from rig.nets import Adam, Ensemble
from rig.types import Batch


class ActorCritic(Learner, ABC):
    """An actor of `actor_outputs` numbers, `critics` critics and their targets, and how many updates they have had."""

    trains_trunk = True

    def __init__(
        self, config: Any, latent_dim: int, action_dim: int, generator: torch.Generator, trunk: TrunkMaker | None, *,
        actor_outputs: int, critics: int, actor_anneal: int, together: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config = config
        self.latent_dim, self.action_dim = latent_dim, action_dim
        width = WIDTHS[config.goal_input] * self.grow_trunk(trunk, generator)
        self.actor = Ensemble(1, (width, *config.hidden, actor_outputs), generator=generator)
        self.values = VALUES[config.critic]()
        sizes = (width + action_dim, *config.hidden, self.values.width)
        self.critics = Ensemble(critics, sizes, layer_norm=config.layer_norm, generator=generator)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate, actor_anneal)
        self.critic_optimiser = Adam(self.judging(self.critics), config.learning_rate, config.anneal, together)
        self.updates = 0

    def critic_outputs(self, batch: Batch) -> Tensor:
        """What each of the C critics puts out for a batch, f32[C, B, V], before it is read as a value."""
        return self.critics(torch.cat((self.inputs(batch.latent, batch.goal), batch.action), 1))

    def q_values(self, batch: Batch) -> Tensor:
        """What each of the C critics says of a batch, f32[C, B]."""
        return self.values.value(self.critic_outputs(batch))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """All weights, target weights, Adam moments and the update counter, as flat tensors."""
        return {**super().state_dict(*args, **kwargs), "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Put back what `state_dict` returned."""
        rest = dict(state_dict)
        self.updates = int(rest.pop("updates"))
        return super().load_state_dict(rest, strict, assign)
