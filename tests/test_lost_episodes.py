"""Worlds may lose their open episodes: what is left of these is nothing, in the memory, among the frames and in an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rig.algorithm import RIG, collect
from rig.envs import EpisodeLostError, Observation
from rig.evaluate import Policy, rollouts
from rig.goals import LatentFrame
from rig.goals.frame import IdentityConfig
from rig.replay import RelabelConfig, Ring
from tests.point_line import LATENT_DISTANCE, WORLDS, Centroid, Numbered, PointLine, Recorder, seeded, silent

HORIZON = 6
CPU = torch.device("cpu")


class Losing(PointLine):
    """Loses its episodes at some of its steps, counted from the start, and then insists on a reset."""

    def __init__(self, *lost: int) -> None:
        super().__init__()
        self.lost, self.count, self.open = lost, 0, True

    def reset(self, mask: np.ndarray | None = None, state: np.ndarray | None = None) -> Any:
        self.open = True
        return super().reset(mask, state)

    def step(self, action: np.ndarray) -> Any:
        assert self.open
        self.count += 1
        if self.count in self.lost:
            self.open = False
            raise EpisodeLostError("gone")
        return super().step(action)


class Shown(Losing):
    """Frame and state, as an evaluation sees both."""

    def observe(self) -> Any:
        return Observation(super().observe().frame, self.position.copy())


def agent_in(env: PointLine, rounds: int, overlap: bool = False) -> RIG:
    ring = Ring(rounds * HORIZON * WORLDS, HORIZON, WORLDS, env.frame_shape, torch.uint8, 1, 1, CPU)
    return RIG(
        env, Centroid(), Numbered(), LatentFrame(IdentityConfig(), 1), LATENT_DISTANCE, Recorder(), ring,
        RelabelConfig("rig", 0.25, 0.25, 0.5), seeded(0), batch=16, random_steps=0, hold=1.0, updates_per_step=1, overlap=overlap,
    )  # fmt: skip


def starts_and_moves(replay: Ring, rows: slice, steps: int) -> bool:
    """Whether episodes begin at 2 and go right by half a pixel a step, as the recorder does, with codes to match."""
    codes = replay.latent[rows, : steps + 1, 0]
    return bool((codes - (2 + 0.5 * torch.arange(steps + 1))).abs().max() < 0.02)


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("rounds", [2, 10])  # the ring is full, and overwrites the oldest; or is not
def test_no_half_episode_stays_in_the_memory(rounds: int, overlap: bool) -> None:
    agent = agent_in(Losing(4 * HORIZON + 3, 4 * HORIZON + 4, 6 * HORIZON), rounds, overlap)
    for _ in range(4 * HORIZON + 2):
        agent.step()
    begun, steps, goals = agent.replay.begun, agent.steps, agent.replay.goal[agent.replay.open_rows].clone()
    assert agent.replay.step == 2
    assert agent.step() == {}
    assert (agent.replay.begun, agent.replay.step, agent.steps) == (begun, 0, steps)
    assert (agent.replay.goal[agent.replay.open_rows] != goals).all()
    assert len(agent.replay) == min(4, rounds - 1) * HORIZON * WORLDS
    for _ in range(3 * HORIZON):
        agent.step()
        held = min(agent.replay.begun, agent.replay.rows)
        open_rows = agent.replay.open_rows
        assert starts_and_moves(agent.replay, open_rows, agent.replay.step)
        for row in set(range(held)) - set(range(open_rows.start, open_rows.stop)):
            assert starts_and_moves(agent.replay, slice(row, row + 1), HORIZON)
    learnt = agent.learner.batches[-1]  # what was sampled are steps that were taken
    np.testing.assert_allclose(learnt.next_latent - learnt.latent, 0.5, atol=0.02)


def test_a_round_of_frames_is_collected_anew() -> None:
    env = Losing(3, 9, 10)
    seen = collect(env, Centroid(), 5 * WORLDS * 2, 4, 1.0, False, seeded(0), silent)
    assert seen.shape[:2] == (2 * WORLDS, 5) and env.count == 2 + 1 + 4 + 1 + 1 + 1 + 4
    place = Centroid().encode(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])[..., 0]
    np.testing.assert_allclose(place[:, 0], 2, atol=0.02)
    assert place.diff(dim=1).abs().max() < 0.52


def test_an_evaluation_is_of_whole_episodes() -> None:
    policy = Policy(Centroid(), LatentFrame(IdentityConfig(), 1), Recorder(), CPU)
    goals = PointLine().reset().frame
    whole, broken = (rollouts(env, policy, None, goals, HORIZON) for env in (Shown(), Shown(4, 6)))
    np.testing.assert_array_equal(whole.frame, broken.frame)
    np.testing.assert_array_equal(whole.latent_distance, broken.latent_distance)
