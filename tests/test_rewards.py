"""Rewards: pure functions of a code, a goal and the frame's weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rig.rewards import REWARDS, latent_distance

every_reward = pytest.mark.parametrize("name", REWARDS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@every_reward
def test_the_table_names_its_settings_and_its_source(name: str) -> None:
    assert REWARDS[name].Config().name == name
    assert REWARDS[name].__doc__ and "Source:" in REWARDS[name].__doc__


@every_reward
def test_a_reward_is_one_finite_number_a_row_and_changes_nothing(name: str) -> None:
    inputs = (torch.randn(9, 4, generator=seeded(0)), torch.randn(9, 4, generator=seeded(1)), torch.rand(4, generator=seeded(2)))
    before = [value.clone() for value in inputs]
    reward = REWARDS[name](*inputs)
    assert reward.shape == (9,) and reward.dtype == torch.float32 and bool(reward.isfinite().all())
    assert all(torch.equal(value, copy) for value, copy in zip(inputs, before, strict=True))
    one_by_one = [REWARDS[name](inputs[0][i : i + 1], inputs[1][i : i + 1], inputs[2]) for i in range(9)]
    torch.testing.assert_close(torch.cat(one_by_one), reward)


@every_reward
def test_nothing_is_better_than_being_there(name: str) -> None:
    latent, weight = torch.randn(9, 4, generator=seeded(0)), torch.rand(4, generator=seeded(1)) + 0.1
    away = latent + torch.randn(9, 4, generator=seeded(2))
    assert bool((REWARDS[name](latent, latent, weight) > REWARDS[name](away, latent, weight)).all())


def test_latent_distance_is_the_weighted_euclidean_one() -> None:
    latent, goal = torch.randn(9, 4, generator=seeded(0)), torch.randn(9, 4, generator=seeded(1))
    weight = torch.tensor([2.0, 1.0, 0.5, 0.0])
    expected = -np.sqrt((((latent - goal).numpy() * weight.numpy()) ** 2).sum(1))
    np.testing.assert_allclose(latent_distance(latent, goal, weight).numpy(), expected, rtol=1e-5)
    unweighted = latent_distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), torch.ones(2))
    assert unweighted.tolist() == [-5.0]
    assert latent_distance(latent, latent, weight).abs().max() == 0
