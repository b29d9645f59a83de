"""The evaluation: its statistics on numbers worked out by hand, and its loop on a world that can be followed by eye."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from rig.encoders import Encoder
from rig.envs import Task
from rig.evaluate import Policy, Rollouts, rollout, spearman, summarise
from rig.goals import LatentFrame
from rig.goals.frame import IdentityConfig
from rig.learners.base import Learner


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_rank_correlation_with_ties_takes_mean_ranks() -> None:
    # Ranks 1, 2½, 2½, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 · 5).
    assert spearman(floats(1, 2, 2, 3), floats(1, 2, 3, 4)) == pytest.approx(4.5 / math.sqrt(22.5))
    # Ranks 2, 2, 2, 4, 5 against 5, 4, 3, 1½, 1½: -7.5 / sqrt(8 · 9.5).
    assert spearman(floats(0, 0, 0, 1, 9), floats(8, 7, 6, 5, 5)) == pytest.approx(-7.5 / math.sqrt(76))
    assert spearman(floats(3, 1, 3, 1), floats(1, 2, 1, 2)) == pytest.approx(-1)


def test_rank_correlation_without_ties_is_spearmans_formula() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.permutation(40), draw.permutation(40)
    expected = 1 - 6 * ((a - b) ** 2).sum() / (40 * (40**2 - 1))
    assert spearman(a.astype(np.float32) * 3 - 7, b.astype(np.float32) ** 3) == pytest.approx(expected)


def test_rank_correlation_sees_order_only() -> None:
    x = np.random.default_rng(1).normal(size=50).astype(np.float32)
    assert spearman(x, np.exp(3 * x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)


def test_rank_correlation_with_a_constant_is_not_a_number() -> None:
    assert math.isnan(spearman(floats(1, 1, 1), floats(1, 2, 3)))
    assert math.isnan(spearman(floats(1, 2, 3), floats(0, 0, 0)))


class Factor(NamedTuple):
    indices: tuple[int, ...]
    unit: str
    threshold: float


class Table:
    """Hand and puck on a table, two coordinates each; the puck decides."""

    factors = {"hand": Factor((0, 1), "m", 0.06), "puck": Factor((2, 3), "m", 0.05)}  # noqa: RUF012
    judged = ("puck",)
    success = Task.success

    def distances(self, state: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
        assert state.shape == goal.shape
        return {n: np.linalg.norm((state - goal)[:, list(f.indices)], axis=1) for n, f in self.factors.items()}


def rollouts(*, known: bool = True) -> Rollouts:
    """Three episodes of two steps towards the origin. Distances of the hand and of the puck, step by step:

    hand .5 .3 .04 | .1 .1 .1 | .2 .1 .05,  puck .10 .10 .05 (just not near enough) | .1 .07 .01 | .3 .2 .1
    """
    hand = np.array([[0.5, 0.3, 0.04], [0.1, 0.1, 0.1], [0.2, 0.1, 0.05]])
    puck = np.array([[0.1, 0.1, 0.05], [0.1, 0.07, 0.01], [0.3, 0.2, 0.1]])
    state = np.stack((hand * 0.6, hand * 0.8, puck * 0, -puck), 2).astype(np.float32)
    return Rollouts(
        state=state + 1,
        frame=np.zeros((3, 3, 4, 4, 3), np.uint8),
        goal_state=np.ones((3, 4), np.float32) if known else None,
        goal_frame=np.zeros((3, 4, 4, 3), np.uint8),
        latent_distance=(2 * (hand + puck)).astype(np.float32),
    )


def test_a_summary_holds_the_distances_that_it_was_given() -> None:
    found = summarise(Table(), rollouts())
    hand, puck = found["factors"]["hand"], found["factors"]["puck"]
    assert hand["final_distance_mean"] == pytest.approx((0.04 + 0.1 + 0.05) / 3, abs=1e-6)
    assert hand["idle_distance_mean"] == pytest.approx((0.5 + 0.1 + 0.2) / 3, abs=1e-6)
    assert puck["final_distance_mean"] == pytest.approx((0.05 + 0.01 + 0.1) / 3, abs=1e-6)
    assert puck["idle_distance_mean"] == pytest.approx((0.1 + 0.1 + 0.3) / 3, abs=1e-6)
    assert (hand["unit"], puck["unit"]) == ("m", "m")
    assert hand["success_rate"] == pytest.approx(2 / 3)
    assert puck["success_rate"] == found["success_rate"] == pytest.approx(1 / 3)  # of the judged factor
    assert found["final_distance_mean"] == pytest.approx((0.19 + 0.16) / 6, abs=1e-6)  # over all factors
    assert found["latent_distance_mean"] == pytest.approx(2 * (0.19 + 0.16) / 3, abs=1e-5)
    assert found["latent_true_spearman"] == pytest.approx(1)


def test_every_judged_factor_must_be_near_its_goal() -> None:
    class Both(Table):
        judged = ("hand", "puck")

    given = rollouts()
    assert summarise(Both(), given)["success_rate"] == 0  # each of the two is near its goal, but never both at once
    given.state[1, -1, :2] = 1
    assert summarise(Both(), given)["success_rate"] == pytest.approx(1 / 3)
    assert [row["success"] for row in summarise(Both(), given)["per_episode"]] == [False, True, False]


def test_a_summary_lists_every_episode() -> None:
    rows = summarise(Table(), rollouts())["per_episode"]
    assert [row["success"] for row in rows] == [False, True, False]
    assert [row["hand_distance"] for row in rows] == pytest.approx([0.04, 0.1, 0.05], abs=1e-6)
    assert [row["puck_distance"] for row in rows] == pytest.approx([0.05, 0.01, 0.1], abs=1e-6)
    assert [row["latent_distance"] for row in rows] == pytest.approx([0.18, 0.22, 0.3], abs=1e-5)


def test_the_rank_correlation_is_over_all_steps_of_all_episodes() -> None:
    given = rollouts()
    order = np.linspace(0, 1, 9, dtype=np.float32).reshape(3, 3)
    total = np.array([[0.6, 0.4, 0.09], [0.2, 0.17, 0.11], [0.5, 0.3, 0.15]], np.float32)
    expected = spearman(order.ravel(), total.ravel())
    assert summarise(Table(), given._replace(latent_distance=order))["latent_true_spearman"] == pytest.approx(expected)


def test_goals_of_unknown_state_leave_the_true_distances_out() -> None:
    known, unknown = summarise(Table(), rollouts()), summarise(Table(), rollouts(known=False))
    assert unknown.keys() == known.keys()
    assert unknown["latent_distance_mean"] == known["latent_distance_mean"]
    for key in ("success_rate", "final_distance_mean", "latent_true_spearman"):
        assert unknown[key] is None
    assert unknown["factors"] == {}
    assert unknown["per_episode"] == [{"latent_distance": row["latent_distance"]} for row in known["per_episode"]]


class Observation(NamedTuple):
    frame: np.ndarray
    state: np.ndarray


class Counter:
    """Worlds whose state is a number, painted on every pixel; an action adds to it. Worlds begin at 10, 20, …"""

    def __init__(self, worlds: int) -> None:
        self.num_envs = worlds

    def reset(self) -> Observation:
        self.state = 10 * np.arange(1, self.num_envs + 1, dtype=np.float32)[:, None]
        return self.observe()

    def step(self, action: np.ndarray) -> Observation:
        self.state += action
        return self.observe()

    def observe(self) -> Observation:
        return Observation(paint(self.state), self.state)


def paint(state: np.ndarray) -> np.ndarray:
    return np.broadcast_to(state[:, None, None].astype(np.uint8), (len(state), 2, 2, 3)).copy()


class Pixel(Encoder):
    """Reads the number off the first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.latent_dim = 1

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Any) -> dict[str, float]:
        return {}

    def encode(self, observed: Tensor) -> Tensor:
        return observed[:, 0, 0, :1].float()


class State(Pixel):
    """Reads the simulator's state, and adds a thousand so that it shows."""

    observes = "state"

    def encode(self, observed: Tensor) -> Tensor:
        return observed + 1000


class Towards(Learner):
    """Goes one towards the goal; refuses to explore."""

    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        assert generator is None
        return (goal - latent).clamp(-1, 1)

    def update(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        raise AssertionError("an evaluation learnt something")


def policy(encoder: Encoder) -> Policy:
    frame = LatentFrame(IdentityConfig(), 1)
    frame.matrix.fill_(3.0)
    frame.weight.fill_(0.5)
    return Policy(encoder, frame, Towards(), torch.device("cpu"))


@pytest.mark.parametrize("known", [True, False])
def test_a_rollout_goes_towards_the_goal_that_it_is_shown(known: bool) -> None:
    goals = np.array([[13.0], [15.0]], np.float32)
    found = rollout(Counter(2), policy(Pixel()), goals if known else None, paint(goals), horizon=4)
    expected = np.array([[10, 11, 12, 13, 13], [20, 19, 18, 17, 16]], np.float32)
    np.testing.assert_array_equal(found.state[..., 0], expected)  # the past is not overwritten by what comes after
    np.testing.assert_array_equal(found.frame, np.broadcast_to(expected[..., None, None, None], (2, 5, 2, 2, 3)))
    np.testing.assert_allclose(found.latent_distance, 1.5 * np.abs(expected - goals), rtol=1e-6)
    assert found.goal_state is (goals if known else None)
    np.testing.assert_array_equal(found.goal_frame, paint(goals))


def test_an_oracle_is_given_the_goals_state() -> None:
    goals = np.array([[13.0], [15.0]], np.float32)
    black = np.zeros((2, 2, 2, 3), np.uint8)
    found = rollout(Counter(2), policy(State()), goals, black, horizon=3)
    np.testing.assert_array_equal(found.state[:, -1, 0], [13, 17])
    np.testing.assert_array_equal(found.goal_frame, black)
