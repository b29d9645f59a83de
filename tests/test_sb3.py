"""Learners that are stable-baselines3's: they do what its `train()` does, and touch nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import nn

from rig.config_io import from_mapping
from rig.errors import UserError
from rig.learners import LEARNERS
from rig.learners.sb3 import SB3Learner, lent
from tests.test_config import mapping
from tests.test_learners import ACTION, LATENT, ROWS, batches, draws

NAMES = ["sb3_td3", "sb3_sac"]


def make(name: str, **settings: Any) -> SB3Learner:
    entry: Any = LEARNERS[name]
    return entry(entry.Config(hidden=(32, 16), **settings), LATENT, ACTION, draws(0))


@pytest.mark.parametrize("goal_input", ["absolute", "logarithmic"])
@pytest.mark.parametrize("name", NAMES)
def test_an_update_is_their_train_and_nothing_more(name: str, goal_input: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six updates beside the plain algorithm, which draws from the global generator: the same weights, bit for bit."""
    learner = make(name, goal_input=goal_input, polyak=0.03, discount=0.9)
    plain = learner.make(learner.networks.observation_space.shape[0], ACTION)
    plain.policy.load_state_dict(learner.networks.state_dict())
    plain.set_logger(Logger(folder=None, output_formats=[]))
    replayed: list[ReplayBufferSamples] = []
    monkeypatch.setattr(plain.replay_buffer, "sample", lambda *_, **__: replayed.pop())
    start = {key: value.clone() for key, value in learner.networks.state_dict().items()}
    generator, numpy_state = draws(7), np.random.get_state()[1]
    torch.manual_seed(7)
    for batch in batches(6):
        observation, after = learner.inputs(batch.latent, batch.goal), learner.inputs(batch.next_latent, batch.goal)
        replayed.append(ReplayBufferSamples(observation, batch.action, after, torch.zeros(ROWS, 1), batch.reward[:, None]))
        with torch.no_grad():
            expected = torch.cat(plain.critic(observation, batch.action)).mean()
        plain.train(gradient_steps=1, batch_size=ROWS)
        metrics = learner.update(batch, generator)
        torch.testing.assert_close(metrics["value"], expected)
        assert float(metrics["critic_loss"]) == pytest.approx(plain.logger.name_to_value["train/critic_loss"])
        weights = plain.policy.state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in learner.networks.state_dict().items())
    assert all((value - start[key]).abs().max() > 1e-4 for key, value in weights.items()), "nothing was compared"
    if name == "sb3_sac":
        assert torch.equal(learner.get_parameter("log_temperature"), plain.log_ent_coef)
        assert float(metrics["temperature"]) == pytest.approx(plain.logger.name_to_value["train/ent_coef"])
    assert np.array_equal(numpy_state, np.random.get_state()[1])


@pytest.mark.parametrize("name", NAMES)
def test_settings_reach_theirs(name: str) -> None:
    learner = make(name, learning_rate=2e-4, discount=0.7, polyak=0.04, batch=99)
    model = learner.model
    assert (model.gamma, model.tau, model.batch_size) == (0.7, 0.04, 99)
    assert {group["lr"] for optimiser in learner.optimisers.values() for group in optimiser.param_groups} == {2e-4}
    layers = [layer for layer in model.critic.q_networks[0] if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in layers] == [32, 16, 1]
    if name == "sb3_td3":
        model = make(name, actor_every=3, target_noise=0.1, target_clip=0.3, critics=1).model
        found = (model.policy_delay, model.target_policy_noise, model.target_noise_clip, len(model.critic.q_networks))
        assert found == (3, 0.1, 0.3, 1)
    else:
        model = make(name, temperature=0.2, target_entropy=-0.5).model
        assert float(model.log_ent_coef.detach().exp()) == pytest.approx(0.2) and model.target_entropy == -0.5 * ACTION


@pytest.mark.parametrize("fails", [False, True])
def test_a_lent_generator_alone_decides_what_everyone_draws(fails: bool) -> None:
    generator, alike, before = draws(3), draws(3), torch.get_rng_state()
    try:
        with lent(generator):
            drawn = torch.randn(5)
            assert not fails, "whatever happens inside"
    except AssertionError:
        assert fails
    assert torch.equal(drawn, torch.randn(5, generator=alike))
    assert torch.equal(generator.get_state(), alike.get_state()) and torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", NAMES)
def test_where_it_is_not_installed_the_message_says_what_to_type(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    said = rf"learner={name} needs stable-baselines3, .*; type pip install 'rig-rl\[sb3\]'"
    with pytest.raises(UserError, match=said):
        from_mapping(mapping(learner__name=name))  # before anything is trained
    with pytest.raises(UserError, match=said):
        make(name)


def test_it_is_imported_when_it_is_needed() -> None:
    code = "import sys, rig.learners; assert not {'stable_baselines3', 'gymnasium'} & sys.modules.keys()"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
