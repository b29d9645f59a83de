"""stable-baselines3's TD3 and SAC as learners: its networks and its `train()`, on our batches; a reference to compare with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from rig.errors import UserError
from rig.learners.actions import Exploration
from rig.learners.base import Learner
from rig.learners.inputs import WIDTHS
from rig.types import Batch

if TYPE_CHECKING:
    from stable_baselines3 import TD3

METRICS = {"critic_loss": "train/critic_loss", "actor_loss": "train/actor_loss", "temperature": "train/ent_coef"}
"""Our names of what `train()` logs."""


@dataclass(frozen=True)
class SB3TD3Config:
    """Settings of stable-baselines3's TD3: names and defaults are our TD3's."""

    name: str = "sb3_td3"
    hidden: tuple[int, ...] = (256, 256)  # units of each hidden layer, actor and critics
    goal_input: str = "absolute"  # as what the nets get the goal: absolute | relative | logarithmic: relative, near and far
    learning_rate: float = 1e-3  # Adam, actor and critics
    batch: int = 128  # transitions an update
    discount: float = 0.95  # per env step
    polyak: float = 0.01  # share of the online weights taken into the targets at each actor update
    actor_every: int = 2  # critic updates an actor update
    critics: int = 2  # critics, whose least value counts; 1: no double Q
    target_noise: float = 0.2  # std of the target policy's smoothing noise, action units
    target_clip: float = 0.5  # bound of that noise
    noise_kind: str = "gaussian"  # behaviour noise, ours: gaussian | ou: Ornstein-Uhlenbeck, which leans the same way for a while
    noise: float = 0.2  # std of the behaviour noise, action units
    noise_reversion: float = 0.15  # share of noise_kind=ou that is lost an env step
    uniform: float = 0.2  # share of behaviour actions drawn uniformly instead
    uniform_hold: float = 1.0  # env steps that such an action is held, on average


@dataclass(frozen=True)
class SB3SACConfig:
    """Settings of stable-baselines3's SAC: names and defaults are our SAC's."""

    name: str = "sb3_sac"
    hidden: tuple[int, ...] = (256, 256)  # units of each hidden layer, actor and critics
    goal_input: str = "absolute"  # as what the nets get the goal: absolute | relative | logarithmic: relative, near and far
    learning_rate: float = 1e-3  # Adam, actor, critics and temperature
    batch: int = 128  # transitions an update
    discount: float = 0.95  # per env step
    polyak: float = 0.005  # share of the online critics taken into the targets at each update
    temperature: float = 0.1  # weight of the entropy in the reward, at first
    target_entropy: float = -1.0  # nats an action component, what the temperature is tuned for


def need(what: str) -> None:
    """Raise UserError where stable-baselines3, which `what` needs, is not installed."""
    if find_spec("stable_baselines3") is None:
        raise UserError(f"{what} needs stable-baselines3, which is not installed; type pip install 'rig-rl[sb3]'")


def make_td3(config: Any, observation_dim: int, action_dim: int, **more: Any) -> TD3:
    """A stable-baselines3 TD3 with our settings, for observations f32[B, O] and actions f32[B, A] in [-1, 1], on the CPU."""
    from stable_baselines3 import TD3

    from rig.learners.spaces import Spaces

    return TD3(
        "MlpPolicy", Spaces(observation_dim, action_dim), learning_rate=config.learning_rate, batch_size=config.batch,
        tau=config.polyak, gamma=config.discount, policy_delay=config.actor_every, target_policy_noise=config.target_noise,
        target_noise_clip=config.target_clip, policy_kwargs={"net_arch": list(config.hidden), "n_critics": config.critics},
        device="cpu", **more,
    )  # fmt: skip


@contextmanager
def lent(generator: torch.Generator) -> Generator[None]:
    """Inside, PyTorch's global generator draws what `generator` would, and `generator` goes on from there.

    Afterwards the global one is as it was: whatever draws from it, `generator` alone decides what.
    """
    device = generator.device
    before = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()

    def put(state: Tensor) -> None:
        torch.cuda.set_rng_state(state, device) if device.type == "cuda" else torch.set_rng_state(state)

    put(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state())
        put(before)


class Given(NamedTuple):
    """A replay memory that holds one batch, already sampled."""

    samples: Any

    def sample(self, *_: Any, **__: Any) -> Any:
        """The batch, however many are asked for."""
        return self.samples


class SB3Learner(Learner):
    """What both have in common: `train()` on the batch that is given, and all that training depends on as flat tensors.

    `train()` reads its losses at every update, which on CUDA waits for the device; and it is never compiled.
    """

    def __init__(self, config: Any, latent_dim: int, action_dim: int, generator: torch.Generator) -> None:
        need(f"learner={config.name}")
        from stable_baselines3.common.logger import Logger

        super().__init__()
        self.config = config
        with lent(generator):
            self.model = self.make(WIDTHS[config.goal_input] * latent_dim, action_dim)
        self.model.set_logger(Logger(folder=None, output_formats=[]))
        self.networks: nn.Module = self.model.policy

    @abstractmethod
    def make(self, observation_dim: int, action_dim: int) -> Any:
        """The algorithm of stable-baselines3, its replay memory as small as can be."""

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Each optimiser that has moments, by name."""
        return {"actor_optimiser": self.model.actor.optimizer, "critic_optimiser": self.model.critic.optimizer}

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One gradient step of `train()`; no transition is terminal."""
        from stable_baselines3.common.type_aliases import ReplayBufferSamples

        observation, after = self.inputs(batch.latent, batch.goal), self.inputs(batch.next_latent, batch.goal)
        reward = batch.reward[:, None]
        discount = self.config.discount ** batch.steps[:, None]
        samples = ReplayBufferSamples(observation, batch.action, after, torch.zeros_like(reward), reward, discount)
        self.model.replay_buffer = Given(samples)
        values: list[Tensor] = []

        def note(_critics: nn.Module, _given: Any, value: tuple[Tensor, ...]) -> None:
            values.append(torch.cat(value, 1).detach().mean())

        with self.model.critic.register_forward_hook(note), lent(generator):
            self.model.train(gradient_steps=1, batch_size=len(reward))
        logged = {ours: self.model.logger.name_to_value.get(theirs) for ours, theirs in METRICS.items()}
        self.model.logger.name_to_value.clear()
        metrics = {name: torch.tensor(float(value), device=reward.device) for name, value in logged.items() if value is not None}
        return {**metrics, "value": values[0]}  # of the batch's own actions: the policy's are valued after them

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """All weights, target weights, Adam moments and the update counter, as flat tensors."""
        moments = {
            f"{name}.{index}.{slot}": value
            for name, optimiser in self.optimisers.items()
            for index, slots in optimiser.state_dict()["state"].items()
            for slot, value in slots.items()
        }
        return {**super().state_dict(*args, **kwargs), **moments, "updates": torch.tensor(self.model._n_updates)}

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Put back what `state_dict` returned."""
        rest = dict(state_dict)
        self.model._n_updates = int(rest.pop("updates"))
        for name, optimiser in self.optimisers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key in [key for key in rest if key.startswith(f"{name}.")]:
                _, index, slot = key.split(".")
                slots.setdefault(int(index), {})[slot] = rest.pop(key).clone()  # else both would write to one tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})
        return super().load_state_dict(rest, strict, assign)


class TD3FromSB3(SB3Learner):
    """stable-baselines3's own TD3, networks and `train()`, on our relabelled batches: the reference for td3.

    It has no LayerNorm; settings of the same name mean the same. Behaviour is ours: it is no part of `train()`.
    Source: Raffin et al. 2021 (JMLR 22, 268), stable-baselines3; Fujimoto et al. 2018, Algorithm 1.
    """

    Config = SB3TD3Config

    def __init__(self, config: SB3TD3Config, latent_dim: int, action_dim: int, generator: torch.Generator) -> None:
        super().__init__(config, latent_dim, action_dim, generator)
        self.exploration = Exploration(
            config.noise_kind, config.noise, config.noise_reversion, config.uniform, config.uniform_hold
        )

    def make(self, observation_dim: int, action_dim: int) -> Any:
        """Theirs, with our settings."""
        return make_td3(self.config, observation_dim, action_dim, buffer_size=1)

    @torch.no_grad()
    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions f32[N, A] in [-1, 1]; with noise and a share of uniform ones where a generator is given."""
        action = self.model.actor(self.inputs(latent, goal))
        return action if generator is None else self.exploration(action, generator)


class SACFromSB3(SB3Learner):
    """stable-baselines3's own SAC, networks and `train()`, on our relabelled batches: the reference for sac.

    It has no LayerNorm; settings of the same name mean the same.
    Source: Raffin et al. 2021 (JMLR 22, 268), stable-baselines3; Haarnoja et al. 2018b, Algorithm 1.
    """

    Config = SB3SACConfig

    def __init__(self, config: SB3SACConfig, latent_dim: int, action_dim: int, generator: torch.Generator) -> None:
        super().__init__(config, latent_dim, action_dim, generator)
        # Theirs is a loose tensor, which would neither move to a device with the networks nor be saved with them.
        self.log_temperature = self.model.log_ent_coef = nn.Parameter(self.model.log_ent_coef.detach())
        self.model.ent_coef_optimizer = torch.optim.Adam([self.log_temperature], lr=config.learning_rate)

    def make(self, observation_dim: int, action_dim: int) -> Any:
        """Theirs, with our settings."""
        from stable_baselines3 import SAC

        from rig.learners.spaces import Spaces

        config = self.config
        return SAC(
            "MlpPolicy", Spaces(observation_dim, action_dim), learning_rate=config.learning_rate, batch_size=config.batch,
            buffer_size=1, tau=config.polyak, gamma=config.discount, ent_coef=f"auto_{config.temperature}",
            target_entropy=config.target_entropy * action_dim, policy_kwargs={"net_arch": list(config.hidden)}, device="cpu",
        )  # fmt: skip

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Those of the networks, and the temperature's."""
        return {**super().optimisers, "temperature_optimiser": self.model.ent_coef_optimizer}

    @torch.no_grad()
    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions f32[N, A] in [-1, 1]: drawn from the policy where a generator is given, else the tanh of its mean."""
        observation = self.inputs(latent, goal)
        if generator is None:
            return self.model.actor(observation, deterministic=True)
        with lent(generator):
            return self.model.actor(observation)
