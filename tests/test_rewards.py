"""Rewards: how good it is to be at one code where another was meant."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rig.rewards import REWARDS, LatentDistance, LatentDistanceConfig, Reciprocal, ReciprocalConfig, Reward

every_reward = pytest.mark.parametrize("name", REWARDS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def default(name: str) -> Reward:
    return REWARDS[name](REWARDS[name].Config())


@every_reward
def test_the_table_names_its_settings_and_its_source(name: str) -> None:
    assert REWARDS[name].Config().name == name
    assert REWARDS[name].__doc__ and "Source:" in REWARDS[name].__doc__


@every_reward
def test_a_reward_is_one_finite_number_a_row_and_changes_nothing(name: str) -> None:
    inputs = (torch.randn(9, 4, generator=seeded(0)), torch.randn(9, 4, generator=seeded(1)), torch.rand(4, generator=seeded(2)))
    before = [value.clone() for value in inputs]
    reward = default(name)(*inputs)
    assert reward.shape == (9,) and reward.dtype == torch.float32 and bool(reward.isfinite().all())
    assert all(torch.equal(value, copy) for value, copy in zip(inputs, before, strict=True))
    one_by_one = [default(name)(inputs[0][i : i + 1], inputs[1][i : i + 1], inputs[2]) for i in range(9)]
    torch.testing.assert_close(torch.cat(one_by_one), reward)


@every_reward
def test_nothing_is_better_than_being_there(name: str) -> None:
    latent, weight = torch.randn(9, 4, generator=seeded(0)), torch.rand(4, generator=seeded(1)) + 0.1
    away = latent + torch.randn(9, 4, generator=seeded(2))
    assert bool((default(name)(latent, latent, weight) > default(name)(away, latent, weight)).all())


def test_latent_distance_is_the_weighted_euclidean_one() -> None:
    latent_distance = LatentDistance(LatentDistanceConfig())
    latent, goal = torch.randn(9, 4, generator=seeded(0)), torch.randn(9, 4, generator=seeded(1))
    weight = torch.tensor([2.0, 1.0, 0.5, 0.0])
    expected = -np.sqrt((((latent - goal).numpy() * weight.numpy()) ** 2).sum(1))
    np.testing.assert_allclose(latent_distance(latent, goal, weight).numpy(), expected, rtol=1e-5)
    unweighted = latent_distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.ones(2))
    assert unweighted.tolist() == [-5.0]
    assert latent_distance(latent, latent, weight).abs().max() == 0


def test_the_reciprocal_is_half_of_its_way_down_at_its_scale_and_sharpest_at_the_goal() -> None:
    reward = Reciprocal(ReciprocalConfig(scale=0.25))
    distance = torch.tensor([0.0, 0.25, 0.5, 1.0, 1e6])
    away = torch.stack((0.6 * distance, 0.8 * distance, torch.ones(5)), 1)
    found = reward(away / torch.tensor([2.0, 1.0, 1.0]), torch.zeros(5, 3), torch.tensor([2.0, 1.0, 0.0]))
    torch.testing.assert_close(found, torch.tensor([0.0, -1 / 2, -2 / 3, -4 / 5, -1.0]), atol=1e-5, rtol=0)
    near, far = (reward(torch.tensor([[d], [d + 0.01]]), torch.zeros(2, 1), torch.ones(1)).diff().abs() for d in (0.0, 1.0))
    assert bool(near > 20 * far)
