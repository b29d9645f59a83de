"""SAC against stable-baselines3 on the same numbers, and what is its own."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC as SB3SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import nn

from rig.learners import SAC
from rig.learners.sac import SACConfig
from rig.types import Batch
from tests.test_learners import ACTION, LATENT, ROWS, Named, batches, draws, layers, watch_steps


class Spaces(gymnasium.Env[np.ndarray, np.ndarray]):
    """What stable-baselines3 reads of an environment before training."""

    observation_space = spaces.Box(-np.inf, np.inf, (2 * LATENT,), np.float32)
    action_space = spaces.Box(-1, 1, (ACTION,), np.float32)


def named(learner: SAC, gradient: bool) -> dict[str, Named]:
    """Parameters, or their gradients, by network, under the names and in the shapes of stable-baselines3."""

    network = layers(learner.actor, 0, gradient)
    last = 2 * (len(learner.actor.weights) - 1)
    heads = {kind: network.pop(f"{last}.{kind}") for kind in ("weight", "bias")}
    actor = {f"latent_pi.{key}": value for key, value in network.items()}
    for name, rows in (("mu", slice(0, ACTION)), ("log_std", slice(ACTION, None))):
        actor |= {f"{name}.{kind}": value[rows] for kind, value in heads.items()}
    found = {"actor": actor}
    for role, critics in (("critic", learner.critics), ("target", learner.target_critics)):
        if not gradient or role == "critic":
            found[role] = {f"qf{i}.{key}": value for i in range(2) for key, value in layers(critics, i, gradient).items()}
    return found


def twin(ours: SAC) -> SB3SAC:
    """Theirs, with the same settings and weights."""
    config = ours.config
    theirs = SB3SAC(
        "MlpPolicy", Spaces(), learning_rate=config.learning_rate, buffer_size=1, batch_size=ROWS, tau=config.polyak,
        gamma=config.discount, ent_coef=f"auto_{config.temperature}", target_entropy=config.target_entropy * ACTION,
        policy_kwargs={"net_arch": list(config.hidden)}, device="cpu",
    )  # fmt: skip
    weights = named(ours, False)
    theirs.actor.load_state_dict(weights["actor"])
    theirs.critic.load_state_dict(weights["critic"])
    theirs.critic_target.load_state_dict(weights["target"])
    # Theirs adds epsilon inside the logarithm against actions of exactly ±1; ours is exact there and needs none.
    theirs.actor.action_dist.epsilon = 0.0  # pyright: ignore[reportAttributeAccessIssue]
    theirs.set_logger(Logger(folder=None, output_formats=[]))
    return theirs


def test_sac_is_stable_baselines3s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses, gradients and weights over ten updates: both critics, soft targets, temperature and polyak step take part."""
    config = SACConfig(
        hidden=(64, 64), layer_norm=False, learning_rate=1e-3, discount=0.9, polyak=0.03, temperature=0.5, precision="float32"
    )
    ours = SAC(config, LATENT, ACTION, draws(0))
    with torch.no_grad():  # were targets and online critics alike, a swap of them would go unseen
        for parameter in ours.target_critics.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draws(2)))
    theirs = twin(ours)
    mine: dict[str, Named] = {}
    its: dict[str, Named] = {}
    for role in ("actor", "critic"):
        watch(ours, theirs, role, mine, its)
    replayed: list[ReplayBufferSamples] = []

    def next_batch(*_: object, **__: object) -> ReplayBufferSamples:
        return replayed.pop()

    monkeypatch.setattr(theirs.replay_buffer, "sample", next_batch)
    start, generator = named(ours, False), draws(7)
    torch.manual_seed(7)  # theirs draws its actions, and nothing else, from the global generator
    for batch in batches(10):
        observation, after = ours.inputs(batch.latent, batch.goal), ours.inputs(batch.next_latent, batch.goal)
        replayed.append(ReplayBufferSamples(observation, batch.action, after, torch.zeros(ROWS, 1), batch.reward[:, None]))
        theirs.train(gradient_steps=1, batch_size=ROWS)
        metrics = ours.update(batch, generator)
        logged = theirs.logger.name_to_value
        for key in ("actor_loss", "critic_loss"):
            assert float(metrics[key]) == pytest.approx(logged[f"train/{key}"], rel=1e-5), key
        assert theirs.log_ent_coef is not None
        torch.testing.assert_close(ours.log_temperature[None], theirs.log_ent_coef, rtol=1e-5, atol=1e-6)
        weights = {"actor": theirs.actor, "critic": theirs.critic, "target": theirs.critic_target}
        same(mine, its)
        same(named(ours, False), {role: dict(network.state_dict()) for role, network in weights.items()})
    for role, parameters in named(ours, False).items():
        for key, value in parameters.items():
            assert (value - start[role][key]).abs().max() > 1e-4, f"{role} {key} has not been trained: nothing was compared"
    assert abs(ours.log_temperature.item() - math.log(0.5)) > 1e-3


def watch(ours: SAC, theirs: SB3SAC, role: str, mine: dict[str, Named], its: dict[str, Named]) -> None:
    """Note what the optimisers of both are given, under stable-baselines3's names, at the moment they are."""
    network: nn.Module = getattr(theirs, role)

    def note_mine() -> None:
        for parameter in ours.parameters():  # the other network's gradients may not be there yet
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        mine[role] = named(ours, True)[role]

    def note_its(*_: object) -> None:
        its[role] = {key: p.grad.clone() for key, p in network.named_parameters() if p.grad is not None}

    watch_steps(getattr(ours, f"{role}_optimiser"), note_mine)
    getattr(theirs, role).optimizer.register_step_pre_hook(note_its)


def same(mine: dict[str, Named], its: dict[str, Named]) -> None:
    assert mine.keys() == its.keys()
    for role, values in mine.items():
        assert values.keys() == its[role].keys()
        for key, value in values.items():
            assert torch.allclose(value, its[role][key], rtol=1e-5, atol=1e-5), f"{role} {key}"


def test_the_density_of_an_action_is_that_of_the_tanh_gaussian() -> None:
    learner = SAC(SACConfig(), LATENT, ACTION, draws(0))
    policy_input, noise = torch.randn(50, 2 * LATENT, generator=draws(1)), torch.randn(50, ACTION, generator=draws(2))
    with torch.no_grad():
        action, log_prob = learner.policy(policy_input, noise)
        far, density = learner.policy(policy_input, 50 + noise)
    mean, log_std = learner.actor(policy_input)[0].detach().chunk(2, 1)
    gaussian = torch.distributions.Normal(mean, log_std.exp())
    expected = torch.distributions.TransformedDistribution(gaussian, torch.distributions.TanhTransform(cache_size=1))
    torch.testing.assert_close(log_prob, expected.log_prob(action).sum(1), rtol=1e-3, atol=1e-3)
    assert float(far.abs().max()) == 1 and bool(density.isfinite().all())


@pytest.mark.parametrize("target", [-0.8, 0.3])
def test_the_temperature_holds_the_entropy_that_is_asked_for(target: float) -> None:
    """Where every action pays alike but for leaving the middle, the entropy settles at its target."""
    config = SACConfig(hidden=(32, 32), learning_rate=3e-3, discount=0.0, target_entropy=target)
    learner, generator = SAC(config, 1, 1, draws(0)), draws(1)
    entropy: list[float] = []
    for _ in range(1500):
        action = torch.rand(ROWS, 1, generator=generator) * 2 - 1
        still = torch.zeros(ROWS, 1)
        metrics = learner.update(Batch(still, still, action, -action[:, 0].square(), still, torch.ones(ROWS)), generator)
        entropy.append(float(metrics["entropy"]))
    assert sum(entropy[-200:]) / 200 == pytest.approx(target, abs=0.15)
