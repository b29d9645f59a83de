"""TD3: twin delayed deep deterministic policy gradient, goal-conditioned, over latent codes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rig.learners.actions import Candidates, Exploration, bounded, inverted
from rig.learners.actor_critic import ActorCritic
from rig.learners.base import TrunkMaker
from rig.nets import mixed_precision, polyak_update
from rig.types import Batch


@dataclass(frozen=True)
class TD3Config:
    """Settings of TD3."""

    name: str = "td3"
    hidden: tuple[int, ...] = (256, 256)  # units of each hidden layer, actor and critics
    layer_norm: bool = True  # LayerNorm before each ReLU of the critics
    goal_input: str = "absolute"  # as what the nets get the goal: absolute | relative | logarithmic: relative, near and far
    learning_rate: float = 1e-3  # Adam, actor and critics [Fujimoto et al. 2018]
    anneal: int = 0  # updates over which the learning rate falls linearly to a tenth; 0: it stays
    reset_every: int = 0  # updates after which all networks begin anew, the replay kept [Nikishin et al. 2022]; 0: never
    precision: str = "auto"  # of the updates' wide layers: float32 | bfloat16 | auto: bfloat16 where the hardware has it
    compile: str = "auto"  # updates as compiled code: on | off | auto: where measured to be faster here, in runs long enough
    batch: int = 128  # transitions an update [Nair et al. 2018: 128]
    discount: float = 0.95  # per env step: a horizon of 20, about the steps that a reach or a push takes
    polyak: float = 0.01  # share of the online weights taken into the targets at each actor update
    actor_every: int = 2  # critic updates an actor update
    critics: int = 2  # critics, whose least value counts; 1: no double Q
    critic: str = "mse"  # how they learn values: mse | hl_gauss: by classification, over a histogram
    action: str = "tanh"  # what keeps actions in [-1, 1]: tanh | clip: they are cut off, with inverted gradients beyond
    candidates: int = 16  # actions of which the critics choose one to act by: the actor's and others about it; 1: the actor's
    target_noise: float = 0.2  # std of the target policy's smoothing noise, action units
    target_clip: float = 0.5  # bound of that noise
    noise_kind: str = "gaussian"  # behaviour noise: gaussian | ou: Ornstein-Uhlenbeck, which leans the same way for a while
    noise: float = 0.2  # std of the behaviour noise, action units
    noise_reversion: float = 0.15  # share of noise_kind=ou that is lost an env step [Lillicrap et al. 2015: θ = .15]
    uniform: float = 0.2  # share of behaviour actions drawn uniformly instead
    uniform_hold: float = 1.0  # env steps that such an action is held, on average


class TD3(ActorCritic):
    """Twin critics with the minimum of their targets, delayed actor, smoothed target policy; no cut at time limits.

    Source: Fujimoto et al. 2018, Algorithm 1; the time limit is no terminal state (Pardo et al. 2018).
    """

    steps = ("round",)
    Config = TD3Config

    def __init__(
        self, config: TD3Config, latent_dim: int, action_dim: int, generator: torch.Generator, trunk: TrunkMaker | None = None
    ) -> None:
        super().__init__(
            config, latent_dim, action_dim, generator, trunk,
            actor_outputs=action_dim, critics=config.critics, actor_anneal=-(-config.anneal // config.actor_every),
            together=config.actor_every,
        )  # fmt: skip
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.candidates = Candidates(config.candidates, action_dim)
        self.exploration = Exploration(
            config.noise_kind, config.noise, config.noise_reversion, config.uniform, config.uniform_hold
        )

    @torch.no_grad()
    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions f32[N, A] in [-1, 1]; with noise and a share of uniform ones where a generator is given."""
        given = self.inputs(latent, goal)
        action = bounded(self.config.action, self.actor(given)[0])
        if self.config.candidates > 1:
            action = self.candidates(given, action, self.least_value)
        return action if generator is None else self.exploration(action, generator)

    def least_value(self, inputs: Tensor) -> Tensor:
        """The least Q value f32[B] that a critic gives to what critics are given f32[B, W + A]."""
        return self.values.value(self.critics(inputs)).amin(0)

    @torch.no_grad()
    def target(self, batch: Batch, noise: Tensor) -> Tensor:
        """The smoothed, clipped double-Q target f32[B]; `noise` f32[B, A] is standard normal.

        Source: Fujimoto et al. 2018, Algorithm 1, lines 8-9.
        """
        next_input = self.inputs(batch.next_latent, batch.goal)
        smoothing = (noise * self.config.target_noise).clamp(-self.config.target_clip, self.config.target_clip)
        next_action = (bounded(self.config.action, self.target_actor(next_input)[0]) + smoothing).clamp(-1, 1)
        next_value = self.values.value(self.target_critics(torch.cat((next_input, next_action), 1))).amin(0)
        return batch.reward + self.config.discount**batch.steps * next_value

    def critic_loss(self, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor]:
        """Summed error of the C critics against their target f32[B], and the Q values f32[C, B].

        Source: Fujimoto et al. 2018, Algorithm 1, line 10.
        """
        output = self.critic_outputs(batch)
        return self.values.loss(output, target), self.values.value(output)

    def actor_loss(self, batch: Batch) -> Tensor:
        """-mean Q1(s, π(s)): the deterministic policy gradient (Fujimoto et al. 2018, Algorithm 1, line 12)."""
        policy_input = self.inputs(batch.latent, batch.goal)
        output = self.actor(policy_input)[0]
        action = bounded(self.config.action, output)
        loss = -self.values.value(self.critics(torch.cat((policy_input, action), 1), members=1)).mean()
        return loss if self.config.action == "tanh" else inverted(loss, action, output)

    def critic_step(self, batch: Batch, target: Tensor, nth: int) -> dict[str, Tensor]:
        """One step of the critics, the `nth` of a round."""
        with mixed_precision(self.config.precision, batch.latent.device):
            loss, value = self.critic_loss(batch, target)
        self.critic_optimiser.minimise(loss, nth)
        return {"critic_loss": loss.detach(), "value": value.detach().mean()}

    def actor_step(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the actor, and of all targets."""
        with mixed_precision(self.config.precision, batch.latent.device):
            loss = self.actor_loss(batch)
        self.actor_optimiser.minimise(loss)
        polyak_update(self.target_critics, self.critics, self.config.polyak)
        polyak_update(self.target_actor, self.actor, self.config.polyak)
        return {"actor_loss": loss.detach()}

    def round(self, batches: Sequence[Batch], noises: Sequence[Tensor], actor: bool) -> dict[str, Tensor]:
        """A step of the critics with each batch and, where `actor`, one of the actor and all targets with the last.

        Target networks stay as they are until then, so that one pass through them serves all batches; a trunk learns with every
        step of the critics, and is asked anew.
        """
        metrics: dict[str, Tensor] = {}
        nth, pairs = 0, list(zip(batches, noises, strict=True))
        for group in [pairs] if self.trunk is None else [[pair] for pair in pairs]:
            joined = Batch(*(torch.cat(parts) for parts in zip(*(batch for batch, _ in group), strict=True)))
            with mixed_precision(self.config.precision, joined.latent.device):
                target = self.target(joined, torch.cat([noise for _, noise in group]))
            for (batch, _), its in zip(group, target.split([len(noise) for _, noise in group]), strict=True):
                metrics = self.critic_step(batch, its, nth)
                nth += 1
        self.critic_optimiser.prepare()
        return metrics | self.actor_step(batches[-1]) if actor else metrics

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One critic step and, every `actor_every` updates, one actor step with the targets' polyak step."""
        return self.learn([batch], generator)

    def learn(self, batches: Sequence[Batch], generator: torch.Generator) -> dict[str, Tensor]:
        """An update with each batch. All up to an actor step are one call, so that compiled they are one graph."""
        every, anew, metrics = self.config.actor_every, self.config.reset_every, {}
        while batches:
            if not self.updates:
                self.values.fit(batches[0].reward, batches[0].steps, self.config.discount)
            self.begin_anew_where_due(self.updates, generator, keep=("updates", "exploration.", "values."))
            until = min(every - self.updates % every, anew - self.updates % anew if anew else every)
            taken, batches = batches[:until], batches[until:]
            shifted, noises = [], []
            for batch in taken:
                shifted.append(self.shifted(batch, generator))
                noises.append(torch.randn(batch.action.shape, generator=generator, device=batch.action.device))
            metrics |= self.round(shifted, noises, len(taken) == every - self.updates % every)
            self.updates += len(taken)
        return metrics
