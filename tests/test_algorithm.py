"""The algorithm on a world of one point on a line, in which everything that should happen can be counted."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rig.algorithm import RIG
from rig.encoders import Encoder
from rig.goals import GoalSampler, LatentFrame
from rig.goals.frame import IdentityConfig
from rig.learners import LEARNERS
from rig.learners.base import Learner
from rig.learners.td3 import TD3Config
from rig.replay import RelabelConfig, Ring
from rig.rewards import OracleReward, OracleRewardConfig, Reward
from rig.types import Batch
from tests.point_line import (
    LATENT_DISTANCE,
    WIDTH,
    WORLDS,
    Centroid,
    Numbered,
    PointLine,
    Reader,
    Recorder,
    check_exploration,
    film_of,
    seeded,
)  # fmt: skip

HORIZON = 6
CPU = torch.device("cpu")


def make(
    *,
    env: Any = None,
    encoder: Encoder | None = None,
    goals: GoalSampler | None = None,
    learner: Learner | None = None,
    shares: tuple[float, float, float] = (0.25, 0.25, 0.5),
    random_steps: int = 0,
    hold: float = 1.0,
    updates_per_step: float = 1,
    n_step: int = 1,
    batch: int = 16,
    seed: int = 0,
    overlap: bool = False,
    reward: Reward = LATENT_DISTANCE,
) -> RIG:
    env = env or PointLine()
    encoder = encoder or Centroid()
    observed: tuple[tuple[int, ...], torch.dtype] = (env.frame_shape, torch.uint8)
    shape, dtype = observed if encoder.observes == "frame" else ((1,), torch.float32)
    return RIG(
        env, encoder, goals or Numbered(), LatentFrame(IdentityConfig(), 1), reward, learner or Recorder(),
        Ring(400, HORIZON, env.num_envs, shape, dtype, 1, 1, CPU, state_dim=reward.reads == "state"),
        RelabelConfig("rig", *shares), seeded(seed),
        batch=batch, random_steps=random_steps, hold=hold, updates_per_step=updates_per_step, n_step=n_step,
        overlap=overlap,
    )  # fmt: skip


def run(agent: RIG, steps: int) -> Any:
    for _ in range(steps):
        agent.step()
    return agent


def test_an_agent_that_sees_never_looks_at_the_state() -> None:
    run(make(random_steps=6), 3 * HORIZON)  # Film.state raises
    with pytest.raises(AssertionError, match="looked at the simulator's state"):
        make(encoder=Reader()).step()  # and would have been caught


def test_an_oracle_never_looks_at_a_frame() -> None:
    agent = run(make(env=PointLine(sees="state"), encoder=Reader()), 2 * HORIZON)
    assert torch.equal(agent.replay.observed[0, : HORIZON + 1, 0], torch.from_numpy(np.stack(agent.env.positions)[:7, 0, 0]))


def test_every_frame_is_encoded_exactly_once() -> None:
    steps = 3 * HORIZON + 2
    agent = run(make(updates_per_step=2), steps)
    assert agent.encoder.seen == WORLDS * (steps + 4)  # one a step, and the first of each of four rounds of episodes
    assert agent.encoder.seen == sum(len(position) for position in agent.env.positions)


def test_frames_and_their_codes_are_stored_as_they_came() -> None:
    agent = run(make(), HORIZON)
    positions = torch.from_numpy(np.stack(agent.env.positions, 1))
    torch.testing.assert_close(agent.replay.latent[:WORLDS], positions, rtol=0, atol=0.01)
    torch.testing.assert_close(agent.replay.observed[:WORLDS].flatten(0, 1).float(), film_of(positions), rtol=0, atol=0.51)
    assert torch.equal(agent.replay.action[:WORLDS], torch.from_numpy(np.stack(agent.env.actions, 1)))


def test_a_goal_is_imagined_once_an_episode_and_kept_to_its_end() -> None:
    agent = run(make(shares=(1.0, 0.0, 0.0)), 3 * HORIZON + 1)
    assert agent.goals.drawn == 4 * WORLDS
    numbers = 1000 + torch.arange(4 * WORLDS).float().view(4, WORLDS, 1)
    assert torch.equal(agent.replay.goal[: 4 * WORLDS], numbers.flatten(0, 1))
    for step, (_, goal, _) in enumerate(agent.learner.acted):
        assert torch.equal(goal, numbers[step // HORIZON])


def test_the_policy_acts_on_the_code_of_what_it_sees_with_exploration() -> None:
    agent = run(make(), 2 * HORIZON)
    seen = np.stack([p for i, p in enumerate(agent.env.positions) if i % (HORIZON + 1) != HORIZON])  # but for the last frames
    acted = torch.stack([latent for latent, _, _ in agent.learner.acted])
    torch.testing.assert_close(acted, torch.from_numpy(seen), rtol=0, atol=0.01)
    assert all(explores for _, _, explores in agent.learner.acted)
    assert all((action == 1).all() for action in agent.env.actions)


def test_episodes_begin_where_the_task_begins() -> None:
    agent = run(make(), 2 * HORIZON + 1)
    assert agent.env.resets == [None] * 3


@pytest.mark.parametrize("hold", [1.0, 3.0])
def test_the_first_steps_explore_and_nothing_is_learnt_from_them(hold: float) -> None:
    episodes = 40
    agent = run(make(random_steps=episodes * HORIZON * WORLDS, hold=hold), episodes * HORIZON)
    assert agent.steps == episodes * HORIZON * WORLDS and agent.learner.acted == [] and agent.learner.batches == []
    check_exploration(np.concatenate(agent.env.actions, 1).reshape(WORLDS, episodes, HORIZON), hold)
    run(agent, 1)
    assert len(agent.learner.acted) == 1 and len(agent.learner.batches) == WORLDS


@pytest.mark.parametrize(("worlds", "updates"), [(1, 1), (1, 3), (3, 2), (4, 0.5)])
def test_updates_follow_the_env_steps_after_the_random_ones(worlds: int, updates: float) -> None:
    agent = run(make(env=PointLine(worlds=worlds), random_steps=4 * worlds, updates_per_step=updates), 15)
    assert agent.steps == 15 * worlds
    assert len(agent.learner.batches) == updates * (15 - 4) * worlds
    metrics = agent.step()
    assert float(metrics["critic_loss"]) == len(agent.learner.batches) == updates * 12 * worlds  # the last update's


class WaitingWorlds(PointLine):
    """After five steps, none is taken before the learner gets to its first update of that step."""

    def __init__(self, barrier: threading.Barrier) -> None:
        super().__init__()
        self.barrier = barrier

    def step(self, action: np.ndarray) -> Any:
        if len(self.actions) >= 5:
            self.barrier.wait()
        return super().step(action)


class WaitingLearner(Recorder):
    """And the other way round."""

    def __init__(self, barrier: threading.Barrier) -> None:
        super().__init__()
        self.barrier = barrier

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        if len(self.batches) % WORLDS == 0:
            self.barrier.wait()
        return super().update(batch, generator)


def test_overlapped_the_worlds_step_while_the_learner_updates() -> None:
    meet = threading.Barrier(2, timeout=20)
    agent = run(make(env=WaitingWorlds(meet), learner=WaitingLearner(meet), random_steps=5 * WORLDS, overlap=True), 15)
    assert len(agent.learner.batches) == 10 * WORLDS and agent.steps == 15 * WORLDS


@pytest.mark.parametrize("random_steps", [0, 5 * WORLDS])
def test_overlapped_updates_see_all_but_the_step_that_is_being_taken(
    random_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[bool, list[int]] = {False: [], True: []}
    agents = {overlap: make(random_steps=random_steps, overlap=overlap) for overlap in held}
    for overlap, agent in agents.items():
        replay, draw = agent.replay, agent.replay.sample

        def noted(*args: Any, held: list[int] = held[overlap], replay: Ring = replay, draw: Any = draw) -> Any:
            held.append(len(replay))
            return draw(*args)

        monkeypatch.setattr(replay, "sample", noted)
        run(agent, 20)
    first = random_steps // WORLDS
    assert held[False] == [WORLDS * (step + 1) for step in range(first, 20)]
    assert held[True] == [max(WORLDS, WORLDS * step) for step in range(first, 20)]
    one, other = agents.values()
    assert len(one.learner.batches) == len(other.learner.batches) == WORLDS * (20 - first)
    assert torch.equal(one.replay.latent[: one.replay.begun, :2], other.replay.latent[: one.replay.begun, :2])


def test_a_world_that_breaks_while_the_learner_updates_says_so() -> None:
    agent = run(make(random_steps=WORLDS, overlap=True), 3)
    agent.env.position = np.zeros((1, 7))
    with pytest.raises(ValueError, match="broadcast"):
        agent.step()


def test_rewards_are_recomputed_for_the_goal_that_is_learnt_with() -> None:
    agent = make(shares=(0.25, 0.25, 0.5))
    agent.frame.weight.fill_(2.0)
    run(agent, 3 * HORIZON)
    imagined = kept = 0
    for batch in agent.learner.batches:
        assert len(batch.reward) == 16
        torch.testing.assert_close(batch.reward, -2 * (batch.next_latent - batch.goal)[:, 0].abs())
        assert bool((batch.goal[:8] >= 1000).all()) and bool((batch.goal[8:] < WIDTH).all())
        rollouts = torch.isin(batch.goal[:8], agent.replay.goal[: 3 * WORLDS])
        kept, imagined = kept + int(rollouts[:4].sum()), imagined + int((~rollouts[4:]).sum())
        # A future goal is a place that the point, always going right, had yet to reach or had just reached.
        assert bool((batch.goal[8:] >= batch.next_latent[8:] - 0.01).all())
        moved = batch.next_latent - batch.latent
        torch.testing.assert_close(moved, 0.5 * batch.action.where(batch.next_latent < WIDTH - 1, moved * 2), rtol=0, atol=0.02)
    assert kept == imagined == 4 * len(agent.learner.batches)
    assert any(float((batch.reward[8:]).max()) > -0.01 for batch in agent.learner.batches)


@pytest.mark.parametrize("n_step", [2, 4])
def test_rewards_of_several_steps_are_discounted_and_summed(n_step: int) -> None:
    learner = Recorder()
    learner.config = SimpleNamespace(discount=0.7)
    run(make(learner=learner, n_step=n_step), 2 * HORIZON)
    lengths = torch.cat([batch.steps for batch in learner.batches])
    assert lengths.unique().tolist() == list(range(1, n_step + 1))
    for batch in learner.batches:
        expected = torch.zeros(16)
        for step in range(1, n_step + 1):
            place = (batch.latent + 0.5 * step).clamp(max=WIDTH - 1)  # always right, by half a pixel a step
            reward = -(place - batch.goal)[:, 0].abs() * 0.7 ** (step - 1)
            expected += torch.where(step <= batch.steps, reward, 0.0)
        torch.testing.assert_close(batch.reward, expected, rtol=0, atol=0.05)
        after = (batch.latent[:, 0] + 0.5 * batch.steps).clamp(max=WIDTH - 1)
        torch.testing.assert_close(batch.next_latent[:, 0], after, rtol=0, atol=0.02)


def test_codes_goals_and_rewards_are_in_the_coordinates_of_the_frame() -> None:
    agent = make(shares=(0.25, 0.25, 0.5))
    agent.frame.offset.fill_(1.0)
    agent.frame.matrix.fill_(10.0)
    run(agent, HORIZON)
    positions = torch.from_numpy(np.stack(agent.env.positions, 1))
    torch.testing.assert_close(agent.replay.latent[:WORLDS], 10 * (positions - 1), rtol=0, atol=0.1)
    assert torch.equal(agent.replay.goal[:WORLDS, 0], torch.tensor([9990.0, 10000.0, 10010.0]))
    goals = torch.cat([batch.goal[4:8] for batch in agent.learner.batches])
    assert bool((goals >= 9990).all()) and bool((goals % 10 == 0).all())


def test_an_encoder_that_changed_stops_the_agent_before_it_mixes_codes() -> None:
    agent = run(make(), 4)
    agent.encoder.version += 1
    with pytest.raises(ValueError, match="stale codes"):
        agent.step()


@pytest.mark.parametrize("steps", [1, 4, HORIZON, HORIZON + 2])
def test_the_last_return_is_the_sum_of_rewards_towards_the_rollouts_goal(steps: int) -> None:
    agent = run(make(), steps)
    within = (steps - 1) % HORIZON + 1
    reached = np.stack(agent.env.positions[-within:], 1)[..., 0]
    goals = 1000.0 + np.arange(WORLDS)[:, None] + (agent.replay.goal[agent.replay.open_row, 0].item() - 1000)
    found = agent.last_return()
    assert found.shape == (WORLDS,)
    np.testing.assert_allclose(found, -np.abs(reached - goals).sum(1), rtol=1e-4)


class Told(PointLine):
    """Worlds that say where the point is, as a hundred times its place."""

    def observe(self) -> Any:
        return SimpleNamespace(frame=super().observe().frame, state=100 * self.position)


@pytest.mark.parametrize("overlap", [False, True])
def test_a_reward_of_states_is_of_those_that_were_reached(overlap: bool) -> None:
    reward = OracleReward(OracleRewardConfig())
    agent = run(make(env=Told(), reward=reward, shares=(0.0, 0.0, 1.0), overlap=overlap), 3 * HORIZON)
    for batch in agent.learner.batches:
        torch.testing.assert_close(batch.reward, -100 * (batch.next_latent - batch.goal)[:, 0].abs(), rtol=0, atol=2)
    assert agent.last_return() is None


def td3(seed: int) -> Learner:
    entry: Any = LEARNERS["td3"]
    return entry(TD3Config(hidden=(32, 32), discount=0.9), 1, 1, seeded(seed))


class Uniform(Numbered):
    """Goals anywhere on the line, drawn from the generator that it is given."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand((count, 1), generator=generator) * (WIDTH - 1)


@pytest.mark.parametrize("overlap", [False, True])
def test_the_same_seeds_make_the_same_agent_bit_for_bit(overlap: bool) -> None:
    def trained(seed: int) -> RIG:
        env = PointLine(worlds=2)
        return run(make(env=env, goals=Uniform(), learner=td3(1), random_steps=20, seed=seed, overlap=overlap), 45)

    first, second, other = trained(0), trained(0), trained(3)
    assert first.learner.state_dict().keys() == second.learner.state_dict().keys()
    for name, value in first.learner.state_dict().items():
        assert torch.equal(value, second.learner.state_dict()[name]), name
    for name, value in first.replay.episodes(0, first.replay.begun - 2).items():
        assert torch.equal(value, second.replay.episodes(0, first.replay.begun - 2)[name]), name
    assert torch.equal(first.generator.get_state(), second.generator.get_state())
    assert any(not torch.equal(value, other.learner.state_dict()[name]) for name, value in first.learner.state_dict().items())


def test_the_agent_learns_to_go_where_it_is_told() -> None:
    agent = run(make(goals=Uniform(), learner=td3(1), random_steps=100, batch=64), 250)
    goal = torch.linspace(0.5, WIDTH - 1.5, 40)[:, None]
    place = torch.full((40, 1), 2.0)
    for _ in range(2 * WIDTH):
        place = (place + 0.5 * agent.learner.act(place, goal)).clamp(0, WIDTH - 1)
    idle = float((2.0 - goal).abs().mean())
    assert float((place - goal).abs().mean()) < 0.3 * idle


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", [name for name, entry in LEARNERS.items() if entry.steps])  # those of others may wait
def test_on_a_gpu_learning_never_waits_for_the_host(name: str) -> None:
    device = torch.device("cuda")
    entry: Any = LEARNERS[name]
    agent = run(make(goals=Uniform(), learner=entry(entry.Config(), 1, 1, seeded(1))), HORIZON + 2)
    for part in (agent.frame, agent.learner):
        part.to(device)
    for array in ("latent", "action", "goal"):
        setattr(agent.replay, array, getattr(agent.replay, array).to(device))
    agent.generator = torch.Generator(device).manual_seed(0)
    agent.goals.sample = lambda count, generator: torch.rand((count, 1), generator=generator, device=device)
    agent.learn(2)
    try:
        torch.cuda.set_sync_debug_mode("error")  # waiting raises
        metrics = agent.learn(4)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(value.is_cuda and value.isfinite() for value in metrics.values())
