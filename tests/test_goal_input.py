"""What a learner's networks are given of code and goal."""

from __future__ import annotations

import math

import pytest
import torch

from rig.learners.inputs import NEAR, WIDTHS, goal_input

LATENT, GOAL = torch.tensor([[1.0, -2.0], [0.5, 0.5]]), torch.tensor([[1.5, -2.0], [-0.5, 0.5 + NEAR]])


@pytest.mark.parametrize("kind", WIDTHS)
def test_every_way_begins_with_where_the_agent_is_and_is_as_wide_as_it_says(kind: str) -> None:
    given = goal_input(kind, LATENT, GOAL)
    assert given.shape == (2, 2 * WIDTHS[kind]) and torch.equal(given[:, :2], LATENT)


def test_the_goal_is_given_as_it_is_or_from_where_the_agent_is() -> None:
    assert torch.equal(goal_input("absolute", LATENT, GOAL)[:, 2:], GOAL)
    assert torch.equal(goal_input("relative", LATENT, GOAL)[:, 2:], GOAL - LATENT)


def test_the_logarithm_is_symmetric_and_tells_small_distances_apart() -> None:
    given = goal_input("logarithmic", LATENT, GOAL)
    assert torch.equal(given[:, :4], goal_input("relative", LATENT, GOAL))
    expected = torch.tensor([[math.log(11), 0.0], [-math.log(21), math.log(2)]])
    torch.testing.assert_close(given[:, 4:], expected, rtol=1e-5, atol=1e-5)
