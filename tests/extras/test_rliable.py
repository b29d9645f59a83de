"""Our statistics against the package of those who proposed them: pip install 'rig-rl[rliable]'."""

from __future__ import annotations

import numpy as np
import pytest

from rig import stats

library = pytest.importorskip("rliable.library", reason="rliable is not installed; pip install 'rig-rl[rliable]'")
metrics = pytest.importorskip("rliable.metrics")

SCORES = {name: np.random.default_rng(seed).normal(seed, 1.0, (6, 3)) for seed, name in enumerate(("ours", "theirs"))}
"""f64[runs, tasks], as rliable has it."""


def by_task(scores: np.ndarray) -> list[np.ndarray]:
    return list(scores.T)


def test_the_interquartile_mean_and_its_interval_are_the_same() -> None:
    found, intervals = library.get_interval_estimates(SCORES, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=20_000)
    for name, scores in SCORES.items():
        assert stats.iqm(by_task(scores)) == pytest.approx(found[name][0], rel=1e-9)
        ours = stats.iqm_interval(by_task(scores), np.random.default_rng(0))
        assert ours == pytest.approx(intervals[name][:, 0], abs=0.03)


def test_the_probability_of_improvement_and_its_interval_are_the_same() -> None:
    pair = {"pair": (SCORES["ours"], SCORES["theirs"])}
    found, intervals = library.get_interval_estimates(pair, metrics.probability_of_improvement, reps=5_000)
    share, low, high = stats.improvement(by_task(SCORES["ours"]), by_task(SCORES["theirs"]), np.random.default_rng(0))
    assert share == pytest.approx(float(found["pair"]), rel=1e-9)
    assert (low, high) == pytest.approx(tuple(np.ravel(intervals["pair"])), abs=0.02)


def test_the_profile_is_the_same() -> None:
    thresholds = np.linspace(-3, 3, 11)
    theirs, _ = library.create_performance_profile(SCORES, thresholds, reps=10)
    for name, scores in SCORES.items():
        np.testing.assert_allclose(stats.profile(by_task(scores), thresholds), theirs[name], atol=1e-12)
