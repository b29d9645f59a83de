"""Where training has been: counted as it should, kept over a resume, and unknown to the agent."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rig.coverage import BINS, Surveyed
from rig.envs.task import Factor

CPU = torch.device("cpu")


class Drawn:
    """Worlds of a disc on a square and a lid with an angle, whose states are given beforehand."""

    task: Any = SimpleNamespace(
        factors={"disc": Factor((0, 1), "m", 0.1), "lid": Factor((2,), "rad", 0.1)},
        state_low=(0.0, -1.0, 0.0), state_high=(1.0, 1.0, 2.0),
    )  # fmt: skip
    num_envs = 4

    def __init__(self, states: list[np.ndarray]) -> None:
        self.states = iter(states)

    def step(self, action: Any) -> Any:
        return SimpleNamespace(state=next(self.states).astype(np.float32), frame="a picture")

    def snapshot(self) -> dict[str, np.ndarray]:
        return {"physics": np.ones(2)}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        assert snapshot.keys() == {"physics"}


def surveyed(states: np.ndarray) -> Surveyed:
    """Worlds that have been at states [T, N, 3]."""
    env = Surveyed(Drawn(list(states)), CPU)
    for _ in range(len(states)):
        assert env.step(None).frame == "a picture"
    return env


def test_the_entropy_is_that_of_the_cells_visited() -> None:
    disc = [(0.05, -0.95), (0.06, -0.85), (0.15, -0.95), (0.95, 0.95)]  # two in one cell, one beside it, one far away
    states = np.array([[(x, y, 0.5) for x, y in disc]] * 3)
    found = surveyed(states).coverage()
    assert found["disc"] == pytest.approx(1.5 * math.log(2)) and found["lid"] == 0


def test_a_factor_of_two_numbers_has_a_cell_for_every_pair() -> None:
    rng = np.random.default_rng(0)
    states = rng.uniform((0, -1, 0), (1, 1, 2), (3000, 4, 3))
    env = surveyed(states)
    expected = np.histogram2d(*states.reshape(-1, 3).T[:2], bins=BINS, range=((0, 1), (-1, 1)))[0] / 12_000
    assert env.coverage()["disc"] == pytest.approx(-(expected * np.log(expected)).sum(), abs=1e-3)
    assert 0.99 * 2 * math.log(BINS) < env.coverage()["disc"] < 2 * math.log(BINS)
    assert 0.99 * math.log(BINS) < env.coverage()["lid"] < math.log(BINS)


def test_what_lies_outside_counts_in_the_last_cell() -> None:
    env = surveyed(np.array([[(-9, 9, 5.0), (0.01, 0.99, 1.99), (-9, 0.99, 1.99), (0, 1, 2.0)]]))
    assert env.coverage() == {"disc": 0, "lid": 0}


def test_nothing_visited_is_no_coverage() -> None:
    assert Surveyed(Drawn([]), CPU).coverage() == {"disc": 0, "lid": 0}


def test_a_snapshot_has_the_visits_and_an_older_one_none() -> None:
    env = surveyed(np.random.default_rng(1).uniform(0, 1, (50, 4, 3)))
    other = Surveyed(Drawn([]), CPU)
    other.restore(env.snapshot())
    assert other.coverage() == env.coverage() and other.coverage()["disc"] > 1
    other.restore({"physics": np.ones(2)})
    assert other.coverage() == {"disc": 0, "lid": 0}


def test_worlds_without_bounds_have_no_coverage_and_are_otherwise_the_same() -> None:
    env = Drawn([np.zeros((4, 3))])
    env.task = SimpleNamespace(factors=Drawn.task.factors)
    wrapped = Surveyed(env, CPU)
    assert wrapped.step(None).frame == "a picture" and wrapped.coverage() == {}
    assert wrapped.snapshot().keys() == {"physics"} and wrapped.num_envs == 4
