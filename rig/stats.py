"""Honest statistics of few runs: interquartile mean, stratified bootstrap, probability of improvement, performance profiles.

Scores are given as one array a task, f64[runs]; tasks may have different numbers of runs.
Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice" (arXiv:2108.13264).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

REPEATS = 10_000
"""Bootstrap samples of an interval."""
COVERED = 0.95
"""Probability of the intervals."""

Scores = Sequence[np.ndarray]


def iqm(scores: Scores) -> float:
    """Interquartile mean: the mean of all runs of all tasks but the lowest and the highest quarter (rounded down, each).

    Source: Agarwal et al. 2021, section 4.3.
    """
    return float(_trimmed_mean(np.concatenate(scores)[None])[0])


def iqm_interval(scores: Scores, rng: np.random.Generator) -> tuple[float, float]:
    """95 % percentile interval of the interquartile mean: runs are drawn with replacement within each task.

    Source: Agarwal et al. 2021, section 4.1. With one run a task there is nothing to draw, and no width.
    """
    drawn = np.concatenate([task[rng.integers(len(task), size=(REPEATS, len(task)))] for task in scores], 1)
    return _percentiles(_trimmed_mean(drawn))


def improvement(ours: Scores, theirs: Scores, rng: np.random.Generator) -> tuple[float, float, float]:
    """P(X > Y) for a run X of ours and Y of theirs on the same task, mean over tasks, and its 95 % interval; a tie is half.

    Source: Agarwal et al. 2021, section 4.3 (the Mann-Whitney statistic). Raises ValueError for different numbers of tasks.
    """
    drawn = np.zeros(REPEATS)
    found = 0.0
    for x, y in zip(ours, theirs, strict=True):
        wins = np.where(x[:, None] > y, 1.0, np.where(x[:, None] == y, 0.5, 0.0))
        found += float(wins.mean()) / len(ours)
        i, j = (rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), REPEATS) / len(runs) for runs in (x, y))
        drawn += ((i @ wins) * j).sum(1) / len(ours)  # how often each run is drawn says the same as which are
    return found, *_percentiles(drawn)


def profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """Share of runs f64[T] whose score is above each of the thresholds f64[T], mean over tasks.

    Source: Agarwal et al. 2021, section 4.2 (the run-score distribution).
    """
    shares = [(task[:, None] > thresholds).mean(0) for task in scores]
    return np.stack(shares).mean(0)


def profile_interval(scores: Scores, thresholds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """95 % percentile interval f64[2, T] of `profile` at each threshold: runs are drawn with replacement within each task.

    Source: Agarwal et al. 2021, section 4.2, pointwise confidence bands.
    """
    drawn = np.zeros((REPEATS, len(thresholds)))
    for task in scores:
        often = rng.multinomial(len(task), np.full(len(task), 1 / len(task)), REPEATS) / len(task)
        drawn += often @ (task[:, None] > thresholds) / len(scores)
    tail = 50 * (1 - COVERED)
    return np.percentile(drawn, [tail, 100 - tail], axis=0)


def _trimmed_mean(values: np.ndarray) -> np.ndarray:
    """Mean f64[R] of rows f64[R, N] without floor(N / 4) values at either end."""
    cut = values.shape[1] // 4
    return np.sort(values, 1)[:, cut : values.shape[1] - cut].mean(1)


def _percentiles(drawn: np.ndarray) -> tuple[float, float]:
    tail = 50 * (1 - COVERED)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)
