"""What keeps a deterministic policy's actions in bounds, how it explores, and DDPG, which is TD3 with other settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rig.learners import LEARNERS
from rig.learners.actions import Exploration, bounded, inverted
from rig.learners.ddpg import DDPG, DDPGConfig
from rig.learners.td3 import TD3, TD3Config
from rig.tensors import pack, unpack
from tests.probes.test_probes import SMALL, learn, paid_for_the_goal
from tests.test_learners import ACTION, LATENT, batches, draws

# ---- bounds ----


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_where_actions_are_cut_the_gradient_shrinks_with_the_room_and_turns_round_beyond(direction: float) -> None:
    output = torch.tensor([[-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0]], requires_grad=True)
    action = bounded("clip", output)
    assert torch.equal(action, torch.tensor([[-1.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.0]]))
    loss = -direction * action.sum()
    steered = inverted(loss, action, output)
    assert torch.equal(steered, loss)
    (gradient,) = torch.autograd.grad(steered, output)
    torch.testing.assert_close(-gradient, direction * (1 - direction * output.detach()) / 2)


def test_an_actor_that_is_far_out_of_bounds_comes_back() -> None:
    """With a plain cut it would put out 1 for ever: nothing would tell it of the goals."""
    learner = TD3(TD3Config(action="clip", discount=0.0, **SMALL), 1, 1, draws(0))
    with torch.no_grad():
        learner.actor.biases[-1].add_(3.0)
    generator = draws(1)
    goal = torch.linspace(-0.9, 0.9, 50)[:, None]
    assert bool((learner.act(goal, goal) == 1).all())
    for _ in range(500):
        learner.update(paid_for_the_goal(generator), generator)
    assert (learner.act(goal, goal) - goal).abs().mean() < 0.1


# ---- exploration ----


@pytest.mark.parametrize("reversion", [0.15, 1.0])
def test_drifting_noise_is_as_wide_from_the_first_step_on_and_forgets_at_its_rate(reversion: float) -> None:
    explore, generator = Exploration("ou", 0.25, reversion, 0.0), draws(0)
    still = torch.zeros(4000, ACTION)
    noise = torch.stack([explore(still, generator) for _ in range(12)])
    torch.testing.assert_close(noise.std((1, 2)), torch.full((12,), 0.25), rtol=0.05, atol=0)
    for apart in (1, 4):
        kept = (noise[apart:] * noise[:-apart]).mean() / noise.square().mean()
        assert float(kept) == pytest.approx((1 - reversion) ** apart, abs=0.03)
    between = [(noise[:, :2000] * noise[:, 2000:]).mean(), (noise[..., 0] * noise[..., 1]).mean()]
    assert all(float(common.abs()) < 0.05 * 0.25**2 for common in between), "worlds and components go their own ways"


@pytest.mark.parametrize("name", ["td3", "ddpg", "sb3_td3"])
def test_drifting_noise_goes_on_from_a_checkpoint_in_every_world(name: str) -> None:
    entry: Any = LEARNERS[name]
    learner, other = (entry(entry.Config(noise_kind="ou", uniform=0.3), LATENT, ACTION, draws(0)) for _ in range(2))
    latent, goal = torch.randn(2, 5, LATENT, generator=draws(1))
    generator = draws(2)
    for _ in range(3):
        learner.act(latent, goal, generator)
    other.load_state_dict(unpack(pack(learner.state_dict())))
    twin = draws(0)
    twin.set_state(generator.get_state())
    begun_anew = entry(entry.Config(noise_kind="ou", uniform=0.3), LATENT, ACTION, draws(0)).act(latent, goal, draws(3))
    assert not torch.equal(begun_anew, learner.act(latent, goal, draws(3))), "the process counts"
    other.act(latent, goal, draws(3))
    for _ in range(3):
        assert torch.equal(learner.act(latent, goal, generator), other.act(latent, goal, twin))


def test_noise_that_is_drawn_anew_leaves_nothing_to_save() -> None:
    learner = TD3(TD3Config(), LATENT, ACTION, draws(0))
    before = learner.state_dict().keys()
    learner.act(torch.zeros(4, LATENT), torch.zeros(4, LATENT), draws(1))
    assert learner.state_dict().keys() == before and not any("exploration" in key for key in before)


# ---- DDPG ----


def test_ddpg_has_one_critic_no_smoothing_and_no_delay() -> None:
    learner = DDPG(DDPGConfig(hidden=(16, 16)), LATENT, ACTION, draws(0))
    with torch.no_grad():  # were targets and online weights alike, a swap of them would go unseen
        for parameter in (*learner.target_actor.parameters(), *learner.target_critics.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draws(1)))
    batch = next(batches(1))
    state, after = learner.inputs(batch.latent, batch.goal), learner.inputs(batch.next_latent, batch.goal)
    with torch.no_grad():
        then = torch.tanh(learner.target_actor(after)[0])
        target = batch.reward + learner.config.discount * learner.target_critics(torch.cat((after, then), 1))[0, :, 0]
        value = learner.critics(torch.cat((state, batch.action), 1))
    assert value.shape[0] == 1
    expected = (value[0, :, 0] - target).square().mean()
    for seed in (1, 2):
        loss, _ = learner.critic_loss(batch, torch.randn(batch.action.shape, generator=draws(seed)))
        torch.testing.assert_close(loss, expected)
    assert {"critic_loss", "actor_loss"} <= learner.update(batch, draws(4)).keys()


def test_ddpg_learns_with_its_actions_cut() -> None:
    learner = learn("ddpg", 0, paid_for_the_goal, 400, 0.0, action="clip")
    goal = torch.linspace(-0.9, 0.9, 50)[:, None]
    assert (learner.act(torch.zeros(50, 1), goal) - goal).abs().mean() < 0.08
