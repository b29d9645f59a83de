"""Relabelling: shares that add up, and future goals that really lie in the future."""

from __future__ import annotations

import random

import pytest
import torch

from rig.replay.relabel import IMAGINE, KEEP, RELABELS, RelabelConfig, counts, relabel
from rig.types import Places

NOWHERE = torch.empty(0, dtype=torch.int64)
NONE = Places(NOWHERE, NOWHERE, NOWHERE)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_table_names_its_settings_and_its_source() -> None:
    for name, config in RELABELS.items():
        assert config().name == name and config.__doc__ and "Source:" in config.__doc__


def test_counts_add_up_and_are_within_one_of_the_share() -> None:
    draw = random.Random(0)
    for _ in range(2000):
        low, high = sorted(draw.choice((draw.random(), draw.randrange(11) / 10)) for _ in range(2))
        shares, batch = (low, high - low, 1 - high), draw.randrange(600)
        found = counts(batch, RelabelConfig(keep=shares[0], imagined=shares[1], future=shares[2] / 2, visited=shares[2] / 2))
        assert sum(found) == batch, (batch, shares, found)
        for count, share in zip(found, (*shares[:2], shares[2] / 2, shares[2] / 2), strict=True):
            assert count >= 0 and abs(count - batch * share) < 1, (batch, shares, found)


@pytest.mark.parametrize(
    ("batch", "shares", "expected"),
    [
        (10, (0.2, 0.5, 0.3), (2, 5, 3)),
        (256, (0.2, 0.5, 0.3), (51, 128, 77)),  # remainders .2, 0, .8
        (100, (0.1, 0.2, 0.7), (10, 20, 70)),  # products that floating point leaves just below a whole number
        (1, (0.2, 0.5, 0.3), (0, 1, 0)),
        (7, (1.0, 0.0, 0.0), (7, 0, 0)),
        (7, (0.0, 0.0, 1.0), (0, 0, 7)),
        (0, (0.2, 0.5, 0.3), (0, 0, 0)),
    ],
)
def test_counts_are_rounded_by_largest_remainder(
    batch: int, shares: tuple[float, float, float], expected: tuple[int, int, int]
) -> None:
    assert counts(batch, RelabelConfig("rig", *shares)) == (*expected, 0)


@pytest.mark.parametrize("shares", [(0.2, 0.5, 0.2), (0.5, 0.5, 0.5), (-0.1, 0.6, 0.5), (0.0, 0.0, 0.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be >= 0 and add to 1"):
        counts(10, RelabelConfig("rig", *shares))


def test_rows_are_kept_then_imagined_then_future_then_visited() -> None:
    step, length = torch.arange(100) % 5, torch.full((100,), 5)
    episode = torch.arange(100) // 5
    others = Places(torch.arange(10) + 1000, torch.arange(10) % 5, torch.full((10,), 5))
    found = relabel(episode, step, length, RelabelConfig("rig", 0.2, 0.5, 0.2, 0.1), seeded(0), others)
    assert torch.equal(found.episode, episode) and torch.equal(found.step, step)
    assert found.goal_step[:20].unique().tolist() == [KEEP]
    assert found.goal_step[20:70].unique().tolist() == [IMAGINE]
    assert bool((found.goal_step[70:90] > step[70:90]).all()) and bool((found.goal_step[70:90] <= 5).all())
    assert torch.equal(found.goal_episode[:90], episode[:90]) and torch.equal(found.goal_episode[90:], others.episode)
    assert torch.equal(found.goal_step[90:], others.step + 1)


def test_future_goals_are_uniform_from_the_very_next_frame_to_the_last() -> None:
    rows, length = 30_000, 6
    for now in range(length):
        step = torch.full((rows,), now)
        found = relabel(step, step, torch.full((rows,), length), RelabelConfig("rig", 0, 0, 1), seeded(now), NONE).goal_step
        seen = torch.bincount(found, minlength=length + 1)
        assert seen[: now + 1].sum() == 0 and len(seen) == length + 1
        share = seen[now + 1 :] / rows
        torch.testing.assert_close(share, torch.full_like(share, 1 / (length - now)), rtol=0, atol=0.015)


def test_episodes_of_different_lengths_keep_to_their_own() -> None:
    length = torch.randint(1, 9, (5000,), generator=seeded(0))
    step = (torch.rand(5000, generator=seeded(1)) * length).long()
    found = relabel(step, step, length, RelabelConfig("rig", 0, 0, 1), seeded(2), NONE).goal_step
    assert bool((found > step).all()) and bool((found <= length).all())
    assert bool((found == length).any()) and bool((found == step + 1).any())


def test_the_choice_is_the_generators() -> None:
    step, length = torch.zeros(50, dtype=torch.int64), torch.full((50,), 40)
    first, second, third = (
        relabel(step, step, length, RelabelConfig("rig", 0, 0, 1), seeded(seed), NONE).goal_step for seed in (0, 0, 1)
    )
    assert torch.equal(first, second) and not torch.equal(first, third)
