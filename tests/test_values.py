"""Values by classification, and networks that begin anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rig.learners import LEARNERS
from rig.learners.values import BINS, SPREAD, Histogram
from rig.tensors import pack, unpack
from tests.probes.test_probes import learn, paid_for_the_goal
from tests.test_learners import ACTION, LATENT, batches, draws

# ---- classification ----


def fitted(reward: list[float], discount: float) -> Histogram:
    histogram = Histogram()
    histogram.fit(torch.tensor(reward), torch.ones(len(reward)), discount)
    return histogram


@pytest.mark.parametrize(
    ("reward", "discount", "reach"),
    [
        ([-2.0, -0.5], 0.9, 25.0),
        ([0.7, 0.7], 0.5, 1.75),
        ([-1.0, 3.0], 0.0, 3.75),
        ([0.0, 0.0], 0.0, 1.25),  # rewards that say nothing of their range
        ([-1.0, -1.0], 1.0, 1250.0),
    ],
)
def test_bins_reach_as_far_as_values_can(reward: list[float], discount: float, reach: float) -> None:
    histogram = fitted(reward, discount)
    assert float(histogram.reach) == pytest.approx(reach, rel=1e-5)
    assert float(histogram.value(torch.zeros(BINS))) == pytest.approx(0, abs=1e-4 * reach), "where a new critic begins"


def test_bins_reach_no_farther_for_rewards_of_several_steps() -> None:
    histogram = Histogram()
    histogram.fit(torch.tensor([-2 * (1 + 0.9 + 0.81), -0.5]), torch.tensor([3.0, 1.0]), 0.9)
    assert float(histogram.reach) == pytest.approx(25, rel=1e-5)


def test_a_target_is_a_gaussian_around_its_value() -> None:
    histogram = fitted([-2.0, -0.5], 0.9)
    value, width = torch.linspace(-22, 22, 50), 50 / BINS
    share = histogram.target(value)
    assert share.shape == (50, BINS) and bool((share >= 0).all())
    torch.testing.assert_close(share.sum(-1), torch.ones(50))
    torch.testing.assert_close(histogram.value(share.log()), value, rtol=0, atol=1e-3)
    centre = -25 + width * (torch.arange(BINS) + 0.5)
    spread = ((centre - value[:, None]).square() * share).sum(-1).sqrt()
    torch.testing.assert_close(spread, torch.full((50,), width * (SPREAD**2 + 1 / 12) ** 0.5), rtol=0.01, atol=0)
    beyond = histogram.target(torch.tensor([-1e6, -25.0, 25.0, 1e6]))
    assert torch.equal(beyond[0], beyond[1]) and torch.equal(beyond[2], beyond[3]) and bool(beyond.isfinite().all())


def test_the_loss_pulls_histograms_towards_their_targets() -> None:
    histogram = fitted([-1.0], 0.5)
    logits = torch.randn(2, 6, BINS, generator=draws(0), requires_grad=True)
    value = torch.linspace(-2, 0, 6)
    (gradient,) = torch.autograd.grad(histogram.loss(logits, value), logits)
    torch.testing.assert_close(gradient, (logits.detach().softmax(-1) - histogram.target(value)) / 6)


@pytest.mark.parametrize("name", ["td3", "sac"])
def test_bins_are_those_of_the_first_batch_and_survive_a_checkpoint(name: str) -> None:
    entry: Any = LEARNERS[name]
    one, other = (entry(entry.Config(hidden=(8,), critic="hl_gauss"), LATENT, ACTION, draws(seed)) for seed in (0, 1))
    first, second = batches(2)
    for batch in (first, second._replace(reward=9 * second.reward)):
        one.update(batch, draws(2))
    greatest = float(first.reward.abs().max())
    assert float(one.values.reach) == pytest.approx(1.25 * greatest / (1 - one.config.discount), rel=1e-5)
    other.load_state_dict(unpack(pack(one.state_dict())))
    for batch in batches(3, seed=5):
        metrics = [learner.update(batch, draws(3)) for learner in (one, other)]
        assert all(torch.equal(value, metrics[1][key]) for key, value in metrics[0].items())


# ---- beginning anew ----


@pytest.mark.parametrize("name", ["td3", "ddpg", "sac"])
def test_networks_begin_anew_and_nothing_else_does(name: str) -> None:
    entry: Any = LEARNERS[name]
    config = entry.Config(hidden=(16, 16), reset_every=3)
    one, other = (entry(config, LATENT, ACTION, draws(seed)) for seed in (0, 1))
    worlds = torch.randn(2, 5, LATENT, generator=draws(2))
    generator = draws(3)
    for batch in batches(3):
        one.act(*worlds, generator)
        one.update(batch, generator)
    before = unpack(pack(one.state_dict()))
    other.load_state_dict(before)
    twin = draws(0)
    twin.set_state(generator.get_state())
    states: list[Any] = []
    for batch in batches(4, seed=5):  # across a reset, from a checkpoint
        metrics = one.update(batch, generator), other.update(batch, twin)
        assert all(torch.equal(value, metrics[1][key]) for key, value in metrics[0].items())
        states.append(unpack(pack(one.state_dict())))
    first = states[0]
    assert int(first["updates"]) == 4 and float(first["critic_optimiser.0.step"]) == 1
    for key in ("actor.weights.1", "critics.weights.1", "target_critics.weights.1"):
        assert (first[key] - before[key]).abs().mean() > 0.05, f"{key} was drawn anew"
    assert (first["target_critics.weights.1"] - first["critics.weights.1"]).abs().max() < 2e-3
    if name == "ddpg":
        assert torch.equal(first["exploration.drift"], before["exploration.drift"])


def test_what_was_learnt_is_learnt_again() -> None:
    learner = learn("td3", 0, paid_for_the_goal, 700, 0.0, reset_every=350)
    goal = torch.linspace(-0.9, 0.9, 50)[:, None]
    assert (learner.act(torch.zeros(50, 1), goal) - goal).abs().mean() < 0.08
