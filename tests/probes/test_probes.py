"""Probe environments: problems so small that the right answer is known, for every learner.

Each is a generator of batches, one latent and one action wide. What a learner expects is read from the `value` that an update
of a copy of it returns; what it does, from `act`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rig.learners import LEARNERS, Learner
from rig.types import Batch

ROWS = 64
DISCOUNT = 0.8
ONE = torch.ones(ROWS)
"""A step each."""

SMALL: dict[str, Any] = {"hidden": (32, 32), "learning_rate": 3e-3, "polyak": 0.05}
"""For a short time to the answer; of these, a learner's settings take what they have."""

Problem = Callable[[torch.Generator], Batch]


VARIANTS: dict[str, dict[str, Any]] = {name: {"name": name} for name in LEARNERS}
VARIANTS["hl_gauss"] = {"name": "td3", "critic": "hl_gauss"}
VARIANTS["sac_hl_gauss"] = {"name": "sac", "critic": "hl_gauss"}
"""Every learner, and settings that change what one learns by."""

CASES = [(name, seed) for name in VARIANTS for seed in ((0, 1) if name in ("td3", "sac") else (0,))]
"""One seed is enough for the settings of another, and for references."""

pytestmark = pytest.mark.parametrize(("name", "seed"), CASES)


def learn(name: str, seed: int, problem: Problem, updates: int, discount: float, **more: Any) -> Learner:
    more |= VARIANTS[name]
    entry: Any = LEARNERS[more["name"]]
    settings = {key: value for key, value in SMALL.items() if key in {f.name for f in fields(entry.Config)}}
    generator = torch.Generator().manual_seed(seed)
    learner: Learner = entry(replace(entry.Config(), **settings, discount=discount, **more), 1, 1, generator)
    for _ in range(updates):
        learner.update(problem(generator), generator)
    return learner


def value(learner: Learner, batch: Batch) -> float:
    """What the learner expects of the batch's actions on average, before it learns from them."""
    kind: Any = type(learner)
    twin: Learner = kind(learner.config, 1, 1, torch.Generator())
    twin.load_state_dict(learner.state_dict())
    return float(twin.update(batch, torch.Generator().manual_seed(0))["value"])


def uniform(generator: torch.Generator) -> Tensor:
    return torch.rand(ROWS, 1, generator=generator) * 2 - 1


def same(number: float) -> Tensor:
    return torch.full((ROWS, 1), number)


# ---- one step, one reward ----


def paid_once(generator: torch.Generator) -> Batch:
    """Whatever one does, 0.7."""
    still = same(0.0)
    return Batch(still, still, uniform(generator), same(0.7)[:, 0], still, ONE)


def test_one_step_is_worth_its_reward(name: str, seed: int) -> None:
    learner = learn(name, seed, paid_once, 150, discount=0.0)
    assert value(learner, paid_once(torch.Generator().manual_seed(9))) == pytest.approx(0.7, abs=0.02)


def test_the_same_step_forever_is_worth_the_geometric_sum(name: str, seed: int) -> None:
    """No time limit ends it: a learner that cut episodes anywhere would expect less."""
    updates = 1400 if name.endswith("hl_gauss") else 800  # its histogram goes from bin to bin
    learner = learn(name, seed, paid_once, updates, DISCOUNT)
    assert value(learner, paid_once(torch.Generator().manual_seed(9))) == pytest.approx(0.7 / (1 - DISCOUNT), rel=0.05)


def paid_for_up_to_three(generator: torch.Generator) -> Batch:
    """The same, the rewards of one, two or three steps summed."""
    still, steps = same(0.0), torch.randint(1, 4, (ROWS,), generator=generator).float()
    reward = 0.7 * (1 - DISCOUNT**steps) / (1 - DISCOUNT)
    return Batch(still, still, uniform(generator), reward, still, steps)


def test_what_several_steps_were_paid_is_worth_the_same(name: str, seed: int) -> None:
    learner = learn(name, seed, paid_for_up_to_three, 1000 if name.endswith("hl_gauss") else 500, DISCOUNT)
    assert value(learner, paid_once(torch.Generator().manual_seed(9))) == pytest.approx(0.7 / (1 - DISCOUNT), rel=0.05)


# ---- one step, a reward for each goal ----


def paid_by_goal(generator: torch.Generator) -> Batch:
    """The reward is the goal, whatever one does and sees."""
    goal = uniform(generator)
    return Batch(uniform(generator), goal, uniform(generator), goal[:, 0], uniform(generator), ONE)


def test_a_value_depends_on_the_goal(name: str, seed: int) -> None:
    learner = learn(name, seed, paid_by_goal, 300, discount=0.0)
    for goal in (-0.8, 0.0, 0.8):
        batch = paid_by_goal(torch.Generator().manual_seed(9))._replace(goal=same(goal), reward=same(goal)[:, 0])
        assert value(learner, batch) == pytest.approx(goal, abs=0.05)


# ---- two steps: an action is worth what comes after it, discounted once ----


def paid_at_the_second(generator: torch.Generator) -> Batch:
    """-1 → 0 → 1, where it stays; the step out of 0 pays 1."""
    before = torch.randint(-1, 2, (ROWS, 1), generator=generator).float()
    return Batch(before, same(0.0), uniform(generator), (before[:, 0] == 0).float(), (before + 1).clamp(max=1), ONE)


def test_what_comes_later_is_discounted_once_a_step(name: str, seed: int) -> None:
    learner = learn(name, seed, paid_at_the_second, 600, DISCOUNT)
    batch = paid_at_the_second(torch.Generator().manual_seed(9))
    for state, expected in ((-1.0, DISCOUNT), (0.0, 1.0), (1.0, 0.0)):
        assert value(learner, batch._replace(latent=same(state))) == pytest.approx(expected, abs=0.1)


# ---- the action must equal the goal ----


def paid_for_the_goal(generator: torch.Generator) -> Batch:
    """Whatever one sees, the action should be the goal."""
    goal, action = uniform(generator), uniform(generator)
    return Batch(uniform(generator), goal, action, -(action - goal).abs()[:, 0], uniform(generator), ONE)


def test_the_policy_does_what_the_goal_says(name: str, seed: int) -> None:
    learner = learn(name, seed, paid_for_the_goal, 600, discount=0.0)
    goal = torch.linspace(-0.9, 0.9, 50)[:, None]
    latent = uniform(torch.Generator().manual_seed(9))[:50]
    assert (learner.act(latent, goal) - goal).abs().mean() < 0.08


# ---- the same over time: an action moves one towards the goal ----


def paid_near_the_goal(generator: torch.Generator) -> Batch:
    """A walk on a line, 0.25 a step at most; the reward is minus the distance after the step."""
    before, goal, action = uniform(generator), uniform(generator), uniform(generator)
    after = before + 0.25 * action
    return Batch(before, goal, action, -(after - goal).abs()[:, 0], after, ONE)


def test_the_policy_walks_to_the_goal_and_stays(name: str, seed: int) -> None:
    learner = learn(name, seed, paid_near_the_goal, 800, DISCOUNT)
    generator = torch.Generator().manual_seed(9)
    place, goal = uniform(generator), 0.9 * uniform(generator)
    for _ in range(10):
        place = place + 0.25 * learner.act(place, goal)
    assert (place - goal).abs().mean() < 0.1
