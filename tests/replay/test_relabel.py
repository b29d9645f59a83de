"""Relabelling: shares that add up, and future goals that really lie in the future."""

from __future__ import annotations

import random

import pytest
import torch

from rig.replay.relabel import RELABELS, Counts, RelabelConfig, counts, relabel


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


def test_goals_of_a_batch_are_future_ones_then_visited_ones() -> None:
    step, visited = torch.arange(100) % 5, torch.arange(10) * 7 + 1000
    now, left = torch.cat((torch.arange(100) // 5 * 6 + step, visited)), torch.cat((5 - step, torch.ones(10, dtype=torch.int64)))
    count = counts(100, RelabelConfig("rig", 0.2, 0.5, 0.2, 0.1))
    found = relabel(now, left, count, seeded(0))
    assert len(found) == 30 and torch.equal(found[20:], visited + 1)
    own = slice(70, 90)
    assert bool((found[:20] > now[own]).all()) and bool((found[:20] <= now[own] + left[own]).all())


def future(now: torch.Tensor, left: torch.Tensor, seed: int) -> torch.Tensor:
    """Future goals of all of these."""
    return relabel(now, left, Counts(0, 0, len(now), 0), seeded(seed))


def test_future_goals_are_uniform_from_the_very_next_frame_to_the_last() -> None:
    rows, length = 30_000, 6
    for now in range(length):
        found = future(torch.full((rows,), now), torch.full((rows,), length - now), now)
        seen = torch.bincount(found, minlength=length + 1)
        assert seen[: now + 1].sum() == 0 and len(seen) == length + 1
        share = seen[now + 1 :] / rows
        torch.testing.assert_close(share, torch.full_like(share, 1 / (length - now)), rtol=0, atol=0.015)


def test_episodes_of_different_lengths_keep_to_their_own() -> None:
    length = torch.randint(1, 9, (5000,), generator=seeded(0))
    step = (torch.rand(5000, generator=seeded(1)) * length).long()
    found = future(step, length - step, 2)
    assert bool((found > step).all()) and bool((found <= length).all())
    assert bool((found == length).any()) and bool((found == step + 1).any())


def test_the_choice_is_the_generators() -> None:
    now, left = torch.zeros(50, dtype=torch.int64), torch.full((50,), 40)
    first, second, third = (future(now, left, seed) for seed in (0, 0, 1))
    assert torch.equal(first, second) and not torch.equal(first, third)
