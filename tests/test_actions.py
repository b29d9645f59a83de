"""What keeps a deterministic policy's actions in bounds, how it explores, and DDPG, which is TD3 with other settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rig.learners import LEARNERS
from rig.learners.actions import SPREAD, Candidates, Exploration, bounded, inverted
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
    learner = TD3(TD3Config(action="clip", candidates=1, discount=0.0, **SMALL), 1, 1, draws(0))
    with torch.no_grad():
        learner.actor.biases[-1].add_(3.0)
    generator = draws(1)
    goal = torch.linspace(-0.9, 0.9, 50)[:, None]
    assert bool((learner.act(goal, goal) == 1).all())
    for _ in range(500):
        learner.update(paid_for_the_goal(generator), generator)
    assert (learner.act(goal, goal) - goal).abs().mean() < 0.1


# ---- candidates ----


def test_of_the_candidates_the_best_is_chosen_and_the_policys_own_is_one_of_them() -> None:
    choose = Candidates(16, ACTION)
    action, given = torch.rand(50, ACTION, generator=draws(0)) * 2 - 1, torch.randn(50, LATENT, generator=draws(1))
    best = given[:, :ACTION].clamp(-1, 1)

    def value(inputs: torch.Tensor) -> torch.Tensor:
        """High where the action is the first of what is given: each row has its own best."""
        return -(inputs[:, LATENT:] - inputs[:, :ACTION].clamp(-1, 1)).norm(dim=1)

    chosen = choose(given, action, value)
    assert chosen.abs().max() <= 1
    everything = (action + choose.offsets[:, None]).clamp(-1, 1)
    torch.testing.assert_close((chosen - best).norm(dim=1), (everything - best).norm(dim=2).amin(0))
    assert torch.equal(choose(best, best, lambda inputs: -(inputs[:, ACTION:] - inputs[:, :ACTION]).norm(dim=1)), best)


@pytest.mark.parametrize("actions", [1, 2, 4])
def test_candidates_lie_about_the_policys_action_as_a_normal_distribution_does(actions: int) -> None:
    offsets = Candidates(257, actions).offsets
    assert torch.equal(offsets[0], torch.zeros(actions))
    torch.testing.assert_close(offsets[1:].std(0), torch.full((actions,), SPREAD), rtol=0.05, atol=0)
    assert offsets[1:].mean(0).abs().max() < 0.05 * SPREAD
    assert Candidates(1, actions).offsets.tolist() == [[0.0] * actions]


def test_the_critics_choose_among_as_many_actions_as_are_asked_for() -> None:
    """The actor's own are nowhere worth more, and one candidate is the actor's own."""
    latent, goal = torch.randn(2, 40, LATENT, generator=draws(3))
    acting: dict[int, torch.Tensor] = {}
    worth: dict[int, torch.Tensor] = {}
    for count in (1, 16):
        learner = TD3(TD3Config(candidates=count), LATENT, ACTION, draws(0))
        acting[count] = learner.act(latent, goal)
        assert torch.equal(acting[count], learner.act(latent, goal))
        inputs = torch.cat((learner.inputs(latent, goal), acting[count]), 1)
        worth[count] = learner.least_value(inputs).detach()
    assert torch.equal(acting[1], bounded("tanh", learner.actor(learner.inputs(latent, goal))[0]).detach())
    assert bool((worth[16] >= worth[1] - 1e-6).all())
    assert (worth[16] > worth[1] + 1e-6).float().mean() > 0.5


# ---- exploration ----


@pytest.mark.parametrize("reversion", [0.15, 1.0])
def test_drifting_noise_is_as_wide_from_the_first_step_on_and_forgets_at_its_rate(reversion: float) -> None:
    explore, generator = Exploration("ou", 0.25, reversion, 0.0, 1.0), draws(0)
    still = torch.zeros(4000, ACTION)
    noise = torch.stack([explore(still, generator) for _ in range(12)])
    torch.testing.assert_close(noise.std((1, 2)), torch.full((12,), 0.25), rtol=0.05, atol=0)
    for apart in (1, 4):
        kept = (noise[apart:] * noise[:-apart]).mean() / noise.square().mean()
        assert float(kept) == pytest.approx((1 - reversion) ** apart, abs=0.03)
    between = [(noise[:, :2000] * noise[:, 2000:]).mean(), (noise[..., 0] * noise[..., 1]).mean()]
    assert all(float(common.abs()) < 0.05 * 0.25**2 for common in between), "worlds and components go their own ways"


@pytest.mark.parametrize("hold", [1.0, 6.0])
def test_uniform_actions_take_their_share_of_steps_and_are_held_for_as_long_as_asked(hold: float) -> None:
    explore, generator = Exploration("gaussian", 0.0, 0.15, 0.3, hold), draws(0)
    policys = torch.full((4000, ACTION), 0.5)
    acted = torch.stack([explore(policys, generator) for _ in range(30)])
    replaced = (acted != 0.5).any(2)
    for share in (replaced[0].float().mean(), replaced.float().mean()):
        assert float(share) == pytest.approx(0.3, abs=0.025)
    again = (acted[1:] == acted[:-1]).all(2)[replaced[:-1]].float().mean()
    assert float(again) == pytest.approx(1 - 1 / hold, abs=0.01)
    uniform = acted[replaced]
    torch.testing.assert_close(uniform.std(0), torch.full((ACTION,), 3**-0.5), rtol=0.03, atol=0)


@pytest.mark.parametrize("name", ["td3", "ddpg", "sb3_td3"])
def test_noise_goes_on_from_a_checkpoint_in_every_world(name: str) -> None:
    entry: Any = LEARNERS[name]
    config = entry.Config(noise_kind="ou", uniform=0.3, uniform_hold=4.0)
    learner, other, fresh = (entry(config, LATENT, ACTION, draws(0)) for _ in range(3))
    latent, goal = torch.randn(2, 5, LATENT, generator=draws(1))
    generator = draws(2)
    for _ in range(3):
        learner.act(latent, goal, generator)
    other.load_state_dict(unpack(pack(learner.state_dict())))
    twin = draws(0)
    twin.set_state(generator.get_state())
    begun_anew = fresh.act(latent, goal, draws(3))
    assert not torch.equal(begun_anew, learner.act(latent, goal, draws(3))), "where the noise stands counts"
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
        loss, _ = learner.critic_loss(batch, learner.target(batch, torch.randn(batch.action.shape, generator=draws(seed))))
        torch.testing.assert_close(loss, expected)
    assert {"critic_loss", "actor_loss"} <= learner.update(batch, draws(4)).keys()


def test_ddpg_learns_with_its_actions_cut() -> None:
    learner = learn("ddpg", 0, paid_for_the_goal, 400, 0.0, action="clip")
    goal = torch.linspace(-0.9, 0.9, 50)[:, None]
    assert (learner.act(torch.zeros(50, 1), goal) - goal).abs().mean() < 0.08
