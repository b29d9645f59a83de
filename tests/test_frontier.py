"""Exploration beyond imagined goals: the least visited codes as goals, and random actions late in an episode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rig.algorithm import RIG
from rig.frontier import ExploreConfig, frontier_goals
from rig.goals import LatentFrame
from rig.goals.frame import IdentityConfig
from rig.replay import RelabelConfig, Ring
from tests.point_line import LATENT_DISTANCE, WORLDS, Centroid, Numbered, PointLine, Recorder, check_exploration, seeded

HORIZON = 6
CPU = torch.device("cpu")


def make(
    exploration: ExploreConfig, horizon: int = HORIZON, hold: float = 1.0, capacity: int = 400, random_steps: int = 0
) -> RIG:
    env = PointLine()
    replay = Ring(capacity, horizon, env.num_envs, env.frame_shape, torch.uint8, 1, 1, CPU)
    return RIG(
        env, Centroid(), Numbered(), LatentFrame(IdentityConfig(), 1), LATENT_DISTANCE, Recorder(), replay,
        RelabelConfig("rig", 0.25, 0.25, 0.5), seeded(0),
        batch=16, random_steps=random_steps, hold=hold, updates_per_step=1, exploration=exploration,
    )  # fmt: skip


def visit(codes: Tensor) -> Ring:
    """A ring whose closed episodes have codes f32[E, 3, K]; what it has not been given is not a number."""
    ring = Ring(100, 2, 1, (1,), torch.float32, codes.shape[2], 1, CPU)
    ring.latent.fill_(torch.nan)
    for episode in (*codes, torch.zeros(3, codes.shape[2])):  # the last one stays open
        ring.begin(torch.zeros(1, 1), episode[:1], torch.zeros(1, codes.shape[2]), 0)
        for code in episode[1:]:
            ring.append(torch.zeros(1, 1), torch.zeros(1, 1), code[None], 0)
    return ring


def test_a_frontier_goal_is_where_few_have_been() -> None:
    crowd = torch.randn(30, 3, 2, generator=seeded(0)) * torch.tensor([0.1, 10.0])
    crowd[7, 1], crowd[20, 2] = torch.tensor([9.0, 0.0]), torch.tensor([0.0, 900.0])
    goals = frontier_goals(visit(crowd), 200, seeded(1))
    assert goals.shape == (200, 2)
    alone = (goals == crowd[7, 1]).all(1) | (goals == crowd[20, 2]).all(1)
    assert float(alone.float().mean()) > 0.8  # all but those whose hundred choices have neither
    assert torch.equal(frontier_goals(visit(crowd), 5, seeded(2)), frontier_goals(visit(crowd), 5, seeded(2)))


def test_a_coordinate_that_never_changes_says_nothing_of_what_is_crowded() -> None:
    crowd = torch.randn(30, 3, 2, generator=seeded(0))
    still = torch.tensor([0.6, -40.0]).expand(30, 3, 2)
    goals = frontier_goals(visit(crowd), 50, seeded(1))
    beside = frontier_goals(visit(torch.cat((crowd, still), 2)), 50, seeded(1))
    assert torch.equal(beside[:, :2], goals)


def test_visited_codes_are_those_of_closed_episodes() -> None:
    codes = torch.arange(12.0).view(4, 3, 1) + 1
    found = visit(codes).visited(500, seeded(0))
    assert sorted(set(found.flatten().tolist())) == codes.flatten().tolist()
    with pytest.raises(ValueError, match="no episode is complete yet"):
        visit(codes[:0]).visited(1, seeded(0))


def test_visited_codes_of_a_full_ring_are_the_younger_ones() -> None:
    codes = torch.arange(180.0).view(60, 3, 1)
    found = visit(codes).visited(3000, seeded(0))
    assert float(found.min()) == 180 - 3 * 49 and float(found.max()) == 179  # 50 rows, one of them open


def test_episodes_go_for_imagined_goals_until_there_is_a_frontier() -> None:
    agent = make(ExploreConfig(goals="frontier"))
    for _ in range(4 * HORIZON):
        agent.step()
    goals = agent.replay.goal[: 4 * WORLDS]
    assert bool((goals[: 2 * WORLDS] >= 1000).all())  # the first episodes are still open when the second begin
    visited = agent.replay.latent[: 4 * WORLDS].flatten().tolist()
    assert all(goal in visited for goal in goals[2 * WORLDS :].flatten().tolist())


def test_by_default_every_goal_is_imagined_and_every_action_the_policys() -> None:
    agent = make(ExploreConfig())
    for _ in range(4 * HORIZON):
        agent.step()
    assert bool((agent.replay.goal[: 4 * WORLDS] >= 1000).all())
    assert bool((np.stack(agent.env.actions) == 1).all())


@pytest.mark.parametrize(("start", "policys"), [("random", 0.0), ("goals", 1.0)])
def test_the_first_steps_are_random_or_go_for_goals_and_teach_nothing(start: str, policys: float) -> None:
    agent = make(ExploreConfig(start=start), random_steps=4 * WORLDS)
    for _ in range(6):
        agent.step()
    actions = np.stack(agent.env.actions)
    assert float((actions[:4] == 1).mean()) == policys and bool((actions[4:] == 1).all())
    assert len(agent.learner.batches) == 2 * WORLDS


def test_late_in_an_episode_actions_are_random_and_held() -> None:
    agent = make(ExploreConfig(after=4), horizon=24, hold=3.0, capacity=4000)
    for _ in range(40 * 24):
        agent.step()
    actions = np.stack(agent.env.actions)[..., 0].reshape(40, 24, WORLDS).transpose(2, 0, 1)
    assert (actions[..., :4] == 1).all()
    check_exploration(actions[..., 4:], 3.0)
