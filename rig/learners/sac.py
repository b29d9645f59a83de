"""SAC: soft actor-critic with automatic temperature, goal-conditioned, over latent codes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from rig.learners.actor_critic import ActorCritic
from rig.learners.base import TrunkMaker
from rig.nets import Adam, mixed_precision, polyak_update
from rig.types import Batch

LOG_STD_BOUNDS = (-20.0, 2.0)
"""Bounds of the policy's log standard deviation before the tanh. Source: the authors' code (Haarnoja et al. 2018)."""


@dataclass(frozen=True)
class SACConfig:
    """Settings of SAC."""

    name: str = "sac"
    hidden: tuple[int, ...] = (256, 256)  # units of each hidden layer, actor and critics [Haarnoja et al. 2018b: 256, 256]
    layer_norm: bool = True  # LayerNorm before each ReLU of the critics
    goal_input: str = "absolute"  # as what the nets get the goal: absolute | relative | logarithmic: relative, near and far
    learning_rate: float = 1e-3  # Adam, actor, critics and temperature [Pong et al. 2019: 1e-3]
    anneal: int = 0  # updates over which the learning rate falls linearly to a tenth; 0: it stays
    reset_every: int = 0  # updates after which all networks begin anew, the replay kept [Nikishin et al. 2022]; 0: never
    precision: str = "auto"  # of the updates' wide layers: float32 | bfloat16 | auto: bfloat16 where the hardware has it
    compile: str = "auto"  # updates as compiled code: on | off | auto: where measured to be faster here, in runs long enough
    batch: int = 128  # transitions an update
    discount: float = 0.95  # per env step: a horizon of 20, about the steps that a reach or a push takes
    polyak: float = 0.005  # share of the online critics taken into the targets at each update [Haarnoja et al. 2018b: 0.005]
    critic: str = "mse"  # how critics learn values: mse | hl_gauss: by classification, over a histogram
    temperature: float = 0.1  # weight of the entropy in the reward, at first
    target_entropy: float = -1.0  # nats an action component, what the temperature is tuned for [Haarnoja et al. 2018b: -1]


class SAC(ActorCritic):
    """Twin critics, a tanh-Gaussian actor that is paid for its entropy, a temperature that holds it; no cut at time limits.

    Source: Haarnoja et al. 2018b (arXiv:1812.05905), Algorithm 1; the time limit is no terminal state (Pardo et al. 2018).
    """

    steps = ("step",)
    Config = SACConfig

    def __init__(
        self, config: SACConfig, latent_dim: int, action_dim: int, generator: torch.Generator, trunk: TrunkMaker | None = None
    ) -> None:
        super().__init__(
            config, latent_dim, action_dim, generator, trunk, actor_outputs=2 * action_dim, critics=2, actor_anneal=config.anneal
        )
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))
        self.temperature_optimiser = Adam([self.log_temperature], config.learning_rate, config.anneal)

    def policy(self, policy_input: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions f32[B, A] for [latent, goal] f32[B, 2D] and standard normal noise f32[B, A], and their log-densities f32[B].

        Source: Haarnoja et al. 2018b, appendix C, with log(1 - tanh²x) = 2·(log 2 - x - softplus(-2x)), exact for any x.
        """
        mean, log_std = self.actor(policy_input)[0].chunk(2, 1)
        log_std = log_std.clamp(*LOG_STD_BOUNDS)
        before = mean + log_std.exp() * noise
        gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        squashing = 2 * (math.log(2) - before - softplus(-2 * before))
        return torch.tanh(before), (gaussian - squashing).sum(1)

    @torch.no_grad()
    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions f32[N, A] in [-1, 1]: drawn from the policy where a generator is given, else the tanh of its mean."""
        policy_input = self.inputs(latent, goal)
        if generator is None:
            return torch.tanh(self.actor(policy_input)[0, :, : self.action_dim])
        noise = torch.randn((len(latent), self.action_dim), generator=generator, device=latent.device)
        return self.policy(policy_input, noise)[0]

    @torch.no_grad()
    def target(self, batch: Batch, noise: Tensor) -> Tensor:
        """The soft double-Q target f32[B]; `noise` f32[B, A] is standard normal. Source: Haarnoja et al. 2018b, equation 5."""
        next_input = self.inputs(batch.next_latent, batch.goal)
        next_action, next_log_prob = self.policy(next_input, noise)
        next_value = self.values.value(self.target_critics(torch.cat((next_input, next_action), 1))).amin(0)
        soft_value = next_value - self.log_temperature.exp() * next_log_prob
        return batch.reward + self.config.discount**batch.steps * soft_value

    def critic_loss(self, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor]:
        """Summed error of both critics (halved) against targets f32[B], and the Q values f32[2, B]."""
        output = self.critic_outputs(batch)
        return 0.5 * self.values.loss(output, target), self.values.value(output)

    def actor_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """mean(α log π - min Q), and the log-densities f32[B] of the actions drawn. Source: Haarnoja et al. 2018b, equation 7."""
        policy_input = self.inputs(batch.latent, batch.goal)
        action, log_prob = self.policy(policy_input, noise)
        value = self.values.value(self.critics(torch.cat((policy_input, action), 1))).amin(0)
        return (self.log_temperature.exp().detach() * log_prob - value).mean(), log_prob

    def temperature_loss(self, log_prob: Tensor) -> Tensor:
        """-log α · (mean log π + target entropy): its sign is that of Haarnoja et al. 2018b, equation 18, in log α."""
        excess = (log_prob + self.config.target_entropy * self.action_dim).detach().mean()
        return -self.log_temperature * excess

    def step(self, batch: Batch, now: Tensor, after: Tensor) -> dict[str, Tensor]:
        """One step of everything; `now` and `after` f32[B, A] are standard normal."""
        with mixed_precision(self.config.precision, batch.latent.device):
            target = self.target(batch, after)
        with mixed_precision(self.config.precision, batch.latent.device):  # one of its own: it remembers weights without gradient
            critic_loss, value = self.critic_loss(batch, target)
        self.critic_optimiser.minimise(critic_loss)
        with mixed_precision(self.config.precision, batch.latent.device):
            actor_loss, log_prob = self.actor_loss(batch, now)
        self.actor_optimiser.minimise(actor_loss)
        self.temperature_optimiser.minimise(self.temperature_loss(log_prob))
        polyak_update(self.target_critics, self.critics, self.config.polyak)
        return {
            "critic_loss": critic_loss.detach(),
            "actor_loss": actor_loss.detach(),
            "value": value.detach().mean(),
            "entropy": -log_prob.detach().mean(),
            "temperature": self.log_temperature.detach().exp(),
        }

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One step of critics, actor and temperature, and the targets' polyak step."""
        if not self.updates:
            self.values.fit(batch.reward, batch.steps, self.config.discount)
        self.begin_anew_where_due(self.updates, generator, keep=("updates", "values."))
        self.updates += 1
        batch = self.shifted(batch, generator)
        now, after = (torch.randn(batch.action.shape, generator=generator, device=batch.action.device) for _ in range(2))
        return self.step(batch, now, after)
