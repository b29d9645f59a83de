"""The representation refitted to what the agent has seen since, while the policy learns: the end of RIG's Algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rig.encoders.base import Encoder
from rig.goals.base import GoalSampler
from rig.goals.frame import LatentFrame
from rig.learners.base import Learner
from rig.replay.relabel import RelabelConfig
from rig.replay.ring import Ring
from rig.skew import SkewConfig, effective_share, frame_weights
from rig.types import Batch, silent

PROBED = 1024
"""Transitions whose values are compared before and after a refit."""


@dataclass(frozen=True)
class OnlineConfig:
    """When and how long the representation is refitted while the policy learns."""

    every: int = 0  # env steps between refits, from the next episode's begin on; 0: never [Skew-Fit's code: 500]
    steps: int = 200  # gradient steps of the encoder a refit [Skew-Fit's code: 1000 in the first ten, then 200]
    frames: int = 4096  # frames of the replay memory that a refit sees, drawn uniformly
    explored: int = 4096  # frames of the exploration at the start that it sees beside them [Nair et al. 2018: a mixture of both]


@dataclass
class Online:
    """Refits encoder, prior and latent frame, in place, to frames of exploration and replay, whose codes it refreshes.

    The encoder goes on from its weights. The frame follows it, so that agent coordinates go on meaning what they meant. That is
    why stored goals stay as they are: they are points in those coordinates. Decoding them by the old and encoding them by the
    new encoder would lose what a reconstruction loses, and goals drawn anew would not be those that the actions were taken for.
    What was explored before is not forgotten: episodes from the start that last as long as the task's see less of the world.
    Source: Nair et al. 2018, Algorithm 1, last line, on a mixture of D and R; Pong et al. 2019, Algorithm 1 for the weights.
    """

    config: OnlineConfig
    skew: SkewConfig
    encoder: Encoder
    goals: GoalSampler
    frame: LatentFrame
    replay: Ring
    learner: Learner
    explored: Tensor | None = None
    """[M, …], what refits see of the exploration; None: nothing. It never changes once it is kept."""

    def keep(self, observed: Tensor) -> None:
        """Keep `config.explored` of the exploration's observations [E, T, …], evenly spaced, where there are to be refits."""
        every = observed.flatten(0, 1)
        count = min(self.config.explored, len(every)) if self.config.every else 0
        if count:
            self.explored = every[torch.linspace(0, len(every) - 1, count, device=every.device).long()]

    def due(self, steps: int) -> bool:
        """Whether it is time, `steps` env steps after the last refit."""
        return 0 < self.config.every <= steps

    def refit(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Refit, and return what is worth a curve, as 0-d tensors: `refit_value_jump` and others.

        `refit_shift` is the root mean square change of the agent's coordinates of the same frames. Raises FloatingPointError
        where the encoder's loss is not finite, ValueError amid episodes.
        """
        encoder, goals, frame = self.encoder, self.goals, self.frame
        observed = self.replay.observations(self.config.frames, generator)
        if self.explored is not None:
            observed = torch.cat((observed, self.explored))
        latent = encoder.encode(observed)
        before, value = frame(latent), self.values()
        version = encoder.version
        weight = frame_weights(self.skew, encoder, observed, before, generator)
        metrics = encoder.refit(observed, weight, self.config.steps, generator, silent)
        if encoder.version != version:
            latent = encoder.encode(observed)
            frame.follow(latent, before)
            self.replay.refresh(lambda stored: frame(encoder.encode(stored)), encoder.version)
            weight = frame_weights(self.skew, encoder, observed, frame(latent), generator)
        goals.fit(latent, weight)
        found = {f"encoder_{name}": torch.tensor(number, device=latent.device) for name, number in metrics.items()}
        found["refit_shift"] = (frame(latent) - before).square().mean().sqrt()
        if weight is not None:
            found["skew_effective_share"] = effective_share(weight)
        after = self.values()
        if value is not None and after is not None:
            jump = after - value
            found |= {"refit_value_jump": jump.mean(), "refit_value_change": jump.abs().mean()}
        return found

    @torch.no_grad()
    def values(self) -> Tensor | None:
        """Q f32[2, PROBED] of the same transitions whenever the memory is the same; None from a learner without critics."""
        device = self.replay.latent.device
        always = torch.Generator(device).manual_seed(0)
        half = RelabelConfig(keep=0.5, imagined=0.0, future=0.5)
        (sample, _) = self.replay.sample(1, PROBED, half, self.encoder.version, always)
        nothing = torch.zeros(PROBED, device=device)
        batch = Batch(sample.latent[0], sample.goal[0], sample.action[0], nothing, sample.next_latent[0], sample.steps[0])
        return self.learner.q_values(batch)
