"""Statistics of few runs, against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rig import stats


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end() -> None:
    assert stats.iqm([np.array([100.0, 1.0, 2.0, -50.0])]) == 1.5
    assert stats.iqm([np.array([9.0, 1.0, 2.0, 3.0, 0.0])]) == 2.0  # a quarter of five is one
    assert stats.iqm([np.array([0.0, 6.0, 3.0])]) == 3.0  # and of three none
    assert stats.iqm([np.array([4.0, 8.0]), np.array([1.0, 5.0])]) == 4.5  # runs of all tasks together


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of many experiments of 20 runs each, about 95 % of the intervals hold the true interquartile mean of a normal, its mean."""
    rng, inside = seeded(0), []
    for _ in range(200):
        low, high = stats.iqm_interval([rng.normal(3, 1, 20)], rng)
        inside.append(low <= 3 <= high)
    assert 0.88 <= np.mean(inside) <= 0.99


def test_runs_are_drawn_within_their_task() -> None:
    """Tasks a thousand apart: drawn across tasks, the interval would be as wide as that."""
    scores = [np.array([1.0, 1.1, 0.9, 1.0]), np.array([1001.0, 1000.9, 1001.1, 1001.0])]
    low, high = stats.iqm_interval(scores, seeded(0))
    assert low == pytest.approx(501, abs=0.2) and high == pytest.approx(501, abs=0.2) and low <= high
    assert stats.iqm_interval([np.array([2.0])], seeded(0)) == (2.0, 2.0)


def test_the_probability_of_improvement_counts_pairs() -> None:
    share, low, high = stats.improvement([np.array([2.0, 3.0])], [np.array([1.0, 2.0, 4.0])], seeded(0))
    assert share == pytest.approx((1 + 0.5 + 0 + 1 + 1 + 0) / 6)
    assert 0 <= low < share < high <= 1
    two_tasks, *_ = stats.improvement([np.array([1.0]), np.array([1.0])], [np.array([0.0]), np.array([2.0])], seeded(0))
    assert two_tasks == 0.5
    assert stats.improvement([np.array([5.0, 6.0])], [np.array([1.0, 2.0])], seeded(0)) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="zip"):
        stats.improvement([np.array([1.0])], [np.array([1.0]), np.array([2.0])], seeded(0))


def test_the_probability_of_improvement_is_a_half_between_equals() -> None:
    rng = seeded(1)
    share, low, high = stats.improvement([rng.normal(size=40)], [rng.normal(size=40)], rng)
    assert low < 0.5 < high and high - low == pytest.approx(0.25, abs=0.05) and 0.3 < share < 0.7


def test_a_profiles_interval_is_that_of_a_share() -> None:
    """Of 40 runs a share of .5 strays by .079, so that the interval is about 1.96 times that to either side."""
    low, high = stats.profile_interval([np.arange(40.0)], np.array([-1.0, 19.5, 99.0]), seeded(0))
    assert low.tolist() == pytest.approx([1, 0.345, 0], abs=0.03) and high.tolist() == pytest.approx([1, 0.655, 0], abs=0.03)
    one, other = stats.profile_interval([np.array([1.0, 1.0]), np.array([0.0])], np.array([0.5]), seeded(0))
    assert (one, other) == (0.5, 0.5), "runs are drawn within their task"


def test_a_profile_is_the_share_of_runs_above() -> None:
    scores = [np.array([1.0, 2.0, 3.0]), np.array([2.0])]
    found = stats.profile(scores, np.array([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found, [1, (2 / 3 + 1) / 2, (1 / 3) / 2, 0])
